"""Quantities as people write them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("60s", 60.0, id="seconds"),
        pytest.param("5m", 300.0, id="m is minutes"),
        pytest.param("2h", 7200.0, id="hours"),
        pytest.param("1h30m", 5400.0, id="units add up"),
        pytest.param("7d", 604800.0, id="days"),
        pytest.param("250ms", 0.25, id="milliseconds"),
        pytest.param("1.5h", 5400.0, id="a fraction of an hour"),
        pytest.param("0", 0.0, id="nothing needs no unit"),
        pytest.param("0s", 0.0, id="nothing may have one"),
    ],
)
def test_durations_become_seconds(text: str, seconds: float) -> None:
    assert units.duration_s(text) == seconds


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        pytest.param(units.ratio, "85%", 0.85, id="percent"),
        pytest.param(units.ratio, "0.85", 0.85, id="a bare share"),
        pytest.param(units.ratio, "250%", 2.5, id="more than the whole needs its sign"),
        pytest.param(units.size_bytes, "80GiB", 80 * 2**30, id="binary bytes"),
        pytest.param(units.size_bytes, "40GB", 40e9, id="decimal bytes"),
        pytest.param(units.size_bytes, "512 MiB", 2**29, id="a space before the unit"),
        pytest.param(units.usd_per_hour, "900 USD/h", 900.0, id="money per hour"),
        pytest.param(units.usd_per_hour, "24 USD/d", 1.0, id="money per day"),
        pytest.param(units.usd_per_hour, "0.1 USD/h", 0.1, id="cents"),
        pytest.param(units.usd_per_day, "1200 USD/d", 1200.0, id="a day's money"),
        pytest.param(units.usd_per_day, "2 USD/h", 48.0, id="a day's money by the hour"),
        pytest.param(units.count, "40", 40, id="a count"),
        pytest.param(units.whole, "-10", -10, id="a negative whole number"),
        pytest.param(units.number, "1e3", 1000.0, id="an exponent means what it looks like"),
        pytest.param(units.flag, "true", True, id="true"),
        pytest.param(units.flag, "false", False, id="false"),
    ],
)
def test_values_become_base_units(reader: Callable[[str], object], text: str, value: object) -> None:
    assert reader(text) == value


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        pytest.param("42 requests/s", 42.0, "requests/s", id="requests per second"),
        pytest.param("1000 tokens/s", 1000.0, "tokens/s", id="tokens per second"),
        pytest.param("90 requests/min", 1.5, "requests/s", id="per minute"),
        pytest.param("85%", 0.85, "ratio", id="percent"),
        pytest.param("2s", 2.0, "seconds", id="seconds"),
        pytest.param("80GiB", 80 * 2**30, "bytes", id="bytes"),
        pytest.param("0.3kW", 300.0, "watts", id="watts"),
        pytest.param("85C", 85.0, "celsius", id="celsius"),
        pytest.param("1.4GHz", 1.4e9, "hertz", id="hertz"),
        pytest.param("-5", -5.0, "", id="a bare negative number"),
    ],
)
def test_a_quantity_knows_its_unit(text: str, value: float, unit: str) -> None:
    found = units.quantity(text)
    assert found.value == pytest.approx(value)
    assert found.unit == unit


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (units.duration_s, "soon", "'soon' is not a duration; write 30s, 5m or 2h"),
        (units.duration_s, "60", "'60' has no unit; write 60s, or another unit of ms, s, m, h, d"),
        (units.duration_s, "-5s", "'-5s' is negative; a duration is 0s or longer"),
        (units.duration_s, "-5", "'-5' is negative; a duration is 0s or longer"),
        (
            units.duration_s,
            "30m1h",
            "'30m1h' repeats a unit or has them out of order; write the largest first, such as 1h30m",
        ),
        (
            units.duration_s,
            "5m5m",
            "'5m5m' repeats a unit or has them out of order; write the largest first, such as 1h30m",
        ),
        (units.duration_s, "400d", "'400d' is more than a year; write a duration up to 366d"),
        (units.duration_s, "5 minutes", "'5 minutes' is not a duration; write 30s, 5m or 2h"),
        (units.duration_s, "12:30", "'12:30' is not a duration; write 30s, 5m or 2h"),
        (units.ratio, "85", "'85' is more than 1, the whole; write 85% or 0.85"),
        (units.ratio, "-5%", "'-5%' is negative; write a share such as 85% or 0.85"),
        (units.ratio, "most", "'most' is not a share; write 85% or 0.85"),
        (units.size_bytes, "80", "'80' is not a size in bytes; write 80GiB or 80GB"),
        (units.size_bytes, "80 gigs", "'80 gigs' is not a size in bytes; write 80GiB or 40GB"),
        (units.size_bytes, "-1GB", "'-1GB' is negative; a size is 0B or more"),
        (units.usd_per_hour, "900", "'900' is not money per time; write 900 USD/h"),
        (units.usd_per_hour, "900 EUR/h", "'900 EUR/h' is not money per time; write 900 USD/h"),
        (units.usd_per_day, "900", "'900' is not money per time; write 900 USD/d"),
        (units.usd_per_day, "much", "'much' is not money per time; write 12000 USD/d"),
        (units.usd_per_day, "-1 USD/d", "'-1 USD/d' is negative; a budget is 0 USD/d or more"),
        (units.usd_per_hour, "-1 USD/h", "'-1 USD/h' is negative; a budget is 0 USD/h or more"),
        (units.rate, "42", "'42' is not a rate; write 42 requests/s or 42 tokens/s"),
        (units.rate, "-42 requests/s", "'-42 requests/s' is negative; a rate is 0 or more"),
        (units.rate, "fast", "'fast' is not a rate; write 42 requests/s or 1000 tokens/s"),
        (units.count, "-1", "'-1' is negative; write 0 or more"),
        (units.count, "2.5", "'2.5' is not a whole number; write digits such as 2"),
        (units.count, "010", "'010' starts with a zero, which some readers take for base 8; write 10"),
        (units.count, "1_000", "'1_000' is not a number; write digits such as 50 or 0.5"),
        (units.whole, "1.5", "'1.5' is not a whole number; write digits such as 10 or -10"),
        (units.number, ".nan", "'.nan' is not a number; write digits such as 50 or 0.5"),
        (units.number, "inf", "'inf' is not a number; write digits such as 50 or 0.5"),
        (units.number, "1e300", "'1e300' is too large to mean anything; write a number up to 1e18"),
        (units.number, "", "'' is not a number; write digits such as 50 or 0.5"),
        (units.flag, "no", "'no' is not true or false; write true or false"),
        (
            units.quantity,
            "hot",
            "'hot' is not a value; write a number with its unit, such as 85%, 50, 2s, 80GiB or 300W",
        ),
        (
            units.quantity,
            "5 parsecs",
            "'5 parsecs' is not a value; write a number with its unit, such as 85%, 50, 2s, 80GiB or 300W",
        ),
        (units.quantity, "010", "'010' starts with a zero, which some readers take for base 8; write 10"),
    ],
    ids=lambda value: value if isinstance(value, str) and ";" not in value else "",
)
def test_what_cannot_be_read_is_answered_with_the_next_step(
    reader: Callable[[str], object], text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        reader(text)


@settings(derandomize=True, max_examples=200)
@given(st.integers(min_value=0, max_value=366 * 86400))
def test_a_duration_written_out_reads_back_as_the_same_seconds(seconds: int) -> None:
    assert units.duration_s(units.duration_text(seconds)) == seconds


def answer(reader: Callable[[str], object], text: str) -> str:
    """What is said to a text that is not a value; a semicolon for one that is."""
    try:
        reader(text)
    except ValueError as error:
        return str(error)
    return ";"


@settings(derandomize=True, max_examples=300)
@given(st.text(max_size=12))
def test_any_text_is_a_value_or_a_sentence(text: str) -> None:
    for reader in (units.duration_s, units.ratio, units.size_bytes, units.usd_per_hour, units.rate, units.quantity):
        assert ";" in answer(reader, text)


def test_what_the_next_step_says_can_be_read() -> None:
    """The advice of an error is itself good input."""
    assert units.duration_s("60s") == 60.0
    assert units.number(str(units.count("10"))) == 10.0
    assert units.quantity("1h30m").value == 5400.0
