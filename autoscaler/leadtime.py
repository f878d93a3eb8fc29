"""How long a launch takes from request to serving, learned from what became of launches: a pure fold.

`learn(state, moment)` takes the journal's times of stages one by one; `lead_time`, `remaining_s`, `success_ratio`,
`stage_medians` and `drift` ask the result. Attempts that still run or were cancelled are right-censored: it is known
that they took longer (Kaplan and Meier 1958, here with weights); without them slow starts vanish from the sample.
A shortage is no lead time and only counts against P(success).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from autoscaler.survival import Timed, quantile, remaining, remaining_at
from autoscaler.types import LeadTime, Purchase

Step = Literal[
    "requested", "accepted", "running", "registered", "image_ready", "weights_loaded", "healthy", "routed",
    "cancelled", "failed", "shortage",
]  # fmt: skip
STEPS: tuple[Step, ...] = (
    "requested", "accepted", "running", "registered", "image_ready", "weights_loaded", "healthy", "routed",
)  # fmt: skip
"""The stages of a launch that works out, in order."""

PRIOR_MEDIAN_S = {"cold": 360.0, "warm": 80.0}
"""Request to serving: published cold starts of GPU nodes with engine (p50 360 s, p95 840 s); an 8B model on a warm
node with all caches took 82 s (tensorfuse, September 2025)."""

PRIOR_SIGMA = 0.515
"""Of the logarithm: what leads from a median of 360 s to a p95 of 840 s."""

PRIOR_WEIGHT = 5.0
PRIOR_POINTS = 25
ENOUGH = 20.0
HALF_LIFE_S = 14 * 86400.0
WEEK_S = 7 * 86400.0
DRIFT_RATIO = 0.25
DRIFT_LEAST = 5
PRIOR_SUCCESS = 0.9
ARRIVALS = 32
KEPT = 128
KEPT_OFFERS = 512
MAX_S = 6 * 3600.0
"""A launch is not waited for longer; later moments of an attempt are taken for this."""


@dataclass(frozen=True, slots=True)
class OfferKey:
    """What launches are told apart by. start: `cold` = a new machine, `warm` = one that was stopped or has caches."""

    provider: str
    type: str
    zone: str = ""
    purchase: Purchase = "on_demand"
    start: Literal["cold", "warm"] = "cold"
    model: str = ""

    def wider(self) -> Iterable[tuple[str, ...]]:
        """From itself to `start` alone: without zone, then purchase option, model, type, provider."""
        full = (self.provider, self.type, self.model, self.purchase, self.zone)
        for left in range(len(full), -1, -1):
            yield (self.start, *full[:left])


@dataclass(frozen=True, slots=True)
class Moment:
    """A step that one attempt reached."""

    attempt: str
    offer: OfferKey
    step: Step
    at: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One launch: when it reached which step. at: of its latest step."""

    offer: OfferKey
    steps: Mapping[Step, float] = field(default_factory=dict)

    @property
    def requested_at(self) -> float:
        """The time of the request, or of the earliest step if that was not seen."""
        return self.steps.get("requested", min(self.steps.values()))

    @property
    def ended_at(self) -> float | None:
        """When it began to serve or was given up; None while it runs."""
        times = (self.steps[s] for s in ("routed", "cancelled", "failed", "shortage") if s in self.steps)
        return min(times, default=None)

    @property
    def served(self) -> bool:
        """It came to serve."""
        return "routed" in self.steps and self.ended_at == self.steps["routed"]

    def timed(self, now: float) -> Timed | None:
        """Its lead time or how long it has taken without serving, as of `now`; None for a shortage."""
        if "shortage" in self.steps:
            return None
        ended = self.ended_at
        took = (now if ended is None else ended) - self.requested_at
        # One whose end nobody ever told fades like the others, from when it was no longer waited for.
        age = max(0.0, now - (self.requested_at + MAX_S if ended is None else ended))
        return Timed(min(MAX_S, max(0.0, took)), self.served and took <= MAX_S, 0.5 ** (age / HALF_LIFE_S))


@dataclass(frozen=True, slots=True)
class LeadTimes:
    """What was learned: the newest 128 attempts of each of 512 offers, oldest first."""

    attempts: Mapping[OfferKey, Mapping[str, Attempt]] = field(default_factory=dict)
    taken: int = 0


def learn(state: LeadTimes, moment: Moment) -> LeadTimes:
    """The state with one more step of an attempt. The first time of a step counts; broken times change nothing."""
    if not math.isfinite(moment.at):
        return state
    mine = dict(state.attempts.get(moment.offer, {}))
    attempt = mine.pop(moment.attempt, Attempt(moment.offer))
    if moment.step in attempt.steps:
        return state
    mine[moment.attempt] = replace(attempt, steps={**attempt.steps, moment.step: moment.at})
    while len(mine) > KEPT:
        del mine[next(iter(mine))]
    offers = {key: some for key, some in state.attempts.items() if key != moment.offer} | {moment.offer: mine}
    while len(offers) > KEPT_OFFERS:
        del offers[next(iter(offers))]
    return LeadTimes(offers, state.taken + 1)


def lead_time(state: LeadTimes, offer: OfferKey, now: float, median_s: float | None = None) -> LeadTime:
    """p50 and p90 of request to serving, and arrivals by age. median_s: what the offer declares, in place of the
    prior's median.

    Attempts of the narrowest level with 20 of them (faded, half-life 14 d) and a prior that weighs 5. The version says
    which level: `prior`, `learned:aws/p4d.24xlarge/llama:37`.
    """
    timed, version = _evidence(state, offer, now, median_s)
    return LeadTime(quantile(timed, 0.5), quantile(timed, 0.9), version, _arrivals(timed))


def lead_time_s(state: LeadTimes, offer: OfferKey, now: float, share: float, median_s: float | None = None) -> float:
    """Any quantile of request to serving; p99 is when to give up."""
    return quantile(_evidence(state, offer, now, median_s)[0], share)


def remaining_s(
    state: LeadTimes, offer: OfferKey, now: float, age_s: float, share: float = 0.9, median_s: float | None = None
) -> float:
    """What a pending launch that is `age_s` old still needs: a quantile of those that took longer than it has.

    Infinite when nothing that was ever seen took so long: it should no longer be counted on.
    """
    return remaining(_evidence(state, offer, now, median_s)[0], age_s, share)


def success_ratio(state: LeadTimes, offer: OfferKey, now: float) -> float:
    """P(a launch of this offer comes to serve), the model aside; 0.9 with a weight of 5 before anything was seen."""
    good, bad = PRIOR_SUCCESS * PRIOR_WEIGHT, (1 - PRIOR_SUCCESS) * PRIOR_WEIGHT
    for key, some in state.attempts.items():
        if replace(key, model="") != replace(offer, model=""):
            continue
        for attempt in some.values():
            ended = attempt.ended_at
            if ended is None or (not attempt.served and "cancelled" in attempt.steps):
                continue
            weight = 0.5 ** (max(0.0, now - ended) / HALF_LIFE_S)
            good, bad = (good + weight, bad) if attempt.served else (good, bad + weight)
    return good / (good + bad)


def stage_medians(state: LeadTimes, offer: OfferKey) -> dict[str, float]:
    """Median seconds from each step to the next that was seen, of attempts that came to serve: where the time goes."""
    gaps: dict[str, list[float]] = {}
    for attempt in state.attempts.get(offer, {}).values():
        seen = [s for s in STEPS if s in attempt.steps]
        if not attempt.served:
            continue
        for before, after in pairwise(seen):
            gaps.setdefault(f"{before} to {after}", []).append(attempt.steps[after] - attempt.steps[before])
    return {name: float(np.median(some)) for name, some in gaps.items()}


def drift(state: LeadTimes, offer: OfferKey, now: float) -> float | None:
    """p90 of launches requested within the last week over that of earlier ones, minus 1; alert above 0.25.

    None with fewer than 5 attempts that served on either side. The prior has no part in it.
    """
    recent: list[Timed] = []
    earlier: list[Timed] = []
    for attempt in state.attempts.get(offer, {}).values():
        timed = attempt.timed(now)
        if timed is not None:
            (recent if now - attempt.requested_at <= WEEK_S else earlier).append(replace(timed, weight=1.0))
    if min(sum(t.served for t in recent), sum(t.served for t in earlier)) < DRIFT_LEAST:
        return None
    return quantile(recent, 0.9) / max(quantile(earlier, 0.9), 1e-9) - 1


def drifted(state: LeadTimes, offer: OfferKey, now: float) -> bool:
    """The p90 of an offer moved by more than 25 % in a week: worth an alert."""
    moved = drift(state, offer, now)
    return moved is not None and abs(moved) > DRIFT_RATIO


def _evidence(state: LeadTimes, offer: OfferKey, now: float, median_s: float | None) -> tuple[tuple[Timed, ...], str]:
    """Attempts of the narrowest level that has enough, with the prior's, and the name of the level."""
    prior = _prior(median_s or PRIOR_MEDIAN_S[offer.start])
    for level in offer.wider():
        of_level = (
            attempt.timed(now)
            for key, some in state.attempts.items()
            if next(iter(key.wider()))[: len(level)] == level
            for attempt in some.values()
        )
        timed = tuple(t for t in of_level if t is not None)
        served = sum(t.weight for t in timed if t.served)
        if served >= ENOUGH:
            return timed + prior, f"learned:{'/'.join(filter(None, level[1:])) or 'all'}:{served:.0f}"
    # Too few at every level: those of the offer itself still count beside the prior.
    own = (attempt.timed(now) for attempt in state.attempts.get(offer, {}).values())
    few = tuple(t for t in own if t is not None)
    return few + prior, f"prior:{len(few)}" if few else "prior"


def _arrivals(timed: tuple[Timed, ...]) -> tuple[tuple[float, float], ...]:
    """(age, seconds from the request by which 90 % of those serve that did not at that age), at most 32 rows.

    The last row is infinite: nothing that was ever seen took longer than its age.
    """
    ages = [0.0, *sorted({t.seconds for t in timed if t.served and t.seconds > 0})]
    if len(ages) > ARRIVALS:
        kept = np.linspace(0, len(ages) - 1, ARRIVALS).round().astype(int)
        ages = [ages[k] for k in kept]
    rows: list[tuple[float, float]] = []
    for age, left in zip(ages, remaining_at(timed, ages, 0.9), strict=True):
        total = age + left
        if not rows or total > rows[-1][1]:
            rows.append((age, total))
    return tuple(rows)


def _prior(median_s: float) -> tuple[Timed, ...]:
    """A log-normal distribution as 25 attempts that weigh 5 together, at its middle quantiles 2 % to 98 %."""
    shares = (np.arange(PRIOR_POINTS) + 0.5) / PRIOR_POINTS
    times = median_s * np.exp(PRIOR_SIGMA * _normal_quantiles(tuple(shares.tolist())))
    return tuple(Timed(float(t), True, PRIOR_WEIGHT / PRIOR_POINTS) for t in times)


def _normal_quantiles(shares: tuple[float, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf(share) for share in shares])
