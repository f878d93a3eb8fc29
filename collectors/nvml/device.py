"""One GPU: what is wrong with it, what it cannot tell, and how it is found again.

Two threads read it (see strand.py); what they share is here. Missing is not zero: a metric that cannot be had is absent
with its reason, one that was not told this once is NaN.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import structlog

from autoscaler.ports import Clock
from collectors.nvml import codes
from collectors.nvml.codes import Availability
from collectors.nvml.identity import GpuInfo
from collectors.nvml.mig import Layout, Watch
from collectors.nvml.probe import Probe
from collectors.nvml.table import Table

log = structlog.get_logger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
"""How soon a GPU in trouble is looked for again: doubled after each failure."""
NOT_LISTED = "the driver does not list this GPU any more; reset it or replace the machine"


@dataclass(frozen=True, slots=True)
class MetricState:
    """Whether one metric of one GPU can be had, and if not, why."""

    uuid: str
    metric: str
    availability: Availability
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing can be read. lost: the device itself is gone."""

    code: int
    text: str
    lost: bool = False


@dataclass(eq=False)
class Device:
    """What is known of one GPU. `generation` rises with each new handle: its lanes then ask everything anew.

    nvml: the bindings, None while the library cannot be started. started: how often it was, so far. mig: how the GPU is
    cut, as last seen. hung: which call has not returned, by strand.
    """

    nvml: Any
    info: GpuInfo
    handle: Any
    clock: Clock
    started: int = 0
    mig: Watch = field(default_factory=Watch)
    generation: int = 0
    trouble: Trouble | None = None
    hung: dict[str, str] = field(default_factory=dict)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    tables: list[Table] = field(default_factory=list)
    _refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    _stale: dict[tuple[str, tuple[str, ...]], int] = field(default_factory=dict)
    _forbidden: set[str] = field(default_factory=set)
    _unknown: int = 0
    _unknown_now: bool = False
    _proved: bool = True
    _told: str = ""
    _retry_at: float = math.inf
    _retry_s: float = FIRST_RETRY_S

    def __post_init__(self) -> None:
        self.mig.changed = self._recut

    @property
    def uuid(self) -> str:
        """What identifies it."""
        return self.info.uuid

    def now(self) -> float:
        """Unix seconds."""
        return self.clock.now()

    def refuse(self, metric: str, code: int, detail: str = "") -> None:
        """One metric of a call that gives several cannot be had until the handle is a new one."""
        self._refused[metric] = (code, detail or codes.meaning(code).text)
        self.doubt(metric)

    def trust(self, probe: Probe) -> None:
        """A call answered: what it says of the handle next time is news again."""
        if self._stale:
            self._stale.pop((probe.call.name, probe.call.metrics), None)

    def doubt(self, metric: str) -> None:
        """What was told of a metric counts no more until it is told again."""
        for table in self.tables:
            table.doubt(metric)

    def judge(self, probe: Probe, code: int, now: float) -> bool:
        """Take in the code of a failed call; True = ask again at once."""
        name, row = probe.call.name, codes.meaning(code)
        if row.counted:
            self.errors[name, str(code)] += 1
        match row.remedy:
            case "retry":
                return True
            case "older" if probe.fall_back():
                return True
            case "unsupported" | "older" | "no_permission":
                self._refuse(probe, code)
            case "back_off":
                probe.back_off(now)
            case "paused":
                probe.paused = row.text
            case "handle" | "reinit":
                self._doubt(probe, code, now)
            case "lost" | "reset" | "restart" | "driver":
                self.fail(Trouble(code, row.text, row.remedy == "lost"), now)
            case "unknown":
                self._unknown_now = True
        return False

    def round_over(self, now: float, *, heard: bool) -> None:
        """After each round: whether it proved that the handle works, or only that the driver does not know why not."""
        self._unknown = self._unknown + 1 if self._unknown_now else 0
        self._unknown_now = False
        if self._unknown >= codes.UNKNOWN_LIMIT:
            self._unknown = 0
            self.fail(Trouble(codes.UNKNOWN, codes.meaning(codes.UNKNOWN).text), now)
        elif heard and self.trouble is None and not self._proved:
            self._proved, self._retry_s, self._told = True, FIRST_RETRY_S, ""
            log.info("gpu read again", uuid=self.uuid, index=self.info.index)

    def fail(self, trouble: Trouble, now: float) -> None:
        """Read nothing until the GPU is found again."""
        if self._told != trouble.text:
            self._told = trouble.text
            log.warning("gpu in trouble", uuid=self.uuid, index=self.info.index, reason=trouble.text)
        if self.trouble is None:
            self._put_off(now)
        self.trouble = trouble

    def heal(self, now: float) -> None:
        """Find the GPU again by its UUID when it is time to. Blocks in the driver: for the GPU's own thread."""
        # A clock that went back must not put the retry off beyond the longest wait.
        if self.nvml is None or math.inf == self._retry_at or self._retry_at - LAST_RETRY_S <= now < self._retry_at:
            return
        try:
            handle = self.nvml.nvmlDeviceGetHandleByUUID(self.uuid)
        except self.nvml.NVMLError as error:
            self._not_found(int(error.value), now)
            return
        self.open(handle, now)

    def open(self, handle: Any, now: float) -> None:
        """Go on with a new handle; the GPU counts as found only after a round without trouble."""
        self.handle = handle
        self.info = replace(self.info, index=self._index())
        self.trouble, self._retry_at, self._unknown, self._proved = None, math.inf, 0, False
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        self._refused.clear()
        self.generation += 1

    def look_now(self) -> None:
        """Find the GPU again at the next round."""
        self._retry_at = -math.inf

    def states(self, probes: tuple[tuple[str, Probe], ...], told: frozenset[str]) -> Iterator[MetricState]:
        """The availability of every metric of `probes`, each with the strand that it belongs to.

        told: the metrics with a value since they could be had.
        """
        by_metric: dict[str, dict[Probe, str]] = {}
        for strand, probe in probes:
            for metric in probe.call.metrics:
                by_metric.setdefault(metric, {})[probe] = strand
        for metric, several in by_metric.items():
            availability, detail = self._state(metric, list(several), set(several.values()), told)
            yield MetricState(self.uuid, metric, availability, detail)

    def _state(
        self, metric: str, probes: list[Probe], strands: set[str], told: frozenset[str]
    ) -> tuple[Availability, str]:
        if self.trouble is not None:
            return ("lost" if self.trouble.lost else "absent"), self.trouble.text
        hung = dict(self.hung)
        if strands <= hung.keys():
            return "absent", hung[min(strands)]
        if paused := next((probe.paused for probe in probes if probe.paused), ""):
            return "paused", paused
        return ("ok", "") if metric in told else self._refusal(metric, probes)

    def _refusal(self, metric: str, probes: list[Probe]) -> tuple[Availability, str]:
        """Why a metric was never told."""
        if metric in self._refused:
            code, detail = self._refused[metric]
            return _kind(code), detail
        refused = [probe for probe in probes if probe.refused is not None]
        if len(refused) == len(probes):
            return _kind(refused[0].refused or 0), refused[0].detail
        broken = next((probe.detail for probe in probes if probe.detail), "")
        return "absent", broken or "the driver has not told it yet"

    def _refuse(self, probe: Probe, code: int) -> None:
        probe.refuse(code)
        for metric in probe.call.metrics:
            self.doubt(metric)
        if code == codes.NO_PERMISSION and probe.call.name not in self._forbidden:
            self._forbidden.add(probe.call.name)
            log.warning("gpu call not permitted", uuid=self.uuid, call=probe.call.name, next_step="run as root")

    def _doubt(self, probe: Probe, code: int, now: float) -> None:
        """A handle may be stale; but where a new one did not help, the call itself is at fault."""
        which = probe.call.name, probe.call.metrics
        doubted = self._stale.setdefault(which, self.generation)
        if doubted < self.generation:
            self._refuse(probe, code)
        elif math.isinf(self._retry_at):
            self._stale[which] = self.generation
            self._put_off(now)

    def _not_found(self, code: int, now: float) -> None:
        row = codes.meaning(code)
        self.errors["nvmlDeviceGetHandleByUUID", str(code)] += 1
        self._put_off(now)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        if code in (codes.NOT_FOUND, codes.GPU_NOT_FOUND):
            self.fail(Trouble(code, NOT_LISTED, lost=True), now)
        else:
            self.fail(Trouble(code, row.text, row.remedy == "lost"), now)

    def _recut(self, before: Layout, now: Layout) -> None:
        """MIG was switched on or off: what the GPU could not tell before it may tell now, and the other way round."""
        if before.enabled != now.enabled and self.mig.changes > 1:
            self._refused.clear()
            self.generation += 1

    def _put_off(self, now: float) -> None:
        self._retry_at = now + self._retry_s

    def _index(self) -> int:
        try:
            return int(self.nvml.nvmlDeviceGetIndex(self.handle))
        except self.nvml.NVMLError:
            return self.info.index


def _kind(code: int) -> Literal["no_permission", "unsupported"]:
    return "no_permission" if code == codes.NO_PERMISSION else "unsupported"
