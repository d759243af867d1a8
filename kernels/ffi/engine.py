"""The compiled part that every kernel shares: it answers XLA's calls and spreads their work over XLA's threads.

A call is cut into chunks. The calling thread asks XLA's intra-op pool for help and then takes chunks itself
until none is left, so that a pool that is small, busy or blocked costs speed and never the result. In the end
it waits only for chunks that a helper has really taken. The shared job lives on the heap until its last owner
lets go: a helper may start after the call is over, must still be able to look, and will find nothing to do.

Offsets are in 64-bit words, into the structs of jaxlib's `xla/ffi/api/c_api.h`. Within a major version XLA only
appends fields, and those used here stand at the same place in minor versions 3 (jax 0.10) and 5 (jax 0.12).

Numba keeps the machine code of `handle` and `help_out` on disk and makes it anew when this file changes, which
is why everything that they call is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

API_MAJOR = 0
"""`XLA_FFI_API_MAJOR` that the offsets belong to."""

# XLA_FFI_CallFrame, XLA_FFI_Scalar, XLA_FFI_Metadata_Extension; XLA_FFI_Metadata in 32-bit words.
_EXTENSION, _API, _CONTEXT, _ATTRIBUTES = 1, 2, 3, 20
_VALUE = 1
_KIND, _METADATA = 1, 3
_KIND_METADATA = 1
_API_VERSION_MAJOR, _API_VERSION_MINOR = 6, 7

# XLA_FFI_Api: pointers to its functions.
_ERROR_DESTROY, _SCHEDULE, _NUM_THREADS = 8, 17, 18

# A plan: what one kind of call needs, written once when its handler is made.
SPAN, HELP_OUT, UNITS, GRAIN, MAJOR, MINOR = range(6)

# A job: one call in progress. What threads write lies 128 bytes apart, so that no CPU has it in one cache line.
_NEXT, _DONE, _OWNERS = 0, 16, 32
_FRAME, _JOB_SPAN, _JOB_UNITS, _SIZE = range(48, 52)
_REQUEST, _JOB_BYTES = 64, 8 * 72

EVEN_SHARES = 0
"""The grain that stands for one chunk per thread."""
_CHUNKS_PER_THREAD = 8
"""Enough that a core which another program disturbs holds a call up by an eighth of its share at most."""
_LEAST_PART = 16
"""Chunks are no smaller than this part of the grain, below which taking them costs more than it evens out."""

_allocate = types.ExternalFunction("malloc", types.int64(types.int64))
_free = types.ExternalFunction("free", types.void(types.int64))
_yield = types.ExternalFunction("sched_yield", types.int32())

_WORD, _HALF = ir.IntType(64), ir.IntType(32)

instruction = cast("Callable[[Callable[..., Any]], Callable[..., Any]]", intrinsic)
"""Numba's `intrinsic`, whose result is called without the typing context that it is defined with."""


def _at(builder: Any, address: Any, index: Any, kind: Any = _WORD) -> Any:
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])


@instruction
def _load(_typing: Any, address: Any, index: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.load(_at(builder, *values))

    return types.int64(types.int64, types.int64), generate


@instruction
def _load_acquire(_typing: Any, address: Any, index: Any) -> Any:
    """A word, after which everything is visible that threads wrote before they added to it."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.load_atomic(_at(builder, *values), "acquire", 8)

    return types.int64(types.int64, types.int64), generate


@instruction
def _store(_typing: Any, address: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        builder.store(values[2], _at(builder, *values[:2]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@instruction
def _store_half(_typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Writes 32 bits at an index counted in them."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        address, index, value = values
        builder.store(builder.trunc(value, _HALF), _at(builder, address, index, _HALF))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@instruction
def _fetch_add(_typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Adds to a word in one step that no thread can split; returns the word before."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("add", _at(builder, *values[:2]), values[2], "acq_rel")

    return types.int64(types.int64, types.int64, types.int64), generate


@instruction
def call(_typing: Any, function: Any, *words: Any) -> Any:
    """Calls the C function at an address, from words to a word."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        words = cgutils.unpack_tuple(builder, values[1])
        kind = ir.FunctionType(_WORD, [_WORD] * len(words))
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), words)

    return types.int64(types.int64, types.StarArgUniTuple(types.int64, len(words))), generate


def handle(frame: int, plan: int) -> int:
    """Answers a call of XLA by a plan: tells the API version, or computes every unit.

    Args:
        frame: address of the `XLA_FFI_CallFrame`.
        plan: address of the words `SPAN`: of the C function `(frame, start, stop)` that computes some units;
            `HELP_OUT`: of that function compiled; `UNITS`, `GRAIN`: places of these attributes in the alphabetical
            order of all; `MAJOR`, `MINOR`: of the API.
    """
    if not _tells_version(frame, _load(plan, MAJOR), _load(plan, MINOR)):
        units, grain = _attribute(frame, _load(plan, UNITS)), _attribute(frame, _load(plan, GRAIN))
        _share(frame, _load(plan, SPAN), _load(plan, HELP_OUT), units, grain)
    return 0


def help_out(job: int) -> None:
    """What XLA's threads run."""
    _take_chunks(job)
    _let_go(job)


@njit
def _tells_version(frame, major, minor):
    extension = _load(frame, _EXTENSION)
    if extension == 0 or _load(extension, _KIND) & 0xFFFFFFFF != _KIND_METADATA:
        return False
    metadata = _load(extension, _METADATA)
    _store_half(metadata, _API_VERSION_MAJOR, major)
    _store_half(metadata, _API_VERSION_MINOR, minor)
    return True


@njit
def _attribute(frame, index):
    return _load(_load(_load(_load(frame, _ATTRIBUTES), index), _VALUE), 0)


@njit
def _share(frame, span, help_out, units, grain):
    least = max(1, grain // _LEAST_PART)
    job = _allocate(_JOB_BYTES) if units > least else 0
    if job == 0:
        call(span, frame, 0, units)
        return
    request = job + 8 * _REQUEST
    threads = _threads(frame, request)
    if grain == EVEN_SHARES:
        size = (units + threads - 1) // threads
    else:
        size = min(grain, max(least, units // (threads * _CHUNKS_PER_THREAD)))
    chunks = (units + size - 1) // size
    helpers = min(threads, chunks) - 1
    _store(job, _NEXT, 0)
    _store(job, _DONE, 0)
    _store(job, _OWNERS, 1 + helpers)
    _store(job, _FRAME, frame)
    _store(job, _JOB_SPAN, span)
    _store(job, _JOB_UNITS, units)
    _store(job, _SIZE, size)
    for _ in range(helpers):
        _store(request, 3, help_out)
        _store(request, 4, job)
        if not _asked(frame, _SCHEDULE, request, 5):
            _fetch_add(job, _OWNERS, -1)
    _take_chunks(job)
    while _load_acquire(job, _DONE) < chunks:
        _yield()
    _let_go(job)


@njit
def _threads(frame, request):
    _store(request, 3, request + 8 * 4)
    return _load(request, 4) if _asked(frame, _NUM_THREADS, request, 4) else 1


@njit
def _asked(frame, function, request, words):
    """Whether XLA did what a request of some words says."""
    _store(request, 0, 8 * words)
    _store(request, 1, 0)
    _store(request, 2, _load(frame, _CONTEXT))
    error = call(_load(_load(frame, _API), function), request)
    if error == 0:
        return True
    _store(request, 0, 8 * 3)
    _store(request, 2, error)
    call(_load(_load(frame, _API), _ERROR_DESTROY), request)
    return False


@njit
def _take_chunks(job):
    units, size = _load(job, _JOB_UNITS), _load(job, _SIZE)
    while True:
        start = _fetch_add(job, _NEXT, 1) * size
        if start >= units:
            return
        call(_load(job, _JOB_SPAN), _load(job, _FRAME), start, min(start + size, units))
        _fetch_add(job, _DONE, 1)


@njit
def _let_go(job):
    if _fetch_add(job, _OWNERS, -1) == 1:
        _free(job)
