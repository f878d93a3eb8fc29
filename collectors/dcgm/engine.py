"""DCGM's host engine as a source, through its own bindings: watched in the engine, drained by us."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoscaler.types import Labels
from collectors.dcgm.entities import Entity, entities
from collectors.dcgm.faultwatch import FaultWatch
from collectors.dcgm.lanes import AVERAGED, GAUGES, PROFILING, REASONS, SLOW
from collectors.dcgm.modules import Modules, load
from collectors.dcgm.reading import METRICS, NAMES, Reading, Value
from collectors.dcgm.source import UnreachableError
from collectors.dcgm.watch import Drained, Watch, refusal
from collectors.nvml.device import MetricState

EMBEDDED = "embedded"
GAUGED, PROFILED, SLOWLY = "gauges", "profiling", "slow"
CONNECT_MS = 3000
PAUSED_AFTER = 3
"""Rounds in which every profiling field of a GPU is blank while others are not: somebody paused the profiling."""
RETRY_S = 60.0
BY_TURNS = "these GPUs measure groups of profiling fields by turns: each value stands for a part of the time"
"""True of Ampere and older; groups of one major number share the counters."""
PAUSED = "DCGM's profiling is paused: by dcgmi profile --pause, by a profiler such as Nsight, or after a fault"


@dataclass
class HostEngine:
    """Connects to `address` (host:port, or a path of a socket), or runs an engine in this process ("embedded").

    sample_s: how often the engine reads, at most once in 0.1 s; what it read in one interval is averaged or the last
    of it taken (see AVERAGED). slow_s: the interval of what changes rarely. callbacks: see FaultWatch.
    """

    folder: str
    address: str
    interval_s: float
    slow_s: float
    sample_s: float
    host: str = ""
    callbacks: bool = False
    name: str = "DCGM's host engine"
    waits: bool = False
    note: str = ""
    _dcgm: Modules | None = field(default=None, init=False)
    _handle: Any = field(default=None, init=False)
    _group: Any = field(default=None, init=False)
    _entities: dict[Entity, Labels] = field(default_factory=dict, init=False)
    _watches: list[Watch] = field(default_factory=list, init=False)
    _faults: FaultWatch | None = field(default=None, init=False)
    _refused: dict[int, MetricState] = field(default_factory=dict, init=False)
    _blank_rounds: int = field(default=0, init=False)
    _slow_at: float = field(default=-math.inf, init=False)
    _profiling_at: float = field(default=-math.inf, init=False)

    def open(self) -> None:
        """Connect, find the GPUs, and have the engine watch them."""
        dcgm = self._dcgm = load(self.folder)
        self._slow_at = self._profiling_at = -math.inf
        self._refused, self._blank_rounds, self.note = {}, 0, ""
        try:
            self._handle = self._connect(dcgm)
            self._entities = entities(dcgm, self._handle, self.host)
            if not self._entities:
                raise UnreachableError("the host engine has no GPU that DCGM supports")
            agent = dcgm.agent
            self._group = agent.dcgmGroupCreate(
                self._handle, dcgm.structs.DCGM_GROUP_EMPTY, f"sigmascale-{os.getpid()}"
            )
            for kind, number in self._entities:
                agent.dcgmGroupAddEntity(self._handle, self._group, kind, number)
            self._watch(GAUGED, (*GAUGES, *REASONS), self.sample_s)
            self._watch(SLOWLY, SLOW, self.slow_s)
            agent.dcgmUpdateAllFields(self._handle, 1)
            self._faults = FaultWatch(dcgm, self._handle, self._group, self.callbacks)
            self._faults.begin()
        except dcgm.structs.DCGMError as error:
            raise UnreachableError(f"{self.address}: {error} (DCGM error {dcgm.code(error)})") from None

    def read(self, now: float) -> Iterable[Reading]:
        """What the engine read since the last call."""
        dcgm = self._dcgm
        assert dcgm is not None
        try:
            slow = not self._slow_at <= now < self._slow_at + self.slow_s
            if slow and entities(dcgm, self._handle, self.host) != self._entities:
                # A GPU was lost or is back, or one was cut anew.
                self.close()
                self.open()
            self._try_profiling(now)
            readings = [self._fast(now)]
            if slow:
                self._slow_at = now
                readings.append(self._slow(now))
        except dcgm.structs.DCGMError as error:
            raise UnreachableError(f"{self.address}: {error} (DCGM error {dcgm.code(error)})") from None
        return [reading for reading in readings if reading is not None]

    def states(self) -> tuple[MetricState, ...]:
        """Profiling metrics that are refused or paused."""
        if self._blank_rounds < PAUSED_AFTER:
            return tuple(self._refused.values())
        paused = (MetricState("", METRICS[n], "paused", PAUSED) for n in PROFILING if n not in self._refused)
        return (*self._refused.values(), *paused)

    def close(self) -> None:
        """Take back what the engine was asked for, and leave it. Each step is tried, whatever became of the others."""
        dcgm, handle, self._handle = self._dcgm, self._handle, None
        if dcgm is None or handle is None:
            return
        steps = [] if self._faults is None else [self._faults.end]
        steps += [watch.end for watch in self._watches]
        if self._group is not None:
            group = self._group
            steps.append(lambda: dcgm.agent.dcgmGroupDestroy(handle, group))
        leave = dcgm.agent.dcgmStopEmbedded if self.address == EMBEDDED else dcgm.agent.dcgmDisconnect
        steps.append(lambda: leave(handle))
        self._watches, self._group, self._faults = [], None, None
        for step in steps:
            try:
                step()
            except dcgm.structs.DCGMError:
                continue  # the engine is gone, and with it what it was asked for

    def _connect(self, dcgm: Modules) -> Any:
        if self.address == EMBEDDED:
            return dcgm.agent.dcgmStartEmbedded(dcgm.structs.DCGM_OPERATION_MODE_AUTO)
        socket = self.address.startswith("/")
        if hasattr(dcgm.agent, "dcgmConnect_v3"):
            asked = dcgm.structs.c_dcgmConnectV3Params_v1()
            asked.timeoutMs = CONNECT_MS
            asked.persistAfterDisconnect = 0
            return dcgm.agent.dcgmConnect_v3(("unix://" if socket else "tcp://") + self.address, asked)
        older = dcgm.structs.c_dcgmConnectV2Params_v2()
        older.timeoutMs = CONNECT_MS
        older.persistAfterDisconnect = 0
        older.addressIsUnixSocket = int(socket)
        return dcgm.agent.dcgmConnect_v2(self.address, older)

    def _watch(self, lane: str, numbers: Sequence[int], period_s: float) -> Watch | None:
        dcgm = self._dcgm
        assert dcgm is not None
        known = [number for number in numbers if dcgm.fields.DcgmFieldGetById(number) is not None]
        if not known:
            return None
        watch = Watch(dcgm, self._handle, self._group, lane, known)
        watch.begin(period_s, max(60.0, 10.0 * self.interval_s))
        self._watches.append(watch)
        return watch

    def _try_profiling(self, now: float) -> None:
        """Watch the profiling fields that the GPUs have; where that is refused, ask again once a minute."""
        dcgm = self._dcgm
        assert dcgm is not None
        watched = any(watch.lane == PROFILED for watch in self._watches)
        if watched or self._profiling_at <= now < self._profiling_at + RETRY_S:
            return
        self._profiling_at = now
        try:
            offered = self._offered()
            self._watch(PROFILED, [number for number in PROFILING if number in offered], self.sample_s)
            wanting, why = [n for n in PROFILING if n not in offered], "DCGM does not offer this field on these GPUs"
            self._refused = {n: MetricState("", METRICS[n], "unsupported", why) for n in wanting}
        except dcgm.structs.DCGMError as error:
            availability, detail = refusal(dcgm, error)
            self._refused = {n: MetricState("", METRICS[n], availability, detail) for n in PROFILING}

    def _offered(self) -> set[int]:
        """Profiling fields that some GPU has. Raises DCGMError where none has any."""
        dcgm = self._dcgm
        assert dcgm is not None
        offered: set[int] = set()
        refused: Exception | None = None
        for kind, number in self._entities:
            if kind != dcgm.fields.DCGM_FE_GPU:
                continue
            try:
                answer = dcgm.agent.dcgmProfGetSupportedMetricGroups(self._handle, number)
            except dcgm.structs.DCGMError as error:
                refused = error
                continue
            groups = [answer.metricGroups[place] for place in range(int(answer.numMetricGroups))]
            fields = [{int(group.fieldIds[n]) for n in range(int(group.numFieldIds))} for group in groups]
            offered.update(*fields)
            majors = Counter(
                int(group.majorId) for group, own in zip(groups, fields, strict=True) if own & {*PROFILING}
            )
            if any(count > 1 for count in majors.values()):
                self.note = BY_TURNS
        if refused is not None and not offered:
            raise refused
        return offered

    def _fast(self, now: float) -> Reading | None:
        values: list[Value] = []
        newest, complete = -math.inf, True
        for watch in self._watches:
            if watch.lane != SLOWLY:
                drained = watch.drain()
                complete = complete and bool(drained.samples)
                told = self._values(drained)
                if watch.lane == PROFILED and told:
                    blank = all(math.isnan(one.value) for one in told)
                    self._blank_rounds = min(self._blank_rounds + 1, PAUSED_AFTER) if blank else 0
                values += told
                newest = max(newest, drained.newest_at)
        if not values:
            return None
        assert self._faults is not None
        values += self._faults.counted(self._entities)
        return Reading(GAUGED, self.interval_s, min(newest, now), tuple(values), complete)

    def _slow(self, now: float) -> Reading | None:
        values = [one for watch in self._watches if watch.lane == SLOWLY for one in self._values(watch.drain())]
        assert self._faults is not None
        values += self._faults.health(self._entities)
        return Reading(SLOWLY, self.slow_s, now, tuple(values)) if values else None

    def _values(self, drained: Drained) -> list[Value]:
        found = []
        for (kind, number, identifier), samples in drained.samples.items():
            labels = self._entities.get((kind, number))
            if labels is not None and identifier in NAMES:
                found.append(Value(NAMES[identifier], labels, _one(identifier, samples)))
        return found


def _one(identifier: int, samples: Sequence[float]) -> float:
    """The value of one interval; blanks among its samples say nothing."""
    told = [sample for sample in samples if not math.isnan(sample)]
    if not told:
        return math.nan
    return sum(told) / len(told) if identifier in AVERAGED else told[-1]
