"""How often what takes long to sample is sampled; pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .pair import Side

LOOK_S = 12.0
"""Seconds after which the least number of quads of one kernel is enough, however few they are beyond `FEWEST_QUADS`."""
FEWEST_QUADS = 9
"""Of which two thirds, the calmer ones, are the fewest that have an interval."""
PAIRED_SAMPLE_S = 1.0
"""Samples that take longer come in pairs: in a quad's two more, a machine's speed would be another."""


def sample_s(answers: Mapping[Side, Mapping[str, Any]]) -> float:
    """Seconds of a sample, of the side where it takes longer."""
    return max(one["calls"] * one["seconds"] for one in answers.values())


def least_quads(answers: Mapping[Side, Mapping[str, Any]], wanted: int) -> int:
    """As many as are wanted, or as there is time for where a sample takes long."""
    return min(wanted, max(FEWEST_QUADS, int(LOOK_S / (4 * sample_s(answers)))))
