"""From samples of the time between tokens to the four numbers and how sure they are.

One sample is a row of a linear equation: a step with n running sequences that hold K tokens of context and that carries
q prompt tokens takes  ITL = alpha + beta*n + gamma*K + g1*q.  With a Gaussian prior the estimate is ridge regression
in closed form, the same as recursive least squares over the samples that are kept, without its wind-up under steady
load. Samples fade with a half-life (forgetting) and count less beyond 1.5 standard deviations (Huber 1964).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from autoscaler.types import FloatArray

NOISE_RATIO = 0.10
"""Standard deviation of a sample around the linear equation, relative: the fits leave 2 to 10 %."""

HUBER = 1.5
ROUNDS = 3
DRAWS = 512
SEED = 20260101


@dataclass(frozen=True, slots=True)
class Sample:
    """One interval of one replica: means of running sequences, their context tokens and prompt tokens a step, and the
    time between tokens. error_s: how far that may be off, such as half a histogram bucket."""

    at: float
    running: float
    context_tokens: float
    prompt_tokens: float
    itl_s: float
    error_s: float = 0.0

    @property
    def row(self) -> FloatArray:
        """(4,): what multiplies alpha, beta, gamma and g1."""
        return np.array([1.0, self.running, self.context_tokens, self.prompt_tokens])

    @property
    def noise_s(self) -> float:
        """One standard deviation of the time between tokens."""
        return float(np.hypot(NOISE_RATIO * self.itl_s, self.error_s))


@dataclass(frozen=True, slots=True)
class Belief:
    """The four numbers as a normal distribution, with tuples so that it can be compared and stored."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def innovation(self, sample: Sample) -> float:
        """How many standard deviations a new sample lies above what is believed."""
        row, covariance = sample.row, np.array(self.covariance)
        variance = sample.noise_s**2 + float(row @ covariance @ row)
        return float((sample.itl_s - row @ np.array(self.mean)) / np.sqrt(variance))

    def draws(self) -> FloatArray:
        """(512, 4) possible values, always the same for the same belief; none below a hundredth of its mean."""
        mean, covariance = np.array(self.mean), np.array(self.covariance)
        # Scaled to unit size first: alpha and gamma lie five orders apart.
        size = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        values, vectors = np.linalg.eigh(covariance / np.outer(size, size))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn = mean + (_normals() @ root.T) * size
        return np.asarray(np.maximum(drawn, 0.01 * np.maximum(mean, 0.0)), dtype=np.float64)


def belief(mean: FloatArray, covariance: FloatArray) -> Belief:
    """A belief from arrays (4,) and (4, 4)."""
    return Belief(tuple(mean.tolist()), tuple(tuple(row) for row in covariance.tolist()))


def posterior(prior: Belief, samples: Sequence[Sample], half_life_s: float) -> Belief | None:
    """What is believed after the samples; None when they ask for an alpha that is not above 0.

    A number that comes out negative where that cannot be is taken as 0 and the others are fitted again.
    """
    if not samples:
        return prior
    rows = np.array([s.row for s in samples])
    values = np.array([s.itl_s for s in samples])
    noise = np.array([s.noise_s for s in samples])
    ages = max(s.at for s in samples) - np.array([s.at for s in samples])
    faded = 0.5 ** (ages / half_life_s)
    free = [0, 1, 2, 3]
    while True:
        mean, covariance = _fit(prior, rows, values, noise, faded, free)
        if mean[0] <= 0:
            return None
        wrong = [k for k in free if mean[k] < 0]
        if not wrong:
            return belief(mean, covariance)
        free = [k for k in free if k not in wrong]


def _fit(
    prior: Belief, rows: FloatArray, values: FloatArray, noise: FloatArray, faded: FloatArray, free: list[int]
) -> tuple[FloatArray, FloatArray]:
    """(4,) and (4, 4): ridge regression of the free numbers, the others 0, with Huber's weights."""
    centre = np.array(prior.mean)[free]
    spread = np.sqrt(np.diag(np.array(prior.covariance)))[free]
    inverse = np.linalg.inv(np.array(prior.covariance)[np.ix_(free, free)] / np.outer(spread, spread))
    scaled = rows[:, free] * spread / noise[:, None]
    target = (values - rows[:, free] @ centre) / noise
    weights = faded
    for _ in range(ROUNDS):
        info = inverse + scaled.T @ (weights[:, None] * scaled)
        found = np.linalg.solve(info, scaled.T @ (weights * target))
        left = np.abs(target - scaled @ found)
        weights = faded * np.minimum(1.0, HUBER / np.maximum(left, 1e-12))
    mean, covariance = np.zeros(4), np.zeros((4, 4))
    mean[free] = centre + found * spread
    covariance[np.ix_(free, free)] = np.linalg.inv(info) * np.outer(spread, spread)
    return mean, covariance


@lru_cache(maxsize=1)
def _normals() -> FloatArray:
    """(512, 4) standard normal numbers, and their negatives, so that their mean is exactly 0."""
    half = np.random.default_rng(SEED).standard_normal((DRAWS // 2, 4))
    return np.concatenate([half, -half])
