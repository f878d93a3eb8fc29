"""The fast lane: what changes within 100 ms and the driver does not keep, looked at every 50 to 100 ms in bursts.

Its samples go into the raw history only; what a batch says once a second comes from the gauge lane. The driver renews
some values only each sixth of a second to a second (nvml.h): a value that is still the same is no new sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from autoscaler.types import Labels
from collectors.nvml.call import Call, Sample
from collectors.nvml.counters import Counter
from collectors.nvml.device import Device
from collectors.nvml.fields import ALL_LINKS, Field, Fields, Told
from collectors.nvml.gauges import reasons
from collectors.nvml.history import History
from collectors.nvml.links import NVLINK_MOST, PCIE_MOST

REPEAT_S = 1.0
"""A value that stays is noted again after so long, so that a flat line is no gap."""
INSTANT = "gpu_power_instant_watts"
FIELDS = (
    Field(186, INSTANT, 1e-3),
    Field(138, "gpu_nvlink_tx_bytes_per_second", 1024.0, ALL_LINKS),
    Field(139, "gpu_nvlink_rx_bytes_per_second", 1024.0, ALL_LINKS),
    Field(197, "gpu_pcie_tx_bytes_per_second"),
    Field(198, "gpu_pcie_rx_bytes_per_second"),
)
"""186 is a value in milliwatts; the others are counters (KiB and bytes) whose rise is what counts."""

Keep = Callable[[str, Labels], History | None]


@dataclass(eq=False)
class Recorder:
    """Writes samples into the histories of one GPU. repeats: values that were no news."""

    device: Device
    keep: Keep
    repeats: int = 0
    _last: dict[Hashable, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)

    def news(self, what: Hashable, value: float) -> bool:
        """Whether a value is more than a repeat of the last one."""
        now = self.device.now()
        at, last = self._last.get(what, (-math.inf, math.nan))
        if value == last and at <= now < at + REPEAT_S:
            self.repeats += 1
            return False
        self._last[what] = now, value
        return True

    def note(self, metric: str, value: float, labels: Labels = ()) -> None:
        """Keep a sample unless it only repeats the last one."""
        if math.isfinite(value) and self.news((metric, labels), value):
            history = self.keep(metric, labels)
            if history is not None:
                history.append(self.device.now(), value)


def calls(nvml: Any, device: Device, recorder: Recorder, *, busy: bool) -> tuple[Call, ...]:
    """The calls of the fast lane. busy: also poll what the driver's buffers would tell better, for lack of them.

    A field that this GPU does not have is left out; that it has none is for the gauge lane to say.
    """
    fields = Fields(nvml, FIELDS, lambda metric, code: None)
    counters = {
        one.metric: Counter(NVLINK_MOST / 1024 if one.scope == ALL_LINKS else PCIE_MOST)
        for one in FIELDS
        if one.metric != INSTANT
    }

    def value(one: Field, told: Told) -> float:
        counter = counters.get(one.metric)
        now = told.value if counter is None else counter.step(told.raw, told.at or device.now(), told.bits).per_second
        return now * one.factor

    def read(_nvml: Any, handle: Any) -> tuple[Sample, ...]:
        for one, told in fields.read(handle):
            recorder.note(one.metric, value(one, told))
        return ()

    def clocks(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        bits = int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
        if recorder.news("clocks", bits):
            for sample in reasons(bits):
                recorder.note(sample.metric, sample.value, sample.labels)
        return ()

    def utilization(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        rates = nvml.nvmlDeviceGetUtilizationRates(handle)
        recorder.note("gpu_busy_ratio", rates.gpu / 100)
        recorder.note("gpu_memory_copy_ratio", rates.memory / 100)
        return ()

    always = (
        Call("nvmlDeviceGetFieldValues", (), read),
        Call("nvmlDeviceGetCurrentClocksEventReasons", (), clocks),
    )
    return (*always, Call("nvmlDeviceGetUtilizationRates", (), utilization)) if busy else always
