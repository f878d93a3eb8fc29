"""How fast a decision reaches a cloud, and how little a dead cloud disturbs: AWS's SDK against strict moto on loopback.

    python -m benchmarks.clouds

Strict moto (tests/peers) runs in this process, so its own work shows in every figure; that is why a bare boto3 call of
the same operation, in the same run, is the peer. The machines' own start is nothing there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autoscaler.board import Board, PoolView
from autoscaler.clock import SystemClock, monotonic
from autoscaler.conditions import Condition, Test
from autoscaler.dispatch import Threaded
from autoscaler.movement import Bounds, LaunchLimits, ScaleOut, WarmPool
from autoscaler.pacing import USUAL
from autoscaler.policies.step import Step
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.thresholds.static import Static
from autoscaler.types import Launch, Offer
from benchmarks.reaction import (
    REST_S,
    TICK_S,
    Feed,
    looping,
    rules,
)
from benchmarks.table import Row, show
from providers.aws import AwsProvider
from providers.aws.order import parameters
from tests.awsworld import account
from tests.peers.pages import until
from tests.peers.strict_moto import StrictMoto

TRIALS, WARM, AT_ONCE = 40, 12, 50
WATCHED_S = 8.0
OFFER = Offer(
    "aws",
    "g5.xlarge",
    "us-east-1",
    "us-east-1a",
    usd_per_hour=1.0,
    settings=(("image", "ami-12c6146b"), ("ready", "running")),
)


@dataclass
class Arrivals:
    """When each RunInstances and StartInstances was read from the wire."""

    at: list[float] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def watch(self, world: StrictMoto) -> None:
        """From now on."""

        def arrived(operation: str) -> None:
            if operation in ("RunInstances", "StartInstances"):
                with self.news:
                    self.at.append(monotonic())
                    self.news.notify_all()

        world.wire.arrived = arrived

    def wait(self, count: int, within_s: float = 20.0) -> float:
        """When the last of so many came."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.at) >= count, within_s), f"only {len(self.at)} of {count} came"
            return self.at[count - 1]


def ruled(pool: str, by: int = 1, most: int = 60, **more: Any) -> RuleSet:
    """A queue above 50 orders so many more, as fast as the rules may allow."""
    queue = Condition(Test("queue", "above", Static(upper=50.0), text="50"))
    return replace(
        rules(pool, "aws", TICK_S, least=0),
        bounds=Bounds(0, most),
        offers=(OFFER,),
        rules=(Rule("long queue", Step(by), queue),),
        scale_out=ScaleOut(rate_replicas=most, max_move=most),
        launch=LaunchLimits(per_hour=10_000),
        **more,
    )


@contextmanager
def quiet() -> Iterator[StrictMoto]:
    """An account whose SDK does not tell what it does."""
    logging.getLogger("botocore").setLevel(logging.ERROR)
    with account() as world:
        yield world


def provider(world: StrictMoto, clock: SystemClock, **more: Any) -> AwsProvider:
    """As a service would have it."""
    return AwsProvider(("us-east-1",), clock=clock, endpoint_url=more.pop("endpoint_url", world.wire.url), **more)


def bare(world: StrictMoto, arrivals: Arrivals, made: AwsProvider, count: int, at_once: int) -> list[float]:
    """Seconds from the call to the wire of RunInstances by boto3 alone; of several at once to the last of them."""
    client = next(iter(made._regions.values())).client
    took: list[float] = []
    with ThreadPoolExecutor(at_once) as pool:
        for group in range(count // at_once):
            ids = [f"bare-{at_once}-{group}-{n}" for n in range(at_once)]
            asked = [parameters(Launch(i, "bare", 0.0, 0.0, OFFER), "nobody") for i in ids]
            arrivals.at.clear()
            began = monotonic()
            calls = [pool.submit(client.run_instances, **one) for one in asked]
            took.append(arrivals.wait(at_once) - began)
            for call in calls:
                call.result()
    return took


def settled(board: Board, names: Sequence[str]) -> None:
    """Until every pool was judged on a fleet that is known: a first decision changes nothing."""

    def decided() -> bool:
        views = board.pools()
        return all(n in views and views[n].fleet is not None and views[n].decision is not None for n in names)

    until(decided, "a first decision of every pool", 60.0)


def rested(clock: SystemClock, board: Board, name: str) -> None:
    """Until the pool's last tick is so old that news start one early, and its next is not near either."""
    while not REST_S <= clock.now() - board.pools()[name].at <= TICK_S - 2.0:
        clock.wait(clock.now() + 0.05)


def sample_to_wire() -> list[Row]:
    """From a batch that is put into a collector, to RunInstances read by EC2: journal commit and SDK included."""
    clock, feed, board, rng = SystemClock(), Feed(), Board(), np.random.default_rng(1)
    names = tuple(f"pool-{n}" for n in range(TRIALS))
    arrivals, took = Arrivals(), []
    with quiet() as world:
        made = provider(world, clock)
        arrivals.watch(world)
        floor = bare(world, arrivals, made, TRIALS, 1)
        hands = {"aws": Threaded(made, clock, 1.0, board.wake, USUAL.parallel)}
        with looping({n: ruled(n) for n in names}, (feed,), hands, board):
            settled(board, names)
            for name in names:
                clock.wait(clock.now() + float(rng.uniform(0.15, 0.25)))
                rested(clock, board, name)
                arrivals.at.clear()
                began = monotonic()
                feed.put(name, 100.0, clock.now())
                board.wake.set()
                took.append(arrivals.wait(1) - began)
                feed.put(name, 0.0, clock.now())
        made.close()
    p50, p99 = np.percentile(1e3 * np.array(took), [50, 99])
    f50, f99 = np.percentile(1e3 * np.array(floor), [50, 99])
    what = f"sample in memory to RunInstances on the wire, {TRIALS} trials"
    return [
        Row(f"{what}, p50 (peer: bare boto3)", float(p50), "ms", None, float(f50), lower_is_better=True),
        Row(f"{what}, p99 (peer: bare boto3)", float(p99), "ms", None, float(f99), lower_is_better=True),
        Row("the same over the peer's floor, p50", float(p50 - f50), "ms", 50.0, None, lower_is_better=True),
        Row("the same over the peer's floor, p99", float(p99 - f99), "ms", 50.0, None, lower_is_better=True),
    ]


def fifty() -> list[Row]:
    """50 launches of one tick, from the sample to the last on the wire."""
    clock, feed, board, arrivals = SystemClock(), Feed(), Ordering(), Arrivals()
    with quiet() as world:
        made = provider(
            world,
            clock,
        )
        arrivals.watch(world)
        (floor,) = bare(world, arrivals, made, AT_ONCE, AT_ONCE)
        hands = {"aws": Threaded(made, clock, 1.0, board.wake, USUAL.parallel)}
        with looping({"big": ruled("big", AT_ONCE)}, (feed,), hands, board):
            settled(board, ("big",))
            rested(clock, board, "big")
            arrivals.at.clear()
            began = monotonic()
            feed.put("big", 100.0, clock.now())
            board.wake.set()
            took = arrivals.wait(AT_ONCE) - began
        made.close()
        once = len({m.token for m in world.made}) == len(world.made)
    assert board.launches == [AT_ONCE], f"launches by tick: {board.launches}"
    assert once, "every launch was carried out once"
    what = f"{AT_ONCE} launches of one tick, sample to the last on the wire (peer: bare boto3, {AT_ONCE} threads)"
    return [Row(what, 1e3 * took, "ms", None, 1e3 * floor, lower_is_better=True)]


class Ordering(Board):
    """A board that notes how many launches each tick ordered."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: list[int] = []

    def publish(self, view: PoolView) -> None:
        super().publish(view)
        count = sum(a.kind == "launch" for a in view.plan.actions) if view.plan is not None else 0
        if count:
            self.launches.append(count)


def _bare_start(made: AwsProvider, instance: str) -> float:
    """Seconds of the calls that a start takes, by boto3 alone: look, tag, start, look."""
    client = next(iter(made._regions.values())).client
    client.stop_instances(InstanceIds=[instance])
    began = monotonic()
    client.describe_instances(InstanceIds=[instance])
    client.create_tags(Resources=[instance], Tags=[{"Key": "bare", "Value": "start"}])
    client.start_instances(InstanceIds=[instance])
    client.describe_instances(InstanceIds=[instance])
    return monotonic() - began


class Serving(Board):
    """A board that notes when a pool's decision to start was committed, and when it first had somebody to route to."""

    def __init__(self) -> None:
        super().__init__()
        self.started: dict[str, float] = {}
        self.routed: dict[str, float] = {}

    def publish(self, view: PoolView) -> None:
        super().publish(view)
        name = view.rules.pool
        if view.plan is not None and any(a.kind == "start" for a in view.plan.actions):
            self.started.setdefault(name, monotonic())
        if view.routable:
            self.routed.setdefault(name, monotonic())


def warm() -> list[Row]:
    """From the committed decision to start a warm machine until routers are given its address."""
    clock, feed, board = SystemClock(), Feed(), Serving()
    names = tuple(f"warm-{n}" for n in range(WARM))
    with quiet() as world:
        made = provider(world, clock, warm_up_s=0.0)
        for name in names:
            now = clock.now()
            told = made.apply(Launch(f"into-{name}", name, now, now + 60.0, OFFER, into="warm"))
            assert told.status == "accepted", told.text
        until(lambda: {i.state for i in made.observe().instances} == {"warm"}, "machines at rest")
        hands = {"aws": Threaded(made, clock, 1.0, board.wake, USUAL.parallel)}
        resting = {n: ruled(n, warm_pool=WarmPool(min=0)) for n in names}
        with looping(resting, (feed,), hands, board):
            settled(board, names)
            for name in names:
                rested(clock, board, name)
                feed.put(name, 100.0, clock.now())
                board.wake.set()
                ends = monotonic() + 20.0
                while name not in board.routed and monotonic() < ends:
                    clock.wait(clock.now() + 0.02)
                # The next sample says that one is enough, so that nothing else goes on beside the next trial.
                feed.put(name, 0.0, clock.now())
        assert world.wire.count("StartInstances") == WARM
        floor = 1e3 * np.array([_bare_start(made, one.id) for one in world.alive()[:WARM]])
        made.close()
    took = 1e3 * np.array([board.routed[n] - board.started[n] for n in names])
    what = f"warm pool: decision committed to the address at the routers, {WARM} trials"
    return [
        Row(f"{what}, p50 (peer: the calls alone)", float(np.median(took)), "ms", 180.0, float(np.median(floor)), True),
        Row(f"{what}, worst (peer: the calls alone)", float(took.max()), "ms", 180.0, float(floor.max()), True),
    ]


def run() -> list[Row]:
    """All rows."""
    from benchmarks import clouds_dead

    return [*sample_to_wire(), *fifty(), *warm(), *clouds_dead.dead()]


if __name__ == "__main__":
    show(run(), "Clouds")
