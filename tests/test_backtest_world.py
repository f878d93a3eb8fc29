"""The world of a back-test behaves as a collector and a provider must, and its pages say what the pool does."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.backtest.fluid import Demand, FluidPool
from autoscaler.backtest.run import Setting, backtest
from autoscaler.backtest.world import LE_S, PROVIDED, FluidWorld
from autoscaler.clock import SimClock
from autoscaler.errors import SigmascaleError
from autoscaler.journal import Entry
from autoscaler.ledger import Fleeting
from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet
from autoscaler.signals import metric
from autoscaler.trace import Trace
from autoscaler.types import Action, Batch, Decision, Launch, Memory, Offer, Operate, Outcome, Plan, World

OFFER = Offer("backtest", "replica", usd_per_hour=2.0)
ORIGIN = 1000.0


def world(rate: float = 20.0, start: int = 2, boot_s: float = 40.0) -> FluidWorld:
    """Replicas of 10/s and a steady demand, looked at every 15 s."""
    fluid = FluidPool(Demand((0.0, 10_000.0), (rate,)), 10.0, boot_s, start)
    return FluidWorld("chat", fluid, SimClock(ORIGIN), ORIGIN, 15.0, OFFER)


def launch(name: str, at: float = ORIGIN) -> Launch:
    return Launch(name, "chat", at, at + 300.0, OFFER)


def operate(kind: str, instance: str) -> Operate:
    return Operate(f"{kind}-{instance}", "chat", ORIGIN, ORIGIN + 60.0, kind, instance, "backtest")  # type: ignore[arg-type]


def pages(one: FluidWorld, now: float) -> dict[str, Batch]:
    one.clock.at = now  # type: ignore[attr-defined]
    return {b.source: b for b in one.collect(now) if isinstance(b, Batch) and b.state == "up"}


def values(batch: Batch) -> dict[str, float]:
    return {key.metric: float(v) for key, v in zip(batch.keys, batch.values, strict=True)}


def test_every_metric_that_is_given_has_a_canonical_name() -> None:
    assert [name for name in PROVIDED if metric(name) is None] == []


def test_a_launch_is_listed_at_once_and_serves_one_boot_later() -> None:
    one = world()
    assert one.apply(launch("a")).status == "accepted"
    states = {i.id: i.state for i in one.observe().instances}
    assert states == {"chat-start-0": "ready", "chat-start-1": "ready", "a": "pending"}
    pages(one, ORIGIN + 39.0)
    assert one.observe().pending == 1
    pages(one, ORIGIN + 45.0)
    (found,) = [i for i in one.observe().instances if i.id == "a"]
    assert (found.state, found.since, found.usd_per_hour) == ("ready", ORIGIN + 40.0, 2.0)
    assert one.fluid.ready == 3


def test_a_repeated_launch_or_end_changes_nothing() -> None:
    one = world()
    for _ in range(2):
        one.apply(launch("a"))
    assert (one.launches, one.fluid.pending) == (1, 1)
    for _ in range(2):
        assert one.apply(operate("terminate", "a")).status == "done"
    assert (one.fluid.ready, one.fluid.pending) == (2, 0)


def test_the_very_instance_that_is_named_leaves() -> None:
    """Of two that boot the older one is cancelled, so the younger one still serves in time; a drained one leaves."""
    one = world()
    one.apply(launch("old"))
    pages(one, ORIGIN + 15.0)
    one.apply(launch("young", ORIGIN + 15.0))
    one.apply(operate("terminate", "old"))
    assert one.fluid.serves_at() == (55.0,)
    one.apply(operate("drain", "chat-start-0"))
    assert {i.id for i in one.observe().instances} == {"chat-start-1", "young"}
    assert one.fluid.ready == 1


@pytest.mark.parametrize("kind", ["start", "stop", "resume"])
def test_there_is_no_warm_pool(kind: str) -> None:
    assert world().apply(operate(kind, "chat-start-0")).status == "failed"


def test_pages_tell_what_came_what_waits_and_how_busy_the_replicas_are() -> None:
    one = world(rate=15.0)
    pages(one, ORIGIN)
    found = pages(one, ORIGIN + 15.0)
    own = values(found["pool/chat"])
    assert own["requests_arrived_total"] == pytest.approx(225)
    assert own["request_success_total"] == pytest.approx(225)
    assert own["requests_waiting"] == 0
    assert own["requests_running"] == pytest.approx(15 * 2.0)
    (devices,) = [batch for source, batch in found.items() if source.startswith("devices")]
    busy = [v for key, v in zip(devices.keys, devices.values, strict=True) if key.metric == "gpu_busy_ratio"]
    assert busy == pytest.approx([0.75, 0.75], rel=1e-5)
    assert values(pages(one, ORIGIN + 30.0)["pool/chat"])["requests_arrived_total"] == pytest.approx(450)


def test_devices_that_left_are_gone_and_missed_by_nobody() -> None:
    one = world()
    pages(one, ORIGIN)
    one.apply(operate("drain", "chat-start-0"))
    one.clock.at = ORIGIN + 15.0  # type: ignore[attr-defined]
    batches = [b for b in one.collect(ORIGIN + 15.0) if isinstance(b, Batch) and b.source.startswith("devices")]
    assert [b.state for b in batches] == ["gone", "up"]
    assert batches[0].source != batches[1].source
    assert {key.label("instance") for key in batches[1].keys} == {"chat-start-1"}


def test_histograms_of_waits_count_all_work_that_was_served() -> None:
    """30/s on 20/s: what comes at s waits s/2. After 60 s what came until 40 s is served, with waits up to 20 s."""
    one = world(rate=30.0)
    for tick in range(5):
        found = pages(one, ORIGIN + 15.0 * tick)["pool/chat"]
    counts = {(key.metric, key.label("le")): float(v) for key, v in zip(found.keys, found.values, strict=True)}
    name = "request_queue_time_seconds"
    assert counts[f"{name}_count", None] == counts[f"{name}_bucket", "+Inf"] == pytest.approx(1200)
    for edge in LE_S:
        assert counts[f"{name}_bucket", f"{edge:g}"] == pytest.approx(min(1200.0, 60.0 * edge))


def test_a_law_that_breaks_is_told_and_scores_nothing() -> None:
    def broken(rules: RuleSet, world: World, memory: Memory) -> Decision:
        raise ZeroDivisionError("it divides by zero")

    rules = RuleSet("chat", Bounds(1, 9))
    trace = Trace(np.arange(4, dtype=np.float64) * 60.0, np.full(4, 60.0), 60.0, np.zeros(4, np.bool_))
    with pytest.raises(SigmascaleError, match=r"16 of 16 ticks broke.*it divides by zero"):
        backtest(trace, rules, Setting(1.0, 60.0, 1, 1, 9, 15.0, 0.0), broken)


def test_a_ledger_that_forgets_still_keeps_open_intents() -> None:
    ledger, memory = Fleeting(), Memory()
    actions: tuple[Action, ...] = (launch("a"), launch("b"))
    decision = Decision("chat", 1, ORIGIN, 1, 3, 1, 0, ())
    ledger.record([Entry(decision, Plan("chat", 1, actions), (), memory)])
    done = (Outcome("a", "chat", "done", ORIGIN), Outcome("b", "chat", "accepted", ORIGIN))
    ledger.record([Entry(decision, Plan("chat", 2), done, memory)])
    assert ledger.open_intents() == (actions[1],)
    assert (ledger.load(), ledger.overrides(ORIGIN)) == ({}, ())
