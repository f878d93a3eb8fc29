"""`next_change_at`: at that time, with equal inputs, the number is another one; before it, it is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from autoscaler.engine import decide
from autoscaler.memory import remember
from autoscaler.movement import Bounds, Flap, ScaleIn, ScaleOut
from autoscaler.policies.schedule import Schedule
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.types import Decision, Memory, Override, Plan, Shortage
from tests.worlds import NOW, OFFER, fleet, queue_step, rules, settled, world

IN = ScaleIn(stabilization_s=0, cool_off_s=0, rate_replicas=100, to_zero_after_s=60)
OUT = ScaleOut(burst=None, rate_replicas=100, max_move=100)
PIN = Override("o", "chat", "pin", NOW + 200, "ada", "test", 9)
PAUSE = Override("o", "chat", "pause", NOW + 200, "ada", "test")
LONGER = replace(PAUSE, id="p", until=NOW + 300)


def case(
    changes: dict[str, object],
    memory: Memory,
    have: int,
    load: float,
    held: int,
    id_: str,
    queue: float = 0.0,
    **w: object,
) -> object:
    r = rules(**{"scale_in": IN, "scale_out": OUT} | changes)
    return pytest.param(r, memory, have, load, queue, w, held, id=id_)


@pytest.mark.parametrize(
    ("r", "memory", "have", "load", "queue", "extra", "held"),
    [
        case(
            {"scale_in": replace(IN, stabilization_s=300)},
            replace(settled(8), highs=((NOW - 200, 6),)),
            8,
            20.0,
            6,
            "the scale-in window",
        ),
        case(
            {"scale_in": replace(IN, stabilization_s=300)},
            replace(settled(8), highs=((NOW - 250, 20), (NOW - 100, 9))),
            8,
            20.0,
            8,
            "the last of two high recommendations",
        ),
        case(
            {"scale_in": replace(IN, stabilization_s=300)},
            replace(settled(8, watched_s=200), highs=((NOW - 30, 8),)),
            8,
            20.0,
            8,
            "the watch and then the window",
        ),
        case(
            {"scale_out": replace(OUT, window_s=60)},
            replace(settled(4), lows=((NOW - 45, 5),)),
            4,
            150.0,
            5,
            "the scale-out window",
        ),
        case(
            {"scale_in": replace(IN, cool_off_s=600)},
            replace(settled(6), launched_at=NOW - 100),
            6,
            20.0,
            6,
            "the cool-off",
        ),
        case(
            {},
            replace(settled(6), shortages={OFFER.key: Shortage(OFFER.key, NOW + 90, 1, NOW - 90)}),
            6,
            20.0,
            6,
            "a shortage of all offers",
        ),
        case(
            {"scale_in": replace(IN, cool_off_s=150, stabilization_s=300)},
            replace(settled(8), highs=((NOW - 30, 6),), launched_at=NOW - 100),
            8,
            20.0,
            8,
            "the last of two limits, though the first one holds longer",
        ),
        case(
            {"scale_out": replace(OUT, rate_replicas=2, rate_ratio=0.0, rate_per_s=60)},
            replace(settled(6), changes=((NOW - 40, 4, 5), (NOW - 20, 5, 6))),
            6,
            200.0,
            6,
            "the rate, used up in two steps",
        ),
        case(
            {"scale_in": replace(IN, rate_replicas=1, rate_ratio=0.1, rate_per_s=60)},
            replace(settled(36), changes=((NOW - 40, 40, 39), (NOW - 20, 39, 36))),
            36,
            20.0,
            36,
            "the rate as a share",
        ),
        case(
            {"flap": Flap(moves=2, per_s=600)},
            replace(settled(5), changes=((NOW - 500, 4, 6), (NOW - 300, 6, 4), (NOW - 100, 4, 5))),
            5,
            20.0,
            5,
            "the flap guard",
        ),
        case({}, replace(settled(1), idle_since=NOW - 20), 1, 0.0, 1, "the wait for zero"),
        case({}, settled(9), 9, 20.0, 9, "a pin", overrides=(PIN,)),
        case({}, settled(9), 9, 20.0, 9, "the longer of two pauses", overrides=(PAUSE, LONGER)),
        case(
            {"rules": (*rules().rules, Rule("day", Schedule("0 8 * * *", 8 * 3600, "UTC", min=6)))},
            settled(6),
            6,
            20.0,
            6,
            "the end of a schedule's window",
        ),
        case(
            {"rules": (queue_step(),)},
            replace(settled(4), cooldown_until={"queue": NOW + 100}),
            4,
            0.0,
            4,
            "a cooldown",
            queue=80.0,
        ),
    ],
)
def test_what_holds_the_number_back_lets_go_at_the_time_that_it_tells(
    r: RuleSet, memory: Memory, have: int, load: float, queue: float, extra: dict[str, object], held: int
) -> None:
    r = replace(r, bounds=Bounds(0, 100), tick_s=15.0)

    def at(now: float, memory: Memory) -> Decision:
        w = world(load, queue, fleet(have, at=now), **extra)
        moved = {k: replace(f, at=f.at + now - NOW, last_at=f.last_at + now - NOW) for k, f in w.signals.items()}
        return decide(r, replace(w, now=now, signals=moved), memory)

    first = at(NOW, memory)
    assert first.want == held
    assert first.next_change_at is not None
    assert first.next_change_at > NOW
    _keep_watching(at, r, first, memory, have)


def _keep_watching(
    at: Callable[[float, Memory], Decision], r: RuleSet, first: Decision, memory: Memory, have: int
) -> None:
    """Ticks on with equal inputs; the fleet stays at `have`, as if whatever was wanted took its time to come."""
    end = first.next_change_at
    assert end is not None
    memory = remember(r, memory, first, Plan("chat", first.number))
    now = NOW
    while now + 10.0 < end:
        now += 10.0
        decision = at(now, memory)
        assert decision.want == first.want, f"{now - NOW:.0f} s later, {end - NOW:.0f} s were told"
        memory = remember(r, memory, decision, Plan("chat", decision.number))
    assert at(end, memory).want != first.want


def test_what_has_no_known_end_tells_none() -> None:
    pending = decide(rules(), world(20.0, there=fleet(6, pending=1)), settled(7))
    assert pending.reasons[-1].source == "cool_off"
    assert pending.next_change_at is None
    capped = decide(rules(), world(900.0, there=fleet(20)), settled(20))
    assert (capped.reasons[-1].source, capped.next_change_at) == ("bounds", None)


def test_a_minimum_above_zero_never_waits_for_idleness() -> None:
    decision = decide(rules(bounds=Bounds(1, 20)), world(0.0, there=fleet(3)), settled(3))
    assert decision.want == 1
    assert (decision.reasons[-1].source, decision.next_change_at) == ("bounds", None)
