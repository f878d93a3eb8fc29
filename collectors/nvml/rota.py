"""Who reads: one thread goes round all parts that are due, and whoever holds it up is left to that thread.

A call that is stuck in the driver cannot be ended from outside. So when a tour takes too long, another thread goes on
with the other parts, and the one that is stuck keeps the part that it is stuck with until that is quick again. Eight
GPUs that answer at once then cost one waking thread instead of eight, and a GPU that hangs delays the others once, by
`patience_s`.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from autoscaler.clock import monotonic
from autoscaler.ports import Clock
from collectors.nvml.turns import SLACK_S

log = structlog.get_logger(__name__)

QUICK_SHARE = 0.2
"""A part that needs less than this share of the patience is quick: so many of them make one tour."""
LATER_S = 0.002
PROBATION = 10
"""Quick rounds in a row after which a part that was left alone comes back to the others."""


class Part(Protocol):
    """Something that is read from time to time."""

    def due(self, now: float) -> float:
        """When it wants its next turn; Unix seconds, in the past = at once."""
        ...

    def turn(self, now: float) -> None:
        """Read; may take however long the driver takes, and raises nothing."""
        ...

    def stop(self) -> None:
        """End a turn that is under way as soon as the driver answers."""
        ...


@dataclass(eq=False)
class Rota:
    """Gives parts their turns, from `start` to `stop`. `relieve` must be called at `look_at` and from time to time.

    patience_s: how long a tour over all parts may take until somebody else goes on with it.
    """

    name: str
    clock: Clock
    patience_s: float
    _together: tuple[Part, ...] = field(default=(), init=False, repr=False)
    _alone: dict[Part, threading.Event] = field(default_factory=dict, init=False, repr=False)
    _roused: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _leader: threading.Thread | None = field(default=None, init=False, repr=False)
    _threads: list[threading.Thread] = field(default_factory=list, init=False, repr=False)
    _busy_with: Part | None = field(default=None, init=False, repr=False)
    _began: float = field(default=math.inf, init=False, repr=False)
    _next: float = field(default=math.inf, init=False, repr=False)
    _stopping: bool = field(default=False, init=False, repr=False)
    _refused: bool = field(default=False, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def start(self) -> None:
        """Give turns from now on."""
        with self._lock:
            self._lead()

    def add(self, part: Part) -> None:
        """One more part, from any thread."""
        with self._lock:
            self._together = (*self._together, part)
        self.rouse()

    def rouse(self) -> None:
        """Look at once what is due."""
        self._roused.set()
        for roused in tuple(self._alone.values()):
            roused.set()

    def stop(self) -> None:
        """End after the calls that are under way."""
        with self._lock:
            self._stopping = True
            parts = (*self._together, *self._alone)
        for part in parts:
            part.stop()
        self.rouse()

    def ended(self, within_s: float) -> bool:
        """Whether every thread has ended, after waiting at most so long."""
        deadline = monotonic() + within_s
        with self._lock:
            threads = tuple(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in threads)

    @property
    def left_alone(self) -> int:
        """Parts that have a thread of their own at present."""
        return len(self._alone)

    def look_at(self, now: float) -> float:
        """When `relieve` should be called next, Unix seconds."""
        began = self._began
        # A tour that is under way: when its time is up. A little later, or that would be found to be not quite so.
        return (self._next if math.isinf(began) else now - (monotonic() - began)) + self.patience_s + LATER_S

    def relieve(self) -> None:
        """If the tour takes too long, leave the present part to the thread that is in it; another one goes on."""
        with self._lock:
            held = self._busy_with
            if self._stopping or held is None or monotonic() - self._began < self.patience_s:
                return
            self._alone[held] = threading.Event()
            together, self._together = self._together, tuple(part for part in self._together if part is not held)
            try:
                self._lead()
            except RuntimeError as error:
                # No more threads are to be had: the others wait for the one that hangs, and this is tried again.
                del self._alone[held]
                self._together = together
                if not self._refused:
                    log.warning("gpus wait for one that hangs", reason=str(error), next_step="allow more threads")
                self._refused = True
            else:
                self._refused = False

    # --- on the threads -----------------------------------------------------------------------------------------

    def _lead(self) -> None:
        before = self._leader, self._busy_with, self._began
        leader = threading.Thread(target=self._go_round, name=f"nvml {self.name}", daemon=True)
        self._leader, self._busy_with, self._began = leader, None, math.inf
        try:
            leader.start()
        except RuntimeError:
            self._leader, self._busy_with, self._began = before
            raise
        self._threads = [*(thread for thread in self._threads if thread.is_alive()), leader]

    def _go_round(self) -> None:
        while not self._stopping:
            left_with = self._tour()
            if left_with is not None:
                self._go_alone(left_with)
                return
            now = self.clock.now()
            self._next = min((part.due(now) for part in self._together), default=math.inf)
            if self._next > now + SLACK_S:
                self.clock.wait(min(self._next, now + 3600.0), self._roused)

    def _tour(self) -> Part | None:
        """Give each part its turn if it is due; the part that this thread was left with, None = none."""
        began = monotonic()
        for part in self._together:
            now = self.clock.now()
            if part.due(now) > now + SLACK_S or self._stopping:
                continue
            with self._lock:
                if self._leader is not threading.current_thread():
                    break
                self._busy_with, self._began = part, began
            part.turn(now)
            with self._lock:
                if self._leader is not threading.current_thread():
                    return part
                self._busy_with, self._began = None, math.inf
        return None

    def _go_alone(self, part: Part) -> None:
        roused, quick = self._alone[part], 0
        while not self._stopping and quick < PROBATION:
            now = self.clock.now()
            due = part.due(now)
            if due > now + SLACK_S:
                self.clock.wait(due, roused)
                continue
            began = monotonic()
            part.turn(now)
            quick = quick + 1 if monotonic() - began < QUICK_SHARE * self.patience_s else 0
        with self._lock:
            del self._alone[part]
            self._together = (*self._together, part)
        self._roused.set()
