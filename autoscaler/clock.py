"""The only module that reads the system's time or sleeps."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Event


@dataclass
class SystemClock:
    """Wall-clock time that remembers how it should have moved.

    `now()` follows the system's clock; when that clock moved against the monotonic one by more than `tolerance_s`
    (NTP step, suspend, a person), the difference is added to `jumps`; whoever reports them takes them out.
    """

    tolerance_s: float = 2.0
    jumps: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    _offset: float = field(default_factory=lambda: time.time() - time.monotonic())

    def now(self) -> float:
        wall = time.time()
        drift = wall - time.monotonic() - self._offset
        if abs(drift) > self.tolerance_s:
            self._offset += drift
            self.jumps.append(drift)
        return wall

    def wait(self, until: float, wake: Event | None = None) -> bool:
        # Waiting is bounded so that a jump of the wall clock cannot stretch one tick's sleep beyond a minute.
        seconds = min(max(0.0, until - time.time()), 60.0)
        if wake is None:
            time.sleep(seconds)
            return False
        woken = wake.wait(seconds)
        if woken:
            wake.clear()
        return woken


@dataclass
class SimClock:
    """Time that moves only when somebody waits for it."""

    at: float = 0.0

    def now(self) -> float:
        return self.at

    def wait(self, until: float, wake: Event | None = None) -> bool:
        if wake is not None and wake.is_set():
            wake.clear()
            return True
        self.at = max(self.at, until)
        return False


def monotonic() -> float:
    """Seconds for measuring durations; never for dating anything."""
    return time.perf_counter()


def cpu_seconds() -> float:
    """User and system seconds of this process."""
    return time.process_time()
