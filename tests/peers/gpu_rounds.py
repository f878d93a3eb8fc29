"""Reads GPUs round by round from whatever library the loader finds, and prints what each round gave as JSON.

usage: python -m tests.peers.gpu_rounds '[[[NOW, SCENARIO], ...], ...]', where NVML_STUB names the scenario's file and
each inner list is read by a collector of its own. The argument `thread` instead runs the collector's own thread until
it gave two batches a GPU.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from autoscaler.clock import SimClock, SystemClock, monotonic
from autoscaler.types import Batch
from collectors.gpus import Gpus
from tests.peers.pages import until

LABELS = (("pool", "chat"),)


def told(gpus: Gpus, batches: tuple[Batch, ...]) -> dict[str, Any]:
    status = gpus.status()
    return {
        "state": status.state,
        "detail": status.detail,
        "gpus": {
            batch.source: {
                key.metric: value if math.isfinite(value) else None
                for key, value in zip(batch.keys, batch.values.tolist(), strict=True)
            }
            for batch in batches
        },
        "labels": sorted({str(dict(key.labels)) for batch in batches for key in batch.keys}),
        "keys": [id(batch.keys) for batch in batches],
        "metrics": {f"{m.uuid} {m.metric}": [m.availability, m.detail] for m in status.metrics},
        "described": [[info.uuid, info.name, info.memory_bytes] for info in gpus.describe()],
    }


def rounds(steps: list[tuple[float, str]]) -> list[dict[str, Any]]:
    gpus = Gpus(SimClock(), LABELS)
    results = []
    for now, scenario in steps:
        Path(os.environ["NVML_STUB"]).write_text(scenario)
        results.append(told(gpus, gpus.read(now)))
    return results


def thread() -> dict[str, Any]:
    Path(os.environ["NVML_STUB"]).write_text("")
    gpus = Gpus(SystemClock(), LABELS, interval_s=0.02)
    gpus.start()
    described = len(gpus.describe())
    batches: list[Batch] = []

    def enough() -> bool:
        batches.extend(gpus.collect(0.0))
        return len(batches) >= 2 * described

    until(enough, "batches")
    began = monotonic()
    gpus.stop()
    return {"described": described, "batches": len(batches), "stopped_in_s": monotonic() - began}


if __name__ == "__main__":
    print(json.dumps(thread() if sys.argv[1] == "thread" else [rounds(steps) for steps in json.loads(sys.argv[1])]))
