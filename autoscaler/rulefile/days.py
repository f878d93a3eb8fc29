"""Days as people write them: one, or the first and the last of several, on the clocks of a time zone."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MAX_DAYS = 366
"""Of one entry: whoever marks more than a year has mistyped one."""


def days(text: str) -> tuple[date, date]:
    """First and last day of `2026-12-24` or `2026-12-24/2026-12-26`. ValueError in words for anything else."""
    first, _, last = text.partition("/")
    try:
        found = date.fromisoformat(first.strip()), date.fromisoformat((last or first).strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a day nor a first and a last one; write 2026-12-24 or 2026-12-24/2026-12-26"
        ) from None
    if found[1] < found[0]:
        raise ValueError(f"{text!r} ends before it begins; write {found[1]}/{found[0]}")
    if (found[1] - found[0]).days >= MAX_DAYS:
        raise ValueError(f"{text!r} is more than {MAX_DAYS} days; check the years")
    return found


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. ValueError in words for an unknown one."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a known time zone; write an IANA name such as Europe/Berlin") from None


def spans(marked: list[tuple[date, date]], where: ZoneInfo) -> tuple[tuple[float, float], ...]:
    """(since, until) of each entry in Unix seconds, from midnight to midnight, ascending."""

    def midnight(day: date) -> float:
        return datetime.combine(day, time(), where).timestamp()

    return tuple(sorted((midnight(first), midnight(last + timedelta(days=1))) for first, last in marked))
