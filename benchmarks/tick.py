"""What a tick costs: one pool without I/O, and a thousand pools with the journal on disk."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoscaler.clock import SimClock, cpu_seconds, monotonic
from autoscaler.conditions import Condition, Test
from autoscaler.dispatch import Inline
from autoscaler.engine import decide
from autoscaler.journal import Journal
from autoscaler.loop import Loop
from autoscaler.memory import remember
from autoscaler.movement import Bounds
from autoscaler.planner import plan
from autoscaler.policies.step import Step
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.store import Store
from autoscaler.store.daystore import DayStore, Point
from autoscaler.thresholds.sigma import Sigma
from autoscaler.thresholds.static import Static
from autoscaler.types import (
    Action,
    Batch,
    Fleet,
    Frame,
    Instance,
    Memory,
    Offer,
    Outcome,
    Plan,
    Reason,
    SeriesKey,
    World,
)
from benchmarks.table import Row, show

START = 1_790_000_000.0
WEEK = 7 * 86_400.0
POINTS_A_DAY = 96
OFFER = Offer("bench", "small")


def rules(name: str = "chat") -> RuleSet:
    """Three signals, a target, a step on a queue and a 3-sigma alert over half an hour."""
    queue = Condition(Test("queue", "above", Static(upper=50.0), text="50"), 60.0)
    latency = Condition(Test("ttft99", "above", Sigma(3.0), 1800.0, "3 sigma"))
    return RuleSet(
        pool=name,
        bounds=Bounds(2, 40),
        capacity=10.0,
        offers=(OFFER,),
        signals=(
            Signal("load", metric="requests_arrived_total", rate_s=60.0),
            Signal("queue", metric="requests_waiting"),
            Signal("ttft99", metric="first_token_p99_seconds", aggregate="max"),
        ),
        rules=(
            Rule("demand", Target("load")),
            Rule("queue", Step(2), queue, 300.0),
            Rule("unusual latency", None, latency, alert="warning"),
        ),
        hash="bench",
    )


def bare_tick(repeats: int = 2000) -> Row:
    """decide, plan and remember with seven days of history at 15 s behind each of three signals."""
    points = int(WEEK / 15)
    rng = np.random.default_rng(1)
    at = START - 15.0 * np.arange(points)[::-1]
    level = {"load": 200.0, "queue": 5.0, "ttft99": 0.4}
    signals = {
        name: Frame(15.0, at, mean * (1 + 0.1 * rng.standard_normal((1, points))), at[-1:], ("fresh",))
        for name, mean in level.items()
    }
    there = Fleet(START, tuple(Instance(f"i{n}", "chat", OFFER.key, "ready", START - 1e4) for n in range(25)))
    ruled, memory, world = rules(), Memory(), World(START, signals, there)
    samples = []
    for _ in range(repeats):
        began = monotonic()
        decision = decide(ruled, world, memory)
        memory = remember(ruled, memory, decision, plan(ruled, decision, world, memory))
        samples.append(monotonic() - began)
    return Row(
        "tick without I/O, 3 signals, 7 days at 15 s: median", 1e3 * float(np.median(samples)), "ms", 1.0, None, True
    )


@dataclass
class ManyPools:
    """Pages of a gateway per pool and the fleets of all of them, unchanging: what steady state costs."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        metrics = ("requests_arrived_total", "requests_waiting", "first_token_p99_seconds")
        self.labels = {n: (("instance", "gw"), ("pool", n)) for n in self.names}
        self.keys = {n: tuple(SeriesKey(m, self.labels[n], m.endswith("_total")) for m in metrics) for n in self.names}
        self.rng = np.random.default_rng(2)
        self.done = START
        self.reported = Fleet(-math.inf)

    def collect(self, now: float) -> list[Batch]:
        """Everything since the last call, every pool every 5 s."""
        found: list[Batch] = []
        while self.done + 5.0 <= now:
            self.done += 5.0
            noise = self.rng.standard_normal((len(self.names), 2))
            for n, (a, b) in zip(self.names, noise, strict=True):
                values = np.array([40.0 * (self.done - START), 5.0 + a, 0.4 + 0.04 * b])
                found.append(Batch(n, self.done, 5.0, self.keys[n], values, self.labels[n]))
        return found

    def observe(self) -> Fleet:
        """Five ready replicas each, reported anew twice per tick, as the service's observer asks."""
        if self.done - self.reported.observed_at >= 7.5:
            machines = (
                Instance(f"{n}-{k}", n, OFFER.key, "ready", START - 1e4, requested_at=START - 1e4)
                for n in self.names
                for k in range(5)
            )
            self.reported = Fleet(self.done, tuple(machines))
        return self.reported

    def apply(self, action: Action) -> Outcome:
        """Accepts everything."""
        return Outcome(action.id, action.pool, "accepted", self.done)


def many_pools(pools: int = 1000, ticks: int = 20) -> list[Row]:
    """CPU of a service with so many pools at 15 s, journal and store on disk, per second of its time."""
    names = tuple(f"pool-{n}" for n in range(pools))
    ruled = {n: rules(n) for n in names}
    source = ManyPools(names)
    clock = SimClock(START)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(f"sqlite:///{folder}/journal.db")
        loop = Loop(clock, lambda: ruled, (source,), Store(None), journal, {"bench": Inline(source, clock)})
        loop.run(until=START + 120.0)
        began, span = cpu_seconds(), ticks * 15.0
        loop.stats.slowest_pass_s = 0.0
        loop.run(until=START + 120.0 + span)
        used = cpu_seconds() - began
        journal.close()
    return [
        Row(f"{pools} pools at 15 s: cores used", used / span, "cores", 0.5, None, True),
        Row(f"{pools} pools at 15 s: slowest pass", 1e3 * loop.stats.slowest_pass_s, "ms", 100.0, None, True),
    ]


def restart(pools: int = 1000, days: int = 30) -> Row:
    """From nothing to a loaded journal and read-back pool signals: 1,000 pools, 30 days of journal rows."""
    names = tuple(f"pool-{n}" for n in range(pools))
    ruled = {n: rules(n) for n in names}
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/journal.db"
        _fill(url, ruled, days)
        _signals(Path(folder) / "metrics", names)
        began = monotonic()
        journal = Journal(url)
        store = Store(Path(folder) / "metrics")
        loop = Loop(SimClock(START), lambda: ruled, (), store, journal, {})
        loop.start()
        took = monotonic() - began
        assert len(journal.load()) == pools, "every pool's memory is back"
        back = store.read(ruled[names[-1]], START)["load"].at.size
        assert back >= POINTS_A_DAY - 1, f"{back} points of a signal are back"
        journal.close()
        store.close()
    return Row(
        f"restart: {pools} pools, {days} days of journal, a day of signals read back", took, "s", 5.0, None, True
    )


def _fill(url: str, ruled: dict[str, RuleSet], days: int) -> None:
    """Real decisions of every pool, eight rows a day, written in large transactions to save time."""
    from autoscaler.journal import Entry

    journal = Journal(url)
    world = World(START, {}, Fleet(START, ()))
    # Deciding is not what is measured: one decision a pool, with another date and number in each row.
    decided = {r.pool: decide(r, world, Memory()) for r in ruled.values()}
    for day in range(days):
        entries = []
        for r in ruled.values():
            for hour in range(0, 24, 3):
                at = START - (days - day) * 86_400.0 + hour * 3600.0
                decision = replace(decided[r.pool], number=day * 100 + hour, at=at)
                planned = Plan(r.pool, decision.number, (), (Reason("launch", decision.want, "launch bench/small"),))
                entries.append(Entry(decision, planned, (), Memory(number=decision.number, last_at=at)))
        journal.record(entries)
    rows = len(journal.decisions(next(iter(ruled)), limit=days * 8 + 1))
    assert rows == days * 8, f"{rows} rows of a pool in the journal"
    journal.close()


def _signals(folder: Path, names: Sequence[str]) -> None:
    """A day of points of every pool's three signals, one each quarter of an hour, as a store leaves them on disk."""
    files = DayStore(folder, 28)
    signals = [signal.name for signal in rules().signals]
    for step in range(POINTS_A_DAY):
        at = START - 900.0 * (POINTS_A_DAY - step)
        files.append([Point(n, s, at, 5.0 + step % 7, 0) for n in names for s in signals])
    files.close()


def run() -> list[Row]:
    """All rows."""
    return [bare_tick(), *many_pools(), restart()]


if __name__ == "__main__":
    show(run(), "Ticks")
