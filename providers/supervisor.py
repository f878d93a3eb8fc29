"""Watches the processes that the local provider started: who is ready, who died, who has to be killed.

One thread looks at all of them several times a second. Everything that changes a record does so under `lock`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Event, RLock, Thread

import structlog

from autoscaler.clock import monotonic
from autoscaler.errors import ProviderError
from autoscaler.ports import Clock
from autoscaler.types import Instance
from providers import process, worker_log
from providers.readiness import Answer, Prober
from providers.records import Record, RecordFiles

LOOK_EVERY_S = 0.1
ASK_STARTING_S, ASK_DOUBTFUL_S, ASK_READY_S = 0.25, 1.0, 5.0

REFUSALS = 5
"""A ready worker that says no so many times in a row is not ready. Silence is not counted: it may just be busy."""

REMEMBERED_S, REMEMBERED = 3600.0, 1000
"""How long, and at most how many, ended launches are remembered, to recognise their ids."""

_log = structlog.get_logger("providers.local")


@dataclass
class _Watch:
    """What is known of one process while this service runs; durations, so on the monotonic clock."""

    ask_at: float = 0.0
    kill_at: float | None = None
    refusals: int = 0
    listed_at: float | None = None
    unsaved: bool = False


@dataclass
class Supervisor:
    """The records of one directory and the thread that keeps them true."""

    files: RecordFiles
    clock: Clock
    grace_s: float
    failed_for_s: float
    log_bytes: int
    prober: Prober
    lock: RLock = field(default_factory=RLock, init=False)
    _records: dict[str, Record] = field(default_factory=dict, init=False)
    _watches: dict[str, _Watch] = field(default_factory=dict, init=False)
    _thread: Thread | None = field(default=None, init=False)
    _wake: Event = field(default_factory=Event, init=False)
    _closed: bool = field(default=False, init=False)

    def open(self) -> None:
        """Take over what runs already and start watching; nothing if that is done. Raises ProviderError."""
        with self.lock:
            if self._closed:
                raise ProviderError(f"{self.files.directory}: this provider was closed; make a new one")
            if self._thread is not None:
                if not self._thread.is_alive():
                    raise ProviderError(f"{self.files.directory}: the watching thread ended; restart the service")
                return
            for record in self.files.open():
                self._adopt(record)
            self.look()
            self._thread = Thread(target=self._run, name="local processes", daemon=True)
            self._thread.start()

    def close(self, kill: bool) -> None:
        """Stop watching. With `kill` every process is ended first, by force after the grace time."""
        with self.lock:
            self._closed = True
        if self._thread is None:
            return
        self._wake.set()
        self._thread.join()
        if kill:
            self._end_all()
        self.prober.close()
        self.files.close()

    def alive(self) -> list[Record]:
        """Records whose process runs, or is about to."""
        with self.lock:
            return [record for record in self._records.values() if record.alive]

    def launched_by(self, action: str) -> Record | None:
        return self._records.get(action)

    def named(self, instance: str) -> Record | None:
        return next((r for r in self._records.values() if r.instance == instance), None)

    def listed(self) -> tuple[Instance, ...]:
        """What the fleet shows. A dead one is shown for a while from the first time that somebody looked."""
        with self.lock:
            found = []
            for record in self._records.values():
                instance = record.seen()
                if instance is None:
                    continue
                if record.died:
                    watch = self._watches[record.action]
                    watch.listed_at = monotonic() if watch.listed_at is None else watch.listed_at
                found.append(instance)
            return tuple(found)

    def put(self, record: Record) -> None:
        """Write down, then remember; nothing changed if that fails. Raises ProviderError."""
        self.files.save(record)
        self._remember(record)
        self._wake.set()

    def keep(self, record: Record) -> None:
        """Remember what has happened anyway, and write it down now or, if the disk refuses, later."""
        watch = self._remember(record)
        try:
            self.files.save(record)
            watch.unsaved = False
        except ProviderError as error:
            if not watch.unsaved:
                _log.warning("state_not_written", instance=record.instance, error=str(error))
            watch.unsaved = True

    def forget(self, record: Record) -> None:
        """As if it had never been ordered."""
        self._records.pop(record.action, None)
        self._watches.pop(record.action, None)
        self.files.remove(record)

    def stop(self, record: Record) -> None:
        """SIGTERM now; the thread sends SIGKILL after the grace time."""
        assert record.process is not None
        with self.lock:
            now = self.clock.now()
            self.keep(replace(record, phase="stopping", since=now, stop_by=now + self.grace_s))
            self._watches[record.action].kill_at = monotonic() + self.grace_s
            process.ask_to_stop(record.process)
        self._wake.set()

    def look(self) -> None:
        """Notice who ended, and kill who outstayed the grace time."""
        with self.lock:
            for record in list(self._records.values()):
                if not record.alive or record.process is None:
                    continue
                exit_ = process.ended(record.process)
                if exit_ is not None:
                    self._end(record, exit_)
                    continue
                kill_at = self._watches[record.action].kill_at
                if kill_at is not None and monotonic() >= kill_at:
                    process.kill(record.process)

    def _end_all(self) -> None:
        """Stop everything and wait for it, a little longer than the grace time: even SIGKILL may hang in a driver."""
        for record in self.alive():
            if record.phase == "running":
                self.stop(record)
        give_up_at = monotonic() + self.grace_s + 5.0
        while self.alive() and monotonic() < give_up_at:
            self._wake.clear()
            self._wake.wait(0.02)
            self.look()
        for record in self.alive():
            _log.error("worker_left_behind", instance=record.instance, process=record.process)

    def _adopt(self, record: Record) -> None:
        """Take over what an earlier service left: an order perhaps carried out, a process, a stop under way."""
        if record.phase == "ordered":
            found = process.find(self.files.state(record), self.files.log(record))
            if found is None:
                # The service ended before the start, or the start came to nothing: the same order may come again.
                process.kill_left_over(self.files.state(record))
                self.files.remove(record)
                return
            record = replace(record, phase="running", process=found)
            self.files.save(record)
        watch = self._remember(record)
        if record.phase == "stopping" and record.process is not None:
            left_s = (record.stop_by or 0.0) - self.clock.now()
            watch.kill_at = monotonic() + min(max(left_s, 0.0), self.grace_s)
            # It may have been written down and not been sent.
            process.ask_to_stop(record.process)

    def _remember(self, record: Record) -> _Watch:
        self._records[record.action] = record
        return self._watches.setdefault(record.action, _Watch())

    def _end(self, record: Record, exit_: process.Exit) -> None:
        if exit_.code is None:
            process.kill_left_over(self.files.state(record))
        now = self.clock.now()
        died = record.phase == "running"
        detail = "terminated"
        if died:
            said = worker_log.last_line(self.files.log(record))
            detail = f"{exit_}; last line of its log: {said}" if said else f"{exit_}; it printed nothing"
            _log.warning("worker_died", instance=record.instance, pool=record.pool, detail=detail)
        self.keep(replace(record, phase="ended", died=died, ended_at=now, since=now, detail=detail))

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(LOOK_EVERY_S if self.alive() else 1.0)
            self._wake.clear()
            self.look()
            with self.lock:
                for answer in self.prober.answers():
                    self._hear(answer)
                self._tidy()
            for record in self.alive():
                self._ask(record)
                worker_log.trim(self.files.log(record), self.log_bytes)

    def _ask(self, record: Record) -> None:
        if record.phase != "running" or self._closed:
            return
        watch, now = self._watches[record.action], monotonic()
        if now < watch.ask_at:
            return
        pause_s = ASK_READY_S if record.ready else ASK_STARTING_S
        watch.ask_at = now + (ASK_DOUBTFUL_S if record.ready and watch.refusals else pause_s)
        self.prober.ask(record.action, f"http://{record.address}{record.ready_path}")

    def _hear(self, answer: Answer) -> None:
        """What a probe says about a worker that still runs."""
        record = self._records.get(answer.action)
        if record is None or record.phase != "running":
            return
        watch = self._watches[record.action]
        since = self.clock.now() if record.role == "serving" else record.since
        if answer.says == "ready":
            watch.refusals = 0
            if not record.ready:
                self.keep(replace(record, ready=True, since=since, detail=""))
                return
        elif answer.says == "not ready" and record.ready:
            watch.refusals += 1
            if watch.refusals >= REFUSALS:
                watch.refusals = 0
                self.keep(replace(record, ready=False, since=since, detail=answer.text))
                return
        # Words only: not worth a write to the disk.
        self._records[record.action] = replace(record, detail=answer.text)

    def _tidy(self) -> None:
        """Report a death no longer once it was shown long enough, forget old launches, retry failed writes."""
        now = self.clock.now()
        gone = sorted((r for r in self._records.values() if not r.alive), key=lambda r: r.ended_at or 0.0)
        for place, record in enumerate(gone):
            listed_at = self._watches[record.action].listed_at
            if now - (record.ended_at or now) > REMEMBERED_S or place < len(gone) - REMEMBERED:
                self.forget(record)
            elif listed_at is not None and not record.told and monotonic() - listed_at >= self.failed_for_s:
                self.keep(replace(record, told=True))
        for action, watch in list(self._watches.items()):
            if watch.unsaved:
                self.keep(self._records[action])
