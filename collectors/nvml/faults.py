"""The faults of all GPUs, each counted once whoever reports it: the driver's events, the kernel log, or both."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from collectors.nvml.call import Sample
from collectors.nvml.xid import Xid, meaning

Reporter = Literal["nvml", "kernel"]
CODES_LIMIT = 64
"""Different codes that are counted for one GPU; later ones count as `other`."""
SAME_S = 10.0
"""Two reporters of one fault may be this far apart: the log is written at once, the event may wait for its thread."""
LATEST_LIMIT = 32
GPUS_LIMIT = 256
"""GPUs that faults are counted of; the kernel's log may name addresses that no driver lists."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One driver fault. at: Unix seconds. gi_id: of the MIG instance that it hit, None = the board. text: as logged."""

    uuid: str
    xid: int
    at: float
    reporter: Reporter
    gi_id: int | None = None
    text: str = ""

    @property
    def meaning(self) -> Xid:
        """The class of the code and what we do about it."""
        return meaning(self.xid)


@dataclass(eq=False)
class _Counts:
    """The counts of one GPU. unmatched: recent faults that only one reporter has told yet, oldest first."""

    by_code: dict[str, int] = field(default_factory=dict)
    last: Fault | None = None
    latest: deque[Fault] = field(default_factory=lambda: deque(maxlen=LATEST_LIMIT))
    unmatched: deque[Fault] = field(default_factory=lambda: deque(maxlen=LATEST_LIMIT))


@dataclass(eq=False)
class FaultBook:
    """Counts of faults by GPU and code since this process began. Called from the threads of several reporters."""

    _gpus: dict[str, _Counts] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def record(self, fault: Fault) -> bool:
        """Count a fault; False when the other reporter told of the same one already.

        Each report matches at most one of the other side, so that two faults that both sides saw are two.
        """
        with self._lock:
            if fault.uuid not in self._gpus and len(self._gpus) >= GPUS_LIMIT:
                return False
            counts = self._gpus.setdefault(fault.uuid, _Counts())
            for told in counts.unmatched:
                same = told.xid == fault.xid and abs(told.at - fault.at) <= SAME_S
                if same and told.reporter != fault.reporter:
                    counts.unmatched.remove(told)
                    return False
            counts.unmatched.append(fault)
            code = str(fault.xid)
            if code not in counts.by_code and len(counts.by_code) >= CODES_LIMIT:
                code = "other"
            counts.by_code[code] = counts.by_code.get(code, 0) + 1
            counts.last = fault
            counts.latest.append(fault)
            return True

    def latest(self, uuid: str) -> tuple[Fault, ...]:
        """The last faults of a GPU, oldest first; at most 32."""
        with self._lock:
            counts = self._gpus.get(uuid)
            return tuple(counts.latest) if counts else ()

    def uuids(self) -> tuple[str, ...]:
        """The GPUs that had a fault."""
        with self._lock:
            return tuple(self._gpus)

    def samples(self, uuid: str) -> tuple[Sample, ...]:
        """Counters and the last code of one GPU; nothing while it had no fault, since no code is no XID 0."""
        with self._lock:
            counts = self._gpus.get(uuid)
            if counts is None or counts.last is None:
                return ()
            counted = [
                Sample("gpu_xid_events_total", float(number), (("xid", code),))
                for code, number in sorted(counts.by_code.items())
            ]
            return (
                *counted,
                Sample("gpu_last_xid", float(counts.last.xid)),
                Sample("gpu_last_xid_timestamp_seconds", counts.last.at),
            )
