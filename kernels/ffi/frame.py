"""The call frame that XLA hands to a custom call: its arrays and attributes, read in place. See `engine`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np import arrayobj

from .engine import instruction

# Words of XLA_FFI_CallFrame, XLA_FFI_Buffer and XLA_FFI_Scalar.
_ARGUMENTS, _RESULTS, _ATTRIBUTES = 9, 14, 20
_DATA, _DIMS = 3, 5
_VALUE = 1

_WORD = ir.IntType(64)


def api_version(include_dir: str) -> tuple[int, int]:
    """(major, minor) of the FFI that a jaxlib speaks, from its header.

    Raises:
        OSError: if there is no header.
        ValueError: if the header does not state them.
    """
    header = Path(include_dir, "xla", "ffi", "api", "c_api.h").read_text(encoding="utf-8")
    found = dict(re.findall(r"^#define XLA_FFI_API_(MAJOR|MINOR) (\d+)$", header, re.MULTILINE))
    if found.keys() != {"MAJOR", "MINOR"}:
        raise ValueError(f"c_api.h must define XLA_FFI_API_MAJOR and XLA_FFI_API_MINOR; it defines {sorted(found)} of them")
    return int(found["MAJOR"]), int(found["MINOR"])


def reader(call: Any, arguments: Sequence[Any], results: Sequence[Any], attributes: Sequence[tuple[int, Any]]) -> Any:
    """Makes the intrinsic `read(frame)`: the arrays of a call, then attributes, as one tuple.

    Args:
        call: Numba type of the frame's address.
        arguments: Numba array types of the operands, C-contiguous.
        results: likewise of the results.
        attributes: place in the alphabetical order of all attributes, and Numba type, of each scalar wanted.
    """
    members = types.Tuple([*arguments, *results, *(kind for _, kind in attributes)])

    @instruction
    def read(_typing: Any, frame: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            def at(address: Any, *indices: int) -> Any:
                for index in indices:
                    address = builder.load(builder.gep(builder.inttoptr(address, _WORD.as_pointer()), [_WORD(index)]))
                return address

            def array(table: int, index: int, kind: Any) -> Any:
                buffer = at(values[0], table, index)
                item = context.get_data_type(kind.dtype)
                itemsize = _WORD(context.get_abi_sizeof(item))
                shape = [at(buffer, _DIMS, axis) for axis in range(kind.ndim)]
                strides = [itemsize] * kind.ndim
                for axis in range(kind.ndim - 1, 0, -1):
                    strides[axis - 1] = builder.mul(strides[axis], shape[axis])
                made = context.make_array(kind)(context, builder)
                data = builder.inttoptr(at(buffer, _DATA), item.as_pointer())
                packed_shape, packed_strides = (cgutils.pack_array(builder, words, ty=_WORD) for words in (shape, strides))
                arrayobj.populate_array(made, data, packed_shape, packed_strides, itemsize, meminfo=None)
                return made._getvalue()

            def scalar(index: int, kind: Any) -> Any:
                address = at(values[0], _ATTRIBUTES, index, _VALUE)
                return builder.load(builder.inttoptr(address, context.get_data_type(kind).as_pointer()))

            fields = [array(_ARGUMENTS, index, kind) for index, kind in enumerate(arguments)]
            fields += [array(_RESULTS, index, kind) for index, kind in enumerate(results)]
            fields += [scalar(index, kind) for index, kind in attributes]
            return context.make_tuple(builder, members, fields)

        return members(call), generate

    return read
