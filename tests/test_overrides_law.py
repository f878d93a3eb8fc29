"""A person's word over a pool: which one counts when several are in force, and what it may not do."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Literal

import pytest

from autoscaler.engine import decide
from autoscaler.movement import Bounds, ScaleIn, ScaleOut
from autoscaler.types import Direction, Memory, Override
from tests.worlds import NOW, fleet, rules, settled, world

Kind = Literal["pin", "floor", "ceiling", "freeze", "pause"]

SLOW_IN = ScaleIn(stabilization_s=300, cool_off_s=0, rate_replicas=1)
NO_BURST = ScaleOut(burst=None, max_move=8)


def said(kind: Kind, replicas: int | None = None, direction: Direction = "both", age_s: float = 60.0) -> Override:
    name = f"{kind}-{replicas}-{direction}"
    return Override(name, "chat", kind, NOW + 600, "ada", "test", replicas, direction, NOW - age_s)


def test_a_floor_below_the_size_does_not_hasten_scale_in() -> None:
    """It bounds what the law asks for; it is no wish for fewer."""
    memory = replace(settled(12), highs=((NOW - 60, 12),))
    free = decide(rules(scale_in=SLOW_IN), world(20.0, there=fleet(12)), memory)
    floored = decide(rules(scale_in=SLOW_IN), world(20.0, there=fleet(12), overrides=(said("floor", 6),)), memory)
    assert (free.want, floored.want) == (12, 12)
    assert not floored.commanded


def test_a_ceiling_above_the_need_does_not_hasten_scale_out() -> None:
    r = rules(bounds=Bounds(0, 100), scale_out=NO_BURST)
    decision = decide(r, world(900.0, there=fleet(4), overrides=(said("ceiling", 60),)), settled(4))
    assert decision.want == 8, "at most four more or twice the size in a period"


@pytest.mark.parametrize(
    ("overrides", "load", "expected"),
    [
        pytest.param((said("pin", 12), said("ceiling", 5)), 42.0, 5, id="a ceiling beats a pin"),
        pytest.param((said("pin", 2), said("floor", 6)), 42.0, 6, id="so does a floor"),
        pytest.param((said("floor", 9), said("ceiling", 5)), 42.0, 5, id="a ceiling beats a floor"),
        pytest.param((said("floor", 6), said("floor", 8)), 42.0, 8, id="of two floors the higher counts"),
        pytest.param((said("ceiling", 3), said("ceiling", 2)), 42.0, 2, id="of two ceilings the lower counts"),
        pytest.param((said("floor", 9), said("pause", direction="out")), 42.0, 4, id="a pause stops a floor"),
        pytest.param((said("ceiling", 2), said("pause", direction="in")), 42.0, 4, id="and a ceiling"),
        pytest.param((said("pin", 9), said("pause")), 42.0, 4, id="and a pin"),
        pytest.param((said("floor", 9), said("pause", direction="in")), 42.0, 9, id="but only in its direction"),
        pytest.param((said("freeze"), said("pin", 9), said("floor", 8)), 95.0, 4, id="a freeze stops everything"),
        pytest.param((said("pin", 9, age_s=50), said("pin", 2, age_s=20)), 42.0, 2, id="the newer pin counts"),
        pytest.param((said("pin", 0), said("floor", 0)), 42.0, 0, id="a person may end the last replica at once"),
    ],
)
def test_of_several_overrides_the_same_one_counts_in_any_order(
    overrides: tuple[Override, ...], load: float, expected: int
) -> None:
    for order in permutations(overrides):
        assert decide(rules(), world(load, overrides=order), settled(4)).want == expected


def test_the_bounds_of_the_file_hold_against_a_pause() -> None:
    r = rules(bounds=Bounds(6, 20))
    assert decide(r, world(10.0, there=fleet(4), overrides=(said("pause"),)), settled(4)).want == 6


def test_a_ceiling_lowers_at_once_and_on_missing_data_too() -> None:
    memory = Memory(number=1, want=9, last_at=NOW - 15, watched_since=NOW - 15)
    decision = decide(rules(), world(None, there=fleet(9), overrides=(said("ceiling", 3),)), memory)
    assert (decision.want, decision.commanded, decision.next_change_at) == (3, True, NOW + 600)
