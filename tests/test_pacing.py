"""How fast a provider is called: the arithmetic, and the gate that every call goes through."""

from __future__ import annotations

import pytest

from autoscaler import pacing
from autoscaler.border import Calls, carry_out, report
from autoscaler.clock import SimClock
from autoscaler.errors import BusyError, CapacityError, ThrottledError, UnreachableError
from autoscaler.gate import Gate
from autoscaler.pacing import DEAD_AFTER, DEAD_LONGEST_S, LONGEST_WAIT_S, Flow, Held, Pace
from autoscaler.types import Action, Fleet, Launch, Outcome
from tests.worlds import NOW, OFFER

PACE = Pace(calls_per_s=2.0, burst=3)


def taken(flow: Flow, now: float, times: int) -> tuple[Flow, list[Held | None]]:
    told = []
    for _ in range(times):
        flow, held = pacing.ask(PACE, flow, now)
        told.append(held)
    return flow, told


def test_a_burst_is_let_through_and_the_rest_waits_for_the_rate() -> None:
    flow, told = taken(pacing.begin(PACE, NOW), NOW, 4)
    assert told == [None, None, None, Held(0.5, "pace")]
    _, told = taken(flow, NOW + 1.0, 3)
    assert told == [None, None, Held(0.5, "pace")]


def test_a_clock_that_went_back_gives_no_calls_and_keeps_nobody_out_for_longer_than_the_longest_wait() -> None:
    flow, _ = taken(pacing.begin(PACE, NOW), NOW, 3)
    flow = pacing.throttled(PACE, flow, NOW, 50.0, 0.5)
    flow, held = pacing.ask(PACE, flow, NOW - 86400.0)
    assert held == Held(LONGEST_WAIT_S, "throttled")


@pytest.mark.parametrize(
    ("asked_s", "times", "least_s", "most_s"),
    [
        pytest.param(7.0, 1, 7.0, 7.0, id="the wait that it asks for is honoured"),
        pytest.param(0.0, 1, 0.5, 1.0, id="without one it is left alone for about a second"),
        pytest.param(0.0, 4, 4.0, 8.0, id="the wait doubles with each refusal in a row"),
        pytest.param(0.0, 40, 30.0, 60.0, id="and has an end"),
    ],
)
@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_a_provider_that_throttles_is_left_alone(
    asked_s: float, times: int, least_s: float, most_s: float, chance: float
) -> None:
    flow, now = pacing.begin(PACE, NOW), NOW
    for _ in range(times):
        now = max(now, flow.until)
        flow = pacing.throttled(PACE, flow, now, asked_s, chance)
    assert least_s <= flow.until - now <= most_s
    assert pacing.ask(PACE, flow, now)[1] == Held(flow.until - now, "throttled")


def test_fifty_refusals_of_one_volley_are_one() -> None:
    flow = pacing.throttled(PACE, pacing.begin(PACE, NOW), NOW, 1.0, 0.5)
    again = flow
    for _ in range(49):
        again = pacing.throttled(PACE, again, NOW + 0.1, 1.0, 0.5)
    assert (again.rate, again.throttled) == (flow.rate, 1)
    assert again.until == NOW + 1.1


def test_the_rate_halves_at_once_and_comes_back_in_equal_steps() -> None:
    flow = pacing.throttled(PACE, pacing.begin(PACE, NOW), NOW, 1.0, 0.0)
    assert flow.rate == 1.0
    rates = [pacing.ask(PACE, flow, NOW + s)[0].rate for s in (15.0, 30.0, 60.0, 600.0)]
    assert rates == pytest.approx([1.25, 1.5, 2.0, 2.0])


def test_however_often_it_throttles_it_is_still_asked_now_and_then() -> None:
    flow, now = pacing.begin(PACE, NOW), NOW
    for _ in range(100):
        now = max(now, flow.until) + 1.0
        flow, held = pacing.ask(PACE, flow, now)
        if held is None:
            flow = pacing.throttled(PACE, flow, now, 0.0, 1.0)
    assert flow.rate >= PACE.calls_per_s / 64
    assert flow.until - now <= LONGEST_WAIT_S


def test_after_some_calls_without_an_answer_only_one_at_a_time_asks_whether_it_is_back() -> None:
    flow, now = pacing.begin(PACE, NOW), NOW
    for _ in range(DEAD_AFTER):
        assert not flow.dead
        flow = pacing.unreachable(flow, now, 0.5)
    assert flow.dead
    assert pacing.ask(PACE, flow, now)[1] == Held(flow.until - now, "unreachable")
    now = flow.until
    flow, first = pacing.ask(PACE, flow, now)
    flow, second = pacing.ask(PACE, flow, now)
    assert first is None
    assert second is not None
    assert second.why == "unreachable"
    waits = []
    for _ in range(10):
        flow = pacing.unreachable(flow, now, 1.0)
        waits.append(flow.until - now)
        now = flow.until
        flow, _ = pacing.ask(PACE, flow, now)
    assert waits[:3] == pytest.approx([10.0, 20.0, 30.0])
    assert max(waits) <= DEAD_LONGEST_S
    assert pacing.answered(flow).until < now
    assert pacing.ask(PACE, pacing.answered(flow), now)[1] is None


def test_calls_under_way_when_it_died_make_no_wait_longer() -> None:
    flow = pacing.begin(PACE, NOW)
    for _ in range(DEAD_AFTER):
        flow = pacing.unreachable(flow, NOW, 0.5)
    assert pacing.unreachable(flow, NOW + 0.1, 0.5) == flow


# --- the gate ---------------------------------------------------------------------------------------------------


class Raising:
    """A provider that raises what it is told to."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.asked = error, 0

    def observe(self) -> Fleet:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Fleet(NOW)

    def apply(self, action: Action) -> Outcome:
        self.observe()
        return Outcome(action.id, action.pool, "accepted", NOW)


class Telling(Raising):
    """One that turns its failures into outcomes by itself."""

    def apply(self, action: Action) -> Outcome:
        self.asked += 1
        code = str(getattr(self.error, "code", ""))
        return Outcome(action.id, action.pool, "unknown", NOW, error=code, text=str(self.error), retry_after_s=30.0)


def order(n: int) -> Launch:
    return Launch(f"a{n}", "chat", NOW, NOW + 3600, OFFER)


@pytest.mark.parametrize(
    ("error", "asked", "why"),
    [
        pytest.param(ThrottledError("slow down", 30.0), 1, "throttled", id="one that throttles is asked once"),
        pytest.param(UnreachableError("cut off"), DEAD_AFTER, "unreachable", id="one that is silent a few times"),
        pytest.param(CapacityError("none left"), 20, "", id="one that refuses answers, and is asked"),
        pytest.param(BusyError("being made", 30.0), 20, "", id="one thing that is busy stops no call for others"),
        pytest.param(KeyError("x"), 20, "", id="nor does a defect of the plug-in"),
        pytest.param(None, 20, "", id="nor an answer"),
    ],
)
@pytest.mark.parametrize("shape", [Raising, Telling])
def test_reports_and_actions_go_through_one_gate(
    shape: type[Raising], error: Exception | None, asked: int, why: str
) -> None:
    provider, clock, calls = shape(error), SimClock(NOW), Calls()
    gate = Gate(Pace(), clock, "aws")
    told = [carry_out(provider, order(n), clock, calls, gate) for n in range(20)]
    assert provider.asked == asked
    assert calls.applied == asked
    held = told[asked:]
    assert {o.status for o in held} <= {"unknown"}
    assert {o.error for o in held} <= {why}
    assert all((o.retry_after_s or 0) > 0 for o in held)
    assert gate.held == len(held)
    if why:
        assert report(provider, calls, gate) is None
        assert provider.asked == asked, "a report is held back too"
        clock.at += LONGEST_WAIT_S
        report(provider, calls, gate)
        assert provider.asked == asked + 1


def test_equal_names_wait_equally_and_others_do_not() -> None:
    def wait_s(name: str) -> float:
        return Gate(Pace(), SimClock(NOW), name).slowed(0.0)

    assert wait_s("aws") == wait_s("aws")
    assert wait_s("aws") != wait_s("azure")


def test_who_may_pause_waits_for_the_pace_and_who_may_not_is_told_when() -> None:
    clock, provider = SimClock(NOW), Raising(None)
    gate = Gate(Pace(calls_per_s=10.0, burst=1), clock)
    paused: list[float] = []

    def pause(seconds: float) -> bool:
        paused.append(seconds)
        clock.at += seconds
        return False

    told = [carry_out(provider, order(n), clock, Calls(), gate, pause) for n in range(5)]
    assert [o.status for o in told] == ["accepted"] * 5
    paused = [s for s in paused if s > pacing.SHORTEST_WAIT_S]
    assert paused == pytest.approx([0.1] * 4, abs=0.002)
    at_once = carry_out(provider, order(9), clock, Calls(), gate)
    assert (at_once.status, at_once.error) == ("unknown", "throttled")
    ending = carry_out(provider, order(9), clock, Calls(), gate, lambda _: True)
    assert ending.status == "unknown"
