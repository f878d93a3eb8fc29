"""The watchdog: says when the loop is late or stuck, from a thread that the loop cannot hold up."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import structlog

from autoscaler.loop import Stats
from autoscaler.ports import Clock

log = structlog.get_logger()

LATE_S = 1.0


@dataclass(slots=True)
class Watchdog:
    """Looks once every `period_s`. A pass that began and has not ended after `stuck_s` is stuck."""

    stats: Stats
    clock: Clock
    period_s: float = 1.0
    stuck_s: float = 30.0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _told: str = ""

    def start(self) -> None:
        """Starts looking."""
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def look(self) -> str:
        """What is wrong with the loop now, in words; empty when nothing is. A finding is logged once."""
        began = self.stats.pass_began_at
        now = self.clock.now()
        found = ""
        if began is not None and now - began > self.stuck_s:
            found = "a pass of the loop is stuck"
        elif self.stats.late_s > LATE_S:
            found = "ticks are late"
        if found and found != self._told:
            since = round(now - began, 1) if began is not None else None
            log.error(found, late_s=round(self.stats.late_s, 2), pass_under_way_s=since)
        elif self._told and not found:
            log.info("ticks are on time again")
        self._told = found
        return found

    def _run(self) -> None:
        while not self._stopping.wait(self.period_s):
            self.look()
