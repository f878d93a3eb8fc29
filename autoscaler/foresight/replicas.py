"""What each replica did between two looks at its counters: what capacity is learned from. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autoscaler.capacity import Observation, Point
from autoscaler.store.aggregate import histogram_quantile

ITL = "time_per_output_token_seconds"
ITL_OF_REQUESTS = "request_time_per_output_token_seconds"
LATENCY = "e2e_request_latency_seconds"
GENERATED, PROMPTS, HITS = "generation_tokens_total", "prompt_tokens_total", "prefix_cache_hits_total"
FINISHED, ANSWERS = "request_success_total", "request_generation_tokens_count"
RUNNING, KV_USED, KV_ROOM = "requests_running", "kv_cache_used_ratio", "kv_cache_capacity_tokens"
HIT_RATIO = "prefix_cache_hit_ratio"

TOKENS = (
    *(f"{name}_{part}" for name in (ITL, ITL_OF_REQUESTS) for part in ("sum", "count")),
    *(GENERATED, PROMPTS, HITS, FINISHED, ANSWERS, RUNNING, KV_USED, KV_ROOM, HIT_RATIO),
)
ANSWERED = (f"{LATENCY}_bucket", f"{LATENCY}_count")

LEAST_S = 5.0
MOST_S = 120.0
"""Over a longer interval the mean of a gauge is not known from its two ends."""

Totals = Mapping[str, Mapping[tuple[str, str], tuple[float, float]]]
"""Metric -> (instance, bucket) -> newest value and its time, as the store gives it."""


@dataclass(frozen=True, slots=True)
class _Between:
    """One instance in two looks."""

    instance: str
    before: Totals
    after: Totals

    def now(self, metric: str) -> float | None:
        found = self.after.get(metric, {}).get((self.instance, ""))
        return None if found is None else found[0]

    def mean(self, metric: str) -> float | None:
        ends = [looked.get(metric, {}).get((self.instance, "")) for looked in (self.before, self.after)]
        known = [end[0] for end in ends if end is not None]
        return sum(known) / len(known) if known else None

    def grown(self, metric: str, bucket: str = "") -> float | None:
        """How much a counter grew; None when it is not in both looks or began anew."""
        place = (self.instance, bucket)
        first, last = self.before.get(metric, {}).get(place), self.after.get(metric, {}).get(place)
        if first is None or last is None or last[0] < first[0]:
            return None
        return last[0] - first[0]

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Time of the second look and seconds since the first, if a mean over them says something."""
        place = (self.instance, "")
        first, last = self.before.get(metric, {}).get(place), self.after.get(metric, {}).get(place)
        if first is None or last is None or not LEAST_S <= last[1] - first[1] <= MOST_S:
            return None
        return last[1], last[1] - first[1]


def observations(before: Totals, after: Totals) -> dict[str, Observation]:
    """By instance, of engines that generate tokens. Those whose counters began anew or tell too little are left out."""
    found = {}
    for instance, _ in sorted(after.get(GENERATED, {})):
        seen = _observation(_Between(instance, before, after))
        if seen is not None:
            found[instance] = seen
    return found


def _observation(b: _Between) -> Observation | None:
    when, generated, prompts = b.interval(GENERATED), b.grown(GENERATED), b.grown(PROMPTS)
    finished = b.grown(FINISHED)
    finished = b.grown(ANSWERS) if finished is None else finished
    running, itl_s = b.mean(RUNNING), _mean_of(b, ITL) or _mean_of(b, ITL_OF_REQUESTS)
    if when is None or generated is None or prompts is None or finished is None or running is None or itl_s is None:
        return None
    hits = b.grown(HITS)
    cached = min(prompts, hits if hits is not None else (b.mean(HIT_RATIO) or 0.0) * prompts)
    used, room = b.mean(KV_USED), b.now(KV_ROOM)
    return Observation(
        at=when[0],
        interval_s=when[1],
        running=running,
        prompt_tokens=prompts - cached,
        generated_tokens=generated,
        finished=finished,
        itl_s=itl_s,
        cached_prompt_tokens=cached,
        kv_tokens=used * room if used is not None and room is not None else None,
    )


def _mean_of(b: _Between, histogram: str) -> float | None:
    """The mean of what a histogram counted; sum over count is exact, whatever the buckets are."""
    total, count = b.grown(f"{histogram}_sum"), b.grown(f"{histogram}_count")
    return total / count if total is not None and count else None


def points(before: Totals, after: Totals) -> dict[str, Point]:
    """By instance, of engines that answer without tokens: requests/s that ended, and the p95 of their latency."""
    bounds: dict[str, list[str]] = {}
    for instance, bound in after.get(f"{LATENCY}_bucket", {}):
        bounds.setdefault(instance, []).append(bound)
    found = {}
    for instance, given in sorted(bounds.items()):
        b, edges = _Between(instance, before, after), sorted(given, key=_edge)
        when, count = b.interval(f"{LATENCY}_count"), b.grown(f"{LATENCY}_count")
        grown = [b.grown(f"{LATENCY}_bucket", edge) for edge in edges]
        if when is None or not count or any(g is None for g in grown):
            continue
        _, _, upper = histogram_quantile(0.95, np.array([_edge(e) for e in edges]), np.array(grown, dtype=np.float64))
        # The upper end of its bucket: a latency may not be taken for better than it may be.
        if math.isfinite(upper):
            found[instance] = Point(when[0], count / when[1], upper)
    return found


def _edge(bound: str) -> float:
    try:
        return float(bound)
    except ValueError:
        return math.inf
