"""How many replicas the warm pool should hold: the quantiles of the forecast, and every way of not knowing them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autoscaler.movement import Bounds, WarmPool
from autoscaler.planner.warmsize import Coming, Size, coming_of, size
from autoscaler.policies.target import CAPACITY, Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.types import Decision, LeadTime, Outlook, Quality, Reading, Reason, World
from tests.worlds import NOW, OFFER, fleet, rules

WARM_COLUMN, COLD_COLUMN = 240.0, 420.0
"""With the prior of 155 s a warm machine serves within 215 s; the offer's 360 s make 420 s for a new one."""


def outlook(kind: str, *rows: tuple[float, float], at: float = NOW - 10, floor: float = 0.0) -> Outlook:
    """Growth at 0.5, 0.9 and 0.99, when a warm machine would serve and when a new one would."""
    return Outlook(at, "test", kind, (WARM_COLUMN, COLD_COLUMN), (0.5, 0.9, 0.99), rows, floor)  # type: ignore[arg-type]


PEAK = outlook("peak", (1.0, 1.1), (1.2, 1.4), (1.5, 2.0))
MEAN = outlook("mean", (1.0, 1.05), (1.1, 1.2), (1.3, 1.6))


def ruled(warm: WarmPool | None = None, target: Target | None = None, **changes: object) -> RuleSet:
    """One replica carries 10 of `load`; `ahead` forecasts it."""
    signals = (*rules().signals, Signal("ahead", forecast="load", quantile=0.9))
    asked = (Rule("load", Target("load", 10.0)), Rule("ahead", target or Target("ahead", 10.0)))
    base = rules(signals=signals, rules=asked, warm_pool=warm or WarmPool(size="forecast"))
    return replace(base, **changes)  # type: ignore[arg-type]


def decided(want: int = 10, load: float | None = 100.0, quality: Quality = "fresh") -> Decision:
    readings = {"load": Reading(NOW, load, quality), CAPACITY: Reading(NOW, 12.5, "fresh")}
    reason = Reason("test", want, "as the test says")
    return Decision("chat", 8, NOW, want, want, want, 0, (reason,), readings=readings)


def there(**changes: object) -> World:
    base = World(NOW, {}, fleet(10), outlooks={"ahead": PEAK, "ahead:mean": MEAN})
    return replace(base, **changes)  # type: ignore[arg-type]


def sized(r: RuleSet | None = None, d: Decision | None = None, w: World | None = None) -> Size | None:
    r, d, w = r or ruled(), d or decided(), w or there()
    return size(r, d, w, coming_of(r, d, w))


def test_the_pool_stands_between_what_may_come_and_what_is_usual() -> None:
    # 100/s x 2.0 may come until a new machine serves, 100/s x 1.1 is usual when a warm one does: 90/s at 10/s each.
    found = sized()
    assert found is not None
    assert (found.replicas, found.known) == (9, True)
    assert found.text == "200/s may come within 7m, 110/s is usual in 3m35s, at 10/s each"


@pytest.mark.parametrize(
    ("r", "d", "expected"),
    [
        pytest.param(ruled(WarmPool(min=3)), None, 3, id="a fixed pool holds its min"),
        pytest.param(ruled(WarmPool(max=0)), None, 0, id="max 0 empties it"),
        pytest.param(ruled(WarmPool(size="forecast", max=4)), None, 4, id="never more than its max"),
        pytest.param(ruled(WarmPool(size="forecast", min=12)), None, 12, id="never fewer than its min"),
        pytest.param(ruled(bounds=Bounds(0, 15)), None, 5, id="never more than the pool may still grow by"),
        pytest.param(ruled(bounds=Bounds(0, 10)), None, 0, id="a pool at its bound has no use for more"),
        pytest.param(
            ruled(WarmPool(size="forecast", min=2), bounds=Bounds(0, 10)), None, 2, id="min stands in for what fails"
        ),
        pytest.param(ruled(), decided(load=0.0), 0, id="no demand grows into none"),
        pytest.param(
            ruled(target=Target("ahead", None, utilisation_target=0.8)),
            None,
            9,
            id="capacity at its utilisation target",
        ),
        pytest.param(ruled(rules=()), None, 9, id="without a target the capacity at the pool's utilisation target"),
    ],
)
def test_sizes(r: RuleSet, d: Decision | None, expected: int) -> None:
    found = sized(r, d)
    assert found is not None
    assert (found.replicas, found.known) == (expected, True)


@pytest.mark.parametrize(
    ("r", "d", "w", "why"),
    [
        pytest.param(None, decided(load=None), None, "load is not known", id="demand is not known"),
        pytest.param(None, decided(load=math.nan), None, "load is not known", id="demand is no number"),
        pytest.param(None, None, there(outlooks={}), "no forecast that is young enough", id="nothing was forecast yet"),
        pytest.param(
            None,
            None,
            there(outlooks={"ahead": replace(PEAK, at=NOW - 901), "ahead:mean": MEAN}),
            "no forecast that is young enough",
            id="the forecast is old",
        ),
        pytest.param(
            None,
            None,
            there(outlooks={"ahead": outlook("peak", *[(math.nan, math.nan)] * 3), "ahead:mean": MEAN}),
            "forecasts no number",
            id="the forecast is no number",
        ),
        pytest.param(ruled(signals=rules().signals), None, None, "no forecast signal", id="no forecast signal"),
        pytest.param(
            ruled(rules=()),
            replace(decided(), readings={"load": Reading(NOW, 100.0, "fresh")}),
            None,
            "the capacity of a replica is not known",
            id="no capacity",
        ),
    ],
)
def test_what_is_not_known_leaves_the_minimum_and_lets_nothing_shrink(
    r: RuleSet | None, d: Decision | None, w: World | None, why: str
) -> None:
    r = replace(r or ruled(), warm_pool=WarmPool(size="forecast", min=2))
    found = sized(r, d, w)
    assert found is not None
    assert (found.replicas, found.known) == (2, False)
    assert why in found.text


def test_partial_demand_may_raise_the_pool_and_not_shrink_it() -> None:
    found = sized(d=decided(quality="partial"))
    assert found is not None
    assert (found.replicas, found.known) == (9, False)


def test_a_pool_that_nobody_asked_for_has_no_size() -> None:
    assert sized(ruled(WarmPool())) is None


def test_learned_lead_times_say_which_growth_counts() -> None:
    # New machines serve within 100 s: then little may come that a warm one would be needed for.
    quick = {OFFER.key: LeadTime(60.0, 100.0)}
    found = sized(w=there(lead_times=quick))
    assert found is not None
    assert (found.replicas, found.text[:36]) == (4, "150/s may come within 2m40s, 110/s i")


def test_the_level_of_the_forecast_counts_while_it_is_young() -> None:
    w = there(outlooks={"ahead": replace(PEAK, level=200.0), "ahead:mean": replace(MEAN, level=200.0)})
    found = coming_of(ruled(), decided(), w)
    assert isinstance(found, Coming)
    assert found.work("peak", COLD_COLUMN, 0.99) == pytest.approx(400.0)
    assert found.need("mean", WARM_COLUMN, 0.9) == 22


def test_a_forecast_of_need_is_its_own_peak_and_mean() -> None:
    signal = Signal("ahead", forecast="load", quantile=0.9, of="need")
    need = outlook("need", (1.0, 1.1), (1.2, 1.4), (1.5, 2.0))
    found = sized(ruled(signals=(*rules().signals, signal)), w=there(outlooks={"ahead": need}))
    assert found is not None
    assert found.replicas == 8
