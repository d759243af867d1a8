"""Whether an implementation computes what its op says: operands, the float64 reference, and the distance to it.

A kernel is checked before it is timed; a wrong kernel has no time. This module imports no JAX: outputs may be
anything that `numpy.asarray` takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .formats import format_named
from .formats.base import Plain
from .op import Tensor, Workload
from .room import empty

_DRAWN_ELEMENTS = 2**20
"""Numbers that are drawn one by one. A larger tensor repeats so many numbers' rows in random order, and a longer vector its
beginning: drawing and rounding every element of a gigabyte would take longer than the measurement."""
_GATHERED_ROWS = 256
"""Rows, or bands of them, that are gathered at a time: they stay in cache on their way."""
_ELEMENT_SPAN = 16
"""No element of a Gaussian result is further out than this many root mean squares."""


def draw(workload: Workload, seed: int) -> dict[str, Any]:
    """Packed operands from a seeded generator.

    Numbers are Gaussian: of variance 1, and of variance 1/k for matrices whose last axis is k, so that results are of
    order 1 as in a trained model. Tensors with a `below` are uniform in [0, below), several indices as far from each other
    as can be. There is no NaN and no infinity.

    Args:
        workload: the call.
        seed: equal seeds give equal operands.

    Returns:
        Per operand one NumPy array, or a dict of them, as `Format.pack` makes it.

    """
    generator = np.random.default_rng(seed)
    tensors = workload.operands()
    # However many tensors there are, so many numbers are drawn in all for each width, format and scale.
    drawing = _Drawing(generator, _DRAWN_ELEMENTS // max(1, len(tensors) // 4))
    return {name: drawing.drawn(tensor) for name, tensor in tensors.items()}


def shapes(workload: Workload) -> dict[str, Any]:
    """What `draw` makes of a workload, known before it is drawn: arrays of its shapes and dtypes that take no memory."""
    return {name: _shaped(tensor) for name, tensor in workload.operands().items()}


def expected(workload: Workload, packed: Mapping[str, Any], outputs: tuple[Any, ...] | None = None) -> tuple[Any, ...]:
    """The float64 results for packed operands, piece by piece (`Workload.pieces`) and joined along `Workload.piece_axis`.

    A result of role `index` has one more axis: all the values that are right in its place, some of them repeated.

    Args:
        workload: the call.
        packed: its operands.
        outputs: an implementation's results, where it is these that are to be judged (`Workload.expected_beside`).
    """
    return workload.expected(packed) if outputs is None else workload.expected_beside(packed, outputs)


def error(workload: Workload, outputs: Any, expected: tuple[Any, ...], *, partial: bool = False) -> float:
    """The largest distance of a result to its reference; right where it is at most `workload.tolerance()`.

    The distance is ||out - reference|| / ||reference|| (Frobenius norm), or, where that is more, the largest
    difference over 16 root mean squares of the reference: one wrong element in a long result would be averaged away.
    It is infinite for a NaN or an infinity, for a wrong shape or dtype, and for an index that is not right.

    Args:
        workload: the call.
        outputs: the results in order, or the one result, packed.
        expected: as the function `expected` gives it.
        partial: None may stand for a result that is not given out, unless it stands for all.

    """
    outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
    results = workload.results().values()
    if len(outputs) != len(results):
        return math.inf
    given = [one for one in zip(results, outputs, expected, strict=True) if not (partial and one[1] is None)]
    return max((_distance(*one) for one in given), default=math.inf)


@dataclass
class _Drawing:
    """Draws tensors; those of more than `most` numbers are made of rows that tensors of their width share."""

    generator: np.random.Generator
    most: int
    shared: dict[tuple[int, str, float], Any] = field(default_factory=dict)

    def drawn(self, tensor: Tensor) -> Any:
        one = format_named(tensor.format)
        if tensor.role == "index" and tensor.shape:
            return one.pack(_spread(tensor, self.generator))
        if tensor.below:
            uniform = self.generator.random(tensor.shape) * tensor.below
            return one.pack(np.asarray(uniform if one.roles else np.floor(uniform)))
        axes = len(tensor.shape)
        is_matrix = tensor.role == "weight" and axes > 1
        scale = 1 / math.sqrt(tensor.shape[-1]) if is_matrix else 1.0
        if axes < 2:
            return _repeated(one.pack(_gaussian(self.generator, (min(tensor.elements, _DRAWN_ELEMENTS),), scale)), tensor.shape)
        if tensor.elements <= self.most:
            return one.pack(_gaussian(self.generator, tensor.shape, scale))
        width = tensor.shape[-1]
        count = tensor.elements // width
        bands = math.ceil(_DRAWN_ELEMENTS / width / one.band)
        key = (width, tensor.format, scale)
        if key not in self.shared:
            self.shared[key] = one.pack(_gaussian(self.generator, (bands * one.band, width), scale))
        drawn = self.generator.integers(bands, size=math.ceil(count / one.band))[:, None] * one.band + np.arange(one.band)
        return _gathered(tensor, self.shared[key], drawn.ravel()[:count])


def _shaped(tensor: Tensor) -> Any:
    one = format_named(tensor.format)
    if isinstance(one, Plain):
        return np.broadcast_to(np.zeros((), one.dtype), tensor.shape)
    *axes, n, width = tensor.shape
    band = one.pack(np.zeros((one.band, width), np.float32))
    rows = {name: n if len(part) == one.band else math.ceil(n / one.band) for name, part in band.items()}
    return {name: np.broadcast_to(part[0, 0], (*axes, rows[name], part.shape[1])) for name, part in band.items()}


def _spread(tensor: Tensor, generator: np.random.Generator) -> np.ndarray:
    """Indices an equal distance apart, in random order: moved on together they meet all others before each other."""
    apart = np.floor(np.arange(tensor.elements) * (tensor.below / tensor.elements))
    return generator.permutation((apart + generator.integers(tensor.below)) % tensor.below).reshape(tensor.shape)


def _gaussian(generator: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    return generator.standard_normal(shape, np.float32) * np.float32(scale)


def _repeated(beginning: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    [values] = empty(shape, beginning.dtype)
    flat = values.reshape(-1)
    for start in range(0, flat.size, max(1, beginning.size)):
        flat[start : start + beginning.size] = beginning[: flat.size - start]
    return values


def _gathered(tensor: Tensor, drawn: Any, rows: np.ndarray) -> Any:
    """A tensor of rows of what was drawn: numbers, and scales in a dict beside them."""
    one = format_named(tensor.format)
    shaped = _shaped(tensor)
    parts = shaped if isinstance(shaped, dict) else {"": shaped}
    made = {name: empty(part.shape, part.dtype)[0] for name, part in parts.items()}
    at_once = _GATHERED_ROWS * one.band
    for start in range(0, len(rows), at_once):
        some = one.rows(drawn, rows[start : start + at_once])
        for name, part in some.items() if isinstance(some, dict) else [("", some)]:
            matrix = made[name].reshape(-1, part.shape[-1])
            first = start if len(matrix) == len(rows) else start // one.band
            matrix[first : first + len(part)] = part
    return made if isinstance(shaped, dict) else made[""]


def _distance(tensor: Tensor, output: Any, reference: Any) -> float:
    one = format_named(tensor.format)
    if isinstance(one, Plain) and np.asarray(output).dtype != one.dtype:
        return math.inf
    values = one.unpack(output)
    if values.shape != tensor.shape:
        return math.inf
    if tensor.role == "index":
        return 0.0 if (values[..., None] == reference).any(-1).all() else math.inf
    size, difference = np.linalg.norm(reference), values - reference
    if not np.isfinite(values).all() or not np.isfinite(size):
        return math.inf
    away = np.linalg.norm(difference)
    if away == 0:
        return 0.0
    if size == 0:
        return math.inf
    root_mean_square = size / math.sqrt(reference.size)
    return float(max(away / size, np.abs(difference).max() / (_ELEMENT_SPAN * root_mean_square)))
