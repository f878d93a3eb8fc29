"""Bounds by the clock on the wall: a floor, a ceiling or both while a window is open."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from autoscaler.errors import InputError
from autoscaler.types import Fleet, Proposal, Reading

CRON_FIELDS = 5
FOLD_S = 7200.0
"""No time zone puts its clocks back by more than this in one change."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """While the window that the last cron start opened is open, at least `min` and at most `max` replicas.

    cron: five fields, read on the clock of `timezone` (an IANA name). lasts_s: real seconds, so that a window of
    12 h is 12 h long on the day of a change of clocks too. A start that the clocks skip happens when they have
    skipped it; one that they repeat happens once, as in Debian's cron.
    """

    cron: str
    lasts_s: float
    timezone: str = "UTC"
    min: int | None = None
    max: int | None = None

    def __post_init__(self) -> None:
        faults = [*_faults_of_cron(self.cron), *_faults_of_zone(self.timezone)]
        if not (math.isfinite(self.lasts_s) and 0 < self.lasts_s <= 366 * 86400):
            faults.append(f"schedule: lasts is {self.lasts_s} s, but must be above 0 and at most 366 days")
        if self.min is None and self.max is None:
            faults.append("schedule: neither min nor max is given, so the window changes nothing; write one")
        for key, value in (("min", self.min), ("max", self.max)):
            if value is not None and value < 0:
                faults.append(f"schedule: {key} is {value}, but a pool has at least 0 replicas; write 0 or more")
        if self.min is not None and self.max is not None and self.min > self.max:
            faults.append(f"schedule: min {self.min} is above max {self.max}; swap them")
        if faults:
            raise InputError(*faults)

    def propose(self, now: float, readings: Mapping[str, Reading], fleet: Fleet, current: int) -> tuple[Proposal, ...]:
        """A `floor` and a `ceiling` proposal while a window is open, else nothing."""
        until = self.open_until(now)
        if until is None:
            return ()
        end = datetime.fromtimestamp(until, ZoneInfo(self.timezone))
        window = f"the window of '{self.cron}' is open until {end:%Y-%m-%d %H:%M} {self.timezone}"
        found = []
        if self.min is not None:
            found.append(Proposal("", "floor", self.min, f"{window}: at least {self.min}", until))
        if self.max is not None:
            found.append(Proposal("", "ceiling", self.max, f"{window}: at most {self.max}", until))
        return tuple(found)

    def open_until(self, now: float) -> float | None:
        """When the window that is open at `now` closes, None while none is open."""
        last = None
        for start in self._starts(now - self.lasts_s):
            if start > now:
                break
            last = start
        return None if last is None else last + self.lasts_s

    def _starts(self, after: float) -> Iterator[float]:
        """Unix times of all starts later than `after`, ascending."""
        # Only forward: read backwards, the library loses the first of two equal wall-clock hours. The search begins
        # early and is filtered by real time, because a wall-clock time in such an hour does not say which one it is.
        since = datetime.fromtimestamp(math.floor(after - FOLD_S), ZoneInfo(self.timezone))
        for start in CronSim(self.cron, since):
            at = start.timestamp()
            if at > after:
                yield at


def _faults_of_cron(cron: str) -> list[str]:
    if len(cron.split()) != CRON_FIELDS:
        return [
            f"schedule: cron '{cron}' does not have five fields; write minute hour day month weekday: 0 8 * * mon-fri"
        ]
    try:
        next(CronSim(cron, datetime(2024, 1, 1)))
    except CronSimError as error:
        return [f"schedule: cron '{cron}' is not valid ({error}); write minute hour day month weekday: 0 8 * * mon-fri"]
    except StopIteration:
        return [f"schedule: cron '{cron}' never starts in 50 years; check day and month"]
    return []


def _faults_of_zone(name: str) -> list[str]:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return [f"schedule: timezone '{name}' is not known; write an IANA name such as Europe/Berlin"]
    return []
