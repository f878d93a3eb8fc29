"""Caps on this machine's GPUs that a person asked for: set when a GPU is found, given back at the end.

Each GPU has a record and threads of its own, so that one that hangs in the driver takes no cap from the others and does
not keep theirs at the end.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import structlog

from autoscaler.agent.actfile import ActFile
from autoscaler.agent.wanted import Wanted
from autoscaler.clock import monotonic
from autoscaler.errors import SigmascaleError
from collectors.nvml.controls import Act, Controls

log = structlog.get_logger(__name__)

RETRY_S = 60.0
"""When a driver that refused is asked again."""
Outcome = Literal["held", "refused", "pending"]


class Gpus(Protocol):
    """The GPUs of this machine."""

    def readable(self) -> Mapping[str, int]:
        """The GPUs that can be asked now: UUID -> a number that is another one with each new handle."""
        ...

    def controls(self, record: Callable[[Act], object]) -> Controls:
        """What changes their settings."""
        ...


@dataclass(eq=False)
class _Gpu:
    """One GPU: what changes it, the handle that it was last seen with, and the thread that is at it.

    undone: whether what an earlier agent left behind was taken over. reason: why the driver refused.
    """

    uuid: str
    controls: Controls
    seen: int | None = None
    retry_at: float = math.inf
    undone: bool = False
    reason: str = ""
    outcome: Outcome = "pending"
    thread: threading.Thread | None = None


@dataclass(eq=False)
class Caps:
    """Call `look` from time to time, and `stop` before the library is shut down.

    wanted: what to set; with nothing wanted, only what an earlier agent left behind is given back.
    """

    gpus: Gpus
    wanted: Wanted
    record: ActFile
    _known: dict[str, _Gpu] = field(default_factory=dict, init=False, repr=False)
    _stopping: bool = field(default=False, init=False)

    def look(self) -> None:
        """Set what is wanted on GPUs that are new or were found again: a driver that was reloaded has forgotten it."""
        left_behind = self.record.uuids
        for uuid, handle in self.gpus.readable().items():
            if uuid not in self._known and not self.wanted and uuid not in left_behind:
                continue
            gpu = self._known.get(uuid)
            if gpu is None:
                gpu = self._known[uuid] = _Gpu(uuid, self.gpus.controls(self.record))
            busy = gpu.thread is not None and gpu.thread.is_alive()
            due = gpu.seen != handle or monotonic() >= gpu.retry_at
            if due and not busy and not self._stopping:
                gpu.seen, gpu.retry_at = handle, math.inf
                gpu.thread = threading.Thread(target=self._hold, args=(gpu,), name=f"caps {uuid}", daemon=True)
                gpu.thread.start()

    def outcomes(self) -> Mapping[str, Outcome]:
        """By UUID, what became of it on each GPU on which something is wanted."""
        return {gpu.uuid: gpu.outcome for gpu in tuple(self._known.values())} if self.wanted else {}

    def stop(self, within_s: float) -> None:
        """Give everything back. What is not given back in time stays in the record, for the next start."""
        self._stopping = True
        deadline = monotonic() + within_s
        gpus = tuple(self._known.values())
        threads = [threading.Thread(target=gpu.controls.end, name=f"caps {gpu.uuid}", daemon=True) for gpu in gpus]
        for thread in threads:
            thread.start()
        for gpu, thread in zip(gpus, threads, strict=True):
            thread.join(max(0.0, deadline - monotonic()))
            if thread.is_alive():
                log.warning(
                    "gpu settings not given back", uuid=gpu.uuid, next_step="they are, when an agent starts again"
                )

    def _hold(self, gpu: _Gpu) -> None:
        wanted = self.wanted
        try:
            if not gpu.undone:
                gpu.undone = True
                if left := gpu.controls.undo(self.record.left_behind(gpu.uuid)):
                    raise SigmascaleError("; ".join(left))
            if wanted.power_limit_watts is not None:
                gpu.controls.set_power_limit(gpu.uuid, wanted.power_limit_watts)
            if wanted.clocks_hertz is not None:
                gpu.controls.lock_clocks(gpu.uuid, *wanted.clocks_hertz)
        except SigmascaleError as error:
            gpu.outcome, gpu.retry_at = "refused", monotonic() + RETRY_S
            if str(error) != gpu.reason:
                gpu.reason = str(error)
                log.error("gpu setting refused", uuid=gpu.uuid, reason=gpu.reason, retry_s=RETRY_S)
        else:
            gpu.outcome, gpu.reason = "held", ""
