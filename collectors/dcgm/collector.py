"""The collector `dcgm`: this machine's GPUs as DCGM sees them, which on A100 and older is the only way to SM activity.

Through the bindings of an installed DCGM, or else through its program dcgmi. Pages of dcgm-exporter are the scraper's.
"""

from __future__ import annotations

import math
import shlex
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import structlog

from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.types import Batch, Labels
from collectors.background import Background
from collectors.dcgm.engine import GAUGED, HostEngine
from collectors.dcgm.process import LANE, Dmon
from collectors.dcgm.reading import FieldReader, Reading
from collectors.dcgm.source import Source, UnreachableError
from collectors.nvml.device import MetricState
from collectors.outbox import Outbox

__all__ = ["Dcgm", "DcgmStatus"]

log = structlog.get_logger(__name__)

QUEUE_LIMIT = 4096
STOP_S = 0.9
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
PROBE_S = 60.0
"""How often a machine without DCGM is looked at again."""
FLOOR_S = 0.1


@dataclass(frozen=True, slots=True)
class DcgmStatus:
    """through: what is read now. idle: there is no DCGM here. failed: there is, `detail` says what is wrong with it;
    while it is read, what is to be known about its values.
    metrics: those that are not to be had, and why; no metric of any GPU has a value for that time."""

    state: Literal["starting", "reading", "idle", "failed"] = "starting"
    through: str = ""
    detail: str = ""
    metrics: tuple[MetricState, ...] = ()


@dataclass(eq=False)
class Dcgm:
    """A collector of DCGM's fields. `start` it, `collect` at every tick, `stop` it.

    address: of the host engine, host:port or the path of a socket; "embedded" runs one in this process. through:
    "bindings", "dmon", or "auto" for the first of them that is installed. bindings: their folder; empty = where DCGM's
    packages put them. dcgmi: the program. sample_s: how often the engine samples within an interval, 0 = twice.
    slow_interval_s: the interval of counters of errors, links and health. callbacks: count every repeat of a fault;
    this sets the GPUs' violation policy in the host engine, which all its clients share. An arriving batch sets `wake`.
    """

    clock: Clock
    labels: Labels = ()
    wake: threading.Event | None = None
    interval_s: float = 1.0
    slow_interval_s: float = 30.0
    sample_s: float = 0.0
    address: str = "localhost:5555"
    through: Literal["auto", "bindings", "dmon"] = "auto"
    bindings: str = ""
    dcgmi: str = "dcgmi"
    callbacks: bool = False
    _outbox: Outbox[Batch] = field(init=False, repr=False)
    _readers: dict[str, FieldReader] = field(default_factory=dict, init=False, repr=False)
    _last_at: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _status: DcgmStatus = field(default=DcgmStatus(), init=False, repr=False)
    _retry_s: float = field(default=FIRST_RETRY_S, init=False, repr=False)
    _background: Background = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("interval_s", "slow_interval_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= FLOOR_S):
                raise InputError(f"dcgm: {name} is {value}, but DCGM reads at most once in {FLOOR_S} s; write 1s")
        if self.sample_s != 0.0 and not FLOOR_S <= self.sample_s <= self.interval_s:
            raise InputError(f"dcgm: sample_s is {self.sample_s}; write 0, or {FLOOR_S} up to interval_s")
        self._outbox = Outbox(QUEUE_LIMIT, self.wake)
        self._background = Background("dcgm", self.clock)

    def start(self) -> None:
        """Start reading, on a thread of its own."""
        self._background.start(self._run)

    def stop(self) -> None:
        """Stop within a second; a thread that hangs in DCGM is left behind, it ends with the process."""
        self._background.stop(STOP_S)

    def collect(self, now: float) -> tuple[Batch, ...]:
        """Every batch since the last call, oldest first."""
        return self._outbox.take()

    def status(self) -> DcgmStatus:
        """Whether DCGM is read, and what it cannot tell."""
        return self._status

    def sources(self) -> list[Source]:
        """The ways to DCGM that the configuration allows, best first."""
        host = socket.gethostname()
        sample_s = self.sample_s or max(FLOOR_S, self.interval_s / 2)
        engine = HostEngine(
            self.bindings, self.address, self.interval_s, self.slow_interval_s, sample_s, host, self.callbacks
        )
        # dcgmi talks to an engine, and has no other way to name a socket than its default.
        remote = self.address if ":" in self.address else ""
        dmon = Dmon(shlex.split(self.dcgmi), remote, self.interval_s, host)
        match self.through:
            case "bindings":
                return [engine]
            case "dmon":
                return [dmon]
            case _:
                return [engine, dmon]

    # --- its own thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        sources = self.sources()
        while not self._background.stopping:
            idle = self._try(sources)
            pause_s = PROBE_S if idle else self._retry_s
            self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
            self._background.rest(self.clock.now() + pause_s)

    def _try(self, sources: Sequence[Source]) -> bool:
        """Read through the first source that is installed until it ends; whether none is."""
        for source in sources:
            try:
                source.open()
                self._note("reading", source.name)
                self._read(source)
                return False
            except UnreachableError as error:
                self._fail(source, error)
                if not error.missing or self._background.stopping:
                    return False
            finally:
                source.close()
        return True

    def _read(self, source: Source) -> None:
        """Read until stopped or until the source ends, which raises UnreachableError."""
        for now in self._background.rounds(0.0 if source.waits else self.interval_s):
            for reading in source.read(now):
                self._put(reading)
            self._status = replace(self._status, detail=source.note, metrics=source.states())

    def _put(self, reading: Reading) -> None:
        main = reading.lane in (GAUGED, LANE)
        name = "dcgm" if main else f"dcgm:{reading.lane}"
        last_at = self._last_at.get(name, -math.inf)
        if reading.at <= last_at <= self.clock.now():
            return  # what a source kept from before it was lost; a clock that went back is another matter
        self._last_at[name], self._retry_s = reading.at, FIRST_RETRY_S
        reader = self._readers.get(name)
        if reader is None:
            reader = self._readers[name] = FieldReader(name, self.labels, reading.interval_s, derive=main)
        self._outbox.put(reader.batch(reading.values, reading.at, complete=reading.complete))

    def _fail(self, source: Source, error: UnreachableError) -> None:
        state: Literal["idle", "failed"] = "idle" if error.missing else "failed"
        if self._status.detail != str(error):
            (log.info if error.missing else log.warning)("dcgm not read", through=source.name, reason=str(error))
        self._note(state, "", str(error))
        now = self.clock.now()
        for name, reader in self._readers.items():
            self._last_at[name] = now
            self._outbox.put(reader.down(now))

    def _note(self, state: Literal["reading", "idle", "failed"], through: str, detail: str = "") -> None:
        if state == "reading" and self._status.through != through:
            log.info("dcgm read", through=through)
        self._status = DcgmStatus(state, through, detail)
