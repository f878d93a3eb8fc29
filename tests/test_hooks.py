"""Who is called when: a dispatch whose drains call hooks, over a fleet that a test moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from autoscaler.clock import SystemClock
from autoscaler.dispatch import Calls
from autoscaler.hookcall import HookAnswer
from autoscaler.hooks import Hooked
from autoscaler.movement import Bounds, DrainHook, ScaleIn
from autoscaler.onboard import with_flight
from autoscaler.planner.draft import Draft
from autoscaler.planner.endings import finish_drains
from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Decision, Fleet, Instance, Memory, Operate, Outcome
from tests.hookworld import Draining, draining
from tests.peers.pages import until

HOOK = DrainHook(url="http://{address}/drain", timeout_s=5.0, every_s=0.02)
RULES = RuleSet("chat", Bounds(1, 4), scale_in=ScaleIn(hook=HOOK, drain_s=300.0, settle_s=5.0))


@dataclass
class Reported:
    """A provider's dispatch whose report a test writes."""

    report: Fleet | None = None
    submitted: list[Action] = field(default_factory=list)

    def fleet(self) -> Fleet | None:
        return self.report

    def submit(self, actions: Any) -> None:
        self.submitted += actions

    def outcomes(self) -> tuple[Outcome, ...]:
        return ()

    def calls(self) -> Calls:
        return Calls()

    def stop(self) -> None:
        return


@dataclass
class World:
    """A hooked dispatch, the instance's server, and what has been heard."""

    server: Draining
    inner: Reported = field(default_factory=Reported)
    rules: dict[str, RuleSet] = field(default_factory=lambda: {"chat": RULES})
    wake: threading.Event = field(default_factory=threading.Event)
    heard: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hand = Hooked(self.inner, SystemClock(), lambda: self.rules, self.wake)

    def shows(self, *states: str, **changes: Any) -> Fleet:
        """What the tick sees once the provider reports instances in these states."""
        some = tuple(self.server.instance(id=f"i-{n}", state=s, **changes) for n, s in enumerate(states, start=1))
        self.inner.report = Fleet(100.0, some)
        return self.sees()

    def sees(self) -> Fleet:
        fleet = self.hand.fleet()
        assert fleet is not None
        return fleet

    def one(self) -> Instance:
        return self.sees().instances[0]

    def texts(self) -> list[str]:
        self.heard += self.hand.outcomes()
        return [outcome.text for outcome in self.heard]


@pytest.fixture
def world() -> Iterator[World]:
    with draining() as server:
        made = World(server)
        yield made
        made.hand.stop()


def drain(world: World, id_: str = "drain-1") -> None:
    """The intent that the loop submits, and what the provider then reports."""
    world.hand.submit([Operate(id_, "chat", 10.0, 70.0, "drain", "i-1", "local")])
    world.shows("draining")


def test_an_instance_that_leaves_routing_is_called_once_and_the_outcome_says_what_it_answered(world: World) -> None:
    drain(world)
    until(world.texts, "what the hook answered")
    assert world.texts() == [f"drain hook: POST http://{world.server.address}/drain: 200"]
    assert (world.heard[0].action, world.heard[0].status) == ("drain-1", "accepted")
    assert world.wake.is_set()
    assert not world.one().held
    assert len(world.server.asked) == 1


def test_nobody_is_called_before_the_provider_shows_the_drain(world: World) -> None:
    world.hand.submit([Operate("drain-1", "chat", 10.0, 70.0, "drain", "i-1", "local")])
    world.shows("ready", "pending", "warm", "stopping", "failed")
    assert [i.held for i in world.sees().instances] == [True] * 5
    world.shows("draining")
    until(lambda: world.server.asked, "a call")
    assert len(world.inner.submitted) == 1


def test_a_pool_without_a_hook_is_left_as_it_is_reported(world: World) -> None:
    world.rules = {"chat": replace(RULES, scale_in=ScaleIn())}
    assert world.shows("draining") is world.inner.report
    assert world.hand._thread is None


def test_the_same_report_is_the_same_value_until_a_hook_answers(world: World) -> None:
    world.server.answers = [(200, b'{"in_flight": 2}', {})]
    first = world.shows("draining")
    until(lambda: world.one().in_flight == 2, "a count")
    assert world.sees() is not first


def test_a_failing_hook_is_called_again_until_it_answers(world: World) -> None:
    world.server.answers = [(500, b"", {}), (503, b"", {}), (503, b"", {}), (200, b"", {})]
    drain(world)
    until(lambda: not world.one().held, "an answer")
    assert len(world.server.asked) == 4
    ends = [text.rpartition(" ")[2] for text in world.texts()]
    assert ends == ["500", "503", "200"]  # what is repeated is told once
    assert world.texts()[0].startswith("drain hook failed, it is called again: POST ")


def test_a_count_is_asked_for_again_until_the_instance_is_gone(world: World) -> None:
    world.server.answers = [(200, b'{"in_flight": %d}' % n, {}) for n in (2, 1, 0)]
    drain(world)
    until(lambda: world.one().in_flight == 0, "empty hands")
    calls = len(world.server.asked)
    until(lambda: len(world.server.asked) > calls, "one more question")
    world.shows()
    until(lambda: world.hand._drains == {}, "the end")


def test_a_count_that_falls_is_told_once_and_so_is_its_end(world: World) -> None:
    world.server.answers = [(200, b'{"in_flight": %d}' % n, {}) for n in (9, 8, 7, 0)]
    drain(world)
    until(lambda: len(world.server.asked) > 5, "several questions")
    assert [text.rpartition(": ")[2] for text in world.texts()] == ["200, 9 in flight", "200, 0 in flight"]


def test_whoever_looks_sees_what_a_drain_waits_for(world: World) -> None:
    world.server.answers = [(503, b"", {})]
    world.shows("draining")
    until(lambda: "503" in world.one().detail, "the answer in the instance's words")
    assert world.one().detail == f"POST http://{world.server.address}/drain: 503"


def test_one_that_is_resumed_is_left_alone_and_called_anew_when_it_drains_again(world: World) -> None:
    world.shows("draining")
    until(lambda: not world.one().held, "an answer")
    world.shows("ready")
    assert world.one().held
    world.shows("draining", since=20.0)
    until(lambda: len(world.server.asked) == 2, "a second call")


def test_a_new_drain_between_two_reports_is_noticed_by_its_time(world: World) -> None:
    world.shows("draining", since=10.0)
    until(lambda: not world.one().held, "an answer")
    world.shows("draining", since=20.0)
    until(lambda: len(world.server.asked) == 2, "a second call")


def test_a_restart_calls_those_that_still_drain(world: World) -> None:
    world.shows("draining")
    until(lambda: not world.one().held, "an answer")
    again = World(world.server)
    again.shows("draining")
    until(lambda: len(world.server.asked) == 2, "a call by the next process")
    again.hand.stop()


def test_one_that_hangs_holds_up_no_other_and_no_report(world: World) -> None:
    world.server.hanging = threading.Event()
    world.shows("draining")
    until(lambda: world.server.asked, "a call that hangs")
    with draining() as other:
        instance = other.instance(id="i-2")
        world.inner.report = Fleet(101.0, (world.server.instance(), instance))
        until(lambda: not world.sees().instances[1].held, "the other's answer")
        assert world.sees().instances[0].held


def test_a_hook_that_breaks_is_a_failure_like_any_other(world: World) -> None:
    def breaks(*_: Any) -> HookAnswer:
        raise RuntimeError("a defect")

    world.hand.ask = breaks
    drain(world)
    until(world.texts, "what went wrong")
    assert world.texts() == ["drain hook failed, it is called again: RuntimeError"]
    assert world.one().held


def test_stopping_waits_for_nobody(world: World) -> None:
    world.server.answers = [(503, b"", {})]
    world.shows("draining")
    until(lambda: world.server.asked, "a call")
    world.hand.stop()
    assert world.hand._thread is not None
    assert not world.hand._thread.is_alive()


# --- what the planner makes of it ---------------------------------------------------------------------------------

EMPTY = {"127.0.0.1:8000": (0, 60.0)}


def ends(instance: Instance, now: float, flights: dict[str, tuple[int, float]]) -> list[str]:
    """Why the planner terminates a draining instance; empty = it does not."""
    fleet = with_flight(Fleet(now, (instance,)), flights)
    decision = Decision("chat", 1, now, 1, 0, 1, 0, ())
    draft = Draft(RULES, decision)
    finish_drains(draft, fleet.instances, Memory(watched_since=0.0))
    return [reason.text for reason in draft.reasons]


@pytest.mark.parametrize(
    ("changes", "now", "flights", "why"),
    [
        pytest.param({}, 61.0, EMPTY, "nothing is in flight", id="without a hook empty hands are enough"),
        pytest.param({"held": True}, 61.0, EMPTY, "", id="a hook that has not answered ends nothing early"),
        pytest.param({"held": True}, 311.0, EMPTY, "drain deadline", id="and holds nothing past the deadline"),
        pytest.param(
            {"in_flight": 0, "in_flight_at": 60.0}, 61.0, {}, "nothing is in flight", id="its count is enough"
        ),
        pytest.param(
            {"in_flight": 0, "in_flight_at": 12.0}, 61.0, EMPTY, "", id="not when it came before routers knew"
        ),
        pytest.param({"in_flight": 3, "in_flight_at": 60.0}, 61.0, EMPTY, "", id="metrics do not outvote it"),
        pytest.param(
            {"in_flight": 0, "in_flight_at": 60.0}, 61.0, {"127.0.0.1:8000": (2, 60.0)}, "", id="nor it the metrics"
        ),
    ],
)
def test_a_hook_ends_no_drain_early_and_holds_none_past_its_deadline(
    changes: dict[str, Any], now: float, flights: dict[str, tuple[int, float]], why: str
) -> None:
    instance = Instance("i-1", "chat", "local/process", "draining", 10.0, address="127.0.0.1:8000")
    found = ends(replace(instance, **changes), now, flights)
    assert (why in found[0]) if why else (found == [])
