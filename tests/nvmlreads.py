"""Calls of the lanes made by hand on the stand-in, as a GPU's thread makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from autoscaler.types import Labels
from collectors.nvml.call import Call, Sample
from tests.peers.nvml import Scenario

Told = dict[tuple[str, Labels], float]


@contextmanager
def asked(fleet: Scenario, gpu: int = 0, without: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """The bindings over the stand-in and the handle of one GPU."""
    with fleet, fleet.loaded(without) as nvml:
        nvml.nvmlInit()
        yield nvml, nvml.nvmlDeviceGetHandleByIndex(gpu)


def read(nvml: Any, handle: Any, calls: Iterable[Call]) -> tuple[Told, dict[str, int]]:
    """What the calls told, and of each metric that was refused the code; with the older form where a call has one."""
    told: Told = {}
    refused: dict[str, int] = {}
    for call in calls:
        try:
            samples = _answer(nvml, handle, call)
        except nvml.NVMLError as error:
            refused |= dict.fromkeys(call.metrics, int(error.value))
            continue
        for sample in samples:
            assert (sample.metric, sample.labels) not in told, "a series is told once"
            assert list(sample.labels) == sorted(sample.labels)
            told[sample.metric, sample.labels] = sample.value
    return told, refused


def _answer(nvml: Any, handle: Any, call: Call) -> tuple[Sample, ...]:
    try:
        return tuple(call.read(nvml, handle))
    except nvml.NVMLError as error:
        if call.older is None or error.value not in (13, 25, 26):
            raise
        return tuple(call.older(nvml, handle))


def plain(told: Told) -> dict[str, float]:
    """The values without labels of their own."""
    return {metric: value for (metric, labels), value in told.items() if not labels}
