"""A roll, tick by tick: who is old, who leaves next, and what stops it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from autoscaler.movement import Disruption
from autoscaler.operations.rolling import follow
from autoscaler.operations.wishes import refused
from autoscaler.planner import plan
from autoscaler.planner.replacing import is_old, made_now
from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision, Fleet, Instance, Launch, Mark, Memory, Reason, Roll, Rolling, World
from autoscaler.windows import window
from tests.worlds import NOW, OFFER, instance, rules, settled, world

NEW = replace(OFFER, settings=(("image", "new"),))
OLD = replace(OFFER, settings=(("image", "old"),))
RULES = rules(offers=(NEW,))


def roll(**changes: object) -> Roll:
    """A roll that was begun ten minutes ago."""
    begun = NOW - 600
    return replace(Roll("r", "chat", begun, NOW + 86400, "ada", "driver", created_at=begun), **changes)  # type: ignore[arg-type]


def old(number: int, **changes: object) -> Instance:
    return instance(number, made_of=OLD.made_of, **changes)  # type: ignore[arg-type]


def new(number: int, served_s: float = 400.0, **changes: object) -> Instance:
    given = {"made_of": NEW.made_of, "requested_at": NOW - 590, "since": NOW - served_s} | changes
    return instance(number, **given)  # type: ignore[arg-type]


def seen(there: list[Instance], wish: Roll | None, now: float = NOW, **more: Any) -> World:
    return replace(world(0.0, there=Fleet(now, tuple(there)), **more), roll=wish, now=now)


def after(
    there: list[Instance],
    before: Rolling | None = None,
    wish: Roll | None = None,
    r: RuleSet = RULES,
    now: float = NOW,
    **more: Any,
) -> Rolling:
    """What a roll remembers after a tick."""
    memory = replace(settled(3), rolling=before)
    found = follow(r, memory, seen(there, wish or roll(), now, **more)).rolling
    assert found is not None
    return found


PROVEN = Rolling("r", proven_at=NOW - 60, old=("chat-1", "chat-2", "chat-3"))


@pytest.mark.parametrize(
    ("one", "everything", "expected"),
    [
        pytest.param(old(1), False, True, id="of other settings"),
        pytest.param(new(1), False, False, id="of the settings of now"),
        pytest.param(
            new(1, requested_at=NOW - 9000), False, False, id="of the settings of now, and older than the roll"
        ),
        pytest.param(new(1, requested_at=NOW - 9000), True, True, id="older than the roll, when all are asked for"),
        pytest.param(instance(1), False, True, id="nobody knows what it is of, older than the roll"),
        pytest.param(instance(1, requested_at=NOW), False, False, id="nobody knows what it is of, younger"),
        pytest.param(instance(1, offer="sim/gone"), False, True, id="of an offer that the rules no longer have"),
    ],
)
def test_what_is_old(one: Instance, everything: bool, expected: bool) -> None:
    assert is_old(made_now(RULES), roll(everything=everything), one) is expected


def test_price_and_tags_make_no_other_machine_and_an_image_does() -> None:
    dear = replace(NEW, usd_per_hour=9.0, settings=(*NEW.settings, ("max_price", "9 USD/h"), ("tags.team", "a")))
    assert dear.made_of == NEW.made_of != OLD.made_of


def test_the_first_replacement_goes_alone_until_a_new_one_has_served() -> None:
    wish = roll(max_surge=3)
    first = after([old(1), old(2), old(3)], wish=wish)
    assert (first.state, first.leaving) == ("running", ("chat-1",)), "the oldest, and nobody else"
    young = after([old(1), old(2), old(3), new(4, served_s=200)], first, wish)
    assert (young.leaving, young.proven_at) == (("chat-1",), None)
    assert young.text == "0 of 3 replaced; the first new one has served for 3 min 20 s of 5 min"
    proven = after([old(1), old(2), old(3), new(4, served_s=300)], young, wish)
    assert (proven.leaving, proven.proven_at) == (("chat-1", "chat-2", "chat-3"), NOW)


def test_the_old_ones_stay_until_the_canary_has_proven_itself() -> None:
    there = [old(1), old(2), new(3, served_s=200)]
    decision = Decision("chat", 8, NOW, 2, 2, 3, 0, (Reason("test", 2, ""),))
    memory = replace(settled(2), rolling=Rolling("r", leaving=("chat-1",), old=("chat-1", "chat-2")))
    assert plan(RULES, decision, seen(there, roll()), memory).actions == (), "it is no surplus, and may not go yet"
    assert memory.rolling is not None
    sure = replace(memory, rolling=replace(memory.rolling, proven_at=NOW, text="1 of 2 replaced"))
    made = plan(RULES, decision, seen(there, roll()), sure)
    assert ("roll", "1 of 2 replaced") in [(r.source, r.text) for r in made.reasons], "the plan says how far it is"
    (only,) = made.actions
    assert (only.kind, getattr(only, "instance", "")) == ("drain", "chat-1")


@pytest.mark.parametrize(
    ("surge", "unavailable", "expected"),
    [
        pytest.param(1, 0, ["launch"], id="one besides"),
        pytest.param(2, 0, ["launch", "launch"], id="two besides"),
        pytest.param(0, 1, ["drain chat-1", "launch"], id="one may be missing, and none is besides"),
        pytest.param(1, 1, ["drain chat-1", "launch", "launch"], id="one missing and one besides"),
    ],
)
def test_surge_and_unavailable_bound_what_happens_at_once(surge: int, unavailable: int, expected: list[str]) -> None:
    wish = roll(max_surge=surge, max_unavailable=unavailable)
    there = [old(1), old(2), old(3)]
    rolling = after(there, replace(PROVEN, leaving=()), wish)
    memory = replace(settled(3), rolling=rolling)
    decision = Decision("chat", 8, NOW, 3, 3, 3, 0, (Reason("test", 3, ""),))
    made = plan(RULES, decision, seen(there, wish), memory)
    assert [a.kind if isinstance(a, Launch) else f"{a.kind} {a.instance}" for a in made.actions] == expected


@pytest.mark.parametrize(
    ("there", "before", "expected"),
    [
        pytest.param(
            [new(4, state="failed", detail="exit 1")], PROVEN, "the new instance chat-4 failed: exit 1", id="it failed"
        ),
        pytest.param(
            [new(4, state="pending", requested_at=NOW - 500)],
            PROVEN,
            "the new instance chat-4 does not serve 500 s after",
            id="it does not serve in time",
        ),
        pytest.param(
            [],
            replace(PROVEN, young=("chat-4",)),
            "the new instance chat-4 was gone before it had served for 5 min",
            id="it served and is gone",
        ),
    ],
)
def test_a_new_one_that_is_no_good_ends_the_roll_and_nothing_else(
    there: list[Instance], before: Rolling, expected: str
) -> None:
    quick = rules(offers=(NEW,), launch=replace(RULES.launch, register_s=300.0))
    found = after([old(1), old(2), old(3), *there], before, r=quick)
    assert (found.state, found.leaving, found.ended_at) == ("failed", (), NOW)
    assert found.text.startswith(expected)
    assert found.text.endswith("3 old ones stay as they are")
    paused = after([old(1), old(2), old(3), *there], before, roll(pause_on_failure=True), quick)
    assert paused.state == "paused"


def test_what_failed_before_the_roll_is_no_fault_of_it() -> None:
    assert after([old(1), old(2, state="failed", requested_at=NOW - 700)]).state == "running"


def test_a_roll_that_was_paused_goes_on_under_a_new_name_with_what_is_left() -> None:
    paused = replace(PROVEN, state="paused", gone=1)
    resumed = roll(id="r2", created_at=NOW)
    bad = new(5, state="failed", requested_at=NOW - 300)
    found = after([old(2), old(3), new(4), bad], paused, resumed)
    assert (found.roll, found.state, found.leaving) == ("r2", "running", ("chat-2",))


@pytest.mark.parametrize(
    ("there", "wish", "text"),
    [
        pytest.param([new(1), new(2)], roll(), "3 instances replaced", id="when nothing old is left"),
        pytest.param([old(1), new(2)], roll(until=NOW), "came with 1 left", id="at its end"),
    ],
)
def test_a_roll_ends(there: list[Instance], wish: Roll, text: str) -> None:
    found = after(there, PROVEN, wish)
    assert found.state == ("done" if wish.until > NOW else "failed")
    assert text in found.text


def test_one_that_was_taken_back_leaves_everything_as_it_is() -> None:
    memory = replace(settled(3), rolling=replace(PROVEN, leaving=("chat-1",)))
    found = follow(RULES, memory, seen([old(1), new(4)], None)).rolling
    assert found is not None
    assert (found.state, found.leaving) == ("aborted", ())
    assert follow(RULES, replace(memory, rolling=found), seen([old(1)], None)).rolling is found, "and is told once"


def test_cordoned_ones_are_left_alone_and_told() -> None:
    mark = Mark("chat-1", "chat", "cordon", NOW + 60, "ada", "evidence")
    found = after([old(1), new(2)], replace(PROVEN, old=("chat-1",)), marks={"chat-1": mark})
    assert (found.state, found.text) == ("done", "0 instances replaced; 1 cordoned and left alone")


def test_machines_at_rest_come_last() -> None:
    there = [old(1, state="warm"), old(2)]
    assert after(there, replace(PROVEN, old=("chat-1", "chat-2"))).leaving == ("chat-2",)
    assert after([old(1, state="warm"), new(2)], replace(PROVEN, old=("chat-1",))).leaving == ("chat-1",)


def test_an_unknown_fleet_moves_nothing() -> None:
    before = replace(PROVEN, leaving=("chat-1",))
    memory = replace(settled(3), rolling=before)
    stale = replace(seen([new(1)], roll()), now=NOW + 3600)
    assert follow(RULES, memory, stale).rolling is before
    assert follow(RULES, memory, replace(stale, fleet=None)).rolling is before


def test_an_hour_begins_at_most_so_many() -> None:
    wish = roll(per_hour=2, max_surge=5)
    found = after([old(1), old(2), old(3)], PROVEN, wish)
    assert found.leaving == ("chat-1", "chat-2")
    later = after([old(3), new(4), new(5)], found, wish, now=NOW + 600)
    assert (later.leaving, later.gone) == ((), 2)
    assert later.text == "2 of 3 replaced; 2 an hour are the limit, next in 50 min"
    assert after([old(3), new(4), new(5)], later, wish, now=NOW + 3600).leaving == ("chat-3",)


def at(hour: int, minute: int = 0) -> float:
    """A time of the day after NOW, UTC."""
    return datetime(2026, 9, 22, hour, minute, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("ruled", "wished", "now", "expected"),
    [
        pytest.param((), ("02:00-05:00",), at(3), ("chat-1",), id="open"),
        pytest.param((), ("02:00-05:00",), at(1), (), id="shut"),
        pytest.param(("04:00-06:00",), ("02:00-05:00",), at(3), (), id="the rule file's is shut"),
        pytest.param(("04:00-06:00",), ("02:00-05:00",), at(4), ("chat-1",), id="both are open"),
    ],
)
def test_a_replacement_begins_only_while_the_windows_are_open(
    ruled: tuple[str, ...], wished: tuple[str, ...], now: float, expected: tuple[str, ...]
) -> None:
    r = rules(offers=(NEW,), disruption=Disruption(windows=tuple(map(window, ruled))))
    found = after([old(1), old(2)], None, roll(windows=wished), r, now)
    assert found.leaving == expected
    assert expected or "waits until 2026-09-22 0" in found.text


def test_nobody_leaves_after_the_window_closed_though_the_successor_serves() -> None:
    wish = roll(windows=("02:00-05:00",))
    there = [old(1), old(2), replace(new(3), since=at(4))]
    decision = Decision("chat", 8, at(5), 2, 2, 3, 0, (Reason("test", 2, ""),))
    memory = Memory(7, 2, at(4, 59), NOW, rolling=replace(PROVEN, leaving=("chat-1",)))
    assert plan(RULES, decision, seen(there, wish, at(5)), memory).actions == ()
    open_ = replace(decision, at=at(4, 59))
    assert [a.kind for a in plan(RULES, open_, seen(there, wish, at(4, 59)), memory).actions] == ["drain"]


@pytest.mark.parametrize(
    ("r", "wish", "there", "message"),
    [
        pytest.param(
            rules(offers=()), roll(), [old(1)], "have no offers, so no successor can be ordered", id="no offers"
        ),
        pytest.param(
            RULES, roll(max_surge=0), [old(1)], "lets nothing be replaced; raise one of the two", id="no room"
        ),
        pytest.param(
            RULES,
            roll(),
            [new(1)],
            "of other settings than the rule file has now; change the file first",
            id="nothing old",
        ),
        pytest.param(
            RULES, roll(everything=True), [new(1, requested_at=NOW)], "was ordered before now", id="nothing at all"
        ),
        pytest.param(
            RULES,
            roll(to=(("image", "newer"),)),
            [old(1)],
            "has image new for sim/small/on_demand, not newer",
            id="not yet",
        ),
        pytest.param(RULES, roll(to=(("imag", "new"),)), [old(1)], "did you mean image?", id="no such setting"),
        pytest.param(
            rules(offers=(NEW,), disruption=Disruption(windows=(window("02:00-03:00"),))),
            roll(windows=("04:00-05:00",)),
            [old(1)],
            "are never open at the same time",
            id="windows that never meet",
        ),
        pytest.param(
            RULES,
            roll(windows=("02:00-03:00",), until=NOW + 60),
            [old(1)],
            "opens at 2026-09-22 02:00 UTC, after",
            id="an end before the window",
        ),
        pytest.param(RULES, roll(to=(("image", "new"),)), [old(1)], "", id="a wish that can be had"),
    ],
)
def test_a_wish_that_cannot_be_had_is_refused(r: RuleSet, wish: Roll, there: list[Instance], message: str) -> None:
    found = refused(r, wish, Fleet(NOW, tuple(there)), NOW)
    assert message in found
    assert bool(found) == bool(message)
