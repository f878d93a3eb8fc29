"""Batches of small replicas, for the tests of the metrics store."""

import math

import numpy as np

from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store
from autoscaler.types import Batch, Frame, Labels, SeriesKey

NAN = math.nan
WAITING, ARRIVED, ACTIVE = "requests_waiting", "requests_arrived_total", "gpu_sm_active_ratio"
TTFT = "time_to_first_token_seconds"


def labels_of(instance: str, pool: str = "chat", **more: str) -> Labels:
    return tuple(sorted({"instance": instance, "pool": pool, **more}.items()))


def keys_of(instance: str, *metrics: str, pool: str = "chat") -> tuple[SeriesKey, ...]:
    return tuple(SeriesKey(m, labels_of(instance, pool), m.endswith("_total")) for m in metrics)


def up(instance: str, at: float, values: dict[str, float], pool: str = "chat", interval_s: float = 5.0) -> Batch:
    keys = keys_of(instance, *values, pool=pool)
    return Batch(instance, at, interval_s, keys, np.array([*values.values()], float), labels_of(instance, pool))


def silent(instance: str, at: float, state: str = "down") -> Batch:
    assert state in ("down", "gone")
    return Batch(instance, at, 5.0, (), np.empty(0), labels_of(instance), "down" if state == "down" else "gone")


def rules(*signals: Signal, match: Labels = ()) -> RuleSet:
    return RuleSet("chat", Bounds(1, 10), match=match, signals=signals)


QUEUE = Signal("queue", WAITING)
LOAD = Signal("load", ARRIVED, rate_s=60.0)
BUSY = Signal("busy", ACTIVE, aggregate="mean")


def read(store: Store, signal: Signal, now: float) -> Frame:
    return store.read(rules(signal), now)[signal.name]


def newest(frame: Frame) -> float:
    return float(frame.values[0, -1])


def filled(*batches: Batch) -> Store:
    store = Store(None)
    for batch in batches:
        store.add(batch)
    return store


def bounds(frame: Frame) -> tuple[float, float]:
    """Lower and upper bound of the newest value of a frame with one series."""
    assert frame.lower is not None
    assert frame.upper is not None
    return float(frame.lower[0]), float(frame.upper[0])
