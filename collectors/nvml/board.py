"""A GPU in two strands: what is read every second, and what may take long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog

from autoscaler.types import Batch, FloatArray, Labels
from collectors.nvml import fast, gauges
from collectors.nvml.call import Call
from collectors.nvml.derived import tell_board
from collectors.nvml.device import Device, MetricState
from collectors.nvml.gpm import Gpm
from collectors.nvml.history import History
from collectors.nvml.lane import Calls, Lane
from collectors.nvml.samples import Drains
from collectors.nvml.strand import Strand
from collectors.nvml.table import Table

log = structlog.get_logger(__name__)

STUCK = "stuck"
SLOW_PHASE_S = 0.53
"""The slow lane is read beside the others: who runs at the same time only takes the interpreter from each other."""


@dataclass(frozen=True, slots=True)
class Periods:
    """Seconds between two passes of each lane; 0 = the lane is off. fast: it runs all the time, not only in bursts."""

    interval_s: float
    buffer_s: float
    gpm_s: float
    slow_s: float
    fast_s: float
    fast: bool
    stats: bool


@dataclass(eq=False)
class Board:
    """One GPU as it is read. emit: takes its batches. labels: of the machine, on each series. rare: the slow calls."""

    device: Device
    periods: Periods
    labels: Labels
    emit: Callable[[Batch], None]
    rare: Calls
    quick: Strand = field(init=False)
    slow: Strand | None = field(default=None, init=False)
    _table: Table = field(init=False, repr=False)
    _fast: Lane = field(init=False, repr=False)
    _gpm: Gpm | None = field(default=None, init=False, repr=False)
    _blank_at: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        device, periods = self.device, self.periods
        source = f"nvml:{device.uuid}"
        self._table = Table(source, periods.interval_s, self.labels_now(), self.labels, periods.stats)
        device.tables.append(self._table)
        self.quick = Strand(
            "quick", device, self._table, self._lanes(), periods.interval_s, self._tell, self.emit, True
        )
        if periods.slow_s:
            table = Table(f"{source}/slow", periods.slow_s, self.labels_now(), self.labels)
            device.tables.append(table)
            lanes = (Lane("slow", periods.slow_s, self.rare, phase_s=SLOW_PHASE_S),)
            self.slow = Strand(
                "slow", device, table, lanes, periods.slow_s, self._relabel, self.emit, False, SLOW_PHASE_S
            )

    @property
    def strands(self) -> tuple[Strand, ...]:
        """Both, or the one there is."""
        return (self.quick,) if self.slow is None else (self.quick, self.slow)

    def burst(self, until: float) -> None:
        """Run the fast lane until then."""
        self._fast.until = max(self._fast.until, until)
        self._fast.due = float("-inf")
        self.quick.rouse()

    def watch(self, now: float, deadline_s: float) -> None:
        """Notice calls that are stuck in the driver, and speak for a strand that cannot. From the watchdog's thread."""
        for strand in self.strands:
            text = strand.stuck(deadline_s)
            if text and strand.name not in self.device.hung:
                self.device.errors[text.split()[0], STUCK] += 1
                log.warning("gpu hangs in the driver", uuid=self.device.uuid, reason=text)
                self._blank_at = now
            if text:
                self.device.hung[strand.name] = text
        if self.quick.name in self.device.hung:
            self._speak(now)

    def close(self) -> None:
        """Give back what the driver keeps for us; nobody reads it any more."""
        if self._gpm is not None and self.device.trouble is None:
            self._gpm.free()

    def states(self) -> Iterator[MetricState]:
        """The availability of every metric."""
        told = frozenset[str]().union(*(table.told() for table in self.device.tables))
        probes = tuple((strand.name, probe) for strand in self.strands for probe in strand.probes())
        return self.device.states(probes, told)

    def recent(self, metric: str, since: float, labels: Labels = ()) -> tuple[FloatArray, FloatArray]:
        """Times and raw values of the last two minutes, (time,) each; empty when it was not told."""
        for table in self.device.tables:
            at, values = table.recent(metric, since, labels)
            if len(at):
                return at, values
        return at, values

    def _speak(self, now: float) -> None:
        if now >= self._blank_at or self._blank_at > now + self.periods.interval_s:
            self._blank_at = now + self.periods.interval_s
            self.emit(self._table.blank(now, {"gpu_up": 0.0}))

    def _lanes(self) -> tuple[Lane, ...]:
        periods, lanes = self.periods, [Lane("gauge", self.periods.interval_s, gauges.calls)]
        if periods.buffer_s:
            drains = Drains(self.device, self._keep)
            lane = Lane("buffer", min(periods.buffer_s, periods.interval_s), drains.calls, rank=1, stamped=True)
            drains.stamp = lane.stamp
            lanes.append(lane)
        if periods.gpm_s:
            period_s = max(0.2, min(periods.gpm_s, periods.interval_s))
            lanes.append(
                Lane("gpm", period_s, self._gpm_calls(period_s), rank=2, history=period_s < periods.interval_s)
            )
        recorder = fast.Recorder(self.device, self._keep)
        until = float("inf") if periods.fast else float("-inf")
        self._fast = Lane(
            "fast",
            periods.fast_s,
            lambda nvml, device: fast.calls(nvml, device, recorder, busy=not periods.buffer_s),
            rank=3,
            stamped=True,
            until=until,
        )
        return (*lanes, self._fast)

    def _gpm_calls(self, period_s: float) -> Calls:
        def calls(nvml: object, device: Device) -> tuple[Call, ...]:
            # A library that was started anew has forgotten the samples of before.
            if self._gpm is not None and self._gpm.started == device.started:
                self._gpm.free()
            self._gpm = Gpm(nvml, device, period_s, device.started)
            return (self._gpm.call(),)

        return calls

    def _keep(self, metric: str, labels: Labels = ()) -> History | None:
        return self._table.keep_history(metric, labels)

    def _tell(self, strand: Strand, now: float) -> None:
        self._relabel(strand, now)
        tell_board(strand, now, self.strands)

    def _relabel(self, strand: Strand, _now: float) -> None:
        strand.table.relabel(self.labels_now())

    def labels_now(self) -> Labels:
        """Of each of its series; the index may change when it is found again."""
        info = self.device.info
        own = {"gpu": str(info.index), "gpu_model": info.name, "uuid": info.uuid}
        return tuple(sorted({**own, **dict(self.labels)}.items()))
