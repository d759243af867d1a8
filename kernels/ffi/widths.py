"""The two widths that bodies, and the shapes they are given, are written in. See `lanes`."""

LANES = 16
"""Numbers in a vector."""
PAIR = 2 * LANES
"""Columns that are read at a time."""
