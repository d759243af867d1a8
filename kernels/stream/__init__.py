"""Plain traffic between memory and processor: the ceilings that kernels are measured against."""

from .workload import Stream

__all__ = ["Stream"]
