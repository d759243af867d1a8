"""Matrix-vector products head by head: the up-projections of latent attention."""

from .workload import HeadGemv

__all__ = ["HeadGemv"]
