"""Calls with a deadline, for a kernel that may not answer: a call that hangs in it cannot be ended, only left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from queue import SimpleQueue

from collectors.host.part import Value

Read = Callable[[], Iterable[Value]]


class Late(Exception):  # noqa: N818 - it names what happened
    """A call did not come back in time, or hangs since before."""


@dataclass(eq=False)
class _Job:
    read: Read
    done: threading.Event = field(default_factory=threading.Event)
    values: tuple[Value, ...] = ()
    error: Exception | None = None


@dataclass(eq=False)
class Patience:
    """Runs calls one after the other on a thread of its own, and on another one when that hangs.

    A call that hangs is not made again until it came back, so there are never more threads than calls.
    """

    _jobs: SimpleQueue[_Job | None] | None = field(default=None, init=False)
    _hanging: dict[str, _Job] = field(default_factory=dict, init=False)

    def ask(self, name: str, read: Read, within_s: float) -> tuple[Value, ...]:
        """What `read` gives. Raises what it raises, and Late; `name` tells one call from another."""
        before = self._hanging.get(name)
        if before is not None:
            if not before.done.is_set():
                raise Late(f"{name} still hangs in the kernel")
            del self._hanging[name]
        if self._jobs is None:
            self._jobs = SimpleQueue()
            threading.Thread(target=_work, args=(self._jobs,), name="host-calls", daemon=True).start()
        job = _Job(read)
        self._jobs.put(job)
        if not job.done.wait(within_s):
            self._hanging[name] = job
            self.stop()
            raise Late(f"{name} gave no answer within {within_s:g} s")
        if job.error is not None:
            raise job.error
        return job.values

    def stop(self) -> None:
        """Let the thread end after what it does now."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        try:
            job.values = tuple(job.read())
        except Exception as error:  # noqa: BLE001 - raised again by whoever asked
            job.error = error
        job.done.set()
