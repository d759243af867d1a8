"""Bindings to other libraries that the ops' `peers.py` compare us with. None is needed, and none is imported before use."""
