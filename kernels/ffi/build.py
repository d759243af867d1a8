"""Compiles the body of a kernel into a handler that XLA can call.

Numba keeps machine code on disk and finds it again by the function and the types of its arguments. The function
is always `_span` here, and the type of its first argument says the rest: which body it runs, on arrays of which
types, and a digest of all source that went into it.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numba import cfunc, from_dtype, njit, types
from numba.extending import models, overload, register_model

from . import engine
from .frame import api_version, reader

_WORD = types.int64


class Call(types.Type):
    """The Numba type of a call frame's address, when it calls the body of this name."""


@register_model(Call)
class _CallModel(models.PrimitiveModel):
    def __init__(self, manager: Any, call: Call) -> None:
        super().__init__(manager, call, manager.lookup(_WORD).get_value_type())


_PARTS: dict[Call, tuple[Any, Any]] = {}
"""The compiled body of a call, and the intrinsic that reads its arrays and constants."""


_INSIDE: Any = {"no_cfunc_wrapper": True}
"""An option that Numba reads and its types do not know: nothing outside compiled code calls such a body."""


def _run(frame: int, start: int, stop: int) -> None:
    """Runs the body of the call that `frame` is of; in compiled code only."""


@overload(_run, jit_options=_INSIDE)
def _run_compiled(frame, start, stop):
    compute, read = _PARTS[frame]
    return lambda frame, start, stop: compute(start, stop, *read(frame))


def _span(frame, start, stop):
    _run(frame, start, stop)
    return 0


class Handler:
    """A handler, and all that must stay in memory for as long as XLA may call it: for ever, once it is registered.

    Args:
        name: tells the body and the types apart from all others.
        body: as `kernel` takes it.
        arguments, results: arrays, or their shapes and dtypes.
        attributes: NumPy scalars by name, `units` and `grain` among them.
    """

    def __init__(
        self, name: str, body: Callable[..., None], arguments: Sequence[Any], results: Sequence[Any], attributes: dict[str, Any]
    ) -> None:
        places = {attribute: place for place, attribute in enumerate(sorted(attributes))}
        constants = list(inspect.signature(body).parameters)[2 + len(arguments) + len(results) :]
        scalars = [(places[constant], from_dtype(attributes[constant].dtype)) for constant in constants]
        call = Call(f"{name} {scalars} {_digest(body)}")
        read = reader(call, [_array(one) for one in arguments], [_array(one) for one in results], scalars)
        # Without reference counts: arrays belong to XLA. Only compiled code calls it, so it needs no wrappers.
        options: dict[str, Any] = {"error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        _PARTS[call] = njit(**options)(body), read
        major, minor = api_version(jax.ffi.include_dir())
        self._span = _compiled(_span, _WORD(call, _WORD, _WORD))
        self._plan = (ctypes.c_int64 * 6)()
        self._plan[engine.SPAN] = self._span.address
        self._plan[engine.HELP_OUT] = _compiled(engine.help_out, types.void(_WORD)).address
        self._plan[engine.UNITS], self._plan[engine.GRAIN] = places["units"], places["grain"]
        self._plan[engine.MAJOR], self._plan[engine.MINOR] = major, minor
        handle, plan = _compiled(engine.handle, _WORD(_WORD, _WORD)).address, ctypes.addressof(self._plan)
        self._entry = cfunc(_WORD(_WORD))(lambda frame: engine.call(handle, frame, plan))

    def capsule(self) -> Any:
        """The handler as `jax.ffi.register_ffi_target` takes it."""
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(self._entry.address, None, None)


@cache
def _compiled(function: Callable[..., Any], signature: Any) -> Any:
    """A C function, from Numba's cache on disk if there is a folder for it."""
    try:
        return cfunc(signature, cache=True)(function)
    except RuntimeError:  # no folder
        return cfunc(signature)(function)


def _digest(body: Callable[..., None]) -> str:
    # What a body calls by name may be another folder's.
    named = inspect.getclosurevars(body)
    called = (value for value in (*named.globals.values(), *named.nonlocals.values()) if inspect.isfunction(value))
    folders = {Path(inspect.getfile(function)).parent for function in (Handler, body, *called)}
    files = (file for folder in sorted(folders) for file in sorted(folder.glob("*.py")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_BITS = {"bfloat16": types.uint16, "float16": types.int16, "float8_e4m3fn": types.uint8}
"""What arrays of floats come as that Numba does not know; `lanes` knows them by it."""


def _array(one: Any) -> Any:
    dtype = np.dtype(one.dtype)
    return types.Array(_BITS[dtype.name] if dtype.name in _BITS else from_dtype(dtype), len(one.shape), "C")
