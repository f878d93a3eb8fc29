"""The `sim` collector: what gateways, engines and GPUs of a SimCluster would export."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from autoscaler.sim import TTFT_BUCKETS_S, SimCluster
from autoscaler.types import Batch, Labels, SeriesKey

GATEWAY = ("requests_arrived_total", "requests_rejected_total", "requests_waiting")
REPLICA = ("requests_running", "requests_waiting", "gpu_busy_ratio", "gpu_sm_active_ratio", "kv_cache_used_ratio")
TTFT = "time_to_first_token_seconds"


@dataclass
class SimCollector:
    """One gateway page per pool and one page per serving machine, every `interval_s`."""

    cluster: SimCluster
    interval_s: float = 5.0
    _next: float | None = None
    _keys: dict[str, tuple[SeriesKey, ...]] = field(default_factory=dict)
    _seen: dict[str, Labels] = field(default_factory=dict)

    def collect(self, now: float) -> Iterator[Batch]:
        """The batches of every multiple of the interval since the last call."""
        at = self._next if self._next is not None else math.ceil(now / self.interval_s) * self.interval_s
        # A clock that went back must not leave us waiting for a time that was already seen.
        at = min(at, math.ceil(now / self.interval_s) * self.interval_s + self.interval_s)
        while at <= now:
            self.cluster.advance(at)
            yield from self._pages(at)
            at += self.interval_s
        self._next = at

    def _pages(self, at: float) -> Iterator[Batch]:
        here: set[str] = set()
        for name, pool in self.cluster.pools.items():
            if self.cluster.faulty("dead_collector", name):
                silent = {s: labels for s, labels in self._seen.items() if ("pool", name) in labels}
                here |= silent.keys()
                yield from (Batch(s, at, self.interval_s, (), np.empty(0), ls, "down") for s, ls in silent.items())
                continue
            values = [pool.score.requests_sent, pool.rejected, pool.waiting, *pool.buckets, pool.buckets[-1]]
            here.add(f"gateway/{name}")
            yield self._batch(f"gateway/{name}", name, "gateway", at, [float(v) for v in values])
        for m in self.cluster.machines.values():
            if m.state(at) in ("pending", "warm") or self.cluster.faulty("dead_collector", m.pool):
                continue
            share = m.in_flight / (self.cluster.pools[m.pool].load.slots * m.replicas)
            here.add(f"engine/{m.id}")
            flat = [float(m.in_flight), 0.0, min(1.0, share), min(1.0, share), min(1.0, share)]
            yield self._batch(f"engine/{m.id}", m.pool, f"{m.id}:8000", at, flat)
        for gone in [s for s in self._seen if s not in here]:
            labels = self._seen.pop(gone)
            self._keys.pop(gone, None)
            yield Batch(gone, at, self.interval_s, (), np.empty(0), labels, "gone")

    def _batch(self, source: str, pool: str, instance: str, at: float, values: list[float]) -> Batch:
        labels: Labels = (("instance", instance), ("pool", pool))
        if source not in self._keys:
            self._seen[source] = labels
            self._keys[source] = _gateway_keys(labels) if instance == "gateway" else _keys(REPLICA, labels)
        return Batch(source, at, self.interval_s, self._keys[source], np.array(values), labels)


def _keys(names: tuple[str, ...], labels: Labels) -> tuple[SeriesKey, ...]:
    return tuple(SeriesKey(name, labels, name.endswith("_total")) for name in names)


def _gateway_keys(labels: Labels) -> tuple[SeriesKey, ...]:
    edges = ["+Inf" if math.isinf(edge) else f"{edge:g}" for edge in TTFT_BUCKETS_S]
    buckets = tuple(SeriesKey(f"{TTFT}_bucket", tuple(sorted((*labels, ("le", e)))), True) for e in edges)
    return (*_keys(GATEWAY, labels), *buckets, SeriesKey(f"{TTFT}_count", labels, True))
