"""Records what a driver answers: `python -m tests.peers.nvml.record OUT.json` on a machine with a GPU.

Every call of the collector with its codes and times, every answer, each field with code, type and latency, how deep and
how dense the driver's sample buffers are, from which distance on GPM compares two samples, and which events there are.
UUIDs and serial numbers are not kept. What differs from the stand-in becomes a fixture: put the file into
tests/data/nvml, and replay.py makes a fleet of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

from autoscaler.clock import SystemClock, monotonic
from tests.peers.nvml.questions import FIELD_IDS, GPM_APART_MS, GPM_NUMBERS, QUESTIONS, SAMPLE_KINDS

FORMAT = 1
TIMES = 5
"""How often a call is timed; the median is kept."""
COLLECT_S = 3.0
Recording = dict[str, Any]


def record(nvml: Any, collect_s: float = COLLECT_S) -> Recording:
    """Everything, through initialised bindings."""
    count = nvml.nvmlDeviceGetCount()
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    return {
        "format": FORMAT,
        "driver_version": nvml.nvmlSystemGetDriverVersion(),
        "nvml_version": nvml.nvmlSystemGetNVMLVersion(),
        "cuda_version": nvml.nvmlSystemGetCudaDriverVersion(),
        "gpus": [_gpu(nvml, handle) for handle in handles],
        "topology": _pairs(nvml, handles, nvml.nvmlDeviceGetTopologyCommonAncestor),
        "p2p": _pairs(nvml, handles, lambda one, other: nvml.nvmlDeviceGetP2PStatus(one, other, 0)),
        "events": _events(nvml, handles),
        "calls": _collected(nvml, collect_s),
    }


def _gpu(nvml: Any, handle: Any) -> Recording:
    return {
        "answers": {question.name: _timed(nvml, partial(question.ask, nvml, handle)) for question in QUESTIONS},
        "fields": [_field(nvml, handle, number, scope) for number, scope in FIELD_IDS],
        "samples": {str(kind): _samples(nvml, handle, kind) for kind in SAMPLE_KINDS},
        "gpm": _gpm(nvml, handle),
        "links": _links(nvml, handle),
    }


def _timed(nvml: Any, ask: Callable[[], Any]) -> Recording:
    """Code, value and median microseconds of a call. The bindings raise a success without entries, as code 0."""
    took, code, value = [], 0, None
    for _ in range(TIMES):
        began = monotonic()
        try:
            code, value = 0, ask()
        except nvml.NVMLError as error:
            code, value = int(error.value), None
        took.append(monotonic() - began)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return {"code": code, "value": value, "us": round(statistics.median(took) * 1e6, 1)}


def _field(nvml: Any, handle: Any, number: int, scope: int) -> Recording:
    told: Recording = {"id": number, "scope": scope}
    try:
        found = nvml.nvmlDeviceGetFieldValues(handle, [(number, scope)])[0]
    except nvml.NVMLError as error:
        return {**told, "call_code": int(error.value)}
    bits = int.from_bytes(bytes(found.value), "little")
    return {
        **told,
        "code": int(found.nvmlReturn),
        "type": int(found.valueType),
        "bits": bits if found.nvmlReturn == 0 else 0,
        "latency_us": int(found.latencyUsec),
        "age_s": round(SystemClock().now() - found.timestamp / 1e6, 1) if found.timestamp else None,
    }


def _samples(nvml: Any, handle: Any, kind: int) -> Recording:
    try:
        value_type, samples = nvml.nvmlDeviceGetSamples(handle, kind, 0)
    except nvml.NVMLError as error:
        return {"code": int(error.value)}
    at = sorted(sample.timeStamp for sample in samples if sample.timeStamp)
    apart = [after - before for before, after in pairwise(at)]
    return {
        "code": 0,
        "type": int(value_type),
        "depth": len(at),
        "period_us": round(statistics.median(apart)) if apart else 0,
        "longest_gap_us": max(apart, default=0),
        "age_s": round(SystemClock().now() - at[-1] / 1e6, 2) if at else None,
    }


def _gpm(nvml: Any, handle: Any) -> Recording:
    try:
        supported = bool(nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice)
    except nvml.NVMLError as error:
        return {"supported": False, "code": int(error.value)}
    if not supported:
        return {"supported": False, "code": 0}
    codes = {str(apart): _compared(nvml, handle, apart / 1000)[0] for apart in GPM_APART_MS}
    _, metrics = _compared(nvml, handle, 0.25)
    return {"supported": True, "codes_by_ms": codes, "metrics": metrics}


def _compared(nvml: Any, handle: Any, apart_s: float) -> tuple[int, dict[str, Recording]]:
    """Code of the comparison of two samples so far apart, and each metric with a code of its own."""
    first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    try:
        nvml.nvmlGpmSampleGet(handle, first)
        Event().wait(apart_s)
        nvml.nvmlGpmSampleGet(handle, second)
        query = nvml.c_nvmlGpmMetricsGet_t()
        query.version, query.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, len(GPM_NUMBERS)
        query.sample1, query.sample2 = first, second
        for place, number in enumerate(GPM_NUMBERS):
            query.metrics[place].metricId = number
        nvml.nvmlGpmMetricsGet(query)
        told = {
            str(number): {"code": int(query.metrics[place].nvmlReturn), "value": query.metrics[place].value}
            for place, number in enumerate(GPM_NUMBERS)
        }
    except nvml.NVMLError as error:
        return int(error.value), {}
    else:
        return 0, told
    finally:
        nvml.nvmlGpmSampleFree(first)
        nvml.nvmlGpmSampleFree(second)


def _links(nvml: Any, handle: Any) -> list[Recording]:
    found = []
    for number in range(18):
        state = _timed(nvml, partial(nvml.nvmlDeviceGetNvLinkState, handle, number))
        remote = _timed(nvml, partial(nvml.nvmlDeviceGetNvLinkRemoteDeviceType, handle, number))
        found.append({"code": state["code"], "active": state["value"], "remote_type": remote["value"]})
    return found


def _pairs(nvml: Any, handles: list[Any], ask: Callable[[Any, Any], int]) -> list[list[int]]:
    """The answer about each two GPUs; -code where it is refused."""

    def one(first: Any, second: Any) -> int:
        try:
            return int(ask(first, second))
        except nvml.NVMLError as error:
            return -int(error.value)

    return [[0 if first is second else one(first, second) for second in handles] for first in handles]


def _events(nvml: Any, handles: list[Any]) -> Recording:
    """What a wait for events answers when nothing happens, and how long it takes."""
    try:
        waited = nvml.nvmlEventSetCreate()
    except nvml.NVMLError as error:
        return {"code": int(error.value)}
    try:
        for handle in handles:
            kinds = nvml.nvmlDeviceGetSupportedEventTypes(handle)
            nvml.nvmlDeviceRegisterEvents(handle, kinds & 0xC00A, waited)
        began = monotonic()
        nvml.nvmlEventSetWait_v2(waited, 200)
    except nvml.NVMLError as error:
        return {"code": int(error.value), "waited_ms": round((monotonic() - began) * 1000)}
    else:
        return {"code": 0}
    finally:
        nvml.nvmlEventSetFree(waited)


@contextmanager
def overheard(nvml: Any) -> Iterator[dict[str, list[tuple[int, float]]]]:
    """(code, seconds) of every call into the library, by C function, whoever makes it through the bindings."""
    heard: dict[str, list[tuple[int, float]]] = {}
    original = nvml._nvmlGetFunctionPointer

    def pointer(name: str) -> Any:
        function = original(name)

        def call(*arguments: Any) -> Any:
            began = monotonic()
            code = function(*arguments)
            heard.setdefault(name, []).append((int(code) if isinstance(code, int) else 0, monotonic() - began))
            return code

        return call

    nvml._nvmlGetFunctionPointer = pointer
    try:
        yield heard
    finally:
        nvml._nvmlGetFunctionPointer = original


def _collected(nvml: Any, seconds: float) -> Recording:
    """What the collector's own calls came to while it ran with every lane."""
    from collectors.nvml import Nvml

    with overheard(nvml) as heard:
        running = Nvml(SystemClock(), fast=True, slow_s=1.0, kernel_log=False)
        running.start()
        Event().wait(seconds)
        running.stop()
    return {
        name: {
            "codes": {str(code): count for code, count in sorted(Counter(code for code, _ in calls).items())},
            "median_us": round(statistics.median(took for _, took in calls) * 1e6, 1),
            "most_us": round(max(took for _, took in calls) * 1e6, 1),
        }
        for name, calls in sorted(heard.items())
    }


def main() -> None:
    """Record the driver that the bindings find."""
    import pynvml

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("out", type=Path, help="JSON file to write")
    arguments.add_argument("--seconds", type=float, default=COLLECT_S, help="how long the collector runs")
    given = arguments.parse_args()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise SystemExit(f"no driver answers on this machine: {error}; run it on one with a GPU") from None
    told = record(pynvml, given.seconds)
    given.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"{given.out}: {len(told['gpus'])} GPU(s), {len(told['calls'])} functions")


if __name__ == "__main__":
    main()
