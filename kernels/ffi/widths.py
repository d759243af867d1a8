"""The widths that bodies, and the arrays they are given, are written in. See `lanes`."""

from typing import Any

LANES = 16
"""Numbers in a vector."""
PAIR = 2 * LANES
"""Columns that are read at a time."""
BLOCK = 128
"""Columns that are taken at a time where scales change along a row: a line of cache of weights of four bits."""


def unit_of(dtype: Any) -> float:
    """What numbers of a dtype are to be multiplied by after `lanes.load_pairs`: a power of two, and 1 for all but FP8."""
    return 2.0**8 if str(dtype) == "float8_e4m3fn" else 1.0
