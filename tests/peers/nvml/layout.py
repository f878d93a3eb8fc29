"""The scenario's file, as `source/scenario.h` lays it out: plain words, and what they mean is said there."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_double, c_int32, c_int64, c_uint32, c_uint64

MAGIC = 0x4C4D564E
GPUS, MIG_SLOTS, LINKS, PROCESSES = 16, 8, 18, 32
SAMPLE_TYPES, SAMPLE_RING, GPM_METRICS, FIELDS = 10, 128, 256, 48
FAULTS, EVENTS, ACTS, CALLS, THROTTLES = 64, 256, 256, 160, 11
ANY = -1


def _fields(kind: type, names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class CounterData(ctypes.Structure):
    _fields_ = (("base", c_uint64), ("per_second", c_double), ("since_us", c_int64), ("wraps_at", c_uint64))


class SampleData(ctypes.Structure):
    _fields_ = (("at_us", c_int64), ("value", c_uint64))


class SamplesData(ctypes.Structure):
    _fields_ = (
        ("period_us", c_int64),
        ("depth", c_uint32),
        ("swing", c_uint32),
        ("pushed", c_uint64),
        ("ring", SampleData * SAMPLE_RING),
    )


class LinkData(ctypes.Structure):
    _fields_ = (
        ("errors", c_uint64 * 5),
        ("tx_kib", CounterData),
        ("rx_kib", CounterData),
        ("active", c_uint32),
        ("remote_type", c_uint32),
        ("remote_gpu", c_int32),
        *_fields(c_uint32, "version speed_mbps reserved"),
    )


class ProcessData(ctypes.Structure):
    _fields_ = (
        ("memory_bytes", c_uint64),
        ("used_at_us", c_int64),
        *_fields(c_uint32, "present pid kinds gi ci"),
        *_fields(c_uint32, "sm_percent memory_percent encoder_percent decoder_percent reserved"),
        ("name", c_char * 64),
    )


class MigData(ctypes.Structure):
    _fields_ = (
        *_fields(c_uint64, "memory_total memory_reserved memory_used"),
        *_fields(c_uint32, "present serial gi ci"),
        *_fields(c_uint32, "multiprocessors gpu_slices compute_slices copy_engines decoders encoders jpegs ofas"),
        ("uuid", c_char * 96),
        ("profile", c_char * 32),
        ("gpm", c_double * GPM_METRICS),
    )


class FieldData(ctypes.Structure):
    _fields_ = (
        *_fields(c_uint32, "present id scope type"),
        ("code", c_int32),
        ("latency_us", c_uint32),
        ("bits", c_uint64),
    )


class GpuData(ctypes.Structure):
    _fields_ = (
        *_fields(c_uint64, "memory_total memory_reserved memory_used bar1_total bar1_used"),
        *_fields(c_uint64, "clock_reasons event_types"),
        ("cpu_affinity", c_uint64 * 4),
        ("memory_affinity", c_uint64 * 4),
        ("ecc", c_uint64 * 8 * 2 * 2),
        *_fields(CounterData, "energy_mj pcie_tx_bytes pcie_rx_bytes pcie_replays"),
        ("throttle_ns", CounterData * THROTTLES),
        *_fields(c_uint32, "present state generation has architecture minor_number brand"),
        *_fields(c_uint32, "compute_major compute_minor cores pci_device_id pci_subsystem_id"),
        *_fields(c_uint32, "busy_percent memory_percent encoder_percent decoder_percent jpeg_percent ofa_percent"),
        *_fields(c_uint32, "power_mw power_instant_mw power_limit_mw power_limit_min_mw power_limit_max_mw"),
        *_fields(c_uint32, "power_limit_default_mw enforced_limit_mw"),
        *_fields(c_int32, "temperature_c memory_temperature_c margin_c slowdown_c shutdown_c"),
        ("clocks_mhz", c_uint32 * 4),
        ("clocks_max_mhz", c_uint32 * 4),
        *_fields(c_uint32, "locked_min_mhz locked_max_mhz performance_state compute_mode persistence_mode"),
        *_fields(c_uint32, "pcie_generation pcie_width pcie_generation_max pcie_width_max pcie_tx_kbps pcie_rx_kbps"),
        *_fields(c_uint32, "rows_corrected rows_uncorrected rows_pending rows_failed recovery_action"),
        ("numa_node", c_int32),
        *_fields(c_uint32, "mig_mode mig_pending mig_max mig_needs_reset links_count"),
        ("no_samples_code", c_int32),
        ("no_utilization_code", c_int32),
        ("field_latency_us", c_uint32),
        ("uuid", c_char * 96),
        ("name", c_char * 96),
        ("serial", c_char * 32),
        ("bus_id", c_char * 32),
        ("vbios", c_char * 32),
        ("samples", SamplesData * SAMPLE_TYPES),
        ("links", LinkData * LINKS),
        ("processes", ProcessData * PROCESSES),
        ("mig", MigData * MIG_SLOTS),
        ("fields", FieldData * FIELDS),
        ("gpm", c_double * GPM_METRICS),
    )


class FaultData(ctypes.Structure):
    _fields_ = (
        ("seen", c_uint64),
        ("block_us", c_int64),
        ("active", c_uint32),
        *_fields(c_int32, "call gpu code"),
        *_fields(c_uint32, "from_call until_call metric reserved"),
    )


class EventData(ctypes.Structure):
    _fields_ = (("type", c_uint64), ("data", c_uint64), ("gpu", c_int32), *_fields(c_uint32, "gi ci reserved"))


class ActData(ctypes.Structure):
    _fields_ = (("call", c_int32), ("gpu", c_int32), *_fields(c_int64, "pid first second"))


class ScenarioData(ctypes.Structure):
    _fields_ = (
        ("magic", c_uint32),
        ("size", c_uint32),
        ("time_us", c_int64),
        *_fields(c_uint32, "count generation root"),
        ("order", c_int32 * GPUS),
        *_fields(c_int32, "stale_code gpm_refusal_code"),
        *_fields(c_uint32, "cuda_version reserved"),
        ("gpm_least_us", c_int64),
        ("driver_version", c_char * 80),
        ("nvml_version", c_char * 80),
        ("calls", c_uint64 * (GPUS + 1) * CALLS),
        ("events_posted", c_uint64),
        ("acts_done", c_uint64),
        ("events", EventData * EVENTS),
        ("acts", ActData * ACTS),
        ("faults", FaultData * FAULTS),
        ("topology", c_int32 * GPUS * GPUS),
        ("p2p", c_int32 * GPUS * GPUS),
        ("gpus", GpuData * GPUS),
    )
