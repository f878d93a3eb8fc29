"""A peer's law in place of the engine, and how often a law is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from autoscaler.baselines.adapter import ARRIVALS, BUSY, WAITING, Peer, peer_rules
from autoscaler.baselines.asked import Asked
from autoscaler.baselines.hpa import Hpa
from autoscaler.baselines.seen import Seen
from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet
from autoscaler.types import Fleet, Frame, Instance, Memory, Offer, World

RULES = peer_rules(RuleSet("chat", Bounds(2, 12), capacity=1.0, offers=(Offer("sim", "gpu", lead_time_s=480.0),)))
OFFER = "sim/gpu"


@dataclass
class Watcher:
    """Wants what it is told to, and keeps what it saw."""

    period_s: float = 15.0
    window_s: float = 60.0
    wanted: int = 5
    saw: list[Seen] = field(default_factory=list)

    def want(self, seen: Seen) -> int:
        self.saw.append(seen)
        return self.wanted


def fleet(at: float, ready: int, pending: int = 0) -> Fleet:
    states = ["ready"] * ready + ["pending"] * pending
    return Fleet(at, tuple(Instance(f"i{n}", "chat", OFFER, state, at) for n, state in enumerate(states)))  # type: ignore[arg-type]


def frame(at: float, value: float) -> Frame:
    return Frame(15.0, np.array([at]), np.array([[value]]), np.array([at]), ("fresh",))


def world(at: float, ready: int, pending: int = 0, signals: Mapping[str, float] | None = None) -> World:
    frames = {name: frame(at, value) for name, value in (signals or {}).items()}
    return World(at, frames, fleet(at, ready, pending))


def test_a_peer_sees_demand_queue_use_and_the_fleet() -> None:
    watcher = Watcher()
    peer = Peer("watcher", watcher)
    peer(RULES, world(0.0, 4, 1), Memory())
    decision = peer(RULES, world(15.0, 4, 1, {ARRIVALS: 3.0, BUSY: 0.75, WAITING: 6.0}), Memory(want=5))
    (seen,) = watcher.saw
    assert (seen.demand, seen.busy_ratio, seen.waiting, seen.in_flight) == (3.0, 0.75, 6.0, 0.75 * 4 * 2 + 6.0)
    assert (seen.ready, seen.pending, seen.size, seen.capacity, seen.boot_s) == (4, 1, 5, 1.0, 480.0)
    assert decision.reasons[-1].replicas == decision.want == 5


def test_a_first_decision_leaves_the_pool_as_it_was_found() -> None:
    watcher = Watcher()
    assert Peer("watcher", watcher)(RULES, world(0.0, 7, 0, {ARRIVALS: 3.0}), Memory()).want == 7
    assert watcher.saw == []


def test_what_is_not_measured_is_unknown_and_keeps_the_size() -> None:
    peer = Peer("hpa", Hpa(on="demand"))
    sizes = [peer(RULES, world(15.0 * n, 7), Memory(want=7)).want for n in range(5)]
    assert sizes == [7] * 5


@pytest.mark.parametrize(
    ("wanted", "expected", "text"),
    [
        pytest.param(40, 12, "40 wanted, 12 within the bounds", id="the ceiling"),
        pytest.param(0, 2, "0 wanted, 2 within the bounds", id="the floor"),
        pytest.param(9, 9, "9 wanted", id="between them"),
    ],
)
def test_the_bounds_of_the_pool_hold(wanted: int, expected: int, text: str) -> None:
    peer = Peer("watcher", Watcher(wanted=wanted))
    peer(RULES, world(0.0, 5), Memory())
    decision = peer(RULES, world(15.0, 5), Memory(want=5))
    assert (decision.want, decision.reasons[-1].text) == (expected, text)


def test_an_unknown_fleet_decides_nothing() -> None:
    watcher = Watcher()
    decision = Peer("watcher", watcher)(RULES, World(0.0, {}, None), Memory(want=6))
    assert (decision.blind, decision.want) == (True, 6)
    assert watcher.saw == []


@pytest.mark.parametrize(
    ("period_s", "expected"),
    [
        pytest.param(2.0, [15, 30, 45, 60, 75, 90, 105, 120], id="faster than a tick: every tick"),
        pytest.param(15.0, [15, 30, 45, 60, 75, 90, 105, 120], id="as fast as a tick"),
        pytest.param(20.0, [15, 30, 45, 60, 90, 105, 120], id="20 s on the beat of 20 s"),
        pytest.param(60.0, [15, 60, 120], id="each minute"),
    ],
)
def test_a_law_is_asked_at_its_own_pace(period_s: float, expected: list[int]) -> None:
    watcher = Watcher(period_s)
    asked = Asked(watcher, 1.0, 480.0, 15.0)
    for tick in range(1, 9):
        asked.want(15.0 * tick, 1.0, 0.5, 0.0, 5, 0)
    assert [seen.now for seen in watcher.saw] == expected
