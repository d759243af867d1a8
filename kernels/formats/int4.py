"""4-bit integers in groups of 32 with a float16 scale, 4.5 bits per element: the layout of GGML's Q4_0."""

from .base import Int4


class _Int4(Int4):
    name, group = "int4", 32


FORMAT = _Int4()
