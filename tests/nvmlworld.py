"""A collector over a stand-in fleet on a clock that tests step: one round at a time, on the test's own thread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from autoscaler.clock import SimClock
from autoscaler.types import Batch, Labels
from collectors.nvml import MetricState, Nvml
from tests.peers.nvml import Gpu, Scenario

START = 1_700_000_000.0
Value = dict[str, float | None]
PLACE = ("uuid", "gpu", "gpu_model", "host", "pool")


class World:
    """The fleet, the clock and the collector; `round` steps both clocks and gives what the batches told."""

    def __init__(self, fleet: Scenario, **settings: Any) -> None:
        self.fleet, self.clock = fleet, SimClock(START)
        fleet.at(START)
        for gpu in fleet.gpus:
            gpu.energy_mj.reset()
        self.nvml = Nvml(self.clock, (("pool", "chat"),), host="node-1", **settings)
        self.batches: tuple[Batch, ...] = ()

    def round(self, seconds: float = 1.0) -> None:
        self.batches = self.nvml.read()
        self.clock.at += seconds
        self.fleet.step(seconds)

    def rounds(self, number: int, seconds: float = 1.0) -> None:
        for _ in range(number):
            self.round(seconds)

    def batch(self, gpu: Gpu, lane: str = "") -> Batch:
        source = f"nvml:{gpu.uuid}{lane and '/' + lane}"
        return next(batch for batch in self.batches if batch.source == source)

    def values(self, gpu: Gpu, lane: str = "") -> Value:
        """Value by `metric` or `metric{label=value,...}`; None = not known this time."""
        return told(self.batch(gpu, lane))

    def state(self, gpu: Gpu, metric: str) -> MetricState:
        return next(m for m in self.nvml.status().metrics if (m.uuid, m.metric) == (gpu.uuid, metric))


def told(batch: Batch) -> Value:
    return {
        name(key.metric, key.labels): value if math.isfinite(value) else None
        for key, value in zip(batch.keys, batch.values.tolist(), strict=True)
    }


def name(metric: str, labels: Labels) -> str:
    own = ",".join(f"{label}={value}" for label, value in labels if label not in PLACE)
    return f"{metric}{{{own}}}" if own else metric


@contextmanager
def world(fleet: Scenario, *, without: Sequence[str] = (), **settings: Any) -> Iterator[World]:
    """A world of this fleet. without: functions that its driver does not know. settings: of the collector."""
    with fleet, fleet.loaded(without):
        made = World(fleet, **settings)
        try:
            yield made
        finally:
            made.nvml.stop()
