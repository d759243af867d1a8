"""The forward pass of an encoder: every token of a text at once, in one program."""

from .workload import EncoderPass

__all__ = ["EncoderPass"]
