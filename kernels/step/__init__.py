"""The whole decode step: every call that one token needs, in one program."""

from .compose import missing_part
from .workload import DecodeStep

__all__ = ["DecodeStep", "missing_part"]
