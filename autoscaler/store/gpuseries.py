"""Which series of a source tell of GPUs, and of trouble with them: read once for each layout of the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autoscaler.store.source import Indices
from autoscaler.types import SeriesKey

MAPPED = (
    "gpu_saturation_ratio",
    "gpu_busy_ratio",
    "gpu_sm_active_ratio",
    "gpu_memory_used_ratio",
    "gpu_memory_used_bytes",
    "gpu_memory_total_bytes",
    "gpu_power_watts",
    "gpu_power_limit_watts",
    "gpu_temperature_celsius",
    "gpu_up",
    "gpu_lost",
)
"""What is kept at hand of each GPU."""

QUIET: Mapping[str, float] = {
    "gpu_up": 1.0,
    "gpu_lost": 0.0,
    "gpu_last_xid": 0.0,
    "gpu_last_xid_timestamp_seconds": 0.0,
    "gpu_xid_events_total": 0.0,
    "gpu_ecc_uncorrected_total": 0.0,
    "gpu_row_remap_pending": 0.0,
    "gpu_row_remap_failed": 0.0,
    "gpu_rows_remapped_total": 0.0,
    "gpu_recovery_action": 0.0,
    "gpu_health": 0.0,
    "gpu_clock_event_active": 0.0,
    "gpu_throttle_thermal_seconds_total": 0.0,
}
"""Metrics that tell of trouble, and what they say while there is none."""

HELD_DOWN = ("hardware_slowdown", "thermal_software", "thermal_hardware", "power_brake")
"""Reasons for low clocks that are trouble; a power limit that is reached is how a busy GPU works."""

NAMING = (
    "pool",
    "instance",
    "instance_id",
    "host",
    "gpu",
    "gpu_model",
    "mig_profile",
    "zone",
    "region",
    "offer",
    "provider",
)
"""Labels that say which GPU it is and where."""

_PARTS = frozenset(("kind", "nvlink", "nvswitch", "reason", "system", "xid", "pid", "cpu", "cpucore", "peer_gpu"))
"""Labels of series that tell of a part of a GPU, or of one of several things about it."""
_ROWS = {metric: row for row, metric in enumerate(MAPPED)}


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """What one layout of a source holds. grid: (len(MAPPED), gpus) positions, -1 = none. signs: positions."""

    columns: tuple[SeriesKey, ...]
    gpus: tuple[tuple[str, str], ...]
    labels: tuple[Mapping[str, str], ...]
    grid: Indices
    signs: Indices


def parse(columns: tuple[SeriesKey, ...]) -> Parsed:
    """What these columns of a source hold."""
    gpus: dict[tuple[str, str], int] = {}
    labels: list[Mapping[str, str]] = []
    places: list[list[int]] = []
    signs = []
    for position, key in enumerate(columns):
        row, sign = _ROWS.get(key.metric), key.metric in QUIET
        if row is None and not sign:
            continue
        own = dict(key.labels)
        uuid = own.get("uuid")
        if not uuid:
            continue
        if sign and own.get("reason", HELD_DOWN[0]) in HELD_DOWN:
            signs.append(position)
        if row is None or not _PARTS.isdisjoint(own):
            continue
        name = uuid, own.get("gi_id", "")
        if name not in gpus:
            gpus[name] = len(gpus)
            labels.append({n: own[n] for n in NAMING if n in own})
            places.append([-1] * len(MAPPED))
        # What is given now stands before what was given once.
        if places[gpus[name]][row] < 0:
            places[gpus[name]][row] = position
    grid = np.array(places, np.intp).reshape(-1, len(MAPPED)).T
    return Parsed(columns, tuple(gpus), tuple(labels), grid, np.array(signs, np.intp))
