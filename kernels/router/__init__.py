"""Which experts of a mixture a token uses, and how much each of them counts."""

from .workload import Router

__all__ = ["Router"]
