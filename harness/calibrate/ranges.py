"""Low, point and high of one figure, or of many at once, and the little arithmetic that they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float

Figures = TypeVar("Figures", float, Float[np.ndarray, "figures"])
"""One, or many at once."""


@dataclass(frozen=True)
class Range(Generic[Figures]):
    """A figure with its 80 % interval; low <= point <= high. Arrays stand for as many figures."""

    low: Figures
    point: Figures
    high: Figures

    def times(self, factor: Any) -> Range[Figures]:
        """Each end times a number from 0."""
        return Range(self.low * factor, self.point * factor, self.high * factor)

    def under(self, numerator: Any) -> Range[Figures]:
        """A number over the figure: the largest makes the lowest."""
        return Range(numerator / self.high, numerator / self.point, numerator / self.low)

    def plus(self, other: Range[Figures]) -> Range[Figures]:
        """The sum; doubts are taken to go together, which makes the interval no narrower than it is."""
        return Range(self.low + other.low, self.point + other.point, self.high + other.high)

    def at_least(self, floor: Any) -> Range[Figures]:
        """No end below a floor."""
        low, point, high = (np.maximum(end, floor) for end in (self.low, self.point, self.high))
        return Range(low, point, high)  # type: ignore[return-value]

    def jointly(self, other: Range[Figures]) -> Range[Figures]:
        """The product of two positive figures whose doubts are independent: logarithmic widths add in quadrature."""
        point = self.point * other.point
        down = np.hypot(np.log(self.point / self.low), np.log(other.point / other.low))
        up = np.hypot(np.log(self.high / self.point), np.log(other.high / other.point))
        return Range(point * np.exp(-down), point, point * np.exp(up))

    def of(self, place: int) -> Range[float]:
        """One of many figures."""
        return Range(*(float(np.asarray(end)[place]) for end in (self.low, self.point, self.high)))

    def __contains__(self, value: float) -> bool:
        return bool(self.low <= value <= self.high)
