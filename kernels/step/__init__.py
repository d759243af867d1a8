"""The whole decode step: every call that one token needs, in one program."""

from .workload import DecodeStep

__all__ = ["DecodeStep"]
