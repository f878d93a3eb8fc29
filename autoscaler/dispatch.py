"""The loop's hands: what it knows of a provider and how its intents reach it.

`Inline` does everything at once, for simulation and replay. `Threaded` keeps the last report of one observer thread
and carries out intents in a bounded executor, so that a slow or dead provider never holds up a tick. Both turn every
failure of a provider into an Outcome, and go through its gate, if it has one, with every call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

from autoscaler.border import Calls, carry_out, report, survey
from autoscaler.gate import Gate
from autoscaler.ports import Clock, Provider
from autoscaler.types import Action, Fleet, Outcome

__all__ = ["Calls", "Dispatch", "Inline", "Threaded", "Unavailable", "carry_out", "report"]

GATHERED_S = 0.01
"""How long a look waits for the end of other calls, if there are any under way."""


class Dispatch(Protocol):
    """What the loop needs of a provider: the last report, a way to send intents, what came of them."""

    def fleet(self) -> Fleet | None:
        """The last report; None before the first."""
        ...

    def submit(self, actions: Iterable[Action]) -> None:
        """Starts carrying out intents that are in the journal; one that is under way is not started twice."""
        ...

    def outcomes(self) -> tuple[Outcome, ...]:
        """What arrived since the last call."""
        ...

    def calls(self) -> Calls:
        """Counts for the exposition."""
        ...

    def stop(self) -> None:
        """Ends the threads; calls under way are waited for briefly."""
        ...


@dataclass(slots=True)
class Inline:
    """Observes when asked and acts when told, in the caller's thread."""

    provider: Provider
    clock: Clock
    gate: Gate | None = None
    _last: Fleet | None = None
    _done: list[Outcome] = field(default_factory=list)
    _calls: Calls = field(default_factory=Calls)

    def fleet(self) -> Fleet | None:
        seen = report(self.provider, self._calls, self.gate)
        if seen is not None:
            self._last = seen
        return self._last

    def submit(self, actions: Iterable[Action]) -> None:
        self._done += [carry_out(self.provider, a, self.clock, self._calls, self.gate) for a in actions]

    def outcomes(self) -> tuple[Outcome, ...]:
        done, self._done = self._done, []
        return tuple(done)

    def calls(self) -> Calls:
        return _counted(self._calls, self.gate)

    def stop(self) -> None:
        return


@dataclass(slots=True)
class Threaded:
    """One observer thread and a bounded executor for one provider; `wake` is set when a report or an outcome is new.

    A report that equals the one before does not wake anybody. workers: calls at the same time. A call that the
    pace holds back for a moment waits in its own thread; the tick waits for none.
    """

    provider: Provider
    clock: Clock
    interval_s: float
    wake: threading.Event
    workers: int = 50
    gate: Gate | None = None
    _last: Fleet | None = None
    _done: list[Outcome] = field(default_factory=list)
    _under_way: set[str] = field(default_factory=set)
    _looks_due: int = 0
    _looking: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _calls: Calls = field(default_factory=Calls)
    _executor: ThreadPoolExecutor | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the observer and the executor."""
        self._executor = ThreadPoolExecutor(self.workers, thread_name_prefix="apply")
        self._thread = threading.Thread(target=self._watch, name="observer", daemon=True)
        self._thread.start()

    def fleet(self) -> Fleet | None:
        return self._last

    def submit(self, actions: Iterable[Action]) -> None:
        assert self._executor is not None, "started before used"
        for action in actions:
            with self._lock:
                if action.id in self._under_way:
                    continue
                self._under_way.add(action.id)
            self._executor.submit(self._apply, action)

    def outcomes(self) -> tuple[Outcome, ...]:
        with self._lock:
            done, self._done = self._done, []
        return tuple(done)

    def calls(self) -> Calls:
        return _counted(self._calls, self.gate)

    def stop(self) -> None:
        self._stopping.set()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None:
            self._thread.join(2.0)

    def _apply(self, action: Action) -> None:
        outcome = carry_out(self.provider, action, self.clock, self._calls, self.gate, self._stopping.wait)
        with self._lock:
            self._under_way.discard(action.id)
            self._done.append(outcome)
        self._look_after_calls()
        self.wake.set()

    def _look_after_calls(self) -> None:
        """One look for all calls that end together, or while another look is under way: fifty launches need not fifty
        reports."""
        with self._lock:
            self._looks_due += 1
            if self._looking:
                return
            self._looking = True
        while True:
            if self._under_way:
                self._stopping.wait(GATHERED_S)
            with self._lock:
                due = self._looks_due
            self._look()
            with self._lock:
                if self._looks_due == due:
                    self._looking = False
                    return

    def _look(self) -> None:
        seen = report(self.provider, self._calls, self.gate)
        if seen is None:
            return
        with self._lock:
            before = self._last
            if before is not None and seen.observed_at < before.observed_at:
                return
            self._last = seen
        if before is None or before.instances != seen.instances:
            self.wake.set()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._look()
            survey(self.provider, self.gate)
            self._stopping.wait(self.interval_s)


@dataclass(slots=True)
class Unavailable:
    """Stands for a provider that is named and not installed: it reports nothing and says why."""

    problem: str

    def fleet(self) -> Fleet | None:
        return None

    def submit(self, actions: Iterable[Action]) -> None:
        return

    def outcomes(self) -> tuple[Outcome, ...]:
        return ()

    def calls(self) -> Calls:
        return Calls(last_error=self.problem)

    def stop(self) -> None:
        return


def _counted(calls: Calls, gate: Gate | None) -> Calls:
    """The counts with those of the gate."""
    return calls if gate is None else replace(calls, held=gate.held, throttled=gate.throttled, dead=gate.dead)
