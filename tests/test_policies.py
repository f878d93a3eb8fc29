"""Policies: what a rule asks for, from readings of every quality, and schedules across changes of clocks."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from autoscaler.policies.schedule import Schedule
from autoscaler.policies.step import Step
from autoscaler.policies.target import Target
from autoscaler.ports import Policy
from autoscaler.types import Fleet, Instance, InstanceState, Proposal, Quality, Reading
from autoscaler.words import amount, seconds

EMPTY = Fleet(0.0)


def fleet(**counts: int) -> Fleet:
    states: list[InstanceState] = ["pending", "ready", "draining", "warm"]
    return Fleet(
        0.0,
        tuple(Instance(f"{s}{n}", "chat", "offer", s, 0.0) for s in states for n in range(counts.get(s, 0))),
    )


def reading(value: float | None, quality: Quality = "fresh", detail: str = "") -> Reading:
    return Reading(0.0, value, quality, detail=detail)


def ask(policy: Target, current: int, **readings: Reading) -> Proposal:
    (proposal,) = policy.propose(0.0, readings, EMPTY, current)
    assert proposal.source == ""
    return proposal


# --- step -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "ready", "pending", "expected"),
    [
        pytest.param(Step(2), 5, 0, 7, id="two more than five"),
        pytest.param(Step(2), 5, 2, 9, id="what is pending was ordered and counts"),
        pytest.param(Step(by_ratio=0.25), 8, 0, 10, id="a quarter more"),
        pytest.param(Step(by_ratio=0.25), 9, 0, 12, id="a quarter rounds up"),
        pytest.param(Step(by_ratio=0.1), 30, 0, 33, id="a tenth of thirty is three in spite of floating point"),
        pytest.param(Step(by_ratio=0.07), 100, 0, 107, id="seven percent of a hundred is seven"),
        pytest.param(Step(4, 0.25), 8, 0, 12, id="the larger of both counts"),
        pytest.param(Step(), 5, 0, 6, id="one at least"),
        pytest.param(Step(by_ratio=0.5), 0, 0, 1, id="one from nothing"),
    ],
)
def test_step_raises_by(step: Step, ready: int, pending: int, expected: int) -> None:
    (proposal,) = step.propose(0.0, {}, fleet(ready=ready, pending=pending, draining=3, warm=2), ready)
    assert (proposal.sense, proposal.replicas) == ("raise", expected)
    assert f"{ready} ready and {pending} pending" in proposal.text


def test_a_repeated_step_orders_again_only_what_it_says() -> None:
    """While its order boots, a step asks for more than that order; a cooldown is what makes it wait."""
    first = Step(2).propose(0.0, {}, fleet(ready=4), 4)[0].replicas
    again = Step(2).propose(15.0, {}, fleet(ready=4, pending=2), first)[0].replicas
    assert (first, again) == (6, 8)


# --- target -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "current", "expected"),
    [
        pytest.param(412.0, 5, 14, id="rounds up"),
        pytest.param(30.000000001, 5, 1, id="a rounding error is not a replica"),
        pytest.param(90.0, 5, 3, id="an exact multiple"),
        pytest.param(90.1, 5, 4, id="a little over a multiple"),
        pytest.param(330.0, 10, 10, id="ten percent over is inside the dead band"),
        pytest.param(331.0, 10, 12, id="just over ten percent is outside"),
        pytest.param(270.0, 10, 10, id="ten percent under is inside the dead band"),
        pytest.param(269.0, 10, 9, id="just under is outside"),
        pytest.param(0.0, 10, 0, id="a true zero needs nothing"),
        pytest.param(0.0, 0, 0, id="a true zero of an empty pool needs nothing"),
        pytest.param(0.5, 0, 1, id="any demand wakes an empty pool"),
        pytest.param(1e-12, 0, 1, id="the least demand wakes an empty pool"),
        pytest.param(33.0, 1, 1, id="one replica tolerates ten percent too"),
    ],
)
def test_a_fresh_reading_sizes_the_pool(value: float, current: int, expected: int) -> None:
    proposal = ask(Target("load", 30.0), current, load=reading(value))
    assert (proposal.sense, proposal.replicas) == ("size", expected)


def test_tolerances_are_per_direction() -> None:
    eager = Target("load", 10.0, tolerance_out=0.0, tolerance_in=0.3)
    assert ask(eager, 10, load=reading(100.1)).replicas == 11
    assert ask(eager, 10, load=reading(71.0)).replicas == 10
    assert ask(eager, 10, load=reading(69.0)).replicas == 7


@pytest.mark.parametrize(
    ("quality", "value", "expected"),
    [
        pytest.param("partial", 600.0, ("raise", 20), id="partial data may raise"),
        pytest.param("partial", 60.0, ("hold", 10), id="partial data never lower"),
        pytest.param("partial", 0.0, ("hold", 10), id="a partial zero is unknown"),
        pytest.param("stale", 600.0, ("raise", 20), id="the last value is a lower bound"),
        pytest.param("stale", 60.0, ("hold", 10), id="stale data never lower"),
        pytest.param("stale", 320.0, ("hold", 10), id="stale data inside the dead band hold"),
        pytest.param("frozen", None, ("hold", 10), id="frozen data hold"),
        pytest.param("missing", None, ("hold", 10), id="missing data hold"),
        pytest.param("frozen", 600.0, ("hold", 10), id="frozen data hold even with a value"),
        pytest.param("fresh", math.inf, ("hold", 10), id="an infinite value holds"),
        pytest.param("fresh", -5.0, ("hold", 10), id="a negative value holds"),
        pytest.param("fresh", math.nan, ("hold", 10), id="not a number holds"),
        pytest.param("fresh", 1e300, ("hold", 10), id="an absurd value holds"),
    ],
)
def test_the_quality_of_a_reading_decides_what_it_may_do(
    quality: Quality, value: float | None, expected: tuple[str, int]
) -> None:
    proposal = ask(Target("load", 30.0), 10, load=reading(value, quality, "scrape of 2 targets failed"))
    assert (proposal.sense, proposal.replicas) == expected
    if quality != "fresh":
        assert quality in proposal.text
        assert "scrape of 2 targets failed" in proposal.text


def test_a_signal_without_a_reading_holds() -> None:
    proposal = ask(Target("load", 30.0), 4)
    assert proposal == Proposal("", "hold", 4, "load has no reading")


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        pytest.param(reading(50.0), ("size", 10), id="planned at eighty percent of it"),
        pytest.param(reading(50.0, "stale"), ("raise", 10), id="a stale capacity may raise"),
        pytest.param(reading(None, "missing", "not learned"), ("hold", 4), id="an unknown capacity holds"),
        pytest.param(reading(0.0), ("hold", 4), id="a capacity of zero holds"),
        pytest.param(reading(math.nan), ("hold", 4), id="a capacity that is no number holds"),
        pytest.param(None, ("hold", 4), id="no capacity at all holds"),
    ],
)
def test_without_a_declared_share_the_capacity_counts(capacity: Reading | None, expected: tuple[str, int]) -> None:
    readings = {"load": reading(400.0)} | ({} if capacity is None else {"capacity": capacity})
    proposal = ask(Target("load"), 4, **readings)
    assert (proposal.sense, proposal.replicas) == expected


@pytest.mark.parametrize(
    ("waiting", "current", "sense", "replicas"),
    [
        pytest.param(reading(0.0), 9, "size", 4, id="nothing waits"),
        pytest.param(reading(1200.0), 4, "size", 5, id="what waits is demand until it is cleared"),
        pytest.param(reading(None), 9, "size", 4, id="known to be nothing"),
        pytest.param(reading(1200.0, "stale"), 4, "raise", 5, id="an old queue is a lower bound"),
        pytest.param(reading(0.0, "partial"), 9, "hold", 9, id="a queue of which a part is unknown lowers nothing"),
        pytest.param(reading(None, "missing"), 9, "hold", 9, id="nor does one that nobody knows"),
        pytest.param(reading(-5.0), 9, "hold", 9, id="nor one that cannot be"),
        pytest.param(reading(None, "missing"), 2, "raise", 4, id="and the rest of the demand still raises"),
    ],
)
def test_a_backlog_counts_as_demand(waiting: Reading, current: int, sense: str, replicas: int) -> None:
    # 40 requests/s at 10 each, and 1,200 waiting to be cleared in two minutes are 10 requests/s more.
    target = Target("load", 10.0, backlog="queue", clear_s=120.0)
    proposal = ask(target, current, load=reading(40.0), queue=waiting)
    assert (proposal.sense, proposal.replicas) == (sense, replicas)


def test_a_stale_capacity_never_lowers() -> None:
    proposal = ask(Target("load"), 40, load=reading(400.0), capacity=reading(50.0, "stale"))
    assert (proposal.sense, proposal.replicas) == ("hold", 40)


def test_texts_are_for_people() -> None:
    target = Target("load", 30.0, unit="/s")
    assert ask(target, 5, load=reading(412.0)).text == "load 412/s needs 14 replicas at 30/s each"
    assert "inside the dead band around 10" in ask(target, 10, load=reading(310.0)).text
    learned = ask(Target("load", unit="/s"), 5, load=reading(400.0), capacity=reading(50.0)).text
    assert learned == "load 400/s needs 10 replicas at 40/s each (80% of its capacity 50/s)"


QUALITIES: list[Quality] = ["partial", "stale", "frozen", "missing"]


@settings(max_examples=120, derandomize=True, deadline=None)
@given(
    value=st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
    quality=st.sampled_from(QUALITIES),
    share=st.floats(0.001, 1e6),
    current=st.integers(0, 1000),
)
def test_nothing_less_than_fresh_ever_lowers(value: float | None, quality: Quality, share: float, current: int) -> None:
    proposal = ask(Target("load", share), current, load=reading(value, quality))
    assert proposal.sense in ("raise", "hold")
    assert proposal.replicas >= current


@settings(max_examples=120, derandomize=True, deadline=None)
@given(value=st.floats(0, 1e6), share=st.floats(0.01, 1e4), current=st.integers(0, 1000))
def test_a_size_carries_the_load_within_the_tolerance(value: float, share: float, current: int) -> None:
    proposal = ask(Target("load", share), current, load=reading(value))
    assert proposal.sense == "size"
    carried = proposal.replicas * share * (1.1 if proposal.replicas == current else 1.0)
    assert carried * (1 + 1e-6) >= value
    if value > 0:
        assert proposal.replicas >= 1


# --- schedule ---------------------------------------------------------------------------------------------------


def at(zone: str, text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


HOUR = 3600.0


@pytest.mark.parametrize(
    ("zone", "cron", "lasts_h", "moment", "fold", "open_"),
    [
        pytest.param("Asia/Shanghai", "0 8 * * mon-fri", 12, "2026-03-06T07:59:59", 0, False, id="before it opens"),
        pytest.param("Asia/Shanghai", "0 8 * * mon-fri", 12, "2026-03-06T08:00:00", 0, True, id="as it opens"),
        pytest.param("Asia/Shanghai", "0 8 * * mon-fri", 12, "2026-03-06T19:59:59", 0, True, id="just open"),
        pytest.param("Asia/Shanghai", "0 8 * * mon-fri", 12, "2026-03-06T20:00:00", 0, False, id="as it closes"),
        pytest.param("Asia/Shanghai", "0 8 * * mon-fri", 12, "2026-03-07T12:00:00", 0, False, id="not on Saturday"),
        pytest.param("UTC", "0 22 * * *", 8, "2026-03-07T03:00:00", 0, True, id="across midnight"),
        pytest.param("UTC", "0 0 1 * *", 24 * 40, "2026-03-07T03:00:00", 0, True, id="longer than its period"),
        pytest.param("Europe/Berlin", "30 2 * * *", 1, "2026-03-29T01:59:59", 0, False, id="Berlin, before the skip"),
        pytest.param(
            "Europe/Berlin", "30 2 * * *", 1, "2026-03-29T03:00:00", 0, True, id="Berlin, a skipped start opens"
        ),
        pytest.param("Europe/Berlin", "30 2 * * *", 1, "2026-03-29T04:00:00", 0, False, id="Berlin, and closes"),
        pytest.param(
            "Europe/Berlin", "0 1 * * *", 2, "2026-03-29T03:59:59", 0, True, id="Berlin, 2 h are 3 on the clock"
        ),
        pytest.param("Europe/Berlin", "0 1 * * *", 2, "2026-03-29T04:00:00", 0, False, id="Berlin, and not longer"),
        pytest.param("Europe/Berlin", "30 2 * * *", 1, "2026-10-25T02:30:00", 0, True, id="Berlin, the first of two"),
        pytest.param("Europe/Berlin", "30 2 * * *", 1, "2026-10-25T02:29:59", 1, True, id="Berlin, still the first"),
        pytest.param("Europe/Berlin", "30 2 * * *", 1, "2026-10-25T02:30:00", 1, False, id="Berlin, not a second time"),
        pytest.param("Europe/Berlin", "0 2 * * *", 0.5, "2026-10-25T02:10:00", 1, False, id="Berlin, once only"),
        pytest.param("America/New_York", "0 2 * * *", 1, "2026-03-08T03:00:00", 0, True, id="New York, skipped start"),
        pytest.param("America/New_York", "0 2 * * *", 1, "2026-03-08T04:00:00", 0, False, id="New York, closes"),
        pytest.param("America/New_York", "30 1 * * *", 1, "2026-11-01T01:15:00", 1, True, id="New York, repeated hour"),
        pytest.param(
            "America/New_York", "30 1 * * *", 1, "2026-11-01T01:30:00", 1, False, id="New York, over in real time"
        ),
        pytest.param(
            "America/New_York", "0 * * * *", 0.25, "2026-11-01T01:10:00", 1, True, id="New York, each real hour"
        ),
    ],
)
def test_a_window_is_open(zone: str, cron: str, lasts_h: float, moment: str, fold: int, open_: bool) -> None:
    schedule = Schedule(cron, lasts_h * HOUR, zone, min=6)
    assert bool(schedule.propose(at(zone, moment, fold), {}, EMPTY, 1)) is open_


def plain_starts(zone: ZoneInfo, hour: int, minute: int, days: int, first: datetime) -> list[float]:
    """The reference: each day's wall-clock time as an instant; a skipped one is the instant the clocks skipped to."""
    found = []
    for n in range(days):
        local = (first + timedelta(days=n)).replace(hour=hour, minute=minute, tzinfo=zone)
        instant = local.astimezone(UTC)
        while instant.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
            local = (local.replace(tzinfo=None) + timedelta(minutes=1)).replace(tzinfo=zone)
            instant = local.astimezone(UTC)
        found.append(instant.timestamp())
    return found


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    place=st.sampled_from(
        [
            ("Europe/Berlin", datetime(2026, 3, 27)),
            ("Europe/Berlin", datetime(2026, 10, 23)),
            ("America/New_York", datetime(2026, 3, 6)),
            ("America/New_York", datetime(2026, 10, 30)),
            ("Asia/Shanghai", datetime(2026, 3, 27)),
        ]
    ),
    hour=st.integers(0, 4),
    minute=st.sampled_from([0, 15, 30, 59]),
    lasts_s=st.sampled_from([60.0, 1800.0, 5400.0, 43200.0, 86400.0, 90000.0]),
    offset_s=st.integers(0, 4 * 86400),
)
def test_windows_agree_with_a_plain_reading_around_changes_of_clocks(
    place: tuple[str, datetime], hour: int, minute: int, lasts_s: float, offset_s: int
) -> None:
    name, first = place
    zone = ZoneInfo(name)
    now = first.replace(tzinfo=zone).timestamp() + offset_s
    starts = plain_starts(zone, hour, minute, 8, first - timedelta(days=2))
    running = [s + lasts_s for s in starts if s <= now < s + lasts_s]
    schedule = Schedule(f"{minute} {hour} * * *", lasts_s, name, min=1)
    assert schedule.open_until(now) == (max(running) if running else None)


def test_an_open_window_proposes_its_bounds_and_says_until_when() -> None:
    schedule = Schedule("0 8 * * mon-fri", 12 * HOUR, "Asia/Shanghai", min=6, max=20)
    floor, ceiling = schedule.propose(at("Asia/Shanghai", "2026-03-06T12:00:00"), {}, EMPTY, 9)
    assert (floor.sense, floor.replicas) == ("floor", 6)
    assert (ceiling.sense, ceiling.replicas) == ("ceiling", 20)
    assert floor.text == "the window of '0 8 * * mon-fri' is open until 2026-03-06 20:00 Asia/Shanghai: at least 6"
    only = Schedule("0 8 * * *", HOUR, max=3).propose(at("UTC", "2026-03-06T08:30:00"), {}, EMPTY, 9)
    assert [p.sense for p in only] == ["ceiling"]


# --- faults and words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: Step(-1), "step: by is -1", id="a step down"),
        pytest.param(lambda: Step(by_ratio=math.nan), "by_ratio is nan", id="a share that is no number"),
        pytest.param(lambda: Target("load", 0.0), "per_replica is 0.0", id="a share of nothing"),
        pytest.param(lambda: Target("load", 1.0, tolerance_in=1.0), "tolerance_in is 1.0", id="endless tolerance"),
        pytest.param(lambda: Target("load", utilisation_target=0.0), "utilisation_target is 0.0", id="no use at all"),
        pytest.param(lambda: Schedule("0 8 * *", 60.0, min=1), "does not have five fields", id="four fields"),
        pytest.param(lambda: Schedule("0 0 8 * * *", 60.0, min=1), "does not have five fields", id="six fields"),
        pytest.param(lambda: Schedule("0 25 * * *", 60.0, min=1), "cron '0 25 * * *' is not valid", id="hour 25"),
        pytest.param(lambda: Schedule("0 0 31 2 *", 60.0, min=1), "cron '0 0 31 2 *'", id="a day that never comes"),
        pytest.param(lambda: Schedule("0 8 * * *", 0.0, min=1), "lasts is 0.0 s", id="a window of no length"),
        pytest.param(lambda: Schedule("0 8 * * *", 60.0), "neither min nor max", id="no bounds"),
        pytest.param(lambda: Schedule("0 8 * * *", 60.0, min=3, max=2), "min 3 is above max 2", id="bounds swapped"),
        pytest.param(lambda: Schedule("0 8 * * *", 60.0, min=-1), "min is -1", id="a negative floor"),
        pytest.param(lambda: Schedule("0 8 * * *", 60.0, "Mars/Base", min=1), "'Mars/Base' is not known", id="no zone"),
        pytest.param(
            lambda: Schedule("0 8 * * *", 60.0, "../etc", min=1), "'../etc' is not known", id="a path as zone"
        ),
    ],
)
def test_faults_name_the_value_and_the_next_step(make: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_every_policy_fits_its_plug() -> None:
    assert all(isinstance(p, Policy) for p in (Step(1), Target("load"), Schedule("0 8 * * *", 60.0, min=1)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.85, "0.85"), (412.0, "412"), (12345.6, "12,346"), (-2000.0, "-2,000"), (1.2e-7, "1.2e-07"), (1e18, "1e+18")],
)
def test_amounts_are_short(value: float, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(45, "45 s"), (600, "10 min"), (5400, "1 h 30 min"), (90061, "1 d 1 h"), (0.5, "0.5 s")]
)
def test_durations_are_short(value: float, text: str) -> None:
    assert seconds(value) == text
