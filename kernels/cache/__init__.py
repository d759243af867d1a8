"""KV-cache update: the new token's key and value written in place."""

from .workload import CacheUpdate

__all__ = ["CacheUpdate"]
