"""4-bit integers in groups of 128 with a float16 scale, 4.125 bits per element: the group size of GPTQ and AWQ checkpoints."""

from .base import Int4


class _Int4G128(Int4):
    name, group = "int4_g128", 128


FORMAT = _Int4G128()
