"""What a simulated cluster's machines cost, serve and lose on their way through the warm pool and out of it."""

from __future__ import annotations

import pytest

from autoscaler import sim_demand as shape
from autoscaler.sim import SimCluster, Workload
from autoscaler.types import Instance, Launch, Offer, Operate
from collectors.sim import SimCollector

OFFER = Offer("sim", "small", usd_per_hour=3600.0)


def cluster(rate: float = 0.0, **settings: float) -> SimCluster:
    """A cluster at time 0 with one warm machine, `chat-1`, which takes 10 s to start."""
    made = SimCluster({"chat": Workload(shape.constant(rate))}, boot_s=5.0, warm_start_s=10.0, **settings)  # type: ignore[arg-type]
    made.launch(Launch("order", "chat", 0.0, 60.0, OFFER, into="warm"))
    return made


def do(there: SimCluster, kind: str, number: int) -> None:
    there.operate(Operate(f"{kind}-{number}", "chat", there.now, there.now + 60.0, kind, "chat-1", "sim"))  # type: ignore[arg-type]


def only(there: SimCluster) -> Instance:
    (instance,) = there.report().instances
    return instance


def test_a_warm_machine_takes_no_request_and_no_money() -> None:
    there = cluster(rate=4.0)
    there.advance(300.0)
    score = there.pools["chat"].score
    assert (score.requests_ok, score.usd, score.replica_seconds, score.peak_replicas) == (0, 0.0, 0.0, 0)
    assert there.report().usd_per_hour == 0.0
    assert only(there).address is None


def test_a_started_machine_is_pending_for_its_warm_start_and_then_serves_and_costs() -> None:
    there = cluster(rate=4.0)
    there.advance(100.0)
    do(there, "start", 1)
    assert (only(there).state, only(there).since, only(there).expected_at) == ("pending", 100.0, 110.0)
    there.advance(109.0)
    assert only(there).state == "pending"
    there.advance(160.0)
    assert (only(there).state, only(there).since) == ("ready", 110.0)
    score = there.pools["chat"].score
    assert score.requests_ok > 0
    assert (score.replica_seconds, score.usd) == pytest.approx((60.0, 60.0))


def test_a_machine_that_is_started_while_it_boots_is_not_ready_before_it_has_booted() -> None:
    there = cluster()
    there.warm_start_s = 1.0
    do(there, "start", 1)
    assert only(there).expected_at == 5.0


def test_stopping_a_busy_machine_cuts_off_what_was_in_flight() -> None:
    there = cluster(rate=4.0)
    do(there, "start", 1)
    there.advance(60.0)
    assert there.machines["chat-1"].in_flight > 0
    busy = there.machines["chat-1"].in_flight
    do(there, "stop", 2)
    assert there.pools["chat"].score.requests_aborted == busy
    assert (only(there).state, there.machines["chat-1"].in_flight) == ("warm", 0)


def test_a_resumed_machine_is_ready_since_it_was_resumed() -> None:
    there = cluster()
    do(there, "start", 1)
    there.advance(50.0)
    do(there, "drain", 2)
    there.advance(60.0)
    assert (only(there).state, only(there).since) == ("draining", 50.0)
    do(there, "resume", 3)
    assert (only(there).state, only(there).since) == ("ready", 60.0)


def test_only_a_machine_that_serves_has_a_page() -> None:
    there = cluster()
    pages = SimCollector(there)

    def states(now: float) -> dict[str, str]:
        return {b.source: b.state for b in pages.collect(now) if b.source.startswith("engine/")}

    assert states(10.0) == {}
    do(there, "start", 1)
    there.advance(30.0)
    assert states(30.0) == {"engine/chat-1": "up"}
    do(there, "stop", 2)
    assert states(35.0) == {"engine/chat-1": "gone"}
    assert states(40.0) == {}
