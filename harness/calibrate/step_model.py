"""Time per token as a floor plus overheads, over many runs at once: the fit, its covariance, and predictions from it.

log T = log(fixed + sum_k amount_k exp(Z_k theta)), with a normal prior on every element of theta. Fitted is the most
probable theta under residuals that are normal near zero and exponential far out (pseudo-Huber), so a row that is wrong does
not drag the others along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from .effects import Effect, prior_of
from .machines import anatomy, effects_of
from .machines.term import TERMS, Effects
from .runs import Runs

_MAX_STEPS = 80
_TOLERANCE = 1e-6
_DAMPING_LIMIT = 1e9


@dataclass(frozen=True)
class Pattern:
    """The effects that act under one condition, and how.

    Attributes:
        effects: in order of appearance.
        coefficients: of each effect in each term.
    """

    effects: tuple[Effect, ...]
    coefficients: Float[np.ndarray, "terms effects"]


@dataclass(frozen=True)
class Design:
    """Runs as arrays.

    Attributes:
        fixed_us: per run.
        amount_us: per term and run, 0 where a run has no such term.
        pattern: which of the patterns, of each run.
        patterns: those that occur.
    """

    fixed_us: Float[np.ndarray, "runs"]
    amount_us: Float[np.ndarray, "terms runs"]
    pattern: Int[np.ndarray, "runs"]
    patterns: tuple[Pattern, ...]

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """Every effect, once."""
        return tuple(dict.fromkeys(effect for pattern in self.patterns for effect in pattern.effects))

    @cached_property
    def coefficients(self) -> Float[np.ndarray, "runs terms effects"]:
        """Of each effect in each term of each run: for a fit to some hundred runs, not for a grid."""
        places = {effect: place for place, effect in enumerate(self.effects)}
        dense = np.zeros((len(self.patterns), len(TERMS), len(places)))
        for p, one in enumerate(self.patterns):
            dense[p][:, [places[effect] for effect in one.effects]] = one.coefficients
        return dense[self.pattern]

    def rows(self, chosen: Int[np.ndarray, "chosen"]) -> Rows:
        """Some of the runs, for a fit."""
        return Rows(self.effects, self.fixed_us[chosen], self.amount_us[:, chosen].T, self.coefficients[chosen])

    def all(self) -> Rows:
        """All of them."""
        return self.rows(np.arange(len(self.fixed_us)))


@dataclass(frozen=True)
class Rows:
    """Runs as a fit wants them: every effect of all of them in one array."""

    effects: tuple[Effect, ...]
    fixed_us: Float[np.ndarray, "runs"]
    amount_us: Float[np.ndarray, "runs terms"]
    coefficients: Float[np.ndarray, "runs terms effects"]


@dataclass(frozen=True)
class Fit:
    """What the evidence says of the parameters; those it says nothing of keep their priors.

    Attributes:
        effects: the parameters.
        mean: most probable values.
        covariance: Laplace's, the inverse of the curvature there.
    """

    effects: tuple[Effect, ...]
    mean: Float[np.ndarray, "effects"]
    covariance: Float[np.ndarray, "effects effects"]

    @cached_property
    def places(self) -> Mapping[Effect, int]:
        """Where each parameter stands."""
        return {effect: place for place, effect in enumerate(self.effects)}

    def belief(self, effects: Sequence[Effect]) -> tuple[Float[np.ndarray, "some"], Float[np.ndarray, "some some"]]:
        """Mean and covariance of some parameters; of one that the fit has not, its prior."""
        # A grid of many thousand runs asks for the same few dozen sets again and again.
        chosen = tuple(effects)
        if chosen not in self._beliefs:
            self._beliefs[chosen] = self._belief(chosen)
        return self._beliefs[chosen]

    @cached_property
    def _beliefs(self) -> dict[tuple[Effect, ...], tuple[np.ndarray, np.ndarray]]:
        return {}

    def _belief(self, effects: Sequence[Effect]) -> tuple[np.ndarray, np.ndarray]:
        known = np.array([effect in self.places for effect in effects], dtype=bool)
        place = np.array([self.places.get(effect, 0) for effect in effects], dtype=np.int64)
        unseen = prior([effect for effect, is_known in zip(effects, known, strict=True) if not is_known])
        mean = self.mean[place]
        covariance = self.covariance[np.ix_(place, place)] * (known[:, None] & known)
        mean[~known] = unseen.mean
        covariance[np.ix_(~known, ~known)] = unseen.covariance
        return mean, covariance


@dataclass(frozen=True)
class Times:
    """Predicted times per token.

    Attributes:
        time_us: most probable.
        parts_us: by term, without the fixed part.
        log_variance: of the logarithm, from the parameters' doubt alone.
    """

    time_us: Float[np.ndarray, "runs"]
    parts_us: Float[np.ndarray, "terms runs"]
    log_variance: Float[np.ndarray, "runs"]


def design(runs: Runs) -> Design:
    """The runs' design."""
    found = anatomy(runs)
    return Design(found.fixed_us, found.amount_us, found.condition, tuple(_pattern(effects_of(at)) for at in found.conditions))


def _pattern(terms: Mapping[str, Effects]) -> Pattern:
    effects = tuple(dict.fromkeys(effect for one in terms.values() for effect in one))
    coefficients = np.zeros((len(TERMS), len(effects)))
    for term, one in terms.items():
        coefficients[TERMS.index(term)] = [one.get(effect, 0.0) for effect in effects]
    return Pattern(effects, coefficients)


def prior(effects: Sequence[Effect]) -> Fit:
    """What is believed without evidence."""
    priors = [prior_of(effect) for effect in effects]
    return Fit(tuple(effects), np.array([p.mean for p in priors]), np.diag([p.sd**2 for p in priors]))


def fit(given: Rows, time_us: Float[np.ndarray, "runs"], noise: Float[np.ndarray, "runs"]) -> Fit:
    """The most probable parameters, by damped Gauss-Newton steps, and their covariance.

    Args:
        given: the runs.
        time_us: published time per token.
        noise: scale of each run's residual in log time, where normal turns to exponential.
    """
    before = prior(given.effects)
    precision = 1 / np.diag(before.covariance)
    target = np.log(time_us)

    def residuals(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        parts = _parts(given, mean)
        scaled = (np.log(given.fixed_us + parts.sum(1)) - target) / noise
        cost = np.sum(2 * (np.sqrt(1 + scaled**2) - 1)) + np.sum((mean - before.mean) ** 2 * precision)
        return parts, scaled, float(cost)

    mean, damping = before.mean.copy(), 1e-3
    parts, scaled, cost = residuals(mean)
    for _ in range(_MAX_STEPS):
        slopes = _slopes(given, parts) / noise[:, None]
        # The weight of iteratively reweighted least squares for the pseudo-Huber loss.
        weight = 1 / np.sqrt(1 + scaled**2)
        curvature = (slopes * weight[:, None]).T @ slopes + np.diag(precision)
        gradient = slopes.T @ (weight * scaled) + (mean - before.mean) * precision
        while True:
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), -gradient)
            tried = residuals(mean + step)
            if tried[2] <= cost or damping > _DAMPING_LIMIT:
                break
            damping *= 4
        if tried[2] > cost:
            break
        gain, mean, damping = cost - tried[2], mean + step, max(damping / 5, 1e-9)
        parts, scaled, cost = tried
        if gain < _TOLERANCE * max(cost, 1.0):
            break
    return Fit(given.effects, mean, _covariance(given, parts, scaled, noise, precision))


def at(given: Rows, mean: Float[np.ndarray, "effects"], time_us: np.ndarray, noise: np.ndarray) -> Fit:
    """A fit whose most probable parameters are known already: only its covariance is computed."""
    parts = _parts(given, mean)
    scaled = (np.log(given.fixed_us + parts.sum(1)) - np.log(time_us)) / noise
    precision = 1 / np.diag(prior(given.effects).covariance)
    return Fit(given.effects, mean, _covariance(given, parts, scaled, noise, precision))


def predict(given: Design, fitted: Fit) -> Times:
    """Times of any runs; an effect that the fit has not keeps its prior.

    Term by term and pattern by pattern, so that what is said of a run does not hang on the runs beside it.
    """
    shape = len(given.patterns), len(TERMS)
    scale, spread = np.zeros(shape), np.zeros((*shape, len(TERMS)))
    for p, one in enumerate(given.patterns):
        mean, covariance = fitted.belief(one.effects)
        scale[p] = _scale(one.coefficients @ mean)
        spread[p] = one.coefficients @ covariance @ one.coefficients.T
    terms = [k for k in range(len(TERMS)) if given.amount_us[k].any()]
    parts = np.zeros_like(given.amount_us)
    time_us = given.fixed_us.copy()
    for k in terms:
        parts[k] = given.amount_us[k] * scale[given.pattern, k]
        time_us += parts[k]
    log_variance = np.zeros_like(time_us)
    for k in terms:
        for other in terms:
            log_variance += (parts[k] / time_us) * (parts[other] / time_us) * spread[given.pattern, k, other]
    return Times(time_us, parts, log_variance)


def doubt(given: Design, fitted: Fit, times: Times, run: int) -> Mapping[Effect, float]:
    """What each parameter adds to the variance of one run, its covariances with the others shared half and half."""
    one = given.patterns[given.pattern[run]]
    slopes = (times.parts_us[:, run] / times.time_us[run]) @ one.coefficients
    _, covariance = fitted.belief(one.effects)
    return dict(zip(one.effects, (slopes @ covariance) * slopes, strict=True))


def _scale(exponent: np.ndarray) -> np.ndarray:
    # No overhead is e^20 of its typical size: a wild step must not overflow.
    return np.exp(np.clip(exponent, -20, 20))


def _parts(given: Rows, mean: np.ndarray) -> Float[np.ndarray, "runs terms"]:
    return given.amount_us * _scale(given.coefficients @ mean)


def _slopes(given: Rows, parts: np.ndarray) -> Float[np.ndarray, "runs effects"]:
    """How log T changes with each parameter."""
    share = parts / (given.fixed_us + parts.sum(1))[:, None]
    return np.einsum("ik,ikp->ip", share, given.coefficients)


def _covariance(given: Rows, parts: np.ndarray, scaled: np.ndarray, noise: np.ndarray, precision: np.ndarray) -> np.ndarray:
    slopes = _slopes(given, parts) / noise[:, None]
    weight = 1 / np.sqrt(1 + scaled**2)
    return np.linalg.inv((slopes * weight[:, None]).T @ slopes + np.diag(precision))
