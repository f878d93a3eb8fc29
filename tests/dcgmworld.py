"""DCGM's host engine without DCGM: a stand-in of its bindings of ours, with a world of two GPUs.

The stand-in (tests/peers/dcgm_bindings) has the documented signatures: it shows that we ask as they demand and read
what is given, not how a real host engine behaves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from collectors.dcgm.engine import HostEngine
from collectors.dcgm.modules import load
from collectors.dcgm.reading import Reading

FOLDER = Path(__file__).parent / "peers" / "dcgm_bindings"
MODULES = ("dcgm_agent", "dcgm_structs", "dcgm_fields")
GPU, INSTANCE = 1, 4
T0 = 1_700_000_000


def gpu(uuid: str) -> SimpleNamespace:
    """Strings as bytes, as some versions of the bindings leave them."""
    return SimpleNamespace(
        uuid=uuid.encode(),
        deviceName=b"NVIDIA A100-SXM4-80GB",
        pciBusId=b"00000000:07:00.0",
        driverVersion="580.105.08",
        serial="<<<NULL>>>",
        vbios="92.00",
    )


@contextmanager
def bindings() -> Iterator[Any]:
    """The stand-in's functions."""
    for name in MODULES:
        sys.modules.pop(name, None)
    found = load(str(FOLDER)).agent
    found.WORLD.gpus = {0: gpu("GPU-a"), 1: gpu("GPU-b")}
    found.WORLD.offered = [(1, [1001, 1002, 1003, 1005])]
    try:
        yield found
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)


def put(
    agent: Any, identifier: int, value: float, at_s: float, number: int = 0, *, kind: int = GPU, status: int = 0
) -> None:
    letter = "d" if identifier in (155, 164) or 1001 <= identifier <= 1008 else "i"
    agent.WORLD.samples.append((kind, number, identifier, round((T0 + at_s) * 1e6), letter, status, value))


def engine(address: str = "node9:5555", callbacks: bool = False) -> HostEngine:
    return HostEngine(str(FOLDER), address, 1.0, 30.0, 0.5, "node9", callbacks)


@contextmanager
def opened(**settings: Any) -> Iterator[HostEngine]:
    """An engine that was reached, and is left at the end."""
    made = engine(**settings)
    made.open()
    try:
        yield made
    finally:
        made.close()


def told(readings: list[Reading], lane: str = "gauges") -> dict[tuple[str, str], float]:
    """Values of one lane by name and UUID, instance or health system."""
    found = {}
    for reading in readings:
        if reading.lane == lane:
            for one in reading.values:
                labels = dict(one.labels)
                whose = labels.get("health_watch") or labels.get("GPU_I_ID") or labels["UUID"]
                found[one.name.removeprefix("DCGM_FI_"), whose] = one.value
    return found


def read(source: HostEngine, at_s: float = 1.0) -> list[Reading]:
    return list(source.read(T0 + at_s))
