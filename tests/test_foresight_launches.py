"""What ticks see of launches becomes moments that lead times are learned from, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from autoscaler.foresight.launches import Open, fold, offer_key
from autoscaler.foresight.leads import Leads
from autoscaler.foresight.seen import Seen
from autoscaler.intents import expect
from autoscaler.leadtime import Moment
from autoscaler.types import Action, Fleet, Instance, Launch, LeadTime, Operate, Outcome
from tests.worlds import NOW, OFFER, instance, rules

RULES = rules()
COLD = offer_key(OFFER, RULES)
LAUNCH = Launch("a1", "chat", NOW, NOW + 300, OFFER)
START = Operate("s1", "chat", NOW, NOW + 60, "start", "chat-7", "sim")


def booting(state: str = "pending", **changes: object) -> Instance:
    """The machine that the launch makes."""
    base = instance(1, state, action="a1", requested_at=NOW, since=NOW, address=None)  # type: ignore[arg-type]
    return replace(base, **changes)  # type: ignore[arg-type]


def answer(status: str, action: Action = LAUNCH, after_s: float = 5.0, error: str = "") -> Outcome:
    return Outcome(action.id, "chat", status, NOW + after_s, error=error)  # type: ignore[arg-type]


def seen(
    after_s: float, *there: Instance, outcomes: Sequence[Outcome] = (), intents: Sequence[Action] = (LAUNCH,)
) -> Seen:
    return Seen(NOW + after_s, RULES, tuple(intents), tuple(outcomes), Fleet(NOW + after_s, there))


def told(*ticks: Seen) -> list[tuple[str, float]]:
    """(step, seconds after the order) of everything that the ticks tell."""
    state: Open = {}
    found: list[Moment] = []
    for tick in ticks:
        state, moments = fold(state, tick, lambda *_: False)
        found += moments
    return [(m.step, m.at - NOW) for m in found]


ACCEPTED = seen(15, outcomes=[answer("accepted")])
LISTED = seen(30, booting(), outcomes=[answer("done", after_s=30)])
READY = seen(200, booting("ready", since=NOW + 190), intents=())
TERMINATE = Operate("t1", "chat", NOW + 60, NOW + 120, "terminate", "chat-1", "sim")


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        pytest.param(
            [ACCEPTED, LISTED, READY, READY],
            [("requested", 0), ("accepted", 5), ("requested", 0), ("registered", 30), ("routed", 190)],
            id="a launch is routed when it became ready, not when that was seen",
        ),
        pytest.param([seen(15, outcomes=[answer("withheld")]), READY], [], id="what a shadow withheld teaches nothing"),
        pytest.param([seen(15, outcomes=[answer("unknown")])], [], id="no answer says nothing yet"),
        pytest.param(
            [seen(15, outcomes=[answer("failed", error="capacity")])],
            [("requested", 0), ("shortage", 5)],
            id="an offer that cannot be had is a shortage, not a lead time",
        ),
        pytest.param(
            [ACCEPTED, seen(310, outcomes=[answer("failed", after_s=310, error="launch_limit")])],
            [("requested", 0), ("accepted", 5), ("requested", 0), ("failed", 310)],
            id="one that was accepted and never came has failed",
        ),
        pytest.param(
            [ACCEPTED, LISTED, seen(75, booting("stopping"), intents=[TERMINATE])],
            [("requested", 0), ("accepted", 5), ("requested", 0), ("registered", 30), ("cancelled", 75)],
            id="one that is stopped as surplus was cancelled",
        ),
        pytest.param(
            [ACCEPTED, LISTED, seen(75, intents=[TERMINATE])],
            [("requested", 0), ("accepted", 5), ("requested", 0), ("registered", 30), ("cancelled", 75)],
            id="also when it is gone at once",
        ),
        pytest.param(
            [ACCEPTED, LISTED, seen(1000, booting("stopping"), intents=[TERMINATE])],
            [("requested", 0), ("accepted", 5), ("requested", 0), ("registered", 30), ("failed", 1000)],
            id="one that is given up because it is late has failed",
        ),
        pytest.param(
            [ACCEPTED, LISTED, seen(90, intents=())],
            [("requested", 0), ("accepted", 5), ("requested", 0), ("registered", 30), ("failed", 90)],
            id="one that vanished has failed",
        ),
        pytest.param(
            [seen(100, booting(), intents=()), READY],
            [("requested", 0), ("registered", 100), ("routed", 190)],
            id="one that was ordered before a restart is adopted while it is pending",
        ),
        pytest.param([READY], [], id="one that served before anybody looked teaches nothing"),
        pytest.param(
            [ACCEPTED, seen(4000, intents=())],
            [("requested", 0), ("accepted", 5), ("cancelled", 0)],
            id="one that nobody ever hears of again is only known to have been asked for",
        ),
    ],
)
def test_moments(ticks: Sequence[Seen], expected: list[tuple[str, float]]) -> None:
    assert told(*ticks) == expected


def test_a_start_from_the_warm_pool_has_a_lead_time_of_its_own() -> None:
    warm = instance(7, "warm", requested_at=NOW - 9000)
    ticks = [
        seen(5, warm, outcomes=[answer("accepted", START, 2.0)], intents=[START]),
        seen(15, replace(warm, state="pending", since=NOW), intents=[START]),
        seen(45, replace(warm, state="ready", since=NOW + 41), intents=()),
    ]
    leads = Leads()
    for tick in ticks:
        leads.see(tick)
    leads.work(RULES, NOW + 45)
    assert {key.start for key in leads.state.attempts} == {"warm"}
    known = leads.of("chat")
    assert known.keys() == {OFFER.key, f"{OFFER.key}/warm"}
    assert known[f"{OFFER.key}/warm"].p50_s < known[OFFER.key].p50_s


def learned(times: Sequence[float]) -> Leads:
    """What so many launches that took so long have taught."""
    leads = Leads()
    for n, seconds in enumerate(times):
        launch = replace(LAUNCH, id=f"a{n}")
        there = booting("ready", id=f"chat-{n}", action=f"a{n}", since=NOW + seconds)
        leads.see(seen(1, outcomes=[answer("accepted", launch, 1.0)], intents=[launch]))
        leads.see(seen(seconds + 1, there, intents=()))
    return leads


def test_lead_times_and_launches_survive_a_restart_with_one_that_was_under_way() -> None:
    leads = learned([100.0 + n for n in range(30)])
    pending = replace(LAUNCH, id="late")
    leads.see(seen(1, outcomes=[answer("accepted", pending, 1.0)], intents=[pending]))
    lessons = [*leads.work(RULES, NOW + 300), *leads.launches(NOW + 300)]
    assert leads.work(RULES, NOW + 301) == [], "nothing new is not told again"
    again = Leads()
    for lesson in lessons:
        again.resume(lesson)
    assert again.of("chat") == leads.of("chat")
    assert again.state.attempts == leads.state.attempts
    again.see(seen(400, booting("ready", action="late", since=NOW + 390), intents=()))
    assert again.state.attempts[COLD]["late"].served
    assert again.of("chat")[OFFER.key].version.startswith("learned:sim/small/chat/on_demand:30")


@pytest.mark.parametrize(
    ("age_s", "least_s", "most_s"),
    [
        pytest.param(0.0, 125.0, 130.0, id="a new order is expected with nine in ten of the others"),
        pytest.param(130.5, 200.0, 1000.0, id="one that is late is expected with the late ones"),
        pytest.param(5000.0, float("inf"), float("inf"), id="one older than any that ever came is not expected"),
    ],
)
def test_a_pending_instance_is_expected_by_its_age(age_s: float, least_s: float, most_s: float) -> None:
    leads = learned([100.0 + 0.3 * n for n in range(100)])
    leads.work(RULES, NOW + 300)
    fleet = expect(Fleet(NOW + age_s, (booting(expected_at=NOW + 1),)), leads.of("chat"), NOW + age_s)
    took = (fleet.instances[0].expected_at or 0.0) - NOW
    assert least_s <= took <= most_s


def test_what_is_not_known_leaves_what_the_provider_says() -> None:
    fleet = Fleet(NOW, (booting(expected_at=NOW + 77), instance(2)))
    assert expect(fleet, {}, NOW) is fleet
    assert expect(fleet, {OFFER.key: LeadTime(1.0, 2.0)}, NOW).instances[0].expected_at == NOW + 77


def test_a_lead_time_that_moved_within_a_week_is_told() -> None:
    leads = Leads()
    for n in range(40):
        at = NOW - (20 * 86400.0 - n * 60 if n < 20 else n * 60)
        took = 100.0 if n < 20 else 300.0
        launch = replace(LAUNCH, id=f"a{n}", at=at)
        there = booting("ready", id=f"chat-{n}", action=f"a{n}", since=at + took)
        leads.see(Seen(at + 1, RULES, (launch,), (Outcome(f"a{n}", "chat", "accepted", at + 1),), Fleet(at + 1)))
        leads.see(Seen(at + took + 1, RULES, (), (), Fleet(at + took + 1, (there,))))
    leads.work(RULES, NOW + 400)
    moved = leads.moved("chat")
    assert moved is not None
    assert moved.keys() == {f"lead time {OFFER.key}"}
    assert "200% longer" in next(iter(moved.values()))
