"""The processes that run on a GPU."""

from __future__ import annotations

from collections.abc import Callable

from tests.peers.nvml import layout

COMPUTE, GRAPHICS, MPS = 1, 2, 4
NONE = 0xFFFFFFFF


class Processes:
    """Starts and ends processes of one GPU; NVML shows at most 32 of them here."""

    def __init__(self, gpu: layout.GpuData, now_us: Callable[[], int]) -> None:
        self._slots = gpu.processes
        self._now_us = now_us

    def start(
        self, pid: int, memory_bytes: int, *, kinds: int = COMPUTE, name: str = "python", gi: int = NONE, ci: int = NONE
    ) -> None:
        """A process appears. kinds: COMPUTE, GRAPHICS and MPS, added up. gi, ci: its MIG instances."""
        slot = next((slot for slot in self._slots if not slot.present), None)
        if slot is None:
            raise ValueError(f"there are {layout.PROCESSES} processes already")
        slot.pid, slot.memory_bytes, slot.kinds, slot.gi, slot.ci = pid, memory_bytes, kinds, gi, ci
        slot.name, slot.used_at_us = name.encode(), 0
        slot.present = 1

    def use(
        self,
        pid: int,
        *,
        sm_percent: int = 0,
        memory_percent: int = 0,
        encoder_percent: int = 0,
        decoder_percent: int = 0,
        at_us: int | None = None,
    ) -> None:
        """Give a process a new utilization sample, of now unless said otherwise."""
        slot = self._find(pid)
        slot.sm_percent, slot.memory_percent = sm_percent, memory_percent
        slot.encoder_percent, slot.decoder_percent = encoder_percent, decoder_percent
        slot.used_at_us = self._now_us() if at_us is None else at_us

    def end(self, pid: int) -> None:
        """It is gone."""
        self._find(pid).present = 0

    def _find(self, pid: int) -> layout.ProcessData:
        found: layout.ProcessData | None = next((s for s in self._slots if s.present and s.pid == pid), None)
        if found is None:
            raise ValueError(f"no process {pid} runs on this GPU")
        return found
