"""What the driver reports by itself: faults and verdicts on GPUs, waited for on a thread of its own."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from autoscaler.ports import Clock
from collectors.nvml.faults import Fault

log = structlog.get_logger(__name__)

EventKind = Literal["xid", "double_bit_ecc", "recovery_action", "unavailable"]
KINDS: dict[int, EventKind] = {0x8: "xid", 0x2: "double_bit_ecc", 0x8000: "recovery_action", 0x4000: "unavailable"}
"""nvmlEventType* of nvml.h that we register for where the GPU supports them."""
TIMEOUT, NO_INSTANCE = 10, 0xFFFFFFFF
WAIT_MS = 500
"""A wait in the driver cannot be broken off; with this one the thread ends within a second."""
STOP_S = 0.9
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class GpuEvent:
    """One report of the driver. data: the XID, or what else the kind carries. gi_id: of the MIG instance, or None."""

    uuid: str
    kind: EventKind
    data: int
    at: float
    gi_id: int | None = None

    @property
    def fault(self) -> Fault | None:
        """The fault to be counted; None for reports that only say what must be done."""
        return Fault(self.uuid, self.data, self.at, "nvml", self.gi_id) if self.kind == "xid" else None


@dataclass(eq=False)
class Events:
    """Waits for reports on all GPUs and hands each to `emit`, on its own thread.

    gpus: (UUID, handle) of the GPUs that can be asked now, called on the thread each time it registers; `renew` says
    that handles changed. A GPU that supports no events is left out. An error of the driver (a reload, a lost GPU) makes
    it register anew, later and later while that fails. Before the library is shut down, enter `out_of_the_driver`.
    """

    nvml: Any
    clock: Clock
    gpus: Callable[[], Sequence[tuple[str, Any]]]
    emit: Callable[[GpuEvent], object]
    registered: tuple[str, ...] = field(default=(), init=False)
    """UUIDs of the GPUs whose reports are waited for at present."""
    failures: int = field(default=0, init=False)
    _stopping: bool = field(default=False, init=False, repr=False)
    _inside: bool = field(default=False, init=False, repr=False)
    _kept_out: int = field(default=0, init=False, repr=False)
    _renew: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _gate: threading.Condition = field(default_factory=threading.Condition, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)
    _retry_s: float = field(default=FIRST_RETRY_S, init=False, repr=False)

    def start(self) -> None:
        """Wait for reports from now on."""
        self._thread = threading.Thread(target=self._run, name="gpu-events", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop within a second; a thread that hangs in the driver is left behind, it ends with the process."""
        with self._gate:
            self._stopping = True
            self._renew.set()
            self._gate.notify_all()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def renew(self) -> None:
        """Register anew: there are other GPUs, or new handles."""
        self._renew.set()

    @contextmanager
    def out_of_the_driver(self) -> Iterator[None]:
        """While this is entered no wait is in the driver, so that the library may be shut down; afterwards it begins
        anew. A thread that hangs in the driver is not waited for."""
        with self._gate:
            self._kept_out += 1
            self._renew.set()
            if not self._gate.wait_for(lambda: not self._inside, timeout=2 * WAIT_MS / 1000):
                log.warning("gpu events hang in the driver", next_step="they go on when the driver answers")
        try:
            yield
        finally:
            with self._gate:
                self._kept_out -= 1
                self._gate.notify_all()

    def _run(self) -> None:
        while self._enter():
            try:
                self._session()
            except self.nvml.NVMLError as error:
                self.failures += 1
                log.warning("gpu events interrupted", code=int(error.value), retry_s=self._retry_s)
            finally:
                self._leave()
            if not self._renew.wait(self._retry_s):
                self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)

    def _enter(self) -> bool:
        """Wait until the driver may be asked; False when the thread has to end."""
        with self._gate:
            self._gate.wait_for(lambda: not self._kept_out or self._stopping)
            self._renew.clear()
            self._inside = not self._stopping
            return self._inside

    def _leave(self) -> None:
        with self._gate:
            self._inside, self.registered = False, ()
            self._gate.notify_all()

    def _session(self) -> None:
        """Register and wait until the registration has to be made anew; raises NVMLError."""
        waited = self.nvml.nvmlEventSetCreate()
        try:
            names = dict(self._register(waited))
            self.registered = tuple(names.values())
            while names and not self._renew.is_set():
                event = self._wait(waited, names)
                self._retry_s = FIRST_RETRY_S
                if event is not None:
                    self.emit(event)
        finally:
            self._free(waited)

    def _register(self, waited: Any) -> Iterator[tuple[int, str]]:
        """Address of the handle and UUID of each GPU that could be registered."""
        for uuid, handle in self.gpus():
            try:
                kinds = self.nvml.nvmlDeviceGetSupportedEventTypes(handle) & sum(KINDS)
                if kinds:
                    self.nvml.nvmlDeviceRegisterEvents(handle, kinds, waited)
                    yield _pointer(handle), uuid
            except self.nvml.NVMLError as error:
                log.info("gpu without events", uuid=uuid, code=int(error.value))

    def _wait(self, waited: Any, names: dict[int, str]) -> GpuEvent | None:
        """The next report; None when there was none, or one that we did not ask for."""
        try:
            told = self.nvml.nvmlEventSetWait_v2(waited, WAIT_MS)
        except self.nvml.NVMLError as error:
            if error.value == TIMEOUT:
                return None
            raise
        # The handle tells the GPU: a lost one, of all, would not answer who it is.
        uuid, kind = names.get(_pointer(told.device)), KINDS.get(told.eventType)
        if uuid is None or kind is None:
            return None
        gi_id = None if told.gpuInstanceId == NO_INSTANCE else int(told.gpuInstanceId)
        return GpuEvent(uuid, kind, int(told.eventData), self.clock.now(), gi_id)

    def _free(self, waited: Any) -> None:
        try:
            self.nvml.nvmlEventSetFree(waited)
        except self.nvml.NVMLError as error:
            log.debug("event set not freed", code=int(error.value))


def _pointer(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
