"""Matrix-vector products: every weight matrix of a decode step."""

from .workload import Gemv

__all__ = ["Gemv"]
