"""Alerts on raw series: judged all at once, followed one by one where there is trouble."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from autoscaler.alerts import FOLLOWED, due, follow
from autoscaler.conditions import Condition, Test
from autoscaler.movement import Bounds
from autoscaler.ports import Threshold
from autoscaler.ruleset import Rule, RuleSet, SeriesAlert
from autoscaler.thresholds.sigma import Sigma
from autoscaler.thresholds.static import Static
from autoscaler.types import Alert, Bands, Frame, Quality, SeriesKey, Verdict

NOTHING: Mapping[str, Alert] = {}


def rules(*alerts: SeriesAlert) -> RuleSet:
    return RuleSet("chat", Bounds(1, 9), alerts=alerts)


def spec(
    threshold: Threshold | None = None,
    direction: Literal["above", "below", "outside"] = "outside",
    *,
    for_s: float = 0.0,
    lookback_s: float = 3600.0,
) -> SeriesAlert:
    judge = Sigma(3.0) if threshold is None else threshold
    text = "3 sigma" if threshold is None else ""
    return SeriesAlert(
        "power", "gpu_power_watts", direction, judge, lookback_s if threshold is None else 0.0, for_s, text=text
    )


def powers(last: Sequence[float], *, at: float = 3600.0, quality: Sequence[Quality] = (), points: int = 241) -> Frame:
    """One series per value, around 400 W with a deviation of 10 W; `last` is the newest, judged point."""
    series = len(last)
    values = (400 + 10 * np.random.default_rng(1).standard_normal((series, points))).astype(np.float32)
    values[:, -1] = last
    times = at - 15.0 * np.arange(points - 1, -1, -1)
    keys = tuple(SeriesKey("gpu_power_watts", (("gpu", str(n)), ("instance", "node:9400"))) for n in range(series))
    fresh: Quality = "fresh"
    qualities = tuple(quality) or (fresh,) * series
    return Frame(15.0, times, values, np.full(series, at), qualities, keys=keys)


def states(alerts: Mapping[str, Alert]) -> dict[str, str]:
    return {dict(a.labels)["gpu"]: a.state for a in alerts.values()}


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        pytest.param("above", {"1": "firing"}, id="above"),
        pytest.param("below", {"2": "firing"}, id="below"),
        pytest.param("outside", {"1": "firing", "2": "firing"}, id="outside"),
    ],
)
def test_only_breaching_series_have_an_alert(
    direction: Literal["above", "below", "outside"], expected: dict[str, str]
) -> None:
    """Gaps and infinities in the judged point are unknown, and unknown starts nothing."""
    frame = powers([400.0, 520.0, 280.0, math.nan, math.inf, -math.inf])
    assert states(follow(rules(spec(direction=direction)), [], {"power": frame}, NOTHING, 3600.0)) == expected


def test_the_band_comes_from_before_the_judged_point() -> None:
    """A step is judged against what was before it, so that a spike cannot widen the band that judges it."""
    frame = powers([1e6])
    (alert,) = follow(rules(spec()), [], {"power": frame}, NOTHING, 3600.0).values()
    assert alert.state == "firing"
    assert alert.value == pytest.approx(1e6)


def test_the_band_reaches_back_only_as_far_as_the_lookback() -> None:
    frame = powers([520.0], points=2000)
    frame.values[:, :1000] = 50_000.0
    short = follow(rules(spec(lookback_s=3600.0)), [], {"power": frame}, NOTHING, 3600.0)
    long = follow(rules(spec(lookback_s=36000.0)), [], {"power": frame}, NOTHING, 3600.0)
    assert (states(short), states(long)) == ({"0": "firing"}, {})


def test_the_text_says_value_and_band() -> None:
    frame = powers([520.0])
    frame.values[:, :-1] = np.tile(np.array([390.0, 410.0], dtype=np.float32), 120)
    (alert,) = follow(rules(spec()), [], {"power": frame}, NOTHING, 3600.0).values()
    assert alert.text == "gpu_power_watts 520 is above its band 370 to 430 (3 sigma of the last 1 h)"
    assert alert.key == "power{gpu='0',instance='node:9400'}"
    (fixed,) = follow(rules(spec(Static(upper=500.0), "above")), [], {"power": frame}, NOTHING, 3600.0).values()
    assert fixed.text == "gpu_power_watts 520 is above 500"


def test_series_alerts_hold_fire_and_resolve_on_sample_times() -> None:
    wanted = rules(spec(for_s=30.0))
    first = follow(wanted, [], {"power": powers([520.0], at=3600.0)}, NOTHING, 3601.0)
    same = follow(wanted, [], {"power": powers([520.0], at=3600.0)}, first, 3700.0)
    fired = follow(wanted, [], {"power": powers([520.0], at=3630.0)}, same, 3701.0)
    unknown = follow(wanted, [], {"power": powers([math.nan], at=3645.0)}, fired, 3716.0)
    calm = follow(wanted, [], {"power": powers([400.0], at=3660.0)}, unknown, 3731.0)
    assert [states(x)["0"] for x in (first, same, fired, unknown, calm)] == [
        "pending",
        "pending",
        "firing",
        "firing",
        "resolved",
    ]
    assert [a.state for a in due(same, fired)] == ["firing"]
    assert due(fired, unknown) == ()
    assert [a.state for a in due(unknown, calm)] == ["resolved"]
    assert "is inside its band" in next(iter(calm.values())).text


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(None, id="no frame at all"),
        pytest.param(powers([400.0], quality=["stale"]), id="a stale sample"),
        pytest.param(powers([400.0], quality=["frozen"]), id="a frozen sample"),
        pytest.param(powers([math.nan]), id="a gap"),
        pytest.param(powers([400.0], points=10), id="too few points for a band"),
        pytest.param(powers([400.0], points=1), id="no points for a band"),
    ],
)
def test_what_proves_nothing_resolves_nothing(frame: Frame | None) -> None:
    before = follow(rules(spec()), [], {"power": powers([520.0])}, NOTHING, 3600.0)
    after = follow(rules(spec()), [], {} if frame is None else {"power": frame}, before, 3615.0)
    assert states(after) == {"0": "firing"}


def test_a_frozen_or_stale_sample_starts_nothing() -> None:
    frame = powers([520.0, 520.0, 520.0], quality=["stale", "frozen", "fresh"])
    assert states(follow(rules(spec()), [], {"power": frame}, NOTHING, 3600.0)) == {"2": "firing"}


def test_a_value_inside_a_clipped_band_does_not_resolve() -> None:
    """A lookback that sat on its limit hides how much more there was, so its band cannot say "normal"."""
    busy = SeriesAlert("power", "gpu_power_watts", "above", Sigma(3.0, clip_at=1.0), 3600.0)
    before = follow(rules(busy), [], {"power": powers([1.0])}, NOTHING, 3600.0)
    assert states(before) == {"0": "firing"}
    clipped = powers([0.9], at=3615.0)
    clipped.values[:, :-1] = np.where(np.arange(240) % 2, 1.0, 0.8)
    assert states(follow(rules(busy), [], {"power": clipped}, before, 3615.0)) == {"0": "firing"}
    clipped.values[:, :-1] = np.where(np.arange(240) % 2, 0.9, 0.8)
    assert states(follow(rules(busy), [], {"power": clipped}, before, 3615.0)) == {"0": "resolved"}


def test_a_series_that_is_gone_is_resolved() -> None:
    before = follow(rules(spec()), [], {"power": powers([520.0, 520.0])}, NOTHING, 3600.0)
    after = follow(rules(spec()), [], {"power": powers([520.0], at=3615.0)}, before, 3615.0)
    assert states(after) == {"0": "firing", "1": "resolved"}
    assert [a.text for a in due(before, after)] == ["gpu_power_watts of this series is no longer reported"]


def test_many_series_are_judged_in_one_call_and_only_trouble_is_kept() -> None:
    calls = []

    class Counting:
        def bands(self, history: Frame) -> Bands:
            calls.append(history.values.shape)
            return Sigma(6.0).bands(history)

    last = np.full(5000, 400.0)
    last[[7, 4321]] = 900.0
    counted = replace(spec(), threshold=Counting())
    after = follow(rules(counted), [], {"power": powers(last.tolist())}, NOTHING, 3600.0)
    assert calls == [(5000, 240)]
    assert states(after) == {"7": "firing", "4321": "firing"}


def test_a_rule_and_a_metric_may_share_a_name() -> None:
    when = Condition(Test("ttft99", "above", Static(upper=0.5)))
    both = replace(rules(spec()), rules=(Rule("power", when=when, alert="critical"),))
    hot = Verdict("power", True, True, 3600.0, 3600.0, "ttft99 0.9 is above 0.5")
    before = follow(both, [hot], {"power": powers([520.0])}, NOTHING, 3600.0)
    after = follow(both, [hot], {"power": powers([520.0], at=3615.0)}, before, 3615.0)
    assert len(before) == len(after) == 2
    assert due(before, after) == ()


def test_a_flood_is_followed_up_to_a_limit_and_the_rest_is_counted() -> None:
    """A thousand series by themselves, one alert for all others; those that are followed stay the same ones."""
    wanted, series = rules(spec()), FOLLOWED + 500
    frame = powers([400.0] * series)
    frame.values[500:, -1] = 900.0
    before = follow(wanted, [], {"power": frame}, NOTHING, 3600.0)
    assert len(before) == FOLLOWED
    frame = powers([900.0] * series, at=3615.0)
    during = follow(wanted, [], {"power": frame}, before, 3615.0)
    assert set(before) < set(during)
    (rest,) = due(before, during)
    assert (rest.key, rest.labels, rest.value) == ("power{}", (), 500.0)
    assert rest.text == "500 more series of gpu_power_watts breach than the 1,000 that are followed one by one"
    assert follow(wanted, [], {"power": powers([math.nan] * series, at=3620.0)}, during, 3620.0) == during
    after = follow(wanted, [], {"power": powers([400.0] * series, at=3630.0)}, during, 3630.0)
    assert {a.state for a in after.values()} == {"resolved"}
    assert len(due(during, after)) == FOLLOWED + 1


def test_series_that_breach_in_turn_do_not_pile_up() -> None:
    """Alerts that are remembered for their silence count against the limit as well."""
    patient = replace(spec(), silence_s=1e6)
    alerts: Mapping[str, Alert] = {}
    for turn in range(5):
        frame = powers([400.0] * 2000, at=3600.0 + 15.0 * turn)
        frame.values[400 * turn : 400 * turn + 400, -1] = 900.0
        alerts = follow(rules(patient), [], {"power": frame}, alerts, 3600.0 + 15.0 * turn)
    assert len(alerts) == FOLLOWED + 1
