"""Low, point and high of one figure, or of many at once, and the little arithmetic that they need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Figures = float | Float[np.ndarray, "figures"]


@dataclass(frozen=True)
class Range:
    """A figure with its 80 % interval; low <= point <= high. Arrays stand for as many figures."""

    low: Figures = 0.0
    point: Figures = 0.0
    high: Figures = 0.0

    def times(self, factor: Figures) -> Range:
        """Each end times a number from 0."""
        return Range(self.low * factor, self.point * factor, self.high * factor)

    def under(self, numerator: Figures) -> Range:
        """A number over the figure: the largest makes the lowest."""
        return Range(numerator / self.high, numerator / self.point, numerator / self.low)

    def plus(self, other: Range) -> Range:
        """The sum; doubts are taken to go together, which makes the interval no narrower than it is."""
        return Range(self.low + other.low, self.point + other.point, self.high + other.high)

    def at_least(self, floor: Figures) -> Range:
        """No end below a floor."""
        return Range(np.maximum(self.low, floor), np.maximum(self.point, floor), np.maximum(self.high, floor))

    def jointly(self, other: Range) -> Range:
        """The product of two positive figures whose doubts are independent: logarithmic widths add in quadrature."""
        point = self.point * other.point
        down = np.hypot(np.log(self.point / self.low), np.log(other.point / other.low))
        up = np.hypot(np.log(self.high / self.point), np.log(other.high / other.point))
        return Range(point * np.exp(-down), point, point * np.exp(up))

    def of(self, place: int) -> Range:
        """One of many figures."""
        return Range(*(float(np.asarray(end)[place]) for end in (self.low, self.point, self.high)))

    def __contains__(self, value: float) -> bool:
        return bool(self.low <= value <= self.high)
