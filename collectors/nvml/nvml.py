"""The collector of this machine's GPUs: one board each, found and found again by UUID, and a watchdog over all.

A machine without a driver is idle, not broken; a GPU that is lost stays in the list, as lost; one that hangs in the
driver holds up itself only, and never the caller.
"""

from __future__ import annotations

import math
import os
import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from autoscaler.clock import monotonic
from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.types import Batch, FloatArray, Labels
from collectors.background import Background
from collectors.nvml.board import Periods
from collectors.nvml.boards import Boards, Finding
from collectors.nvml.controls import Act, Controls
from collectors.nvml.fault_batches import FaultBatches
from collectors.nvml.faults import Fault
from collectors.nvml.identity import GpuInfo
from collectors.nvml.lane import BURST_LIMIT_S
from collectors.nvml.library import Library
from collectors.nvml.listening import Listening
from collectors.nvml.rare import Rare
from collectors.nvml.rota import Rota
from collectors.nvml.status import NvmlStatus, gpu_status
from collectors.outbox import Outbox

WATCH_S = 0.25
PATIENCE_S, SLOW_PATIENCE_S = 0.05, 0.5
"""How long a tour over all GPUs may take, of what is read every second and of what is read rarely."""
QUEUE_LIMIT = 4096
STOP_S = 0.9
FAST_LEAST_S, FAST_MOST_S = 0.05, 1.0


@dataclass(eq=False)
class Nvml:
    """A collector of this machine's GPUs. `start` it, `collect` at every tick, `stop` it.

    labels: added to each series beside uuid, gpu (the index), gpu_model and host. wake: set by an arriving batch.
    interval_s: one batch of each GPU as often; buffer_s, gpm_s, slow_s, fast_s: periods of the other lanes.
    buffer, gpm, slow: whether these lanes run. fast: the fast lane runs all the time, and not only in bursts.
    stats: metrics that are sampled faster than batches also give `..._min`, `_mean`, `_max`, `_p95` and `_count`; the
    plain series stays the last value. events, kernel_log: where driver
    faults are heard of. deadline_s: a call that takes longer makes its GPU unknown. host: the name of this machine.
    """

    clock: Clock
    labels: Labels = ()
    wake: threading.Event | None = None
    interval_s: float = 1.0
    buffer: bool = True
    buffer_s: float = 1.0
    gpm: bool = True
    gpm_s: float = 1.0
    slow: bool = True
    slow_s: float = 10.0
    fast: bool = False
    fast_s: float = 0.1
    stats: bool = False
    events: bool = True
    kernel_log: bool = True
    deadline_s: float = 2.0
    host: str = ""
    rare: Rare = field(default_factory=Rare, init=False, repr=False)
    boards: Boards = field(init=False, repr=False)
    listening: Listening = field(init=False, repr=False)
    _outbox: Outbox[Batch] = field(init=False, repr=False)
    _labels: Labels = field(init=False, repr=False)
    _pid: int = field(default_factory=os.getpid, init=False, repr=False)
    _first: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _watch: Background = field(init=False, repr=False)
    quick_rota: Rota = field(init=False, repr=False)
    slow_rota: Rota = field(init=False, repr=False)

    def __post_init__(self) -> None:
        faults = [
            f"nvml: {name} is {value}, but must be above 0; write one such as {example}"
            for name, value, example in (
                ("interval_s", self.interval_s, "1s"),
                ("buffer_s", self.buffer_s, "1s"),
                ("gpm_s", self.gpm_s, "1s"),
                ("slow_s", self.slow_s, "10s"),
                ("deadline_s", self.deadline_s, "2s"),
            )
            if not (math.isfinite(value) and value > 0)
        ]
        if not FAST_LEAST_S <= self.fast_s <= FAST_MOST_S:
            faults.append(f"nvml: fast_s is {self.fast_s}, but must be 50ms to 1s; write one such as 100ms")
        if faults:
            raise InputError(*faults)
        self._outbox = Outbox(QUEUE_LIMIT, self.wake)
        self._watch = Background("nvml watch", self.clock)
        own = {"host": self.host or platform.node() or "unknown"}
        self._labels = tuple(sorted({**own, **dict(self.labels)}.items()))
        told = FaultBatches(self.rare.book, self.interval_s, self._labels_of, self._labels, self._outbox.put)
        self.listening = Listening(self.clock, told, self._hasten, self.events, self.kernel_log)
        periods = Periods(
            self.interval_s,
            self.buffer_s * self.buffer,
            self.gpm_s * self.gpm,
            self.slow_s * self.slow,
            self.fast_s,
            self.fast,
            self.stats,
        )
        library = Library(self.deadline_s)
        self.quick_rota = Rota("quick", self.clock, PATIENCE_S)
        self.slow_rota = Rota("slow", self.clock, SLOW_PATIENCE_S)
        self.boards = Boards(
            self.clock,
            library,
            periods,
            self._labels,
            self.deadline_s,
            self._outbox.put,
            self.rare,
            self.listening,
            self.quick_rota,
            self.slow_rota,
        )
        self.slow_rota.add(Finding(self.boards, self._first.set))

    def start(self, wait_s: float = 3.0) -> None:
        """Start reading; returns when the GPUs are listed, or after `wait_s` when the driver is slow."""
        self.boards.live = True
        self.quick_rota.start()
        self.slow_rota.start()
        self._watch.start(self._run_watch)
        self._first.wait(wait_s)

    def stop(self) -> None:
        """Stop within a second; a thread that hangs in the driver is left behind, it ends with the process."""
        if os.getpid() != self._pid:
            # A forked child has neither our threads nor a driver of its own, and locks that nobody will give back.
            return
        deadline = monotonic() + STOP_S
        self.boards.live = False
        self._watch.stop(0.0)
        for rota in (self.quick_rota, self.slow_rota):
            rota.stop()
        ending = [threading.Thread(target=end, daemon=True) for end in self.listening.ends()]
        for thread in ending:
            thread.start()
        ended = [rota.ended(max(0.0, deadline - monotonic())) for rota in (self.quick_rota, self.slow_rota)]
        for thread in ending:
            thread.join(max(0.0, deadline - monotonic()))
        ended.append(self._watch.stop(max(0.0, deadline - monotonic())))
        if all(ended) and not any(thread.is_alive() for thread in ending):
            # Shutting down under a call that hangs would hang as well.
            last = threading.Thread(target=self._close, name="nvml close", daemon=True)
            last.start()
            last.join(max(0.0, deadline - monotonic()))

    def collect(self, now: float) -> tuple[Batch, ...]:
        """Every batch since the last call, oldest first."""
        return self._outbox.take()

    def describe(self) -> tuple[GpuInfo, ...]:
        """The GPUs found, lost ones included; empty on a machine without a driver."""
        return tuple(board.device.info for board in self.boards)

    def status(self) -> NvmlStatus:
        """Whether GPUs are read, what each of them cannot tell, and how the reading of each goes."""
        states = tuple(state for board in self.boards for state in board.states())
        library = self.boards.library
        return NvmlStatus(library.state, library.detail, states, tuple(gpu_status(board) for board in self.boards))

    def burst(self, for_s: float, uuid: str | None = None) -> None:
        """Run the fast lane of one GPU, or all, for a while. KeyError for a UUID that is not known."""
        if not 0 < for_s <= BURST_LIMIT_S:
            raise InputError(
                f"nvml: a burst of {for_s} s is not above 0 and at most {BURST_LIMIT_S:g}; write fast: true"
            )
        for board in (self.boards.by_uuid[uuid],) if uuid is not None else tuple(self.boards):
            board.burst(self.clock.now() + for_s)

    def recent(
        self, uuid: str, metric: str, labels: Labels = (), for_s: float = 120.0
    ) -> tuple[FloatArray, FloatArray]:
        """Times and raw values of the last two minutes of one metric, (time,) each; KeyError for an unknown UUID."""
        return self.boards.by_uuid[uuid].recent(metric, self.clock.now() - for_s, labels)

    def faults(self, uuid: str) -> tuple[Fault, ...]:
        """The last driver faults of a GPU, oldest first."""
        return self.rare.book.latest(uuid)

    def readable(self) -> dict[str, int]:
        """The GPUs that can be asked now: UUID -> a number that rises with each new handle."""
        boards = {board.device.uuid: board.device for board in self.boards}
        return {uuid: device.generation for uuid, device in boards.items() if device.trouble is None}

    def controls(self, record: Callable[[Act], object]) -> Controls:
        """What changes settings of the GPUs where a person allowed it; see Controls. Has nothing to do with reading."""
        import pynvml

        def handle(uuid: str) -> Any:
            device = self.boards.by_uuid[uuid].device
            if device.trouble is not None:
                raise KeyError(uuid)
            return device.handle

        return Controls(pynvml, handle, record)

    def read(self) -> tuple[Batch, ...]:
        """What is due now over all GPUs, on the caller's thread: for a clock that is stepped."""
        now = self.clock.now()
        self.boards.find(now)
        for board in self.boards:
            for strand in board.strands:
                strand.round(now)
        self.listening.faults.tell_due(now)
        return self.collect(now)

    def _run_watch(self) -> None:
        pause_s = min(WATCH_S, self.deadline_s / 4)
        while not self._watch.stopping:
            now = self.clock.now()
            for rota in (self.quick_rota, self.slow_rota):
                rota.relieve()
            for board in self.boards:
                board.watch(now, self.deadline_s)
            self.listening.faults.tell_due(now)
            # The quick ones must not wait for one that hangs; of the slow ones nobody is in a hurry.
            self._watch.rest(min(now + pause_s, max(self.quick_rota.look_at(now), now + PATIENCE_S / 10)))

    def _hasten(self, uuid: str) -> None:
        board = self.boards.by_uuid.get(uuid)
        if board is not None and board.slow is not None:
            board.slow.hasten()

    def _labels_of(self, uuid: str) -> Labels:
        board = self.boards.by_uuid.get(uuid)
        return tuple(sorted({"uuid": uuid, **dict(self._labels)}.items())) if board is None else board.labels_now()

    def _close(self) -> None:
        for board in self.boards:
            board.close()
        self.boards.library.stop()
