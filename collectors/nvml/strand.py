"""Lanes of one GPU that are read after each other: each at its period, with a mark before each call for the watchdog.

Who gives it its turns, and what happens when a call is stuck in the driver, stands in rota.py.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from autoscaler.clock import monotonic
from autoscaler.types import Batch
from collectors.nvml import codes
from collectors.nvml.call import Sample
from collectors.nvml.device import Device
from collectors.nvml.lane import Lane
from collectors.nvml.probe import Probe
from collectors.nvml.table import Table
from collectors.nvml.turns import LONGEST_GAP, is_turn, next_turn

log = structlog.get_logger(__name__)

LATENESS_LIMIT = 1024
TRIES = 3
"""Of one call in one pass: as it is, in its older form, and once more where a list grew meanwhile."""


@dataclass(eq=False)
class Strand:
    """lanes: in the order of their rank. compose_s: a batch is made as often. compose: adds what the collector itself
    knows, just before. emit: takes the batches. heals: whether it finds the GPU again. phase_s: of its batches; see
    turns.py. rouse: makes its next turn come at once.
    """

    name: str
    device: Device
    table: Table
    lanes: tuple[Lane, ...]
    compose_s: float
    compose: Callable[[Strand, float], None]
    emit: Callable[[Batch], None]
    heals: bool
    phase_s: float = 0.0
    rouse: Callable[[], object] = lambda: None
    asked: int = 0
    heard: int = 0
    lateness_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENESS_LIMIT))
    _compose_at: float = -math.inf
    _built: int = -1
    _entered: float = math.inf
    _calling: str = ""
    _stopping: bool = False

    def stop(self) -> None:
        """End after the call that is under way."""
        self._stopping = True

    def stuck(self, deadline_s: float) -> str:
        """The call that has not returned for `deadline_s`, in words; empty when there is none. From any thread."""
        entered, calling = self._entered, self._calling
        waited = monotonic() - entered
        return f"{calling} has not returned for {waited:.0f} s" if waited >= deadline_s else ""

    def probes(self) -> tuple[Probe, ...]:
        """Every call of its lanes."""
        return tuple(probe for lane in self.lanes for probe in lane.probes)

    def turn(self, now: float) -> None:
        """A round that nothing breaks, and how late it began."""
        due = self.due(now)
        if math.isfinite(due):
            self.lateness_s.append(now - due)
        try:
            self.round(now)
        except Exception:
            # A fault of ours must cost one round of one GPU, not the thread.
            log.exception("gpu round failed", uuid=self.device.uuid, strand=self.name)
            self._clear()
            self._compose_at = next_turn(now, self.compose_s, self.phase_s)

    def round(self, now: float) -> None:
        """Run what is due."""
        device = self.device
        if self.heals:
            self._mark("nvmlDeviceGetHandleByUUID")
            device.heal(now)
            self._clear()
        if device.trouble is None:
            self._read(now)
        elif not self.heals:
            self._read(now, offline=True)
        if is_turn(now, self._compose_at, self.compose_s):
            self._batch(now)
            self._compose_at = next_turn(now, self.compose_s, self.phase_s)

    def due(self, now: float) -> float:
        """When the next round is to begin."""
        lanes = (lane.due for lane in self.lanes if lane.on(now))
        due = min(self._compose_at, *lanes) if self.device.trouble is None else self._compose_at
        # A time that is too far ahead was set before the clock went back.
        return due if due <= now + LONGEST_GAP * self.compose_s else -math.inf

    def hasten(self) -> None:
        """Run every lane and make a batch at once."""
        for lane in self.lanes:
            lane.due = -math.inf
        self._compose_at = -math.inf
        self.rouse()

    def rebuild(self) -> None:
        """Build the lanes anew at the next round."""
        self._built = -1

    def _read(self, now: float, *, offline: bool = False) -> None:
        if self._built != self.device.generation and not offline:
            self._built = self.device.generation
            self.table.doubt()
            for lane in self.lanes:
                lane.build(self.device.nvml, self.device)
        heard = self.heard
        ran = [lane for lane in self.lanes if lane.runs(now)]
        for lane in ran:
            self._pass(lane, now)
            lane.next(now)
        if ran and self.heals:
            self.device.round_over(now, heard=self.heard > heard)

    def _pass(self, lane: Lane, now: float) -> None:
        began = monotonic()
        for probe in lane.probes:
            # What is known without the driver, such as the faults of a GPU that is lost, is told in any case.
            reachable = self.device.trouble is None or not probe.call.name.startswith("nvml")
            if probe.due(now) and reachable and not self._stopping:
                for sample in self._ask(probe, now):
                    self._take(sample, lane, now)
                lane.slowest.note(probe.call.name, probe.took_s, now)
        lane.took_s = monotonic() - began

    def _take(self, sample: Sample, lane: Lane, now: float) -> None:
        self.table.put(sample, now, lane.rank)
        if not lane.stamped:
            lane.told_at = now
        if lane.history and math.isfinite(sample.value):
            history = self.table.keep_history(sample.metric, sample.labels)
            if history is not None:
                history.append(now, sample.value)

    def _ask(self, probe: Probe, now: float) -> tuple[Sample, ...]:
        """The answer of one call; empty when it failed, which the device has judged."""
        nvml, device = self.device.nvml, self.device
        for _ in range(TRIES):
            self.asked += 1
            began = self._mark(probe.call.name)
            code = 0
            try:
                samples = tuple(probe.read(nvml, device.handle))
            except nvml.NVMLError as error:
                code, samples = int(error.value), ()
            except Exception as error:  # noqa: BLE001 - logged and counted in _broken
                # A reader's fault, such as a text that is none: it costs its own metrics only.
                self._broken(probe, error, now)
                return ()
            finally:
                probe.took_s = monotonic() - began
                self._clear()
            if code == 0:
                # A call that had nothing to ask proves nothing.
                self.heard += bool(samples)
                probe.answered()
                device.trust(probe)
                return samples
            if not device.judge(probe, code, now):
                self.heard += codes.meaning(code).remedy == "no_news"
                return ()
        return ()

    def _broken(self, probe: Probe, error: Exception, now: float) -> None:
        self.device.errors[probe.call.name, "exception"] += 1
        text = f"{probe.call.name}: what it gave cannot be read ({type(error).__name__}: {error})"
        if probe.detail != text:
            log.exception("gpu call unreadable", uuid=self.device.uuid, call=probe.call.name)
        probe.detail = text
        probe.back_off(now)

    def _batch(self, now: float) -> None:
        device = self.device
        if device.trouble is None or not self.heals:
            self.compose(self, now)
            self.emit(self.table.batch(now))
        else:
            self.emit(self.table.blank(now, {"gpu_up": 0.0, "gpu_lost": float(device.trouble.lost)}))
        self.asked = self.heard = 0

    def _mark(self, calling: str) -> float:
        self._calling = calling
        self._entered = monotonic()
        return self._entered

    def _clear(self) -> None:
        self._entered = math.inf
        if self.device.hung:
            self.device.hung.pop(self.name, None)
