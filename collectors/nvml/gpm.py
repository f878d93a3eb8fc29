"""GPM, the driver's own profiling on Hopper and later: SM, tensor and memory activity between two samples.

One sample is kept and swapped with the next. They must be more than 100 ms apart (nvml.h), and not so far that the
mean says nothing about now: after two intervals a new start is made. Each metric carries a code of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoscaler.types import Labels
from collectors.nvml import codes
from collectors.nvml.call import Call, Sample
from collectors.nvml.device import Device
from collectors.nvml.identity import ARCHITECTURES, HOPPER

METRIC = np.dtype([("id", "<u4"), ("code", "<i4"), ("value", "<f8"), ("names", "V24")])
"""nvmlGpmMetric_t of nvml.h; `names` are three pointers."""
LEAST_S = 0.1
"""Two samples must be further apart than this (nvml.h)."""
MIB = 1024.0 * 1024.0
METRICS: dict[int, tuple[str, float]] = {
    1: ("gpu_gr_active_ratio", 0.01),
    2: ("gpu_sm_active_ratio", 0.01),
    3: ("gpu_sm_occupancy_ratio", 0.01),
    5: ("gpu_tensor_active_ratio", 0.01),
    10: ("gpu_dram_active_ratio", 0.01),
    11: ("gpu_fp64_active_ratio", 0.01),
    12: ("gpu_fp32_active_ratio", 0.01),
    13: ("gpu_fp16_active_ratio", 0.01),
    20: ("gpu_pcie_tx_bytes_per_second", MIB),
    21: ("gpu_pcie_rx_bytes_per_second", MIB),
    60: ("gpu_nvlink_rx_bytes_per_second", MIB),
    61: ("gpu_nvlink_tx_bytes_per_second", MIB),
}
"""NVML_GPM_METRIC_* of nvml.h: percent, and MiB per second."""
BOARD_ONLY = (20, 21, 60, 61)
"""Links belong to the board; of an instance they are not asked."""
TRAFFIC = "gpu_nvlink_bytes_per_second"
FUNCTION = "nvmlGpmMetricsGet"


def reason(device: Device) -> str:
    """Why a GPU has no GPM, in words."""
    info = device.info
    architecture = ARCHITECTURES.get(info.architecture)
    if architecture is not None and info.architecture < HOPPER:
        return f"{info.model} is {architecture}: GPM needs Hopper or later; DCGM can tell it"
    return f"the driver gives no GPM for this {info.model}; DCGM may"


@dataclass(eq=False)
class Pair:
    """The two samples of one GPU or instance. at: when the kept one was taken."""

    nvml: Any
    kept: Any
    spare: Any
    at: float = -math.inf

    def free(self) -> None:
        """Give both back to the driver."""
        for sample in (self.kept, self.spare):
            try:
                self.nvml.nvmlGpmSampleFree(sample)
            except self.nvml.NVMLError:
                continue


@dataclass(eq=False)
class Gpm:
    """The GPM of one GPU. interval_s: how often it is read. started: of the library, see Device."""

    nvml: Any
    device: Device
    interval_s: float
    started: int = 0
    _supported: bool | None = field(default=None, init=False)
    _pairs: dict[tuple[int | None, object], Pair] = field(default_factory=dict, init=False, repr=False)
    _query: tuple[Any, Any] | None = field(default=None, init=False, repr=False)
    _skip: set[int] = field(default_factory=set, init=False, repr=False)

    def call(self) -> Call:
        """The call of the GPM lane."""
        metrics = tuple(dict.fromkeys(metric for metric, _ in METRICS.values()))
        return Call(FUNCTION, metrics, self._read)

    def free(self) -> None:
        """Give every sample back to the driver."""
        for pair in self._pairs.values():
            pair.free()
        self._pairs.clear()

    def _read(self, nvml: Any, handle: Any) -> list[Sample]:
        if self._supported is None:
            self._supported = self._supports(nvml, handle)
        if not self._supported:
            self._refuse_all(codes.NOT_SUPPORTED)
            raise nvml.NVMLError(codes.NOT_SUPPORTED)
        try:
            return list(self._targets(nvml, handle))
        except nvml.NVMLError as error:
            if codes.meaning(int(error.value)).remedy in ("unsupported", "older"):
                self._refuse_all(codes.NOT_SUPPORTED)
            raise

    def _supports(self, nvml: Any, handle: Any) -> bool:
        try:
            return bool(nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice)
        except nvml.NVMLError as error:
            if codes.meaning(int(error.value)).remedy not in ("unsupported", "older"):
                raise
            return False

    def _refuse_all(self, code: int) -> None:
        for metric in dict.fromkeys(metric for metric, _ in METRICS.values()):
            self.device.refuse(metric, code, reason(self.device))

    def _targets(self, nvml: Any, handle: Any) -> Iterator[Sample]:
        layout = self.device.mig.layout
        wanted: dict[tuple[int | None, object], Labels] = {(None, None): ()}
        if layout.enabled:
            # An instance that was made anew is unequal to the old one of the same number: its samples start anew.
            wanted = {(instance.gi_id, instance): instance.labels for instance in layout.instances}
        for gone in self._pairs.keys() - wanted.keys():
            self._pairs.pop(gone).free()
        for (gi_id, instance), labels in wanted.items():
            try:
                yield from self._target(nvml, handle, gi_id, instance, labels)
            except nvml.NVMLError as error:
                if gi_id is None or codes.meaning(int(error.value)).remedy != "handle":
                    raise
                # Made anew under the same number, or gone, since the layout was looked at: not the board's fault.
                self.device.errors[FUNCTION, str(error.value)] += 1
                self._pairs.pop((gi_id, instance)).free()
                yield from (Sample(METRICS[number][0], math.nan, labels) for number in self._asked(labels))

    def _target(self, nvml: Any, handle: Any, gi_id: int | None, which: object, labels: Labels) -> Iterator[Sample]:
        pair = self._pairs.get((gi_id, which))
        if pair is None:
            pair = Pair(nvml, nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc())
            self._pairs[gi_id, which] = pair
        elapsed_s = self.device.now() - pair.at
        if 0 <= elapsed_s <= LEAST_S:
            return
        if gi_id is None:
            nvml.nvmlGpmSampleGet(handle, pair.spare)
        else:
            nvml.nvmlGpmMigSampleGet(handle, gi_id, pair.spare)
        before, pair.kept, pair.spare = pair.kept, pair.spare, pair.kept
        pair.at = self.device.now()
        if 0 < elapsed_s <= 2 * max(self.interval_s, LEAST_S):
            yield from self._metrics(nvml, before, pair.kept, labels)
        else:
            yield from (Sample(METRICS[number][0], math.nan, labels) for number in self._asked(labels))

    def _prepared(self, nvml: Any) -> tuple[Any, Any]:
        """The structure of the query, made once, and its metrics as an array: a field at a time would cost more."""
        if self._query is None:
            query = nvml.c_nvmlGpmMetricsGet_t()
            query.version = nvml.NVML_GPM_METRICS_GET_VERSION
            offset = type(query).metrics.offset
            self._query = query, np.frombuffer(query, METRIC, len(METRICS), offset)
        return self._query

    def _asked(self, labels: Labels) -> list[int]:
        return [n for n in METRICS if n not in self._skip and not (labels and n in BOARD_ONLY)]

    def _metrics(self, nvml: Any, before: Any, after: Any, labels: Labels) -> list[Sample]:
        asked = self._asked(labels)
        query, view = self._prepared(nvml)
        query.numMetrics, query.sample1, query.sample2 = len(asked), before, after
        view["id"][: len(asked)] = asked
        nvml.nvmlGpmMetricsGet(query)
        told: list[Sample] = []
        failed = 0
        for number, (_, code, value) in zip(asked, view[["id", "code", "value"]][: len(asked)].tolist(), strict=True):
            metric, factor = METRICS[number]
            if code == 0 and math.isfinite(value):
                told.append(Sample(metric, value * factor, labels))
            elif codes.meaning(code).remedy in ("unsupported", "older", "handle", "no_permission"):
                self._skip.add(number)
                self.device.refuse(metric, codes.NO_PERMISSION if code == codes.NO_PERMISSION else codes.NOT_SUPPORTED)
            else:
                failed = code or failed
        if failed and not told:
            raise nvml.NVMLError(failed)
        return told + _both_ways(told, labels)


def _both_ways(told: list[Sample], labels: Labels) -> list[Sample]:
    ways = [sample.value for sample in told if sample.metric.startswith("gpu_nvlink_")]
    return [Sample(TRAFFIC, math.fsum(ways), labels)] if len(ways) == 2 else []
