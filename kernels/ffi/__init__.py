"""Kernels in plain Python for the CPU: a Numba body inside an XLA custom call, on XLA's own threads.

An op's `cpu.py` needs a body over a range of units and one call of it:

    @kernel
    def double(start, stop, x, y):
        for i in range(start, stop):
            y[i] = 2 * x[i]

    double(x, results=jax.ShapeDtypeStruct(x.shape, x.dtype), units=x.size, grain=4096)
"""

from .kernel import Kernel, kernel, unusable
from .widths import BLOCK, LANES, PAIR, unit_of

try:
    from numba.extending import register_jitable

    from . import digits, lanes, nibbles, vectors

    # Always in line: vectors that pass through a call go through memory. C never calls it, and a wrapper for C would be
    # compiled with all that is in line in it.
    helper = register_jitable(forceinline=True, no_cfunc_wrapper=True)
except ImportError:  # `unusable` says so, and no body is ever compiled
    helper, digits, lanes, nibbles, vectors = (lambda function: function), None, None, None, None

__all__ = [
    "BLOCK",
    "LANES",
    "PAIR",
    "Kernel",
    "digits",
    "helper",
    "kernel",
    "lanes",
    "nibbles",
    "unit_of",
    "unusable",
    "vectors",
]
