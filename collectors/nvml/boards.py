"""All GPUs of the machine: found by UUID, found again, and the library started anew where nothing else helps."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from autoscaler.ports import Clock
from autoscaler.types import Batch, Labels
from collectors.nvml import topology_nvml
from collectors.nvml.board import Board, Periods
from collectors.nvml.device import Device, Trouble
from collectors.nvml.identity import GpuInfo
from collectors.nvml.library import Library
from collectors.nvml.listening import Listening
from collectors.nvml.rare import Rare
from collectors.nvml.rota import Rota

log = structlog.get_logger(__name__)

FIND_S = 0.5
PROBE_S = 60.0
"""How often a machine without a driver is asked again, and the list of GPUs is compared with the driver's."""
FIRST_RESTART_S = 1.0
"""How soon the library is started again when no GPU can be read; doubled after each try, up to PROBE_S."""


@dataclass(eq=False)
class Boards:
    """labels: of the machine. emit: takes the batches. quick, slow: who reads the GPUs. live: faults are listened to.

    deadline_s: how long a call may take. by_uuid: in the order in which they were found; replaced, never changed.
    """

    clock: Clock
    library: Library
    periods: Periods
    labels: Labels
    deadline_s: float
    emit: Callable[[Batch], None]
    rare: Rare
    listening: Listening
    quick: Rota
    slow: Rota
    live: bool = False
    by_uuid: dict[str, Board] = field(default_factory=dict, init=False)
    _found_at: float = field(default=-math.inf, init=False, repr=False)
    _restart_s: float = field(default=FIRST_RESTART_S, init=False, repr=False)

    def __iter__(self) -> Any:
        return iter(tuple(self.by_uuid.values()))

    def find(self, now: float) -> None:
        """Start the library where it is not, or anew where no GPU can be read without; list the GPUs."""
        self.listening.follow([board.device for board in self])
        due = now >= self._found_at + PROBE_S or now < self._found_at
        if self.library.nvml is None:
            if due:
                self._found_at = now
                self._begin(now)
        elif self._broken():
            if due or now >= self._found_at + self._restart_s:
                self._found_at = now
                self._restart_s = min(2 * self._restart_s, PROBE_S)
                with self.listening.out_of_the_driver():
                    self.library.stop()
                    self._begin(now)
        elif due:
            self._found_at, self._restart_s = now, FIRST_RESTART_S
            if self.library.count() != len(self.by_uuid):
                self._list()

    def _broken(self) -> bool:
        """Whether no GPU can be read, so that a new start of the library takes nothing from anybody.

        While a call hangs in the driver it is not shut down under it.
        """
        devices = [board.device for board in self]
        return bool(devices) and all(device.trouble is not None and not device.hung for device in devices)

    def _begin(self, now: float) -> None:
        if not self.library.start():
            if self.by_uuid:
                self.library.state = "failed"
            for board in self:
                board.device.fail(Trouble(self.library.code, self.library.detail), now)
                board.device.nvml = None
            return
        for board in self:
            board.device.nvml, board.device.started = self.library.nvml, self.library.started
            board.device.look_now()
            board.quick.rouse()
        self._list()
        if self.live:
            self.listening.begin(self.library.nvml)

    def _list(self) -> None:
        """Take in the GPUs that the driver lists; one that is not listed any more finds out by itself."""
        listed = self.library.gpus()
        new = [(info, handle) for info, handle in listed if info.uuid not in self.by_uuid]
        if new and self.periods.slow_s:
            self._connect(listed)
        for info, handle in new:
            device = Device(self.library.nvml, info, handle, self.clock, self.library.started)
            board = Board(device, self.periods, self.labels, self.emit, self.rare.calls)
            self.by_uuid = {**self.by_uuid, info.uuid: board}
            for strand, rota in zip(board.strands, (self.quick, self.slow), strict=False):
                strand.rouse = rota.rouse
                rota.add(strand)
        for uuid in self.by_uuid.keys() - {info.uuid for info, _ in listed}:
            self.by_uuid[uuid].device.look_now()
        log.info("gpus listed", gpus=len(listed), known=len(self.by_uuid))

    def _connect(self, listed: list[tuple[GpuInfo, Any]]) -> None:
        """Learn how the GPUs are connected, on a thread of its own: it asks about every pair and may hang with any."""
        nvml, gpus = self.library.nvml, [(info.uuid, handle) for info, handle in listed]

        def learn() -> None:
            try:
                self.rare.topology = topology_nvml.read(nvml, gpus)
            except nvml.NVMLError as error:
                log.warning("gpu topology not read", code=int(error.value))
                return
            for board in self:
                if board.slow is not None:
                    board.slow.rebuild()

        thread = threading.Thread(target=learn, name="nvml topology", daemon=True)
        thread.start()
        thread.join(self.deadline_s)


@dataclass(eq=False)
class Finding:
    """Looking for GPUs, as a part of a rota. told: called after each look."""

    boards: Boards
    told: Callable[[], object]
    _due: float = field(default=-math.inf, init=False, repr=False)

    def due(self, now: float) -> float:
        """When to look again."""
        return self._due if self._due <= now + FIND_S else -math.inf

    def turn(self, now: float) -> None:
        """Look."""
        try:
            self.boards.find(now)
        except Exception:
            # A fault of ours must not end the looking.
            log.exception("gpus not looked for")
        self._due = self.boards.clock.now() + FIND_S
        self.told()

    def stop(self) -> None:
        """Nothing can be broken off."""
