"""Fits the terms of one op over many kernels at once, with the parameters' covariance; and predicts from a fit.

All calls of one kernel (chip, engine, format) share their terms, so the curvature is summed per kernel over a handful of
terms, and only then spread over the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..effects import Effect, Prior
from .effects import Kernel, effects_of, prior_of
from .physics import TERMS, TIMES, Terms

_HUBER = 0.08
"""Log residual where normal turns to exponential: repeated runs of one kernel differ by a few per cent."""

_WORTH = 60.0
"""Rows of one kernel err together, wherever the library picks another tile: more rows than these say nothing more."""

_STEP = 1e-4
_MAX_STEPS = 60
_TOLERANCE = 1e-6
_DAMPING_LIMIT = 1e9
_LARGEST_STEP = 1.0


@dataclass(frozen=True)
class Form:
    """How times follow from terms, and what is believed of the parameters behind them.

    Attributes:
        terms: op -> its terms.
        times: op -> microseconds of calls, from terms, work and chips.
        effects_of: the effects that an op's term is the sum of, for a kernel.
        prior_of: what is believed of an op's effect before any evidence.
    """

    terms: Mapping[str, Iterable[str]]
    times: Mapping[str, Callable[[Terms, Any, Any], np.ndarray]]
    effects_of: Callable[[str, str, Kernel], tuple[Effect, ...]]
    prior_of: Callable[[str, Effect], Prior]


ENGINES = Form(TERMS, TIMES, effects_of, prior_of)
"""Kernels of inference engines on GPUs."""


@dataclass(frozen=True)
class Calls:
    """Calls of one op, and the kernel that each is a call of; `work` and `chips` are what the form takes."""

    op: str
    work: Any
    chips: Any
    kernels: tuple[Kernel, ...]
    place: Int[np.ndarray, "calls"]
    form: Form = ENGINES

    def __getitem__(self, chosen: np.ndarray) -> Calls:
        """Some of the calls."""
        used, place = np.unique(self.place[chosen], return_inverse=True)
        kernels = tuple(self.kernels[one] for one in used)
        return Calls(self.op, self.work[chosen], self.chips[chosen], kernels, place, self.form)

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms of the op, in a fixed order."""
        return tuple(self.form.terms[self.op])


@dataclass(frozen=True)
class Fit:
    """What the evidence says of an op's parameters.

    Attributes:
        op: that was fitted.
        effects: the parameters.
        mean: most probable values.
        covariance: Laplace's, the inverse of the curvature there.
    """

    op: str
    effects: tuple[Effect, ...]
    mean: Float[np.ndarray, "effects"]
    covariance: Float[np.ndarray, "effects effects"]


@dataclass(frozen=True)
class Times:
    """Predicted times, and the variance of their logarithm from the parameters' doubt alone."""

    time_us: Float[np.ndarray, "calls"]
    log_variance: Float[np.ndarray, "calls"]


def fit(calls: Calls, latency_us: Float[np.ndarray, "calls"], noise: Float[np.ndarray, "calls"] | float = 0.0) -> Fit:
    """The most probable parameters by damped Gauss-Newton steps, under pseudo-Huber residuals and normal priors.

    Args:
        calls: that were measured.
        latency_us: their times.
        noise: standard deviation of each log time, where single ones were measured worse than others.
    """
    effects = _effects(calls, ())
    spread = _spread(calls, effects)
    before, precision = _prior(calls, effects)
    target, weight = np.log(latency_us), _weights(calls, noise)

    def cost(mean: np.ndarray, log_us: np.ndarray) -> float:
        scaled = (log_us - target) / _HUBER
        return float(np.sum(weight * 2 * (np.sqrt(1 + scaled**2) - 1)) + np.sum((mean - before) ** 2 * precision))

    mean, damping = before.copy(), 1e-3
    log_us, slopes = _slopes(calls, spread @ mean)
    now = cost(mean, log_us)
    for _ in range(_MAX_STEPS):
        curvature, gradient = _curvature(calls, spread, slopes, log_us - target, weight)
        curvature, gradient = curvature + np.diag(precision), gradient + (mean - before) * precision
        while True:
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), -gradient)
            step = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
            tried = cost(mean + step, _log_us(calls, spread @ (mean + step)))
            if tried <= now or damping > _DAMPING_LIMIT:
                break
            damping *= 4
        if tried > now:
            break
        gain, now, mean, damping = now - tried, tried, mean + step, max(damping / 5, 1e-9)
        log_us, slopes = _slopes(calls, spread @ mean)
        if gain < _TOLERANCE * max(now, 1.0):
            break
    return at(calls, latency_us, effects, mean, noise)


def at(
    calls: Calls,
    latency_us: Float[np.ndarray, "calls"],
    effects: Sequence[Effect],
    mean: np.ndarray,
    noise: Float[np.ndarray, "calls"] | float = 0.0,
) -> Fit:
    """A fit whose most probable parameters are known already: only its covariance is computed."""
    spread = _spread(calls, effects)
    log_us, slopes = _slopes(calls, spread @ mean)
    curvature, _ = _curvature(calls, spread, slopes, log_us - np.log(latency_us), _weights(calls, noise))
    covariance = np.linalg.inv(curvature + np.diag(_prior(calls, effects)[1]))
    return Fit(calls.op, tuple(effects), mean, covariance)


def effects_in(calls: Calls) -> tuple[Effect, ...]:
    """The parameters that the calls' times hang on, in a fixed order."""
    return _effects(calls, ())


def predict(calls: Calls, fitted: Fit) -> Times:
    """Times of any calls; effects that the fit has not seen keep their priors."""
    log_us, slopes, spread, covariance = _carried(calls, fitted)
    between = spread @ covariance @ np.swapaxes(spread, 1, 2)
    return Times(np.exp(log_us), np.einsum("ct,ctu,cu->c", slopes, between[calls.place], slopes))


def total_log_variance(calls: Calls, fitted: Fit, count: Float[np.ndarray, "calls"]) -> float:
    """The variance of the logarithm of many calls' time together, from the parameters' doubt: what they share adds up.

    Args:
        calls: one after the other.
        fitted: the parameters.
        count: how often each is made.
    """
    log_us, slopes, spread, covariance = _carried(calls, fitted)
    time_us = count * np.exp(log_us)
    gradient = np.einsum("c,ct,cte->e", time_us / time_us.sum(), slopes, spread[calls.place])
    return float(gradient @ covariance @ gradient)


def _carried(calls: Calls, fitted: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Log times, their slopes by term, which effects terms are made of, and the effects' covariance with the unseen ones."""
    effects = _effects(calls, fitted.effects)
    known = len(fitted.effects)
    before, precision = _prior(calls, effects[known:])
    covariance = np.zeros((len(effects), len(effects)))
    covariance[:known, :known] = fitted.covariance
    covariance[known:, known:] = np.diag(1 / precision)
    spread = _spread(calls, effects)
    log_us, slopes = _slopes(calls, spread @ np.concatenate([fitted.mean, before]))
    return log_us, slopes, spread, covariance


def _effects(calls: Calls, known: Sequence[Effect]) -> tuple[Effect, ...]:
    found = dict.fromkeys(known)
    for term in calls.terms:
        for kernel in calls.kernels:
            found |= dict.fromkeys(calls.form.effects_of(calls.op, term, kernel))
    return tuple(found)


def _spread(calls: Calls, effects: Sequence[Effect]) -> Float[np.ndarray, "kernels terms effects"]:
    """Which effects each term of each kernel is the sum of."""
    places = {effect: place for place, effect in enumerate(effects)}
    spread = np.zeros((len(calls.kernels), len(calls.terms), len(effects)))
    for i, kernel in enumerate(calls.kernels):
        for j, term in enumerate(calls.terms):
            spread[i, j, [places[effect] for effect in calls.form.effects_of(calls.op, term, kernel)]] = 1
    return spread


def _prior(calls: Calls, effects: Sequence[Effect]) -> tuple[np.ndarray, np.ndarray]:
    priors = [calls.form.prior_of(calls.op, effect) for effect in effects]
    return np.array([one.mean for one in priors]), np.array([one.sd**-2.0 for one in priors])


def _weights(calls: Calls, noise: Float[np.ndarray, "calls"] | float) -> Float[np.ndarray, "calls"]:
    rows = np.bincount(calls.place, minlength=len(calls.kernels))
    return (np.minimum(1.0, _WORTH / np.maximum(rows, 1)))[calls.place] * _HUBER**2 / (_HUBER**2 + np.square(noise))


def _log_us(calls: Calls, log_terms: Float[np.ndarray, "kernels terms"]) -> Float[np.ndarray, "calls"]:
    values = np.exp(log_terms)[calls.place]
    terms = {name: values[:, place] for place, name in enumerate(calls.terms)}
    return np.log(calls.form.times[calls.op](terms, calls.work, calls.chips))


def _slopes(calls: Calls, log_terms: np.ndarray) -> tuple[Float[np.ndarray, "calls"], Float[np.ndarray, "calls terms"]]:
    """Log times, and how they change with the logarithm of each term."""
    log_us = _log_us(calls, log_terms)
    shifts = np.eye(log_terms.shape[1]) * _STEP
    return log_us, np.stack([(_log_us(calls, log_terms + shift) - log_us) / _STEP for shift in shifts], axis=1)


def _curvature(
    calls: Calls, spread: np.ndarray, slopes: np.ndarray, residual: np.ndarray, weight: np.ndarray
) -> tuple[Float[np.ndarray, "effects effects"], Float[np.ndarray, "effects"]]:
    """Of the cost's data part, by the weights of iteratively reweighted least squares; and half its gradient."""
    strength = weight / np.sqrt(1 + (residual / _HUBER) ** 2) / _HUBER**2
    count, width = spread.shape[:2]
    inner, pull = np.zeros((count, width, width)), np.zeros((count, width))
    for kernel in range(count):
        mine = calls.place == kernel
        weighted = slopes[mine] * strength[mine, None]
        inner[kernel], pull[kernel] = weighted.T @ slopes[mine], weighted.T @ residual[mine]
    flat = spread.reshape(count * width, -1)
    return flat.T @ (inner @ spread).reshape(count * width, -1), flat.T @ pull.ravel()
