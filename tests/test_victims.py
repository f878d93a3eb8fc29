"""Who goes first when a pool shrinks: one order, and the reason says what decided."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.movement import ScaleIn
from autoscaler.planner import plan
from autoscaler.types import Decision, Fleet, Instance, Mark, Operate, Plan, Reason
from tests.worlds import NOW, fleet, instance, rules, settled, world


def at(zone: str, purchase: str = "on_demand") -> str:
    return f"sim/small/here/{zone}/{purchase}"


def planned(want: int, there: Fleet, victim: str = "least_in_flight", **more: Any) -> Plan:
    decision = Decision("chat", 8, NOW, 4, want, 4, 0, (Reason("test", want, "as the test says"),))
    r = rules(scale_in=replace(ScaleIn(), victim=victim))  # type: ignore[arg-type]
    return plan(r, decision, world(0.0, there=there, **more), settled(want))


def gone(made: Plan) -> list[str]:
    return [a.instance for a in made.actions if isinstance(a, Operate) and a.kind in ("drain", "terminate")]


def pair(first: dict[str, Any], second: dict[str, Any]) -> Fleet:
    """Two that serve, alike but for what is given; the second is the newer one."""
    return Fleet(NOW, (instance(1, **first), instance(2, **second)))


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        pytest.param({"in_flight": 1}, {"in_flight": 2}, "surplus, 1 requests in flight", id="least in flight"),
        pytest.param(
            {"in_flight": 9},
            {"in_flight": None},
            "surplus, 9 requests in flight",
            id="an unknown number is no small one",
        ),
        pytest.param(
            {"since": NOW - 60}, {}, "surplus, 0 requests in flight, serves for only 60 s", id="caches that are cold"
        ),
        pytest.param({"usd_per_hour": 3.0}, {}, "surplus, 0 requests in flight, dearest", id="the dearest"),
        pytest.param(
            {"offer": at("a", "spot")}, {"offer": at("a")}, "surplus, 0 requests in flight, spot", id="spot first"
        ),
        pytest.param(
            {"in_flight": 1},
            {"usd_per_hour": 99.0, "in_flight": 2},
            "surplus, 1 requests in flight",
            id="work before price",
        ),
        pytest.param(
            {"usd_per_hour": 3.0, "offer": at("a")},
            {"offer": at("a", "spot")},
            "surplus, 0 requests in flight, dearest",
            id="price before spot",
        ),
    ],
)
def test_the_first_of_two_goes(first: dict[str, object], second: dict[str, object], why: str) -> None:
    made = planned(1, pair(first, second))
    assert gone(made) == ["chat-1"]
    assert made.reasons[-1].text == f"drain chat-1: {why}"


def test_of_equals_the_newest_goes() -> None:
    assert gone(planned(1, pair({}, {}))) == ["chat-2"]


def test_the_zone_with_most_gives_one_away_and_then_the_zones_are_even() -> None:
    some = [instance(n, offer=at("a" if n < 4 else "b")) for n in range(6)]
    made = planned(2, Fleet(NOW, tuple(some)))
    left = [i.offer.split("/")[3] for i in some if i.id not in gone(made)]
    assert sorted(left) == ["a", "b"]
    assert made.reasons[0].text == "drain chat-3: surplus, 0 requests in flight, zone here/a has most"


def test_a_whole_machine_goes_before_small_ones_when_the_surplus_covers_it() -> None:
    big = instance(1, replicas=8, usd_per_hour=16.0, in_flight=4)
    small = [instance(n) for n in range(2, 6)]
    made = planned(4, Fleet(NOW, (big, *small)))
    assert gone(made) == ["chat-1"]
    assert made.reasons[0].text == "drain chat-1: surplus, 4 requests in flight, a whole machine of 8 replicas"
    assert len(gone(planned(9, Fleet(NOW, (big, *small))))) == 3, "a surplus of three is too little for eight"


def test_what_does_not_serve_yet_goes_before_what_does() -> None:
    there = Fleet(
        NOW, (instance(1), instance(2, "pending", requested_at=NOW - 5), instance(3, "pending", requested_at=NOW - 9))
    )
    assert gone(planned(1, there)) == ["chat-2", "chat-3"]


def test_what_is_sick_goes_before_all_others() -> None:
    there = Fleet(NOW, (instance(1), instance(2), instance(3, "failed")))
    assert gone(planned(2, there)) == ["chat-3"]


def test_who_is_to_be_replaced_anyway_goes_before_the_idle() -> None:
    mark = Mark("chat-1", "chat", "replace", NOW + 60, "ada", "sick")
    made = planned(1, pair({"in_flight": 5}, {}), marks={"chat-1": mark})
    assert gone(made) == ["chat-1"]


@pytest.mark.parametrize(("victim", "first"), [("newest", "chat-2"), ("oldest", "chat-0")])
def test_age_decides_where_the_rules_say_so(victim: str, first: str) -> None:
    busy = [instance(n, in_flight=n if victim == "newest" else -n + 9) for n in range(3)]
    made = planned(2, Fleet(NOW, tuple(busy)), victim)
    assert gone(made) == [first]
    assert made.reasons[0].text.endswith(f"the {victim}")


LOADS = st.lists(
    st.tuples(st.integers(1, 8), st.integers(0, 5), st.sampled_from(["a", "b", "c"]), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(LOADS, st.integers(0, 40))
def test_the_rest_always_covers_what_is_wanted_and_nobody_else_would_fit(
    some: list[tuple[int, int, str, bool]], want: int
) -> None:
    there: tuple[Instance, ...] = tuple(
        instance(n, replicas=r, in_flight=f, offer=at(z, "spot" if s else "on_demand"))
        for n, (r, f, z, s) in enumerate(some)
    )
    left = [i for i in there if i.id not in gone(planned(want, Fleet(NOW, there)))]
    size = sum(i.replicas for i in there)
    assert sum(i.replicas for i in left) >= min(want, size)
    if want < size:
        surplus = sum(i.replicas for i in left) - want
        assert all(i.replicas > surplus for i in left), "whoever fits into the surplus has left"


@pytest.mark.alone
def test_a_thousand_leave_within_a_tenth_of_a_second() -> None:
    there = fleet(1000)
    planned(1, there)
    began = time.perf_counter()
    assert len(gone(planned(1, there))) == 999
    assert time.perf_counter() - began < 0.1
