"""How evenly a token's experts fall on chips that hold whole ones."""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import comb

from ...kernels.model import Mixture

Counts = Counter[tuple[int, int]]
"""(Groups, experts) -> in how many ways so many of them are chosen."""


@cache
def dealings(mixture: Mixture) -> tuple[int, ...]:
    """Numbers of chips that can hold equally many whole experts: whole groups on each, or each group on equally many."""
    experts, groups = mixture.experts, mixture.groups
    return tuple(n for n in range(1, experts + 1) if experts % n == 0 and (n % groups == 0 or groups % n == 0))


@cache
def busiest(mixture: Mixture, chips: int) -> float:
    """Expected number of a token's experts on the chip that has most of them; at least `top_k / chips`.

    Every choice of experts is taken to be as likely as every other, which is what a router is trained for, so the chips' counts
    are multivariate hypergeometric (Johnson, Kotz and Balakrishnan, Discrete Multivariate Distributions, chapter 39). With
    c experts on each of n chips, the choices of k in which no chip has more than m are the coefficient of x^k in
    (sum_{j <= m} C(c, j) x^j)^n, and E[max] = sum_{m < k} P(max > m). Where a router first chooses groups (DeepSeek-V3,
    arXiv:2412.19437, section 2.1.2), groups lie on chips in order: whole ones on a chip, or each on several.

    Args:
        mixture: its experts and how they are chosen.
        chips: one of `dealings`.
    """
    groups, top = mixture.groups, mixture.top_groups
    if chips % groups == 0:
        # Only the chips of the chosen groups count, and among them every choice is as likely.
        reached = chips * top // groups
        return _expected(mixture.top_k, reached, reached, 1, mixture.experts // chips)
    return _expected(mixture.top_k, chips, top, groups // chips, mixture.experts // groups)


def _expected(k: int, chips: int, top: int, groups: int, size: int) -> float:
    """The largest count of `k` experts out of `top` groups, where each chip has `groups` of them, `size` experts each."""
    every = comb(chips * groups, top) * comb(top * size, k)
    return sum(1 - _ways(k, chips, top, groups, size, most) / every for most in range(k))


def _ways(k: int, chips: int, top: int, groups: int, size: int, most: int) -> int:
    """In how many of the choices no chip has more than `most`."""
    fewest = max(0, top - (chips - 1) * groups)
    on_one = Counter(
        {
            (held, taken): comb(groups, held) * comb(held * size, taken)
            for held in range(fewest, min(groups, top) + 1)
            for taken in range(min(most, held * size) + 1)
        }
    )

    def together(some: Counts, others: Counts) -> Counts:
        more: Counts = Counter()
        for (held, taken), ways in some.items():
            for (held_there, taken_there), ways_there in others.items():
                if held + held_there <= top and taken + taken_there <= k:
                    more[held + held_there, taken + taken_there] += ways * ways_there
        return more

    # By squaring, for a rack has many chips.
    found, doubled = Counter({(0, 0): 1}), on_one
    while chips:
        if chips & 1:
            found = together(found, doubled)
        chips >>= 1
        doubled = together(doubled, doubled) if chips else doubled
    return found[top, k]
