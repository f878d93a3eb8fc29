"""What a back-test keeps of each tick: the pool, the decision and its reasons, what was foreseen and what never was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest.world import FluidWorld
from autoscaler.measure import growth_at, lead_time_s, level_of
from autoscaler.ruleset import RuleSet
from autoscaler.types import Batch, Decision, Memory, Past, World

MAX_CHANGES = 50_000

Decide = Callable[[RuleSet, World, Memory], Decision]


@dataclass(frozen=True, slots=True)
class Timeline:
    """(tick,) each, at the tick: times of the trace, work per second that comes, the decision after all limits,
    replicas that serve and that boot once it was carried out, work that waits."""

    at_s: NDArray[np.float64]
    demand: NDArray[np.float64]
    wanted: NDArray[np.int64]
    ready: NDArray[np.int64]
    pending: NDArray[np.int64]
    queue: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that changed the size, and the steps that led there."""

    at_s: float
    before: int
    after: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """(forecast,) each: the time that was looked ahead to, work per second: the median and what the rules ask for."""

    at_s: NDArray[np.float64]
    median: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass
class Record:
    """The collector and the law of the loop, which also keep what happens.

    What a tick did is noted when the next one collects: until then the pool stands at the tick's own time.
    `recommended` is the most that rules asked for before any limit. unknown: signals that never had a value, and why.
    versions: what the decisions were based on, the newest of each.
    """

    world: FluidWorld
    law: Decide
    progress: Callable[[float], None]
    rows: list[tuple[int, int, int, float]] = field(default_factory=list)
    launched: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    recommended: int = 0
    short: int = 0
    _foreseen: list[tuple[float, float, float]] = field(default_factory=list)
    _decided: Decision | None = None

    def collect(self, now: float) -> Iterator[Batch | Past]:
        """What the world's collector gives."""
        self.note()
        self.progress(now - self.world.origin)
        yield from self.world.collect(now)

    def decide(self, rules: RuleSet, world: World, memory: Memory) -> Decision:
        """What the law decides."""
        decision = self._decided = self.law(rules, world, memory)
        if not self.rows:
            self.unknown = dict.fromkeys(decision.readings, "")
        for name in list(self.unknown):
            reading = decision.readings.get(name)
            if reading is not None and reading.quality != "missing":
                del self.unknown[name]
            elif reading is not None:
                self.unknown[name] = reading.detail
        self.recommended = max(self.recommended, decision.recommended)
        self.versions.update(decision.versions)
        if world.outlooks:
            self._foresee(rules, world, decision)
        return decision

    def note(self) -> None:
        """Keep the tick that is over now."""
        decision, self._decided = self._decided, None
        if decision is None:
            return
        fluid = self.world.fluid
        self.rows.append((decision.want, fluid.ready, fluid.pending, fluid.queue))
        self.launched.append(self.world.launches)
        self.short += fluid.ready + fluid.pending < decision.want
        if decision.want != decision.current and len(self.changes) < MAX_CHANGES:
            told = tuple(f"{r.source}: {r.text}" for r in decision.reasons)
            self.changes.append(Change(decision.at - self.world.origin, decision.current, decision.want, told))

    def foreseen(self) -> Foreseen | None:
        """The forecasts of demand that decisions were based on, None without any."""
        if not self._foreseen:
            return None
        # Lead times are learned on the way, so one forecast may look less far ahead than the one before.
        at_s, median, high = np.array(sorted(self._foreseen)).T
        return Foreseen(at_s, median, high)

    def _foresee(self, rules: RuleSet, world: World, decision: Decision) -> None:
        """Keep the first forecast of what arrives; forecasts of other signals have another unit."""
        for signal in rules.signals:
            base = rules.signal(signal.forecast) if signal.forecast is not None else None
            outlook, reading = world.outlooks.get(signal.name), decision.readings.get(signal.name)
            if base is None or base.metric != "requests_arrived_total" or outlook is None or reading is None:
                continue
            newest = decision.readings[base.name].value
            if newest is None or reading.value is None:
                continue
            horizon_s = signal.ahead_s if signal.ahead_s is not None else lead_time_s(rules, world.lead_times)
            level = max(level_of(world.signals.get(base.name), newest), outlook.floor)
            at_s = world.now + horizon_s - self.world.origin
            self._foreseen.append((at_s, level * growth_at(outlook, horizon_s, 0.5), reading.value))
            return
