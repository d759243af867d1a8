"""Low, point and high of one figure, and the little arithmetic that they need."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """A figure with its 80 % interval; low <= point <= high."""

    low: float = 0.0
    point: float = 0.0
    high: float = 0.0

    def times(self, factor: float) -> Range:
        """Each end times a number from 0."""
        return Range(self.low * factor, self.point * factor, self.high * factor)

    def under(self, numerator: float) -> Range:
        """A number over the figure: the largest makes the lowest."""
        return Range(numerator / self.high, numerator / self.point, numerator / self.low)

    def plus(self, other: Range) -> Range:
        """The sum; doubts are taken to go together, which makes the interval no narrower than it is."""
        return Range(self.low + other.low, self.point + other.point, self.high + other.high)

    def at_least(self, floor: float) -> Range:
        """No end below a floor."""
        return Range(max(self.low, floor), max(self.point, floor), max(self.high, floor))

    def jointly(self, other: Range) -> Range:
        """The product of two positive figures whose doubts are independent: logarithmic widths add in quadrature."""
        point = self.point * other.point
        down = math.hypot(math.log(self.point / self.low), math.log(other.point / other.low))
        up = math.hypot(math.log(self.high / self.point), math.log(other.high / other.point))
        return Range(point * math.exp(-down), point, point * math.exp(up))

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high
