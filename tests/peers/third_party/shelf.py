"""A package of somebody else: one threshold, one policy, one provider and one collector, which know only our ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.types import (
    Action,
    Bands,
    Batch,
    Fleet,
    Frame,
    Instance,
    InstanceState,
    Labels,
    Launch,
    Outcome,
    Proposal,
    Reading,
    SeriesKey,
)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A threshold: nothing above `top` is normal."""

    top: float

    def bands(self, history: Frame) -> Bands:
        series = history.values.shape[0]
        return Bands(np.full(series, -np.inf), np.full(series, self.top))


@dataclass(frozen=True, slots=True)
class Pairs:
    """A policy: two replicas for every `each` of a signal."""

    signal: str
    each: float = 10.0

    def __post_init__(self) -> None:
        if not self.each > 0:
            raise InputError(f"pairs: each is {self.each}, but must be above 0; write 10")

    def propose(self, now: float, readings: Mapping[str, Reading], fleet: Fleet, current: int) -> tuple[Proposal, ...]:
        reading = readings.get(self.signal)
        if reading is None or reading.value is None or reading.quality != "fresh":
            return (Proposal("", "hold", current, f"{self.signal} is not known"),)
        need = 2 * int(np.ceil(reading.value / self.each))
        return (Proposal("", "size", need, f"{self.signal} {reading.value:g} needs {need // 2} pairs"),)


@dataclass
class Shelf:
    """A provider: a shelf with room for so many boxes, which serve as soon as they are ordered."""

    clock: Clock
    room: int = 8
    boxes: dict[str, Instance] = field(default_factory=dict, init=False)

    def observe(self) -> Fleet:
        return Fleet(self.clock.now(), tuple(self.boxes.values()))

    def apply(self, action: Action) -> Outcome:
        now = self.clock.now()
        if isinstance(action, Launch):
            if action.id not in self.boxes and len(self.boxes) == self.room:
                text = "the shelf is full"
                return Outcome(action.id, action.pool, "failed", now, error="capacity", text=text)
            offer = action.offer
            box = Instance(
                id=f"box-{action.id[:8]}",
                pool=action.pool,
                offer=offer.key,
                state="ready",
                since=now,
                replicas=offer.replicas,
                requested_at=now,
                address="127.0.0.1:9",
                action=action.id,
                usd_per_hour=offer.usd_per_hour,
                detail=dict(offer.settings).get("colour", ""),
            )
            self.boxes.setdefault(action.id, box)
            return Outcome(action.id, action.pool, "done", now, box.id)
        ours = {box.id: key for key, box in self.boxes.items()}
        if action.kind == "terminate":
            self.boxes.pop(ours.get(action.instance, ""), None)
            return Outcome(action.id, action.pool, "done", now, action.instance)
        if action.instance not in ours:
            return Outcome(action.id, action.pool, "failed", now, action.instance, "provider", "no such box")
        box = self.boxes[ours[action.instance]]
        state: InstanceState = "draining" if action.kind == "drain" else "ready"
        self.boxes[ours[action.instance]] = replace(box, state=state, since=now)
        return Outcome(action.id, action.pool, "done", now, action.instance)


@dataclass
class Beacon:
    """A collector: a gauge that always reads `level`, every second. It wants to be started and stopped."""

    level: float
    labels: Labels
    metric: str = "requests_waiting"
    running: bool = field(default=False, init=False)
    _keys: tuple[SeriesKey, ...] = field(default=(), init=False)
    _last: float = field(default=0.0, init=False)

    def start(self) -> None:
        self._keys = (SeriesKey(self.metric, self.labels),)
        self.running = True

    def stop(self) -> None:
        self.running = False

    def collect(self, now: float) -> tuple[Batch, ...]:
        if not self.running or now < self._last + 1.0:
            return ()
        self._last = now
        return (Batch("beacon", now, 1.0, self._keys, np.array([self.level]), self.labels),)
