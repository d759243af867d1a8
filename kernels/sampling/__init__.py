"""Drawing the next token from the logits."""

from .workload import Sampling

__all__ = ["Sampling"]
