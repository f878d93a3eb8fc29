"""The GPUs of this machine, read once a second through the driver's library on a thread of its own.

A machine without a driver is idle, not broken; a GPU that is lost stays in the list, as lost.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import structlog

from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.types import Batch, Labels, SeriesKey
from collectors.gauges import NO_DRIVER, NO_LIBRARY, WORDS, Gpu, GpuInfo, MetricState

__all__ = ["GpuInfo", "Gpus", "GpusStatus", "MetricState"]

log = structlog.get_logger(__name__)

PROBE_S = 60.0
"""How often a machine without a driver, or a GPU in trouble, is asked again."""
STALE_PROBE_S = 5.0
QUEUE_LIMIT = 4096
STOP_S = 0.9


@dataclass(frozen=True, slots=True)
class GpusStatus:
    """idle: no driver here, asked again each minute. failed: the driver refuses, `detail` says what to do."""

    state: Literal["starting", "reading", "idle", "failed"] = "starting"
    detail: str = ""
    metrics: tuple[MetricState, ...] = ()


@dataclass(eq=False)
class Gpus:
    """A collector of this machine's GPUs. `start` it, `collect` at every tick, `stop` it.

    labels are added to every series beside uuid and gpu_model. An arriving batch sets `wake`. One thread serves all
    GPUs: one that hangs in the driver holds up the others, but never the caller.
    """

    clock: Clock
    labels: Labels = ()
    wake: threading.Event | None = None
    interval_s: float = 1.0
    _queue: deque[Batch] = field(default_factory=lambda: deque(maxlen=QUEUE_LIMIT), init=False, repr=False)
    _gpus: tuple[Gpu, ...] = field(default=(), init=False, repr=False)
    _nvml: Any = field(default=None, init=False, repr=False)
    _found_at: float = field(default=-math.inf, init=False, repr=False)
    _status: GpusStatus = field(default=GpusStatus(), init=False, repr=False)
    _stopping: bool = field(default=False, init=False, repr=False)
    _roused: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _first: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.interval_s) and self.interval_s > 0):
            raise InputError(f"gpus: interval_s is {self.interval_s}, but must be above 0; write one such as 1s")

    def start(self, wait_s: float = 3.0) -> None:
        """Start reading; returns after the first round, or after `wait_s` when the driver is slow."""
        self._thread = threading.Thread(target=self._run, name="gpus", daemon=True)
        self._thread.start()
        self._first.wait(wait_s)

    def stop(self) -> None:
        """Stop within a second; a thread that hangs in the driver is left behind, it ends with the process."""
        self._stopping = True
        self._roused.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def collect(self, now: float) -> tuple[Batch, ...]:
        """Every batch since the last call, oldest first."""
        batches = []
        while self._queue:
            batches.append(self._queue.popleft())
        return tuple(batches)

    def describe(self) -> tuple[GpuInfo, ...]:
        """The GPUs found, lost ones included; empty on a machine without a driver."""
        return tuple(gpu.info for gpu in self._gpus)

    def status(self) -> GpusStatus:
        """Whether GPUs are read, and what each of them cannot tell."""
        return self._status

    def read(self, now: float) -> tuple[Batch, ...]:
        """One round over all GPUs on the caller's thread: one batch for each of them."""
        if self._search_due(now):
            self._found_at = now
            self._search()
        batches = tuple(self._batch(gpu, now) for gpu in self._gpus)
        self._status = replace(self._status, metrics=tuple(state for gpu in self._gpus for state in gpu.states()))
        return batches

    def _run(self) -> None:
        due = self.clock.now()
        while not self._stopping:
            batches = self.read(self.clock.now())
            self._queue.extend(batches)
            if batches and self.wake is not None:
                self.wake.set()
            self._first.set()
            # Neither a burst after a delay nor a silence after the clock went back.
            now = self.clock.now()
            due = min(max(due + self.interval_s, now), now + self.interval_s)
            self.clock.wait(due, self._roused)
        self._shut_down()

    def _search_due(self, now: float) -> bool:
        if any(gpu.stale for gpu in self._gpus):
            return now >= self._found_at + STALE_PROBE_S
        troubled = not self._gpus or any(gpu.trouble for gpu in self._gpus)
        return troubled and (now >= self._found_at + PROBE_S or now < self._found_at)

    def _search(self) -> None:
        """Start the library anew and match its GPUs with the known ones by UUID; those not listed are lost."""
        import pynvml

        self._shut_down()
        try:
            pynvml.nvmlInit()
            self._nvml = pynvml
            listed = self._listed(pynvml)
        except pynvml.NVMLError as error:
            self._refuse(int(error.value), str(error))
            return
        known = {gpu.info.uuid: gpu for gpu in self._gpus}
        for info, handle in listed:
            if info.uuid in known:
                known[info.uuid].reopen(handle)
            else:
                known[info.uuid] = Gpu(info, handle)
        for uuid in known.keys() - {info.uuid for info, _ in listed}:
            known[uuid].trouble = "the driver does not list this GPU any more; reset it or replace the machine"
            known[uuid].lost = True
        self._gpus = tuple(known.values())
        self._status = GpusStatus("reading", f"the driver lists {len(listed)} GPU(s)")
        log.info("gpus listed", gpus=len(listed), known=len(known))

    def _listed(self, nvml: Any) -> list[tuple[GpuInfo, Any]]:
        listed = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = _answer(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
            uuid = _answer(nvml, nvml.nvmlDeviceGetUUID, handle) if handle is not None else None
            if uuid is None:
                # Without a UUID it has no identity: one known from before counts as lost.
                log.warning("gpu unreadable", index=index, next_step=f"it is asked again within {PROBE_S:g} s")
                continue
            memory = _answer(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
            name = _answer(nvml, nvml.nvmlDeviceGetName, handle) or "unknown"
            listed.append((GpuInfo(uuid, name, int(memory.total) if memory is not None else 0), handle))
        return listed

    def _refuse(self, code: int, text: str) -> None:
        detail = WORDS.get(code, f"NVML refuses to start: {text}")
        idle = code in (NO_DRIVER, NO_LIBRARY) and not self._gpus
        if self._status.detail != detail:
            (log.info if idle else log.warning)("gpus not read", reason=detail)
        for gpu in self._gpus:
            gpu.trouble, gpu.lost, gpu.stale = detail, False, False
        self._status = GpusStatus("idle" if idle else "failed", detail)

    def _shut_down(self) -> None:
        if self._nvml is None:
            return
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            log.debug("nvml shutdown refused", reason=str(error))
        self._nvml = None

    def _batch(self, gpu: Gpu, now: float) -> Batch:
        before = gpu.trouble
        values = gpu.read(self._nvml)
        if gpu.trouble != before:
            log.warning("gpu in trouble", uuid=gpu.info.uuid, reason=gpu.trouble)
        if tuple(key.metric for key in gpu.keys) != tuple(values):
            pairs = {**dict(self.labels), "uuid": gpu.info.uuid, "gpu_model": gpu.info.name}
            labels = tuple(sorted(pairs.items()))
            gpu.keys = tuple(SeriesKey(metric, labels) for metric in values)
        source = f"nvml:{gpu.info.uuid}"
        return Batch(source, now, self.interval_s, gpu.keys, np.array(list(values.values())), self.labels)


def _answer(nvml: Any, ask: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return ask(argument)
    except nvml.NVMLError:
        return None
