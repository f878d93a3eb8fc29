"""A thread that works beside its owner: begun once, paced by a clock, and left behind where it hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from autoscaler.ports import Clock


@dataclass(eq=False)
class Background:
    """Runs work from `start` to `stop`. The work ends when `stopping` is set, and waits only in `rest` and `rounds`."""

    name: str
    clock: Clock
    stopping: bool = field(default=False, init=False)
    _roused: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)

    @property
    def started(self) -> bool:
        """Whether it ever ran."""
        return self._thread is not None

    def start(self, work: Callable[[], object]) -> None:
        """Begin."""
        self._thread = threading.Thread(target=work, name=self.name, daemon=True)
        self._thread.start()

    def stop(self, within_s: float) -> bool:
        """Ask it to end and wait so long; whether it has ended. May be asked again.

        A call that hangs in a driver or in the kernel cannot be ended; its thread ends with the process.
        """
        self.stopping = True
        self._roused.set()
        if self._thread is None:
            return True
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def rouse(self) -> None:
        """End its present rest."""
        self._roused.set()

    def rest(self, until: float) -> None:
        """Wait until then, Unix seconds, or until it is roused or stopped."""
        if not self.stopping:
            self.clock.wait(until, self._roused)

    def rounds(self, interval_s: float) -> Iterator[float]:
        """The times of rounds, Unix seconds, until it is stopped.

        Neither a burst after a delay nor a silence after the clock went back.
        """
        due = self.clock.now()
        while not self.stopping:
            yield self.clock.now()
            now = self.clock.now()
            due = min(max(due + interval_s, now), now + interval_s)
            self.rest(due)
