"""Arithmetic without memory: the other ceiling of the roofline."""

from .workload import Peak

__all__ = ["Peak"]
