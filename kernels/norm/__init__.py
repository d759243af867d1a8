"""RMSNorm and LayerNorm, with the residual add that precedes them."""

from .workload import Norm

__all__ = ["Norm"]
