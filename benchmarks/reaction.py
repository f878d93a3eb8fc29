"""How fast a sample becomes an action, and how little one pool suffers from what is slow or dead around another.

    python -m benchmarks.reaction

`sample_to_call` and `tick_delay` put the service's own parts together in this process: loop, journal and store on
disk, threaded dispatch, scraper, notifier. `benchmarks.anomaly` races a whole service against Prometheus.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoscaler.alerting import Alerting, of_webhooks
from autoscaler.board import Board, PoolView
from autoscaler.clock import SystemClock, monotonic
from autoscaler.conditions import Condition, Test
from autoscaler.configparts import Webhook
from autoscaler.dispatch import Threaded
from autoscaler.journal import Journal
from autoscaler.loop import Loop
from autoscaler.movement import Bounds
from autoscaler.notifying.notifier import Notifier
from autoscaler.policies.step import Step
from autoscaler.ports import Collector
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.store import Store
from autoscaler.thresholds.static import Static
from autoscaler.timetable import Timetable
from autoscaler.types import Action, Batch, Fleet, Instance, Launch, Offer, Outcome, SeriesKey
from benchmarks import anomaly
from benchmarks.table import Row, show
from collectors.scraping.scraper import Scraper, Target

POOLS, TRIALS, TICK_S = 200, 200, 15.0
REST_S = 0.25 * TICK_S
QUICK_TICK_S = 0.25
BLOCK_S = 3.0
WATCHED_S = 12.0
SETTLE_S = 1.0
Delays = NDArray[np.float64]


def rules(pool: str, provider: str, tick_s: float, least: int = 1) -> RuleSet:
    """A queue above 50 orders two more and raises an alert."""
    queue = Condition(Test("queue", "above", Static(upper=50.0), text="50"))
    return RuleSet(
        pool,
        Bounds(least, 40),
        tick_s=tick_s,
        capacity=10.0,
        offers=(Offer(provider, "bench"),),
        signals=(Signal("queue", metric="requests_waiting"),),
        rules=(Rule("long queue", Step(2), queue, alert="warning"),),
        hash="bench",
    )


@dataclass
class Feed:
    """A collector that gives what was put into it."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _batches: list[Batch] = field(default_factory=list)

    def put(self, pool: str, queue: float, at: float) -> None:
        labels = (("instance", "gateway"), ("pool", pool))
        keys = (SeriesKey("requests_waiting", labels),)
        with self._lock:
            self._batches.append(Batch(pool, at, 1.0, keys, np.array([queue]), labels))

    def collect(self, now: float) -> list[Batch]:
        with self._lock:
            found, self._batches = self._batches, []
        return found


@dataclass
class Instant:
    """A provider of ready instances that notes when it was called for each pool."""

    name: str
    pools: tuple[str, ...]
    clock: SystemClock
    called: dict[str, float] = field(default_factory=dict)
    news: threading.Condition = field(default_factory=threading.Condition)
    _found: list[Instance] = field(default_factory=list)

    def __post_init__(self) -> None:
        since = self.clock.now() - 3600.0
        self._found += [Instance(f"{p}-0", p, f"{self.name}/bench", "ready", since) for p in self.pools]

    def observe(self) -> Fleet:
        with self.news:
            return Fleet(self.clock.now(), tuple(self._found))

    def apply(self, action: Action) -> Outcome:
        with self.news:
            self.called.setdefault(action.pool, monotonic())
            self.news.notify_all()
            now = self.clock.now()
            if isinstance(action, Launch):
                key = action.offer.key
                self._found.append(Instance(f"{action.pool}-{action.id}", action.pool, key, "ready", now, 1, now))
            return Outcome(action.id, action.pool, "accepted", now)


@dataclass
class Blocking:
    """A provider that reports once and from then on answers nothing for BLOCK_S at a time."""

    clock: SystemClock
    stopped: threading.Event
    _asked: bool = False

    def observe(self) -> Fleet:
        if self._asked:
            self.stopped.wait(BLOCK_S)
        self._asked = True
        return Fleet(self.clock.now())

    def apply(self, action: Action) -> Outcome:
        self.stopped.wait(BLOCK_S)
        return Outcome(action.id, action.pool, "accepted", self.clock.now())


class NotingBoard(Board):
    """A board that notes when each view was published, by pool: the end of a tick, before its actions."""

    def __init__(self) -> None:
        super().__init__()
        self.published: dict[str, list[float]] = {}

    def publish(self, view: PoolView) -> None:
        super().publish(view)
        self.published.setdefault(view.rules.pool, []).append(SystemClock().now())


@contextmanager
def looping(
    ruled: dict[str, RuleSet],
    collectors: tuple[Collector, ...],
    hands: dict[str, Threaded],
    board: Board,
    **more: Notifier,
) -> Iterator[None]:
    """The loop of the service on a thread, with journal and store on disk."""
    clock, stop = SystemClock(), threading.Event()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        journal, store = Journal(f"sqlite:///{folder}/journal.db"), Store(Path(folder) / "metrics")
        ends.callback(journal.close)
        ends.callback(store.close)
        loop = Loop(clock, lambda: ruled, collectors, store, journal, hands, board)
        if "notifier" in more:
            loop.notify = more["notifier"].send
        for hand in hands.values():
            ends.callback(hand.stop)
            hand.start()
        thread = threading.Thread(target=loop.run, kwargs={"stop": stop})
        ends.callback(thread.join)
        ends.callback(board.wake.set)
        ends.callback(stop.set)
        thread.start()
        yield


def sample_to_call() -> list[Row]:
    """From a batch that is put into a collector, to the provider's `apply` entered: journal commit included.

    200 pools tick every 15 s beside it; each gets one sample that makes it grow, at a random time.
    """
    clock, feed, board, rng = SystemClock(), Feed(), Board(), np.random.default_rng(1)
    names = tuple(f"pool-{n}" for n in range(POOLS))
    provider = Instant("instant", names, clock)
    hands = {"instant": Threaded(provider, clock, 1.0, board.wake)}
    took = []
    with looping({n: rules(n, "instant", TICK_S) for n in names}, (feed,), hands, board):
        _wait(clock, REST_S)
        left = set(names)
        for _ in range(TRIALS):
            _wait(clock, float(rng.uniform(0.0, 0.04)))
            # A sample starts a tick early only if the pool's last one was a while ago: what is asked here is how fast,
            # not how often. So the pool that has rested longest is next.
            views = board.pools()
            name = min(left, key=lambda n: views[n].at)
            _wait(clock, views[name].at + REST_S - clock.now())
            left.remove(name)
            assert name not in provider.called, "nothing made it grow before"
            began = monotonic()
            feed.put(name, 100.0, clock.now())
            board.wake.set()
            with provider.news:
                assert provider.news.wait_for(partial(provider.called.__contains__, name), 10.0), "never called"
            took.append(provider.called[name] - began)
    p50, p99 = 1e3 * np.percentile(took, [50, 99])
    what = f"sample in memory to provider call, {TRIALS} trials"
    return [
        Row(f"{what}, p50", float(p50), "ms", None, None, lower_is_better=True),
        Row(f"{what}, p99", float(p99), "ms", 50.0, None, lower_is_better=True),
    ]


def tick_delay(trouble: bool) -> Delays:
    """Seconds by which each tick of a calm pool came late, with or without trouble around another pool."""
    clock, feed, board, stopped = SystemClock(), Feed(), NotingBoard(), threading.Event()
    ruled = {"calm": rules("calm", "instant", QUICK_TICK_S), "stuck": rules("stuck", "blocking", QUICK_TICK_S, 8)}
    with ExitStack() as ends:
        # Connections to it are accepted by the kernel, and nobody ever reads or answers.
        silent = ends.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        page = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        targets = [Target(f"{page}{n}", (("pool", "stuck"),), 1.0, 0.9) for n in range(8 if trouble else 0)]
        scraper = Scraper(targets, clock, board.wake)
        journal = Journal()
        ends.callback(journal.close)
        told = Alerting(of_webhooks((Webhook(page),) if trouble else ()))
        notifier = Notifier(told, board, journal.notified, clock)
        notifier.start()
        ends.callback(notifier.stop, 0.1)
        scraper.start()
        ends.callback(scraper.stop)
        slow = Blocking(clock, stopped) if trouble else Instant("blocking", ("stuck",), clock)
        hands = {
            "instant": Threaded(Instant("instant", ("calm",), clock), clock, 0.25, board.wake),
            "blocking": Threaded(slow, clock, 0.25, board.wake),
        }
        ends.enter_context(looping(ruled, (feed, scraper), hands, board, notifier=notifier))
        ends.callback(stopped.set)
        _wait(clock, SETTLE_S)
        since = clock.now()
        for n in range(round(WATCHED_S / QUICK_TICK_S)):
            # The other pool's alert begins and ends at every tick: the receiver has a message for each.
            feed.put("stuck", 100.0 * (n % 2), clock.now())
            board.wake.set()
            _wait(clock, QUICK_TICK_S)
        assert board.pools()["stuck"].fleet is not None
        return lateness(board.published["calm"], since, clock.now())


def lateness(published: list[float], since: float, until: float) -> Delays:
    """For each instant at which the calm pool was due, how long after it the next view of it was published."""
    plan, due = Timetable(), []
    at = since
    while at < until - QUICK_TICK_S:
        plan.ticked("calm", QUICK_TICK_S, at)
        at = plan.next_at(at)
        due.append(at)
    seen = np.array(published)
    # A tick that never came shows as a whole period; none after the last one is an error here.
    return np.asarray(seen[np.searchsorted(seen, due[:-1])] - np.array(due[:-1]), dtype=np.float64)


def _wait(clock: SystemClock, seconds: float) -> None:
    clock.wait(clock.now() + seconds)


def delays() -> list[Row]:
    """Worst and median delay of a calm pool's ticks, beside those of the same pool without trouble."""
    quiet, troubled = 1e3 * tick_delay(False), 1e3 * tick_delay(True)
    what = f"provider, 8 targets and receiver hang: {troubled.size} ticks of another pool late by"
    return [
        Row(f"{what}, p50 (peer: no trouble)", float(np.median(troubled)), "ms", None, float(np.median(quiet)), True),
        Row(f"{what}, worst (peer: no trouble)", float(troubled.max()), "ms", 100.0, float(quiet.max()), True),
    ]


def run() -> list[Row]:
    """All rows."""
    return [*sample_to_call(), *delays(), *anomaly.run()]


if __name__ == "__main__":
    show(run(), "Reaction")
