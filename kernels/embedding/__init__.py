"""Rows of a table: the token's embedding, and its learned position."""

from .workload import Embedding

__all__ = ["Embedding"]
