"""The driver's library: started, asked what GPUs there are, and started again when nothing else helps."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from autoscaler.clock import monotonic
from collectors.nvml import codes
from collectors.nvml.identity import GpuInfo, identify

log = structlog.get_logger(__name__)

State = Literal["starting", "reading", "idle", "failed"]
GPUS_LIMIT = 256


@dataclass(eq=False)
class Library:
    """state: idle = no driver here; failed = it refuses, `detail` says what to do. started: how often it was, so far.

    deadline_s: how long a GPU may take to say what it is. One that hangs is left out and asked again later.
    """

    deadline_s: float
    state: State = "starting"
    detail: str = ""
    code: int = 0
    started: int = 0
    nvml: Any = None
    _asking: dict[int, threading.Thread] = field(default_factory=dict, init=False, repr=False)

    def start(self) -> bool:
        """Start the library; False when there is no driver or it refuses."""
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._refused(int(error.value), str(error))
            return False
        self.nvml, self.state, self.code = pynvml, "reading", 0
        self.started += 1
        return True

    def count(self) -> int:
        """How many GPUs the driver lists; -1 when it does not say."""
        try:
            return min(int(self.nvml.nvmlDeviceGetCount()), GPUS_LIMIT)
        except self.nvml.NVMLError as error:
            log.warning("gpus not counted", code=int(error.value))
            return -1

    def gpus(self) -> list[tuple[GpuInfo, Any]]:
        """The GPUs with their handles, by index; each asked on a thread of its own, so that one cannot hold up all."""
        count = self.count()
        found: dict[int, tuple[GpuInfo, Any]] = {}
        for index in range(count):
            if index not in self._asking or not self._asking[index].is_alive():
                thread = threading.Thread(target=self._ask, args=(index, found), name=f"nvml {index}", daemon=True)
                self._asking[index] = thread
                thread.start()
        deadline = monotonic() + self.deadline_s
        for index in range(count):
            self._asking[index].join(max(0.0, deadline - monotonic()))
        listed = [pair for _, pair in sorted(found.copy().items())]
        if len(listed) < count:
            log.warning("gpus unreadable", listed=count, readable=len(listed), next_step="they are asked again")
        self.detail = f"the driver lists {max(count, 0)} GPU(s)"
        return listed

    def stop(self) -> None:
        """Shut the library down."""
        if self.nvml is None:
            return
        try:
            self.nvml.nvmlShutdown()
        except self.nvml.NVMLError as error:
            log.debug("nvml shutdown refused", code=int(error.value))
        self.nvml = None

    def _ask(self, index: int, found: dict[int, tuple[GpuInfo, Any]]) -> None:
        nvml = self.nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            info = identify(nvml, handle, index)
        except nvml.NVMLError as error:
            log.warning("gpu unreadable", index=index, code=int(error.value))
            return
        if info is not None:
            found[index] = (info, handle)

    def _refused(self, code: int, text: str) -> None:
        row = codes.meaning(code)
        known = row.remedy in ("driver", "restart", "reset", "lost")
        detail = row.text if known else f"NVML refuses to start: {text}"
        idle = row.remedy == "driver"
        if detail != self.detail:
            (log.info if idle else log.warning)("gpus not read", reason=detail)
        self.nvml, self.code, self.detail = None, code, detail
        self.state = "idle" if idle else "failed"
