"""Windows of time in which a pool may be disturbed: as people write them, over midnight, over changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from autoscaler.windows import next_open, open_until, window


def at(text: str) -> float:
    """An instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "now", "until"),
    [
        pytest.param("02:00-05:00", "2026-09-21 01:59:59", None, id="before it opens"),
        pytest.param("02:00-05:00", "2026-09-21 02:00:00", "2026-09-21 05:00:00", id="when it opens"),
        pytest.param("02:00-05:00", "2026-09-21 05:00:00", None, id="when it has closed"),
        pytest.param("22:00-05:00", "2026-09-21 23:00:00", "2026-09-22 05:00:00", id="before midnight"),
        pytest.param("22:00-05:00", "2026-09-21 04:00:00", "2026-09-21 05:00:00", id="after midnight"),
        pytest.param("fri 22:00-05:00", "2026-09-26 04:00:00", "2026-09-26 05:00:00", id="a Friday's, on Saturday"),
        pytest.param("fri 22:00-05:00", "2026-09-25 04:00:00", None, id="not a Thursday's"),
        pytest.param("sat-mon 1:00-2:00", "2026-09-20 01:30:00", "2026-09-20 02:00:00", id="days over the week's end"),
        pytest.param("mon,wed 01:00-02:00", "2026-09-22 01:30:00", None, id="not on Tuesday"),
        pytest.param("00:00-24:00", "2026-09-21 23:59:59", "2026-09-22 00:00:00", id="a whole day"),
        pytest.param("02:00-05:00 Asia/Tokyo", "2026-09-21 18:00:00", "2026-09-21 20:00:00", id="of another zone"),
        # Clocks in Berlin go from 02:00 to 03:00 on 2026-03-29 and from 03:00 to 02:00 on 2026-10-25.
        pytest.param("01:00-04:00 Europe/Berlin", "2026-03-29 01:30:00", "2026-03-29 02:00:00", id="an hour shorter"),
        pytest.param("01:00-04:00 Europe/Berlin", "2026-10-25 00:30:00", "2026-10-25 03:00:00", id="an hour longer"),
    ],
)
def test_a_window_is_open(text: str, now: str, until: str | None) -> None:
    assert open_until([[window(text)]], at(now)) == (None if until is None else at(until))


@pytest.mark.parametrize(
    ("groups", "now", "expected"),
    [
        pytest.param([["02:00-05:00"]], "2026-09-21 03:00", "2026-09-21 03:00", id="now"),
        pytest.param([["02:00-05:00"]], "2026-09-21 06:00", "2026-09-22 02:00", id="tomorrow"),
        pytest.param([["mon 02:00-05:00"]], "2026-09-21 06:00", "2026-09-28 02:00", id="in a week"),
        pytest.param([["02:00-05:00", "12:00-13:00"]], "2026-09-21 06:00", "2026-09-21 12:00", id="the sooner of two"),
        pytest.param([["02:00-05:00"], ["04:00-06:00"]], "2026-09-21 02:30", "2026-09-21 04:00", id="of both groups"),
        pytest.param([["02:00-05:00"], ["05:00-06:00"]], "2026-09-21 02:30", None, id="never both"),
        pytest.param([[], []], "2026-09-21 02:30", "2026-09-21 02:30", id="no window is no limit"),
    ],
)
def test_the_next_opening_is_found(groups: list[list[str]], now: str, expected: str | None) -> None:
    read = [[window(text) for text in group] for group in groups]
    assert next_open(read, at(now)) == (None if expected is None else at(expected))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("tonight", "'tonight' is not a window; write 02:00-05:00, or mon-fri 22:00", id="words"),
        pytest.param("02:00-02:00", "'02:00-02:00' never opens; write another begin than end", id="no time at all"),
        pytest.param("25:00-02:00", "25:00 is not a time of day; write 00:00 to 24:00", id="no such hour"),
        pytest.param("02:60-03:00", "02:60 is not a time of day", id="no such minute"),
        pytest.param("mon-fry 02:00-03:00", "'mon-fry' is not a day; write mon, tue", id="no such day"),
        pytest.param("02:00-03:00 Europe/Atlantis", "'Europe/Atlantis' is not a known time zone", id="no such zone"),
    ],
)
def test_what_is_no_window_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="write") as refused:
        window(text)
    assert message in str(refused.value)
