"""The decode step as one compiled program of a Flax NNX module."""

from __future__ import annotations

from typing import Any

import jax

from ..decoder import Decoder, refusal
from ..op import implementation
from .workload import DecodeStep


def _refuses(workload: DecodeStep) -> str | None:
    return refusal(workload, jax.default_backend())


@implementation(refuses=_refuses)
def unrolled(workload: DecodeStep, *, token: Any, position: Any, uniform: Any = None, **arrays: Any) -> tuple[Any, ...]:
    """Layer after layer: a loop over stacked weights would hand each kernel a copy of its layer's slice."""
    found = Decoder(workload, arrays).step(token, position, uniform)
    return tuple(found[name] for name in workload.results())
