"""Windows of time in which a pool may be disturbed, as people write them: `mon-fri 22:00-05:00 Europe/Berlin`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN = 1440
LOOK_DAYS = 9
"""Every window opens at least once in eight days, whatever clocks do in between."""
_TEXT = re.compile(r"(?:(?P<days>[a-z,-]+) +)?(?P<from>\d?\d:\d\d)-(?P<to>\d?\d:\d\d)(?: +(?P<zone>[A-Za-z]\S*))?")


@dataclass(frozen=True, slots=True)
class Window:
    """From `begin` to `end`, minutes after midnight on the clock of `timezone`, on the days it begins on (0 = Monday).

    One whose end is not after its begin lasts into the next day.
    """

    begin: int
    end: int
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    timezone: str = "UTC"
    text: str = ""

    def spans(self, now: float) -> Iterator[tuple[float, float]]:
        """(since, until) of each time it is open, from the one that may have begun yesterday on, ascending."""
        zone = ZoneInfo(self.timezone)
        today = datetime.fromtimestamp(now, zone).date()
        for offset in range(-1, LOOK_DAYS):
            day = today + timedelta(days=offset)
            if day.weekday() not in self.days:
                continue
            last = day if self.begin < self.end < DAY_MIN else day + timedelta(days=1)
            since, until = (
                datetime.combine(on, time(minutes // 60 % 24, minutes % 60), zone).timestamp()
                for on, minutes in ((day, self.begin), (last, self.end))
            )
            if until > since:  # a window inside the hour that clocks skip does not open on that day
                yield since, until


@lru_cache(maxsize=1024)
def window(text: str) -> Window:
    """A window as people write it: days if not all, times, time zone if not UTC. ValueError in words for another."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        example = "write 02:00-05:00, or mon-fri 22:00-05:00 Europe/Berlin"
        raise ValueError(f"{text[:60]!r} is not a window; {example}")
    begin, end = (_minutes(found[name], text) for name in ("from", "to"))
    if begin in (end, DAY_MIN):
        raise ValueError(f"{text!r} never opens; write another begin than end, or 00:00-24:00 for whole days")
    name = found["zone"] or "UTC"
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{text!r}: {name!r} is not a known time zone; write one such as Europe/Berlin") from None
    return Window(begin, end, _days(found["days"], text), name, text.strip())


def open_until(groups: Sequence[Sequence[Window]], now: float) -> float | None:
    """Until when a window of every group is open at `now`; None while one has none open. A group without windows is
    always open; infinite when all are."""
    ends = [_group_until(group, now) for group in groups if group]
    if any(end is None for end in ends):
        return None
    return min((end for end in ends if end is not None), default=float("inf"))


def next_open(groups: Sequence[Sequence[Window]], now: float) -> float | None:
    """When a window of every group is open next, `now` if they are; None if that is not within eight days."""
    starts = {since for group in groups for w in group for since, _ in w.spans(now) if since > now}
    return next((at for at in (now, *sorted(starts)) if open_until(groups, at) is not None), None)


def _group_until(group: Sequence[Window], now: float) -> float | None:
    return max((until for w in group for since, until in w.spans(now) if since <= now < until), default=None)


def _minutes(text: str, whole: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if hour > 24 or minute > 59 or (hour == 24 and minute):
        raise ValueError(f"{whole!r}: {text} is not a time of day; write 00:00 to 24:00")
    return hour * 60 + minute


def _days(text: str | None, whole: str) -> tuple[int, ...]:
    if text is None:
        return tuple(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{whole!r}: {part!r} is not a day; write {', '.join(DAYS)}, or mon-fri")
        at, end = DAYS.index(first), DAYS.index(last or first)
        found |= {(at + n) % 7 for n in range((end - at) % 7 + 1)}
    return tuple(sorted(found))
