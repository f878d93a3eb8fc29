"""The gate in front of a provider: every call of every thread goes through it, reports and actions alike."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass, field

import numpy as np

from autoscaler import pacing
from autoscaler.pacing import Flow, Held, Pace
from autoscaler.ports import Clock


@dataclass(slots=True)
class Gate:
    """Whether a provider may be called now, from what came of the calls before. Safe for threads; nobody waits in it.

    name: of the provider; it seeds the chance in the waits.
    """

    pace: Pace
    clock: Clock
    name: str = ""
    held: int = 0
    throttled: int = 0
    _flow: Flow = field(init=False)
    _random: np.random.Generator = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._flow = pacing.begin(self.pace, self.clock.now())
        self._random = np.random.default_rng(zlib.crc32(self.name.encode()))

    @property
    def dead(self) -> bool:
        """Whether the provider has not answered so often that only one call at a time asks if it is back."""
        return self._flow.dead

    def enter(self) -> Held | None:
        """None = the call may be made, and what comes of it must be told; else how long it may not and why."""
        with self._lock:
            self._flow, held = pacing.ask(self.pace, self._flow, self.clock.now())
            return held

    def held_back(self) -> None:
        """A call was not made."""
        with self._lock:
            self.held += 1

    def answered(self) -> None:
        """The provider answered, whatever it said."""
        with self._lock:
            self._flow = pacing.answered(self._flow)

    def slowed(self, retry_after_s: float) -> float:
        """It said that it is called too often; returns the seconds until it may be called again."""
        with self._lock:
            self.throttled += 1
            now = self.clock.now()
            self._flow = pacing.throttled(self.pace, self._flow, now, retry_after_s, self._random.random())
            return self._flow.until - now

    def unanswered(self) -> None:
        """Nothing came back."""
        with self._lock:
            self._flow = pacing.unreachable(self._flow, self.clock.now(), self._random.random())
