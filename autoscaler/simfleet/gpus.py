"""The GPUs of one simulated machine: what NVML would tell of them while it serves so much.

Power follows the work, heat follows power with the inertia of a heat sink, clocks follow both; counters are integrals.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.simfleet.boards import Hardware
from autoscaler.simfleet.script import XIDS
from autoscaler.simfleet.series import Series
from autoscaler.types import Labels

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

AMBIENT_CELSIUS = 28.0
RISE_CELSIUS = 46.0
"""Above the air of the room at the power limit: boards of data centres run at 70 to 75 degrees then."""
SLOWDOWN_CELSIUS = 87.0
HOT_CELSIUS = 95.0
"""Where a GPU ends whose fan or air does not."""
HEAT_S = 12.0
"""Time constant of the heat sink."""
REASONS = ("idle", "power_cap", "thermal_software", "thermal_hardware")
_BRIEF = frozenset(
    {
        "gpu_up", "gpu_busy_ratio", "gpu_sm_active_ratio", "gpu_dram_active_ratio", "gpu_memory_used_bytes",
        "gpu_memory_total_bytes", "gpu_memory_used_ratio", "gpu_power_watts", "gpu_power_limit_watts",
        "gpu_temperature_celsius", "gpu_sm_clock_hertz", "gpu_ecc_uncorrected_total", "gpu_recovery_action",
        "gpu_last_xid",
    }
)  # fmt: skip
"""What a heat map and alerts need: all that is told where GPUs are counted in thousands."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a machine's GPUs do. share: of what its replicas can serve. kv: of the KV cache. gpus: how many have a model
    loaded, 0 while none is."""

    share: float
    kv: float
    gpus: int


@dataclass(slots=True)
class Gpus:
    """All GPUs of one machine, row by row of `SERIES`. `speed`: how much faster than real time heat moves."""

    name: str
    hardware: Hardware
    seed: int
    joined: bool
    speed: float = 1.0
    brief: bool = False
    at: float = math.nan
    hot_until: Floats = field(init=False)
    ill_until: Floats = field(init=False)
    remap_until: Floats = field(init=False)
    _rng: np.random.Generator = field(init=False)
    _skill: Floats = field(init=False)
    _state: dict[str, Floats] = field(init=False)
    _told_rows: tuple[_Row, ...] = field(init=False)

    def __post_init__(self) -> None:
        count = self.hardware.gpus
        self._rng = np.random.default_rng([self.seed, zlib.crc32(self.name.encode())])
        self._skill = 1.0 + 0.025 * self._rng.standard_normal(count)
        self.hot_until, self.ill_until, self.remap_until = (np.full(count, -math.inf) for _ in range(3))
        self._state = {name: np.zeros(count) for name in _COUNTED}
        self._told_rows = tuple(
            row
            for row in ROWS
            if (not self.brief or row.metric in _BRIEF) and (self.joined or not row.metric.startswith("gpu_nvlink"))
        )
        self._state["heat"] = AMBIENT_CELSIUS + 4.0 + self._rng.random(count)

    @property
    def series(self) -> tuple[Series, ...]:
        """The lines of a page about these GPUs, in the order of `look`."""
        boards = [self._labels(gpu) for gpu in range(self.hardware.gpus)]
        return tuple(
            Series(row.metric, tuple(sorted((*board, *row.more(self, gpu)))))
            for row in self._told_rows
            for gpu, board in enumerate(boards)
        )

    def look(self, now: float, work: Work) -> list[float]:
        """The value of every series now, after the machine has done `work` since the last look."""
        told = self._move(now, work)
        values: list[float] = np.concatenate([told[row.key] for row in self._told_rows]).tolist()
        return values

    def overheat(self, gpu: int, until: float) -> None:
        """The fan of one GPU stands still until then."""
        self.hot_until[gpu] = until

    def fault(self, gpu: int, xid: int, at: float, until: float) -> None:
        """A driver fault on one GPU at a time, for which the driver asks for a reset until then."""
        self.ill_until[gpu] = until
        self._state[f"xid {xid}"][gpu] += 1
        self._state["last xid"][gpu] = xid
        self._state["last xid at"][gpu] = at
        if xid in (48, 63, 94):
            self._state["ecc uncorrected"][gpu] += 1
            self._state["remapped"][gpu] += 1

    def decay(self, gpu: int, until: float) -> None:
        """Memory errors on one GPU that are corrected; a row waits to be replaced until then."""
        self.remap_until[gpu] = until
        self._state["ecc corrected"][gpu] += int(self._rng.integers(40, 400))

    def _labels(self, gpu: int) -> Labels:
        digits = f"{zlib.crc32(f'{self.seed}/{self.name}/{gpu}'.encode()):08x}"
        uuid = f"GPU-{digits}-{digits[:4]}-4{digits[1:4]}-8{digits[4:7]}-{digits}{gpu:04x}"
        return (("gpu", str(gpu)), ("gpu_model", self.hardware.board.model), ("host", self.name), ("uuid", uuid))

    def _move(self, now: float, work: Work) -> dict[str, Floats]:
        """Everything that the rows tell, by their keys."""
        board, state, count = self.hardware.board, self._state, self.hardware.gpus
        passed = 0.0 if math.isnan(self.at) else max(0.0, now - self.at)
        self.at = now
        loaded = (np.arange(count) < work.gpus).astype(float)
        noise = 0.012 * self._rng.standard_normal((3, count))
        load = np.clip(work.share * self._skill + noise[0] * (work.share > 0), 0.0, 1.0) * loaded
        hot = self.hot_until > now
        slowed = state["heat"] >= SLOWDOWN_CELSIUS
        busy = 1.0 - (1.0 - load) ** 4
        active = np.where(slowed, np.minimum(1.0, 1.12 * load), 0.93 * load)
        wish = board.idle_watts + (board.limit_watts - board.idle_watts) * (0.12 * busy + 0.97 * active**0.9)
        capped = wish > board.limit_watts
        watts = np.where(slowed, 0.78, 1.0) * np.minimum(wish, board.limit_watts) * (1.0 + 0.6 * noise[1])
        watts = np.clip(watts, 0.8 * board.idle_watts, board.limit_watts)
        aim = AMBIENT_CELSIUS + 4.0 + RISE_CELSIUS * watts / board.limit_watts
        aim = np.where(hot, np.maximum(aim + 20.0, HOT_CELSIUS), aim)
        state["heat"] += (aim - state["heat"]) * (1.0 - math.exp(-passed * self.speed / HEAT_S))
        rates = {
            "pcie tx": 3e6 + 0.22e9 * load,
            "pcie rx": 5e6 + 0.41e9 * load,
            "nvlink": 0.34 * board.nvlink_bytes_per_second * load,
        }
        state["joules"] += watts * passed
        state["capped s"] += capped * passed
        state["slowed s"] += slowed * passed
        state["pcie tx total"] += np.floor(rates["pcie tx"] * passed)
        state["pcie rx total"] += np.floor(rates["pcie rx"] * passed)
        state["ecc corrected"] += self._rng.poisson(2e-4 * passed, count)
        used = loaded * (0.56 + 0.33 * work.kv + 0.002 * noise[2]) + (1.0 - loaded) * 0.006
        return self._told(now, work, load, busy, active, watts, capped, slowed, used) | rates

    def _told(
        self, now: float, work: Work, load: Floats, busy: Floats, active: Floats, watts: Floats, capped: Flags,
        slowed: Flags, used: Floats,
    ) -> dict[str, Floats]:  # fmt: skip
        board, state, count = self.hardware.board, self._state, self.hardware.gpus
        total, reserved = float(board.memory_bytes), math.floor(0.012 * board.memory_bytes)
        taken = np.floor(used * (total - reserved))
        ones, idle = np.ones(count), (load <= 0.0).astype(float)
        clock = board.sm_hertz * np.where(slowed, 0.62, np.where(capped, 0.9, np.where(load > 0, 1.0, 0.25)))
        dram = np.clip(0.05 * (load > 0) + 0.72 * load, 0.0, 1.0)
        remap = (self.remap_until > now).astype(float)
        return state | {
            "one": ones,
            "nothing": np.zeros(count),
            "busy": busy,
            "active": active,
            "occupancy": 0.44 * active,
            "tensor": 0.61 * active,
            "dram": dram,
            "fp16": 0.38 * active,
            "copy": 0.8 * dram,
            "saturation": np.maximum.reduce([active, dram, watts / board.limit_watts]),
            "used": taken,
            "free": total - reserved - taken,
            "total": total * ones,
            "reserved": reserved * ones,
            "used share": taken / (total - reserved),
            "watts": watts,
            "watts now": watts * (1.0 + 0.02 * self._rng.standard_normal(count)),
            "limit": board.limit_watts * ones,
            "heat": np.round(state["heat"]),
            "memory heat": np.round(state["heat"] + 6.0 + 4.0 * dram),
            "margin": np.round(SLOWDOWN_CELSIUS - state["heat"]),
            "clock": np.round(clock / 15e6) * 15e6,
            "clock max": board.sm_hertz * ones,
            "memory clock": board.memory_hertz * ones,
            "reason idle": idle,
            "reason power_cap": capped.astype(float),
            "reason thermal_software": slowed.astype(float),
            "reason thermal_hardware": (state["heat"] >= HOT_CELSIUS + 2.0).astype(float),
            "pstate": 8.0 * idle,
            "generation": board.pcie_generation * ones,
            "lanes": 16.0 * ones,
            "links": board.nvlinks * ones,
            "nvlink both": 0.68 * board.nvlink_bytes_per_second * load,
            "remap": remap,
            "recovery": (self.ill_until > now).astype(float),
            "processes": (np.arange(count) < work.gpus).astype(float),
            "numa": (np.arange(count) >= max(1, count // 2)).astype(float),
        }


@dataclass(frozen=True, slots=True)
class _Row:
    """One metric of each GPU, and the key of its values."""

    metric: str
    key: str
    more: Callable[[Gpus, int], Labels] = lambda _gpus, _gpu: ()


def _with(name: str, value: str) -> Callable[[Gpus, int], Labels]:
    return lambda _gpus, _gpu: ((name, value),)


def _about(gpus: Gpus, gpu: int) -> Labels:
    return (("driver_version", "580.95.05"), ("pci_bus_id", f"00000000:{0x10 + gpu:02X}:00.0"))


_COUNTED = (
    "joules", "capped s", "slowed s", "pcie tx total", "pcie rx total", "ecc corrected", "ecc uncorrected", "remapped",
    "last xid", "last xid at", *(f"xid {xid}" for xid in XIDS),
)  # fmt: skip

ROWS: tuple[_Row, ...] = (
    _Row("gpu_busy_ratio", "busy"),
    _Row("gpu_sm_active_ratio", "active"),
    _Row("gpu_sm_occupancy_ratio", "occupancy"),
    _Row("gpu_gr_active_ratio", "busy"),
    _Row("gpu_tensor_active_ratio", "tensor"),
    _Row("gpu_dram_active_ratio", "dram"),
    _Row("gpu_fp16_active_ratio", "fp16"),
    _Row("gpu_memory_copy_ratio", "copy"),
    _Row("gpu_saturation_ratio", "saturation", _with("source", "dram_active+power+sm_active")),
    _Row("gpu_memory_used_bytes", "used"),
    _Row("gpu_memory_free_bytes", "free"),
    _Row("gpu_memory_total_bytes", "total"),
    _Row("gpu_memory_reserved_bytes", "reserved"),
    _Row("gpu_memory_used_ratio", "used share"),
    _Row("gpu_power_watts", "watts"),
    _Row("gpu_power_instant_watts", "watts now"),
    _Row("gpu_power_limit_watts", "limit"),
    _Row("gpu_energy_joules_total", "joules"),
    _Row("gpu_temperature_celsius", "heat"),
    _Row("gpu_memory_temperature_celsius", "memory heat"),
    _Row("gpu_temperature_margin_celsius", "margin"),
    _Row("gpu_sm_clock_hertz", "clock"),
    _Row("gpu_sm_clock_max_hertz", "clock max"),
    _Row("gpu_memory_clock_hertz", "memory clock"),
    *(_Row("gpu_clock_event_active", f"reason {reason}", _with("reason", reason)) for reason in REASONS),
    _Row("gpu_throttle_power_seconds_total", "capped s"),
    _Row("gpu_throttle_thermal_seconds_total", "slowed s"),
    _Row("gpu_performance_state", "pstate"),
    _Row("gpu_pcie_tx_bytes_per_second", "pcie tx"),
    _Row("gpu_pcie_rx_bytes_per_second", "pcie rx"),
    _Row("gpu_pcie_tx_bytes_total", "pcie tx total"),
    _Row("gpu_pcie_rx_bytes_total", "pcie rx total"),
    _Row("gpu_pcie_replay_total", "nothing"),
    _Row("gpu_pcie_link_generation", "generation"),
    _Row("gpu_pcie_link_width", "lanes"),
    _Row("gpu_nvlink_tx_bytes_per_second", "nvlink"),
    _Row("gpu_nvlink_rx_bytes_per_second", "nvlink"),
    _Row("gpu_nvlink_bytes_per_second", "nvlink both"),
    _Row("gpu_nvlink_links_up", "links"),
    _Row("gpu_nvlink_errors_total", "nothing", _with("kind", "crc_flit")),
    _Row("gpu_ecc_corrected_total", "ecc corrected"),
    _Row("gpu_ecc_uncorrected_total", "ecc uncorrected"),
    _Row("gpu_rows_remapped_total", "nothing", _with("kind", "correctable")),
    _Row("gpu_rows_remapped_total", "remapped", _with("kind", "uncorrectable")),
    _Row("gpu_row_remap_pending", "remap"),
    _Row("gpu_row_remap_failed", "nothing"),
    *(_Row("gpu_xid_events_total", f"xid {xid}", _with("xid", str(xid))) for xid in XIDS),
    _Row("gpu_last_xid", "last xid"),
    _Row("gpu_last_xid_timestamp_seconds", "last xid at"),
    _Row("gpu_recovery_action", "recovery"),
    _Row("gpu_up", "one"),
    _Row("gpu_mig_mode", "nothing"),
    _Row("gpu_processes", "processes"),
    _Row("gpu_numa_node", "numa"),
    _Row("gpu_info", "one", _about),
)
