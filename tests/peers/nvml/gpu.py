"""One GPU of a scenario: its gauges, counters, buffers, processes, MIG devices and faults."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tests.peers.nvml import layout
from tests.peers.nvml.counter import Counter
from tests.peers.nvml.faults import EVERY, Fault
from tests.peers.nvml.mig import Migs
from tests.peers.nvml.processes import Processes
from tests.peers.nvml.words import Text, Word, Words

if TYPE_CHECKING:
    from tests.peers.nvml.scenario import Scenario

GPM, ECC, REMAP, MIG, ENERGY, POWER_FIELDS, PCIE_BYTES, MARGIN, NUMA, RETIRED, RECOVERY = (
    1 << bit for bit in range(11)
)
"""Bits of `has`: what the board can do at all. What it lacks is answered with 3 (not supported)."""
OK, LOST, RESET_REQUIRED = range(3)
XID_EVENT, DOUBLE_BIT_EVENT, UNAVAILABLE_EVENT, RECOVERY_EVENT = 0x8, 0x2, 0x4000, 0x8000
THROTTLES = (74, 75, 76, 77, 78, 79, 80, 81, 269, 270, 271)
"""Fields of throttling times in nanoseconds, in the order of `throttle_ns`."""
DOUBLE, UNSIGNED, UNSIGNED_LONG_LONG, SIGNED_LONG_LONG, SIGNED = 0, 1, 3, 4, 5
"""NVML_VALUE_TYPE_* of `field`."""


class Link:
    """One NVLink."""

    active, remote_type, remote_gpu, version, speed_mbps = Word(), Word(), Word(), Word(), Word()
    errors = Words()

    def __init__(self, data: layout.LinkData, scenario: Scenario) -> None:
        self.data = data
        self.tx_kib = Counter(data.tx_kib, scenario.now_us)
        self.rx_kib = Counter(data.rx_kib, scenario.now_us)


class Gpu:
    """One GPU. Numbers and texts are those that the driver gives, in its units; see source/scenario.h."""

    memory_total, memory_reserved, memory_used, bar1_total, bar1_used = Word(), Word(), Word(), Word(), Word()
    clock_reasons, event_types, cpu_affinity, memory_affinity, ecc = Word(), Word(), Words(), Words(), Words()
    state, generation, has, architecture, minor_number, brand = Word(), Word(), Word(), Word(), Word(), Word()
    compute_major, compute_minor, cores, pci_device_id, pci_subsystem_id = Word(), Word(), Word(), Word(), Word()
    busy_percent, memory_percent, encoder_percent, decoder_percent = Word(), Word(), Word(), Word()
    jpeg_percent, ofa_percent = Word(), Word()
    power_mw, power_instant_mw, power_limit_mw, enforced_limit_mw = Word(), Word(), Word(), Word()
    power_limit_min_mw, power_limit_max_mw, power_limit_default_mw = Word(), Word(), Word()
    temperature_c, memory_temperature_c, margin_c, slowdown_c, shutdown_c = Word(), Word(), Word(), Word(), Word()
    clocks_mhz, clocks_max_mhz, locked_min_mhz, locked_max_mhz = Words(), Words(), Word(), Word()
    performance_state, compute_mode, persistence_mode = Word(), Word(), Word()
    pcie_generation, pcie_width, pcie_generation_max, pcie_width_max = Word(), Word(), Word(), Word()
    pcie_tx_kbps, pcie_rx_kbps = Word(), Word()
    rows_corrected, rows_uncorrected, rows_pending, rows_failed = Word(), Word(), Word(), Word()
    recovery_action, numa_node, links_count = Word(), Word(), Word()
    mig_mode, mig_pending, mig_max, mig_needs_reset = Word(), Word(), Word(), Word()
    no_samples_code, no_utilization_code, field_latency_us = Word(), Word(), Word()
    uuid, name, serial, bus_id, vbios = Text(), Text(), Text(), Text(), Text()

    def __init__(self, scenario: Scenario, number: int) -> None:
        self.scenario, self.number = scenario, number
        self.data: layout.GpuData = scenario.data.gpus[number]
        now_us = scenario.now_us
        self.energy_mj = Counter(self.data.energy_mj, now_us)
        self.pcie_tx_bytes = Counter(self.data.pcie_tx_bytes, now_us)
        self.pcie_rx_bytes = Counter(self.data.pcie_rx_bytes, now_us)
        self.pcie_replays = Counter(self.data.pcie_replays, now_us)
        self.throttle_ns = {
            field: Counter(data, now_us) for field, data in zip(THROTTLES, self.data.throttle_ns, strict=True)
        }
        self.links = tuple(Link(data, scenario) for data in self.data.links)
        self.processes = Processes(self.data, now_us)
        self.mig = Migs(self)

    # -- faults ---------------------------------------------------------------------------------------------------

    def fail(
        self, call: str, code: int, *, from_call: int = 1, until_call: int | None = None, metric: int = 0
    ) -> Fault:
        """See Scenario.fail; only for calls about this GPU."""
        return self.scenario.fail(
            call, code, gpu=self.number, from_call=from_call, until_call=until_call, metric=metric
        )

    def block(self, call: str = EVERY, *, seconds: float, from_call: int = 1, until_call: int | None = None) -> Fault:
        """See Scenario.block; only for calls about this GPU."""
        return self.scenario.block(call, seconds=seconds, gpu=self.number, from_call=from_call, until_call=until_call)

    def lose(self, *, from_call: int | None = None) -> None:
        """The GPU falls off the bus: every call about it answers 15, while the driver goes on listing it.

        from_call: only from the n-th call about it on, counted from now.
        """
        if from_call is None:
            self.state = LOST
        else:
            self.fail(EVERY, 15, from_call=from_call)

    def unlist(self) -> None:
        """The driver lists it no more: one GPU less, those behind it move up. Its old handles answer 15."""
        self.state = LOST
        self.scenario.list_gpus([gpu for gpu in self.scenario.listed() if gpu is not self])

    def come_back(self, *, index: int | None = None) -> None:
        """Work again, without its faults, at this index of the list. Handles from before keep answering 15."""
        self.scenario.clear_faults(self)
        self.generation += 1
        self.state = OK
        others = [gpu for gpu in self.scenario.listed() if gpu is not self]
        place = len(others) if index is None else index
        self.scenario.list_gpus([*others[:place], self, *others[place:]])

    # -- readings -------------------------------------------------------------------------------------------------

    def draw(self, watts: float) -> None:
        """Power, both kinds, and energy growing at this rate."""
        self.power_mw = self.power_instant_mw = round(watts * 1000)
        self.energy_mj.grow(watts * 1000)

    def push_samples(self, kind: int, samples: Iterable[tuple[int, int]]) -> None:
        """Append (time in us, value) to a driver buffer (NVML_*_SAMPLES); it then invents none by itself.

        The buffer keeps its newest `depth` samples: push more than that and the older ones are overrun.
        """
        data = self.data.samples[kind]
        data.period_us = 0
        for at_us, value in samples:
            slot = data.ring[data.pushed % layout.SAMPLE_RING]
            slot.at_us, slot.value = at_us, value
            data.pushed += 1

    def invent_samples(self, kind: int, *, period_us: int, depth: int = 120, swing: int = 0) -> None:
        """Let the library invent one sample each `period_us`, at most `swing` away from the gauge."""
        data = self.data.samples[kind]
        data.depth, data.swing, data.period_us = depth, swing, period_us

    def gpm(self, values: Mapping[int, float]) -> None:
        """Set GPM metrics by number: percent 0-100 or MiB/s."""
        for metric, value in values.items():
            self.data.gpm[metric] = value

    def field(
        self,
        number: int,
        value: float = 0,
        *,
        scope: int | None = None,
        kind: int = UNSIGNED_LONG_LONG,
        code: int = 0,
        latency_us: int = 40,
    ) -> None:
        """Answer a field of FieldValues with this value, code and latency instead of what the GPU would say."""
        wanted = 0xFFFFFFFF if scope is None else scope
        same = [f for f in self.data.fields if f.present and f.id == number and f.scope == wanted]
        slot = next(iter([*same, *(f for f in self.data.fields if not f.present)]), None)
        if slot is None:
            raise ValueError(f"there are {layout.FIELDS} such fields already")
        slot.id, slot.scope, slot.type = number, wanted, kind
        slot.code, slot.latency_us = code, latency_us
        bits = struct.pack("<d", value) if kind == DOUBLE else (int(value) % 2**64).to_bytes(8, "little")
        slot.bits = int.from_bytes(bits, "little")
        slot.present = 1

    def count_ecc(self, *, corrected: int = 0, uncorrected: int = 0, location: int = 2) -> None:
        """Count memory errors, both volatile and aggregate. location: NVML_MEMORY_LOCATION_*, 2 = DRAM."""
        for lifetime in self.data.ecc:
            lifetime[0][location] += corrected
            lifetime[1][location] += uncorrected

    # -- events ---------------------------------------------------------------------------------------------------

    def xid(self, code: int, *, gi: int = 0xFFFFFFFF, ci: int = 0xFFFFFFFF) -> None:
        """A fault code arrives as an event at everyone who registered for it before."""
        self.event(XID_EVENT, code, gi=gi, ci=ci)

    def event(self, kind: int, data: int = 0, *, gi: int = 0xFFFFFFFF, ci: int = 0xFFFFFFFF) -> None:
        """Any event: nvmlEventType* and its data."""
        shared = self.scenario.data
        slot = shared.events[shared.events_posted % layout.EVENTS]
        slot.type, slot.data, slot.gpu, slot.gi, slot.ci = kind, data, self.number, gi, ci
        shared.events_posted += 1

    def reset_counters(self) -> None:
        """What a reset of the GPU or a driver reload does: energy, throttling, traffic, replays and volatile errors."""
        counters = (
            self.energy_mj,
            self.pcie_tx_bytes,
            self.pcie_rx_bytes,
            self.pcie_replays,
            *self.throttle_ns.values(),
        )
        for counter in (*counters, *(c for link in self.links for c in (link.tx_kib, link.rx_kib))):
            counter.reset()
        for errors in (*self.data.ecc[0], *(link.errors for link in self.links)):
            errors[:] = [0] * len(errors)
