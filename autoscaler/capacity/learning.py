"""Learning what a replica serves from what its engine says every few seconds: a pure fold with bounded memory.

`learn(state, observation)` keeps at most 64 samples in 16 buckets of load and retires the oldest of the fullest, so
that a steady load does not erase what was seen at another. A sample whose normalised innovation squared is above 7.378
teaches nothing; a CUSUM over the innovations tells the lone outlier from a change (an engine upgrade, throttling), upon
which everything older is forgotten and the belief is wide again.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from autoscaler.capacity.estimate import Belief, Sample, belief, posterior
from autoscaler.capacity.prior import Prior
from autoscaler.capacity.replica import Limits, Objective, Workload, highest_rates
from autoscaler.types import Capacity, FloatArray

KEPT = 64
BUCKETS = 16
SUSPECTS = 16
GATE = 7.378
"""97.5 % quantile of chi-squared with 2 degrees of freedom, the rejection rule of common EKF tuners."""

COLD = 5
"""Samples below which nothing is judged an outlier: the prior alone proves no sample wrong."""

CUSUM_SLACK, CUSUM_LIMIT, CUSUM_CLIP = 0.5, 10.0, 4.0
"""Page's CUSUM in standard deviations: the slack suits a shift of one; clipped at 4, three samples in a row are needed;
a Gaussian without a shift gives a false alarm in more than 10,000 samples (Siegmund's approximation)."""

HALF_LIFE_S = 86400.0
MIX_HALF_LIFE_S = 3600.0
MIX_PRIOR_REQUESTS = 50.0
LOW_QUANTILE = 0.20
"""Capacity is planned with the 20th percentile of lambda*: law 6, sizing for the tail."""

LEAST_TOKENS = 50.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What one replica said over an interval. running: mean of the gauge. prompt_tokens: computed ones, without cache
    hits. finished: requests. kv_tokens: in the cache, None = not told. itl_error_s: half of a histogram's bucket."""

    at: float
    interval_s: float
    running: float
    prompt_tokens: float
    generated_tokens: float
    finished: float
    itl_s: float
    cached_prompt_tokens: float = 0.0
    kv_tokens: float | None = None
    itl_error_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Mix:
    """What requests are like: decaying sums of requests and tokens as of `at`."""

    at: float
    requests: float
    computed: float
    cached: float
    generated: float

    def after(self, seen: Observation) -> Mix:
        """The sums with one more interval."""
        kept = 0.5 ** (max(0.0, seen.at - self.at) / MIX_HALF_LIFE_S) if self.at else 1.0
        return Mix(
            max(self.at, seen.at),
            self.requests * kept + seen.finished,
            self.computed * kept + seen.prompt_tokens,
            self.cached * kept + seen.cached_prompt_tokens,
            self.generated * kept + seen.generated_tokens,
        )

    @property
    def workload(self) -> Workload:
        """The mean request."""
        requests = max(self.requests, 1e-9)
        prompt = self.computed + self.cached
        hits = self.cached / prompt if prompt > 0 else 0.0
        return Workload(prompt / requests, max(1.0, self.generated / requests), hits)


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """All that was learned of one (model, engine version, GPU, layout, output-length bucket).

    start: the belief to return to. since_start: samples taken since then. rising, falling: the CUSUM's two sums.
    suspects: samples that were rejected while it rises, the first of a new regime if it is one.
    """

    start: Belief
    now: Belief
    mix: Mix
    limits: Limits
    source: str
    spread: tuple[float, ...]
    stages: int = 1
    samples: tuple[Sample, ...] = ()
    suspects: tuple[Sample, ...] = ()
    rising: float = 0.0
    falling: float = 0.0
    taken: int = 0
    rejected: int = 0
    drifts: int = 0
    drifted_at: float | None = None
    since_start: int = 0
    at: float = field(default=0.0)

    @property
    def drifting(self) -> bool:
        """A change was detected and too little was seen since: no reason to take capacity away."""
        return self.drifted_at is not None and self.since_start < 2 * COLD

    @property
    def version(self) -> str:
        """Names what was learned so far: `prior`, `learned:120`, `learned:131:drift1`."""
        if not self.taken:
            return "prior"
        return f"learned:{self.taken}" + (f":drift{self.drifts}" if self.drifts else "")


def begin(prior: Prior, workload: Workload, limits: Limits) -> ReplicaState:
    """The state before anything was measured. The expected workload weighs as much as 50 requests."""
    first = belief(prior.mean, prior.covariance)
    many = MIX_PRIOR_REQUESTS
    mix = Mix(
        0.0,
        many,
        many * workload.prefill_tokens,
        many * (workload.input_tokens - workload.prefill_tokens),
        many * workload.output_tokens,
    )
    relative = tuple(s / max(m, 1e-12) for s, m in zip(prior.spread, prior.mean.tolist(), strict=True))
    return ReplicaState(first, first, mix, limits, prior.source, relative, prior.replica.stages)


def learn_replica(state: ReplicaState, seen: Observation) -> ReplicaState:
    """The state after one more interval; unchanged by one that is broken, older than the last, or nearly idle."""
    if not _sound(seen) or seen.at <= state.at:
        return state
    state = replace(state, mix=state.mix.after(seen), at=seen.at)
    if seen.generated_tokens < LEAST_TOKENS or seen.running <= 0:
        return state
    sample = _sample(seen, state.mix.workload)
    shift = state.now.innovation(sample)
    judged = state.since_start >= COLD
    if judged:
        clipped = max(-CUSUM_CLIP, min(CUSUM_CLIP, shift))
        state = replace(
            state,
            rising=max(0.0, state.rising + clipped - CUSUM_SLACK),
            falling=max(0.0, state.falling - clipped - CUSUM_SLACK),
        )
        if shift * shift > GATE:
            suspects = (*state.suspects, sample)[-SUSPECTS:]
            state = replace(state, suspects=suspects, rejected=state.rejected + 1)
            return _start_anew(state) if max(state.rising, state.falling) > CUSUM_LIMIT else state
        if max(state.rising, state.falling) > CUSUM_LIMIT:
            return _start_anew(replace(state, suspects=(*state.suspects, sample)[-SUSPECTS:]))
        if state.rising == state.falling == 0.0:
            state = replace(state, suspects=())
    return _take(state, sample)


def replica_capacity(state: ReplicaState, objective: Objective, unit: str = "requests/s") -> Capacity:
    """lambda* of one replica as its 20th percentile and median; in `tokens/s`, times the mean output.

    Never negative; more for a weaker objective and for more memory, since the same draws are judged.
    """
    workload = state.mix.workload
    rates = highest_rates(state.now.draws(), workload, state.limits.batch(workload), objective, state.stages)
    each = workload.output_tokens if unit == "tokens/s" else 1.0
    low, median = (float(np.quantile(rates, q)) * each for q in (LOW_QUANTILE, 0.5))
    return Capacity(low, median, unit, state.version)


def _sound(seen: Observation) -> bool:
    amounts = (seen.prompt_tokens, seen.generated_tokens, seen.finished, seen.cached_prompt_tokens, seen.running)
    values = (seen.at, seen.interval_s, seen.itl_s, seen.itl_error_s, *amounts, seen.kv_tokens or 0.0)
    return all(math.isfinite(v) and v >= 0 for v in values) and seen.interval_s > 0 and seen.itl_s > 0


def _sample(seen: Observation, workload: Workload) -> Sample:
    """A row of the equation. An engine that idles part of the interval has a larger batch while it works.

    With Poisson arrivals and n sequences on average it works 1 - exp(-n) of the time, the share in which there is one.
    """
    busy = -math.expm1(-seen.running)
    running = seen.running / busy
    context = seen.kv_tokens / busy if seen.kv_tokens is not None else running * workload.context_tokens
    steps = seen.interval_s * busy / seen.itl_s
    return Sample(seen.at, running, context, seen.prompt_tokens / steps, seen.itl_s, seen.itl_error_s)


def _take(state: ReplicaState, sample: Sample) -> ReplicaState:
    samples = _kept((*state.samples, sample))
    now = posterior(state.start, samples, HALF_LIFE_S)
    if now is None:
        return replace(state, rejected=state.rejected + 1)
    taken, since = state.taken + 1, state.since_start + 1
    return replace(state, samples=samples, now=now, taken=taken, since_start=since)


def _kept(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """At most 64, the oldest of the fullest bucket retired."""
    if len(samples) <= KEPT:
        return samples
    full, _ = Counter(_bucket(s) for s in samples).most_common(1)[0]
    oldest = next(k for k, s in enumerate(samples) if _bucket(s) == full)
    return samples[:oldest] + samples[oldest + 1 :]


def _bucket(sample: Sample) -> int:
    """0 to 15: equal steps of the logarithm of the batch, from 1 to 1,024 sequences."""
    return min(BUCKETS - 1, int(math.log2(max(1.0, sample.running)) * BUCKETS / 10))


def _start_anew(state: ReplicaState) -> ReplicaState:
    """After a change: the last estimate, as wide as the first prior was, and the samples since the change began."""
    mean: FloatArray = np.array(state.now.mean)
    # A number that was clipped to 0 keeps the width that it had at the start.
    width = np.maximum(np.array(state.spread) * mean, 0.1 * np.sqrt(np.diag(np.array(state.start.covariance))))
    start = belief(mean, np.diag(width**2))
    fresh = state.suspects
    now = posterior(start, fresh, HALF_LIFE_S) or start
    return replace(
        state,
        start=start,
        now=now,
        samples=fresh,
        suspects=(),
        rising=0.0,
        falling=0.0,
        taken=state.taken + len(fresh),
        drifts=state.drifts + 1,
        drifted_at=state.at,
        since_start=len(fresh),
    )
