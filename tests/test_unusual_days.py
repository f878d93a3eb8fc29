"""Days that people marked as unusual are not learned from, and the present counts on any day."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from autoscaler.errors import InputError
from autoscaler.forecasters.seasonal import Seasonal
from autoscaler.foresight.unusual import PRESENT_S, without
from autoscaler.foresight.worker import Foresight
from autoscaler.journal import Journal
from autoscaler.rulefile.days import days, spans
from autoscaler.rulefile.reader import read_rules
from autoscaler.types import Frame
from tests.foresightworld import DAY_S, foreseeing, store_with
from tests.worlds import NOW

RULES = """
pool: chat
replica: {capacity: 10 requests/s}
limits: {min: 1, max: 8}
offers: {from: [{local: {command: sleep 60}}]}
signals:
  load: {metric: requests_arrived_total, rate: 1m}
  ahead: {forecast: load, %s}
rules:
  - {name: demand, target: {signal: ahead}}
"""


def read(tmp_path: Path, keys: str) -> tuple[tuple[float, float], ...]:
    file = tmp_path / "chat.yaml"
    file.write_text(RULES % keys)
    signal = read_rules(file).signal("ahead")
    assert signal is not None
    return signal.unusual


def test_a_day_ends_at_midnight_of_its_time_zone_also_when_clocks_change(tmp_path: Path) -> None:
    found = read(tmp_path, "unusual_days: [2026-10-25, 2026-12-24/2026-12-26], timezone: Europe/Berlin")
    assert [round((until - since) / 3600) for since, until in found] == [25, 72]
    assert found[0][0] == datetime(2026, 10, 24, 22, tzinfo=ZoneInfo("UTC")).timestamp()


def test_days_are_in_utc_where_nobody_says_otherwise() -> None:
    assert spans([days("1970-01-02")], ZoneInfo("UTC")) == ((DAY_S, 2 * DAY_S),)
    assert days(" 2026-12-24 / 2026-12-26") == (date(2026, 12, 24), date(2026, 12, 26))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("unusual_days: [2026-13-01]", "is neither a day nor a first and a last one"),
        ("unusual_days: [Christmas]", "write 2026-12-24"),
        ("unusual_days: [2026-12-26/2026-12-24]", "ends before it begins; write 2026-12-24/2026-12-26"),
        ("unusual_days: [2025-12-24/2026-12-26]", "check the years"),
        ("unusual_days: [2026-12-24], timezone: Berlin", "write an IANA name such as Europe/Berlin"),
    ],
)
def test_a_day_that_cannot_be_read_is_told_with_the_way_to_write_it(tmp_path: Path, keys: str, told: str) -> None:
    with pytest.raises(InputError, match=r"chat\.yaml:8") as caught:
        read(tmp_path, keys)
    assert told in str(caught.value)


def test_only_forecasts_have_unusual_days(tmp_path: Path) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text((RULES % "at: 5m").replace("rate: 1m", "rate: 1m, unusual_days: [2026-12-24]"))
    with pytest.raises(InputError, match="unusual_days: has no effect with metric"):
        read_rules(file)


def hours(count: int) -> Frame:
    """One value an hour, the hour's number."""
    at = 3600.0 * np.arange(1, count + 1)
    return Frame(3600.0, at, np.arange(1.0, count + 1)[None, :], at[-1:], ("fresh",))


def test_values_in_the_span_become_gaps_and_all_else_stays() -> None:
    found = without(hours(48), ((3 * 3600.0, 5 * 3600.0),), 48 * 3600.0)
    # A bucket bears the time at which it ended: those of the span are the fourth and the fifth.
    assert np.flatnonzero(np.isnan(found.values[0])).tolist() == [3, 4]
    assert found.at is hours(48).at or np.array_equal(found.at, hours(48).at)


def test_the_newest_two_hours_count_on_an_unusual_day_too() -> None:
    found = without(hours(48), ((24 * 3600.0, 72 * 3600.0),), 48 * 3600.0 + 59.0)
    assert np.flatnonzero(np.isfinite(found.values[0]))[-2:].tolist() == [46, 47]
    assert np.isnan(found.values[0, 24:46]).all()
    assert PRESENT_S == 2 * 3600.0


def test_what_is_gone_changes_at_full_hours_only() -> None:
    frame, span = hours(48), ((24 * 3600.0, 72 * 3600.0),)
    gone = [np.isnan(without(frame, span, 47 * 3600.0 + s).values).sum() for s in (0.0, 1800.0, 3599.0, 3600.0)]
    assert gone[0] == gone[1] == gone[2] == gone[3] - 1


def test_the_day_after_a_sale_is_not_expected_to_be_a_sale() -> None:
    """Every day rises threefold within an hour from now; yesterday, a sale, rose thirtyfold."""

    def demand(at: float) -> float:
        passed = (at - NOW) % DAY_S
        rise = 30.0 if -DAY_S <= at - NOW < 0 else 3.0
        return 10.0 * (1.0 + (rise - 1.0) * max(0.0, math.sin(math.pi * min(1.0, passed / 3600.0))))

    def growth(unusual: tuple[tuple[float, float], ...]) -> float:
        ruled = foreseeing(Seasonal())
        signals = tuple(replace(s, unusual=unusual) if s.forecast else s for s in ruled.signals)
        ruled = replace(ruled, signals=signals)
        foresight = Foresight(lambda: {"chat": ruled}, store_with(demand, 8), Journal())
        foresight.work(NOW)
        said = foresight.learned("chat").outlooks["ahead"]
        return said.growth[said.quantiles.index(0.5)][0]

    marked, unmarked = growth(((NOW - DAY_S, NOW),)), growth(())
    assert unmarked > 1.4 * marked
    assert marked > 1.0
