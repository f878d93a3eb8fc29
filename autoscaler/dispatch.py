"""The loop's hands: what it knows of a provider and how its intents reach it.

`Inline` does everything at once, for simulation and replay. `Threaded` keeps the last report of one observer thread
and carries out intents in a bounded executor, so that a slow or dead provider never holds up a tick. Both turn every
failure of a provider into an Outcome.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from autoscaler.clock import monotonic
from autoscaler.errors import ProviderError, ThrottledError, UnreachableError
from autoscaler.ports import Clock, Provider
from autoscaler.types import Action, Fleet, Outcome

log = structlog.get_logger()


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
class Calls:
    """How the provider behaved: calls and failures so far, the last error in words, seconds of the last report."""

    observed: int = 0
    observe_failures: int = 0
    applied: int = 0
    apply_failures: int = 0
    last_error: str = ""
    observe_s: float = 0.0


def carry_out(provider: Provider, action: Action, clock: Clock, calls: Calls) -> Outcome:
    """One call at the plug-in's border. An action past its time is not started any more; what came of an earlier try
    only a report can tell, so its outcome is unknown."""
    if clock.now() > action.valid_until:
        text = "its time was over before the call could start"
        return Outcome(action.id, action.pool, "unknown", clock.now(), error="expired", text=text)
    calls.applied += 1
    try:
        outcome = provider.apply(action)
    except UnreachableError as error:
        outcome = Outcome(action.id, action.pool, "unknown", clock.now(), error=error.code, text=str(error))
    except ThrottledError as error:
        wait = error.retry_after_s
        outcome = Outcome(action.id, action.pool, "unknown", clock.now(), None, error.code, str(error), wait)
    except ProviderError as error:
        outcome = Outcome(action.id, action.pool, "failed", clock.now(), error=error.code, text=str(error))
    except Exception as error:
        log.exception("provider call broke", action=action.id, kind=action.kind, pool=action.pool)
        text = f"{type(error).__name__}: {error}"
        outcome = Outcome(action.id, action.pool, "unknown", clock.now(), error="bug", text=text)
    if outcome.status in ("failed", "unknown"):
        calls.apply_failures += 1
        calls.last_error = outcome.text or outcome.error
    return outcome


def report(provider: Provider, calls: Calls) -> Fleet | None:
    """One observation at the plug-in's border; None when it failed."""
    calls.observed += 1
    began = monotonic()
    try:
        fleet = provider.observe()
    except ProviderError as error:
        calls.observe_failures += 1
        calls.last_error = str(error)
        return None
    except Exception as error:
        log.exception("provider report broke")
        calls.observe_failures += 1
        calls.last_error = f"{type(error).__name__}: {error}"
        return None
    calls.observe_s = monotonic() - began
    return fleet


@dataclass(slots=True)
class Inline:
    """Observes when asked and acts when told, in the caller's thread."""

    provider: Provider
    clock: Clock
    _last: Fleet | None = None
    _done: list[Outcome] = field(default_factory=list)
    _calls: Calls = field(default_factory=Calls)

    def fleet(self) -> Fleet | None:
        seen = report(self.provider, self._calls)
        if seen is not None:
            self._last = seen
        return self._last

    def submit(self, actions: Iterable[Action]) -> None:
        self._done += [carry_out(self.provider, a, self.clock, self._calls) for a in actions]

    def outcomes(self) -> tuple[Outcome, ...]:
        done, self._done = self._done, []
        return tuple(done)

    def calls(self) -> Calls:
        return self._calls

    def stop(self) -> None:
        return


@dataclass(slots=True)
class Threaded:
    """One observer thread and a bounded executor for one provider; `wake` is set when a report or an outcome is new.

    A report that equals the one before does not wake anybody.
    """

    provider: Provider
    clock: Clock
    interval_s: float
    wake: threading.Event
    workers: int = 8
    _last: Fleet | None = None
    _done: list[Outcome] = field(default_factory=list)
    _under_way: set[str] = field(default_factory=set)
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
        return self._calls

    def stop(self) -> None:
        self._stopping.set()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None:
            self._thread.join(2.0)

    def _apply(self, action: Action) -> None:
        outcome = carry_out(self.provider, action, self.clock, self._calls)
        with self._lock:
            self._under_way.discard(action.id)
            self._done.append(outcome)
        self._look()
        self.wake.set()

    def _look(self) -> None:
        seen = report(self.provider, self._calls)
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
