"""A store with GPUs of a few machines, as their agents would have told of them, for tests of the fleet's pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from autoscaler.store import Store
from autoscaler.types import Batch, Labels, SeriesKey
from tests.worlds import NOW

WELL: Mapping[str, float] = {
    "gpu_saturation_ratio": 0.5,
    "gpu_busy_ratio": 0.9,
    "gpu_memory_used_ratio": 0.7,
    "gpu_power_watts": 350.0,
    "gpu_power_limit_watts": 700.0,
    "gpu_temperature_celsius": 60.0,
    "gpu_up": 1.0,
    "gpu_lost": 0.0,
}
INTERVAL_S = 5.0

Series = tuple[str, Labels]


@dataclass(frozen=True, slots=True)
class Node:
    """One machine and what it says of its GPUs: by GPU number, by metric and labels."""

    name: str
    pool: str = "chat"
    told: dict[int, dict[Series, float]] = field(default_factory=dict)
    own: dict[Series, float] = field(default_factory=dict)

    def gpu(self, number: int, more: Mapping[str, float | None] = {}, **labels: str) -> Node:
        """A GPU that is well but for `more`; None = it does not give that. labels: of what is added by them only."""
        values: dict[Series, float] = {(metric, ()): value for metric, value in WELL.items()}
        told = self.told.setdefault(number, values)
        for metric, value in more.items():
            name = metric, tuple(sorted(labels.items()))
            if value is None:
                told.pop(name, None)
            else:
                told[name] = value
        return self

    def batch(self, at: float = NOW, source: str = "") -> Batch:
        """What it says at a time."""
        where = {"pool": self.pool, "instance": f"{self.name}:9100", "host": self.name}
        keys, values = [], []
        for number, told in self.told.items():
            about = {"gpu": str(number), "gpu_model": "NVIDIA H100", "uuid": uuid(self.name, number), **where}
            for (metric, labels), value in told.items():
                keys.append(key(metric, {**about, **dict(labels)}))
                values.append(value)
        for (metric, labels), value in self.own.items():
            keys.append(key(metric, {**where, **dict(labels)}))
            values.append(value)
        return Batch(source or self.name, at, INTERVAL_S, tuple(keys), np.array(values, float), ())


def uuid(host: str, number: int) -> str:
    """The UUID of a GPU of these tests."""
    return f"GPU-{host}-{number}"


def key(metric: str, labels: Mapping[str, str]) -> SeriesKey:
    return SeriesKey(metric, tuple(sorted(labels.items())), metric.endswith("_total"))


def told(*rounds: Batch) -> Store:
    """A store that heard these."""
    store = Store(None)
    for batch in rounds:
        store.add(batch)
    return store


NAN = math.nan
