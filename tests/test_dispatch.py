"""How intents reach a provider and how its failures come back, inline and on threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from autoscaler.clock import SimClock, SystemClock
from autoscaler.dispatch import Inline, Threaded, Unavailable
from autoscaler.errors import CapacityError, CredentialsError, ThrottledError, UnreachableError
from autoscaler.gate import Gate
from autoscaler.pacing import USUAL
from autoscaler.types import Action, Fleet, Launch, Outcome
from tests.worlds import NOW, OFFER, instance


def order(n: int = 1, valid_until: float = NOW + 300) -> Launch:
    return Launch(f"a{n}", "chat", NOW, valid_until, OFFER)


@dataclass
class Scripted:
    """A provider that does what a test says."""

    act: Callable[[Action], Outcome] = lambda a: Outcome(a.id, a.pool, "accepted", NOW)
    look: Callable[[], Fleet] = lambda: Fleet(NOW, (instance(1),))
    applied: list[str] = field(default_factory=list)

    def observe(self) -> Fleet:
        return self.look()

    def apply(self, action: Action) -> Outcome:
        self.applied.append(action.id)
        return self.act(action)


def raising(error: Exception) -> Callable[[Action], Outcome]:
    def act(_: Action) -> Outcome:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status", "code", "wait"),
    [
        pytest.param(CapacityError("none left"), "failed", "capacity", None, id="a refusal is final"),
        pytest.param(CredentialsError("who are you"), "failed", "credentials", None, id="so are wrong credentials"),
        pytest.param(UnreachableError("cut off"), "unknown", "unreachable", None, id="no answer is unknown"),
        pytest.param(ThrottledError("slow down", 7.0), "unknown", "throttled", 7.0, id="throttling waits"),
        pytest.param(KeyError("x"), "unknown", "bug", None, id="a bug in a plug-in is unknown, not fatal"),
    ],
)
def test_every_failure_becomes_an_outcome(error: Exception, status: str, code: str, wait: float | None) -> None:
    hand = Inline(Scripted(act=raising(error)), SimClock(NOW))
    hand.submit([order()])
    (outcome,) = hand.outcomes()
    assert (outcome.status, outcome.error, outcome.retry_after_s) == (status, code, wait)
    assert hand.outcomes() == ()
    assert hand.calls().apply_failures == 1


def test_an_action_past_its_time_is_not_started() -> None:
    provider = Scripted()
    hand = Inline(provider, SimClock(NOW + 301))
    hand.submit([order()])
    assert provider.applied == []
    assert hand.outcomes()[0].error == "expired"


def test_a_report_that_fails_leaves_the_last_one() -> None:
    provider = Scripted()
    hand = Inline(provider, SimClock(NOW))
    first = hand.fleet()

    def down() -> Fleet:
        raise UnreachableError("cut off")

    provider.look = down
    assert hand.fleet() == first
    assert hand.calls().last_error == "cut off"


def test_a_provider_that_is_not_installed_reports_nothing_and_says_why() -> None:
    hand = Unavailable("no plug-in 'aws'")
    hand.submit([order()])
    assert hand.fleet() is None
    assert hand.outcomes() == ()
    assert hand.calls().last_error == "no plug-in 'aws'"


@pytest.fixture
def threaded() -> Iterator[Callable[[Scripted], Threaded]]:
    started: list[Threaded] = []

    def start(provider: Scripted) -> Threaded:
        hand = Threaded(provider, SystemClock(), 0.01, threading.Event(), workers=2)
        hand.start()
        started.append(hand)
        return hand

    yield start
    for hand in started:
        hand.stop()


def wait_for(check: Callable[[], object]) -> None:
    for _ in range(1000):
        if check():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen within five seconds")


def test_a_slow_call_holds_up_nobody_and_is_not_started_twice(threaded: Callable[[Scripted], Threaded]) -> None:
    gate = threading.Event()

    def slow(action: Action) -> Outcome:
        if action.id == "a1":
            gate.wait(10)
        return Outcome(action.id, action.pool, "accepted", NOW)

    provider = Scripted(act=slow)
    hand = threaded(provider)
    far = SystemClock().now() + 100
    hand.submit([order(1, far), order(2, far)])
    hand.submit([order(1, far)])
    done: list[str] = []

    def ended() -> list[str]:
        done.extend(o.action for o in hand.outcomes())
        return done

    wait_for(lambda: "a2" in ended())
    assert done == ["a2"]
    gate.set()
    wait_for(lambda: "a1" in ended())
    assert sorted(provider.applied) == ["a1", "a2"]


def test_a_new_report_wakes_the_loop_and_an_equal_one_does_not(threaded: Callable[[Scripted], Threaded]) -> None:
    provider = Scripted()
    hand = threaded(provider)
    wait_for(hand.wake.is_set)
    hand.wake.clear()
    seen = hand.calls().observed
    wait_for(lambda: hand.calls().observed > seen + 3)
    assert not hand.wake.is_set()
    provider.look = lambda: Fleet(NOW + 1, (instance(1), instance(2)))
    wait_for(hand.wake.is_set)
    there = hand.fleet()
    assert there is not None
    assert there.ready == 2


def test_an_older_report_never_replaces_a_newer_one(threaded: Callable[[Scripted], Threaded]) -> None:
    provider = Scripted(look=lambda: Fleet(NOW + 10, (instance(1),)))
    hand = threaded(provider)
    wait_for(hand.fleet)
    provider.look = lambda: Fleet(NOW, ())
    seen = hand.calls().observed
    wait_for(lambda: hand.calls().observed > seen + 3)
    there = hand.fleet()
    assert there is not None
    assert there.observed_at == NOW + 10


def test_fifty_orders_are_asked_for_at_the_same_time() -> None:
    """Each call ends only when all fifty have begun."""
    together = threading.Barrier(50)

    def slow(action: Action) -> Outcome:
        together.wait(30)
        return Outcome(action.id, action.pool, "accepted", NOW)

    provider, clock = Scripted(act=slow), SystemClock()
    hand = Threaded(provider, clock, 60.0, threading.Event(), USUAL.parallel, Gate(USUAL, clock, "sim"))
    hand.start()
    done: list[Outcome] = []

    def ended() -> bool:
        done.extend(hand.outcomes())
        return len(done) == 50

    try:
        hand.submit([order(n, clock.now() + 100) for n in range(50)])
        wait_for(ended)
    finally:
        together.abort()
        hand.stop()
    assert {o.status for o in done} == {"accepted"}
    assert hand.calls().applied == 50
    assert hand.calls().observed < 50, "what ends together shares a report"
    assert hand.calls().held == 0


def test_calls_that_end_together_share_a_report(threaded: Callable[[Scripted], Threaded]) -> None:
    """While one look is under way, however many calls end, one more look follows it."""
    looking, go_on = threading.Event(), threading.Event()
    looks: list[int] = []
    provider = Scripted()
    clock = SystemClock()
    hand = Threaded(provider, clock, 3600.0, threading.Event(), workers=20)
    hand.start()
    wait_for(hand.fleet)

    def look() -> Fleet:
        looks.append(1)
        looking.set()
        go_on.wait(30)
        return Fleet(clock.now(), (instance(1),))

    provider.look = look
    try:
        far = clock.now() + 100
        hand.submit([order(0, far)])
        wait_for(looking.is_set)
        hand.submit([order(n, far) for n in range(1, 20)])
        wait_for(lambda: len(provider.applied) == 20 and not hand._under_way)
        go_on.set()
        wait_for(lambda: not hand._looking)
    finally:
        go_on.set()
        hand.stop()
    assert len(looks) == 2


def test_of_a_call_that_came_too_late_nothing_is_known() -> None:
    """An earlier try of the same intent may have been carried out; only a report can tell."""
    hand = Inline(Scripted(), SimClock(NOW + 301))
    hand.submit([order()])
    (outcome,) = hand.outcomes()
    assert (outcome.status, outcome.final) == ("unknown", False)
