"""Time per token as a floor plus overheads, over many runs at once: the fit, its covariance, and predictions from it.

log T = log(fixed + sum_k amount_k exp(Z_k theta)), with a normal prior on every element of theta. Fitted is the most
probable theta under residuals that are normal near zero and exponential far out (pseudo-Huber), so a row that is wrong does
not drag the others along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .effects import Effect, prior_of
from .machines import fixed_us, terms_of
from .situation import Situation

_MAX_STEPS = 80
_TOLERANCE = 1e-6
_DAMPING_LIMIT = 1e9


@dataclass(frozen=True)
class Design:
    """Runs as arrays.

    Attributes:
        effects: the parameters, in the order of the last axis.
        fixed_us: per run.
        amount_us: per run and term, 0 where a run has fewer terms.
        coefficients: of each effect in each term.
    """

    effects: tuple[Effect, ...]
    fixed_us: Float[np.ndarray, "runs"]
    amount_us: Float[np.ndarray, "runs terms"]
    coefficients: Float[np.ndarray, "runs terms effects"]

    def rows(self, chosen: Int[np.ndarray, "chosen"]) -> Design:
        """The design of some of the runs."""
        return Design(self.effects, self.fixed_us[chosen], self.amount_us[chosen], self.coefficients[chosen])


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


@dataclass(frozen=True)
class Times:
    """Predicted times per token.

    Attributes:
        time_us: most probable.
        parts_us: by term, without the fixed part.
        log_variance: of the logarithm, from the parameters' doubt alone.
        doubt: what each parameter adds to that, its covariances with the others shared half and half.
    """

    time_us: Float[np.ndarray, "runs"]
    parts_us: Float[np.ndarray, "runs terms"]
    log_variance: Float[np.ndarray, "runs"]
    doubt: Float[np.ndarray, "runs effects"]


def design(runs: Sequence[Situation], known: Sequence[Effect] = ()) -> Design:
    """The runs' design, with `known` effects first and any new ones behind them."""
    anatomies = [terms_of(run) for run in runs]
    places = {effect: place for place, effect in enumerate(known)}
    for terms in anatomies:
        for term in terms:
            for effect in term.effects:
                places.setdefault(effect, len(places))
    width = max((len(terms) for terms in anatomies), default=0)
    amount = np.zeros((len(runs), width))
    coefficients = np.zeros((len(runs), width, len(places)))
    for i, terms in enumerate(anatomies):
        for k, term in enumerate(terms):
            amount[i, k] = term.amount_us
            for effect, coefficient in term.effects.items():
                coefficients[i, k, places[effect]] = coefficient
    return Design(tuple(places), np.array([fixed_us(run) for run in runs]), amount, coefficients)


def prior(effects: Sequence[Effect]) -> Fit:
    """What is believed without evidence."""
    priors = [prior_of(effect) for effect in effects]
    return Fit(tuple(effects), np.array([p.mean for p in priors]), np.diag([p.sd**2 for p in priors]))


def fit(given: Design, time_us: Float[np.ndarray, "runs"], noise: Float[np.ndarray, "runs"]) -> Fit:
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


def at(given: Design, mean: Float[np.ndarray, "effects"], time_us: np.ndarray, noise: np.ndarray) -> Fit:
    """A fit whose most probable parameters are known already: only its covariance is computed."""
    parts = _parts(given, mean)
    scaled = (np.log(given.fixed_us + parts.sum(1)) - np.log(time_us)) / noise
    precision = 1 / np.diag(prior(given.effects).covariance)
    return Fit(given.effects, mean, _covariance(given, parts, scaled, noise, precision))


def predict(given: Design, fitted: Fit) -> Times:
    """Times of runs whose design starts with the fit's effects; what it has beyond them keeps its prior."""
    known, total = len(fitted.effects), len(given.effects)
    if given.effects[:known] != fitted.effects:
        raise ValueError("the design must start with the effects of the fit")
    unseen = prior(given.effects[known:])
    mean = np.concatenate([fitted.mean, unseen.mean])
    covariance = np.zeros((total, total))
    covariance[:known, :known] = fitted.covariance
    covariance[known:, known:] = unseen.covariance.reshape(total - known, total - known)
    parts = _parts(given, mean)
    slopes = _slopes(given, parts)
    doubt = (slopes @ covariance) * slopes
    return Times(given.fixed_us + parts.sum(1), parts, doubt.sum(1), doubt)


def _parts(given: Design, mean: np.ndarray) -> Float[np.ndarray, "runs terms"]:
    # No overhead is e^20 of its typical size: a wild step must not overflow.
    return given.amount_us * np.exp(np.clip(given.coefficients @ mean, -20, 20))


def _slopes(given: Design, parts: np.ndarray) -> Float[np.ndarray, "runs effects"]:
    """How log T changes with each parameter."""
    share = parts / (given.fixed_us + parts.sum(1))[:, None]
    return np.einsum("ik,ikp->ip", share, given.coefficients)


def _covariance(given: Design, parts: np.ndarray, scaled: np.ndarray, noise: np.ndarray, precision: np.ndarray) -> np.ndarray:
    slopes = _slopes(given, parts) / noise[:, None]
    weight = 1 / np.sqrt(1 + scaled**2)
    return np.linalg.inv((slopes * weight[:, None]).T @ slopes + np.diag(precision))
