"""The world of a back-test: what a pool of fluid tells a collector, and the provider that launches into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest.fluid import FluidPool
from autoscaler.ports import Clock
from autoscaler.types import Action, Batch, Fleet, Instance, Labels, Launch, Offer, Outcome, Past, SeriesKey

SERVICE_S = 2.0
"""Seconds that work is being served, which only `requests_running` depends on."""

WORK = ("requests_arrived_total", "request_success_total", "requests_waiting", "requests_running")
DEVICES = ("gpu_busy_ratio", "gpu_sm_active_ratio", "gpu_saturation_ratio")
WAITS = ("request_queue_time_seconds", "time_to_first_token_seconds", "e2e_request_latency_seconds")
PROVIDED = (*WORK, *DEVICES, *WAITS)
"""The metrics that a back-test can give: what follows from demand, queue and replicas alone."""

LE_S = (0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_DITHER = 1e-6


@dataclass(slots=True)
class FluidWorld:
    """One pool as the service sees it: a Collector and a Provider over one FluidPool.

    `origin` is the clock's time of the trace's time 0. wanted: the metrics that somebody reads; what a device or a
    histogram would tell is left out when nobody does. An instance that is drained leaves at once, for nothing in it
    would be lost.
    """

    pool: str
    fluid: FluidPool
    clock: Clock
    origin: float
    interval_s: float
    offer: Offer
    wanted: frozenset[str] = frozenset(PROVIDED)
    launches: int = 0
    _instances: dict[str, Instance] = field(default_factory=dict)
    _booting: dict[str, float] = field(default_factory=dict)
    _listed: tuple[Instance, ...] | None = None
    _pages: _Pages = field(init=False)

    def __post_init__(self) -> None:
        at = self.origin + self.fluid.now_s
        for n in range(self.fluid.ready):
            self._put(
                Instance(
                    f"{self.pool}-start-{n}",
                    self.pool,
                    self.offer.key,
                    "ready",
                    at,
                    1,
                    at,
                    usd_per_hour=self.offer.usd_per_hour,
                )
            )
        self._pages = _Pages(self.pool, self.fluid, self.interval_s, self.wanted)

    def advance(self, now: float) -> None:
        """Let the pool run up to a time of the clock."""
        self.fluid.advance(now - self.origin)
        served = [name for name, at_s in self._booting.items() if at_s <= self.fluid.now_s]
        for name in served:
            since = self.origin + self._booting.pop(name)
            self._put(replace(self._instances[name], state="ready", since=since, expected_at=None))

    # --- a collector --------------------------------------------------------------------------------------------

    def collect(self, now: float) -> Iterator[Batch | Past]:
        """What the pool and its devices say at each tick."""
        self.advance(now)
        yield from self._pages.at(now, [name for name in self._instances if name not in self._booting])

    # --- a provider ---------------------------------------------------------------------------------------------

    def observe(self) -> Fleet:
        """Every replica, an instance each."""
        if self._listed is None:
            self._listed = tuple(self._instances.values())
        return Fleet(self.clock.now(), self._listed)

    def apply(self, action: Action) -> Outcome:
        """Carried out at once; a repeated id changes nothing. There is no warm pool."""
        now = self.clock.now()
        if isinstance(action, Launch):
            if action.into == "warm":
                return Outcome(action.id, action.pool, "failed", now, error="capacity", text="there is no warm pool")
            self._launch(action)
            return Outcome(action.id, action.pool, "accepted", now, action.id)
        if action.kind in ("start", "stop", "resume"):
            text = f"{action.kind} {action.instance}: there is no warm pool and nothing drains"
            return Outcome(action.id, action.pool, "failed", now, action.instance, "capacity", text)
        self._leave(action.instance)
        return Outcome(action.id, action.pool, "done", now, action.instance)

    def _launch(self, action: Launch) -> None:
        if action.id in self._instances:
            return
        now, boot_s = self.clock.now(), self.fluid.boot_s
        self.fluid.order()
        self.launches += 1
        made = Instance(
            action.id,
            self.pool,
            self.offer.key,
            "pending",
            now,
            requested_at=now,
            action=action.id,
            usd_per_hour=self.offer.usd_per_hour,
        )
        if boot_s > 0:
            self._booting[action.id] = self.fluid.now_s + boot_s
            made = replace(made, expected_at=now + boot_s)
        else:
            made = replace(made, state="ready")
        self._put(made)

    def _leave(self, name: str) -> None:
        if self._instances.pop(name, None) is None:
            return
        self._listed = None
        serves_at_s = self._booting.pop(name, None)
        if serves_at_s is None:
            self.fluid.release()
        else:
            self.fluid.cancel(serves_at_s)

    def _put(self, instance: Instance) -> None:
        self._instances[instance.id] = instance
        self._listed = None


class _Pages:
    """What is scraped: one page of the pool's own, and one of all devices, which is new whenever the replicas are."""

    def __init__(self, pool: str, fluid: FluidPool, interval_s: float, wanted: frozenset[str]) -> None:
        self._fluid = fluid
        self._interval_s = interval_s
        self._labels: Labels = (("instance", "gateway"), ("pool", pool))
        self._pool = pool
        self._devices = tuple(name for name in DEVICES if name in wanted)
        self._waits = tuple(name for name in WAITS if name in wanted)
        self._keys = tuple(SeriesKey(name, self._labels, name.endswith("_total")) for name in WORK)
        self._keys += tuple(key for name in self._waits for key in _histogram(name, self._labels))
        self._within = np.zeros(len(LE_S) + 1)
        self._pieces = 0
        self._layout = 0
        self._replicas: list[str] = []
        self._device_keys: tuple[SeriesKey, ...] = ()
        self._before = (0.0, 0.0, 0.0)
        self._busy = 0.0

    def at(self, now: float, replicas: list[str]) -> Iterator[Batch]:
        """The pages of this moment."""
        fluid = self._fluid
        self._measure()
        running = self._busy * fluid.ready * fluid.capacity * SERVICE_S
        values = [fluid.came, fluid.served, fluid.queue, running]
        if self._waits:
            buckets = [*self._within.tolist(), float(self._within[-1])]
            values += buckets * len(self._waits)
        yield Batch(f"pool/{self._pool}", now, self._interval_s, self._keys, np.array(values), self._labels)
        if self._devices:
            yield from self._page_of_devices(now, replicas)

    def _measure(self) -> None:
        fluid = self._fluid
        served, offered, _ = self._before
        if fluid.offered > offered:
            self._busy = min(1.0, (fluid.served - served) / (fluid.offered - offered))
        elif not fluid.ready:
            self._busy = 0.0
        if self._waits:
            work, first, last = fluid.waited(self._pieces)
            self._pieces = fluid.pieces
            at_once = fluid.served - served - float(work.sum())
            self._within += at_once + _within(work, first, last)
        self._before = (fluid.served, fluid.offered, fluid.now_s)

    def _page_of_devices(self, now: float, replicas: list[str]) -> Iterator[Batch]:
        # A page that changes its series would be taken for one that lost some; a machine that left is not missed.
        if replicas != self._replicas:
            if self._replicas:
                yield Batch(self._source, now, self._interval_s, (), np.empty(0), self._labels, "gone")
            self._layout += 1
            self._replicas = replicas
            self._device_keys = tuple(
                SeriesKey(metric, (("instance", name), ("pool", self._pool)))
                for metric in self._devices
                for name in replicas
            )
        if replicas:
            # No measured ratio is the same to the last bit for minutes; one that is would be taken for frozen.
            busy = self._busy * (1.0 - _DITHER * (int(now / self._interval_s) % 2))
            values = np.full(len(self._device_keys), busy)
            yield Batch(self._source, now, self._interval_s, self._device_keys, values, self._labels)

    @property
    def _source(self) -> str:
        return f"devices/{self._pool}/{self._layout}"


def _histogram(name: str, labels: Labels) -> tuple[SeriesKey, ...]:
    edges = [*(f"{edge:g}" for edge in LE_S), "+Inf"]
    buckets = tuple(SeriesKey(f"{name}_bucket", tuple(sorted((*labels, ("le", edge)))), True) for edge in edges)
    return (*buckets, SeriesKey(f"{name}_count", labels, True))


def _within(work: NDArray[np.float64], first: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.float64]:
    """(bucket,) work whose wait is at most each bound of `LE_S`, and all of it."""
    low, high = np.minimum(first, last)[:, None], np.maximum(first, last)[:, None]
    wide = np.maximum(high - low, 1e-12)
    share = np.where(high > low, np.clip((np.array(LE_S) - low) / wide, 0.0, 1.0), high <= np.array(LE_S))
    return np.append(work @ share, work.sum())
