"""The canonical metrics: one name, one base unit, one meaning, whatever the source calls them.

Ratios are 0 to 1, sizes are bytes, times are seconds. A name ends in its unit, and in `_total` if it only rises. The
choice of GPU metrics follows what NVML and DCGM provide, that of engine metrics what vLLM, SGLang, Triton, TGI, NIM,
Dynamo and Ray Serve have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram", "event"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table.

    saturating: clips at a limit of the machine, so that at the limit it cannot say how much more is asked for and must
    not decide alone. scale_out_only: a low value proves nothing (engines allocate memory once and keep it), so it may
    only ask for more.
    """

    name: str
    unit: str
    kind: Kind
    help: str
    saturating: bool = False
    scale_out_only: bool = False

    @property
    def ratio(self) -> bool:
        """Whether the value is a share, 0 to 1."""
        return self.unit == "ratio"


def _gauge(name: str, unit: str, text: str, *, saturating: bool = False, scale_out_only: bool = False) -> Metric:
    return Metric(name, unit, "gauge", text, saturating, scale_out_only)


def _share(name: str, text: str) -> Metric:
    """A ratio that cannot pass 1 however great the demand."""
    return Metric(name, "ratio", "gauge", text, saturating=True)


def _counter(name: str, unit: str, text: str) -> Metric:
    return Metric(name, unit, "counter", text)


def _event(name: str, text: str) -> Metric:
    return Metric(name, "seconds", "event", text)


def _histogram(name: str, unit: str, text: str) -> Metric:
    return Metric(name, unit, "histogram", text)


_GPU_LOAD = (
    _share("gpu_busy_ratio", "Share of time in which some kernel ran; tells idle from busy, not busy from full"),
    _share("gpu_sm_active_ratio", "Share of time in which streaming multiprocessors had work; the compute saturation"),
    _share("gpu_sm_occupancy_ratio", "Resident warps as a share of what fits on the multiprocessors"),
    _share("gpu_gr_active_ratio", "Share of time in which the graphics or compute engine was active, also under MIG"),
    _share("gpu_tensor_active_ratio", "Share of cycles in which the tensor cores worked; high in prefill"),
    _share("gpu_dram_active_ratio", "Share of cycles in which device memory moved data; the decode saturation"),
    _share("gpu_fp16_active_ratio", "Share of cycles in which the FP16 pipe worked"),
    _share("gpu_fp32_active_ratio", "Share of cycles in which the FP32 pipe worked"),
    _share("gpu_fp64_active_ratio", "Share of cycles in which the FP64 pipe worked; not inference"),
    _share("gpu_memory_copy_ratio", "Share of time in which device memory was read or written"),
    _share("gpu_encoder_ratio", "Use of the video encoder"),
    _share("gpu_decoder_ratio", "Use of the video decoder"),
    _share(
        "gpu_saturation_ratio", "The highest of SM activity, memory activity and power over its limit, with its source"
    ),
    _share("gpu_process_sm_ratio", "Multiprocessor use of one process"),
)

_GPU_MEMORY = (
    _gauge("gpu_memory_used_bytes", "bytes", "Device memory in use, the reserved part left out", scale_out_only=True),
    _gauge("gpu_memory_free_bytes", "bytes", "Device memory that is free", scale_out_only=True),
    _gauge("gpu_memory_total_bytes", "bytes", "Device memory of the board or instance"),
    _gauge("gpu_memory_reserved_bytes", "bytes", "Device memory that the driver keeps for itself"),
    Metric(
        "gpu_memory_used_ratio",
        "ratio",
        "gauge",
        "Device memory in use as a share of what is not reserved",
        saturating=True,
        scale_out_only=True,
    ),
    _gauge("gpu_bar1_used_bytes", "bytes", "BAR1 aperture in use"),
    _gauge("gpu_process_memory_bytes", "bytes", "Device memory of one process", scale_out_only=True),
)

_GPU_BOARD = (
    _gauge("gpu_power_watts", "watts", "Power draw, as the driver averages it", saturating=True),
    _gauge("gpu_power_instant_watts", "watts", "Power draw at this moment", saturating=True),
    _gauge("gpu_power_limit_watts", "watts", "Power limit in force"),
    _counter("gpu_energy_joules_total", "joules", "Energy since the driver was loaded"),
    _gauge("gpu_temperature_celsius", "celsius", "Temperature of the GPU"),
    _gauge("gpu_memory_temperature_celsius", "celsius", "Temperature of the memory; 0 means no sensor"),
    _gauge("gpu_temperature_margin_celsius", "celsius", "Degrees left until the GPU slows down"),
    _gauge("gpu_sm_clock_hertz", "hertz", "Clock of the multiprocessors"),
    _gauge("gpu_sm_clock_max_hertz", "hertz", "Highest clock of the multiprocessors"),
    _gauge("gpu_memory_clock_hertz", "hertz", "Clock of the memory"),
    _gauge("gpu_clock_event_active", "boolean", "1 while the named reason holds the clocks down"),
    _counter("gpu_throttle_power_seconds_total", "seconds", "Time slowed down by the power limit"),
    _counter("gpu_throttle_thermal_seconds_total", "seconds", "Time slowed down by heat"),
    _gauge("gpu_performance_state", "state", "Performance state, 0 is the fastest"),
)

_GPU_LINKS = (
    _gauge("gpu_pcie_tx_bytes_per_second", "bytes/second", "PCIe traffic out of the GPU", saturating=True),
    _gauge("gpu_pcie_rx_bytes_per_second", "bytes/second", "PCIe traffic into the GPU", saturating=True),
    _counter("gpu_pcie_tx_bytes_total", "bytes", "Bytes sent over PCIe"),
    _counter("gpu_pcie_rx_bytes_total", "bytes", "Bytes received over PCIe"),
    _counter("gpu_pcie_replay_total", "replays", "PCIe packets that were sent again"),
    _gauge("gpu_pcie_link_generation", "generation", "PCIe generation that the link runs at"),
    _gauge("gpu_pcie_link_width", "lanes", "PCIe lanes that the link runs with"),
    _gauge("gpu_nvlink_tx_bytes_per_second", "bytes/second", "NVLink traffic out of the GPU", saturating=True),
    _gauge("gpu_nvlink_rx_bytes_per_second", "bytes/second", "NVLink traffic into the GPU", saturating=True),
    _gauge("gpu_nvlink_bytes_per_second", "bytes/second", "NVLink traffic both ways; a rate already", saturating=True),
    _gauge("gpu_nvlink_links_up", "links", "NVLinks that are up"),
    _counter("gpu_nvlink_errors_total", "errors", "NVLink errors of one kind"),
)

_GPU_HEALTH = (
    _counter("gpu_ecc_corrected_total", "errors", "Memory errors that were corrected"),
    _counter("gpu_ecc_uncorrected_total", "errors", "Memory errors that were not corrected"),
    _counter("gpu_rows_remapped_total", "rows", "Memory rows replaced by spare ones, by kind of error"),
    _gauge("gpu_row_remap_pending", "boolean", "1 while a row remap waits for a reset"),
    _gauge("gpu_row_remap_failed", "boolean", "1 after a row remap failed"),
    _counter("gpu_xid_events_total", "events", "Driver faults by code"),
    _gauge("gpu_last_xid", "code", "Code of the last driver fault; stays until the next one"),
    _event("gpu_last_xid_timestamp_seconds", "When the last driver fault happened"),
    _gauge("gpu_recovery_action", "action", "What the driver says must be done: 0 nothing, up to 7"),
    _gauge("gpu_health", "state", "Verdict on one system of the GPU, as DCGM counts: 0 well, 10 warning, 20 failed"),
    _gauge("gpu_up", "boolean", "1 while the GPU answers"),
    _gauge("gpu_lost", "boolean", "1 after a known GPU vanished"),
)

_GPU_LAYOUT = (
    _gauge("gpu_mig_mode", "boolean", "1 while the GPU is cut into MIG instances"),
    _gauge("gpu_mig_instances", "instances", "MIG instances of the GPU"),
    _gauge("gpu_processes", "processes", "Compute processes on the GPU"),
    _gauge("gpu_mps_clients", "processes", "MPS clients on the GPU"),
    _gauge("gpu_topology_score", "score", "How well a set of GPUs is connected, by its worst pair, 0 to 1"),
    _gauge("gpu_numa_node", "node", "NUMA node that the GPU hangs on"),
    _gauge("gpu_info", "boolean", "1, with driver, PCI address and serial number as labels"),
)

_COLLECTION = (
    _gauge("gpu_sample_age_seconds", "seconds", "Age of the newest sample of a source"),
    _gauge("gpu_collect_duration_seconds", "seconds", "How long one collection of a GPU took"),
    _gauge("gpu_collect_slowest_call_seconds", "seconds", "The call that took longest in the last minute, by name"),
    _counter("gpu_collect_errors_total", "errors", "Calls to a source that failed, by call and code"),
)

_ENGINE_STATE = (
    _gauge("requests_running", "requests", "Requests that are being served", saturating=True),
    _gauge("requests_waiting", "requests", "Requests that wait to be served"),
    _share("kv_cache_used_ratio", "Share of the KV cache that is in use"),
    _share("prefix_cache_hit_ratio", "Share of prompt tokens found in the prefix cache, where no counts are given"),
    _gauge(
        "generation_tokens_per_second", "tokens/second", "Rate of answers as the engine measures it", saturating=True
    ),
    _gauge("kv_cache_capacity_tokens", "tokens", "Tokens that fit into the KV cache"),
    _gauge("engine_asleep", "boolean", "1 while the engine sleeps and serves nothing"),
    _gauge("model_load_seconds", "seconds", "How long the model took to load"),
)

_ENGINE_TIMES = (
    _histogram("time_to_first_token_seconds", "seconds", "From arrival of a request to its first token"),
    _histogram("time_per_output_token_seconds", "seconds", "Between one token and the next"),
    _histogram("request_time_per_output_token_seconds", "seconds", "Mean time per token of each request"),
    _histogram("e2e_request_latency_seconds", "seconds", "From arrival of a request to its end"),
    _histogram("request_queue_time_seconds", "seconds", "Time that requests waited"),
    _histogram("request_prefill_time_seconds", "seconds", "Time that requests spent in prefill"),
    _histogram("request_decode_time_seconds", "seconds", "Time that requests spent in decode"),
    _histogram("request_inference_time_seconds", "seconds", "Time that requests spent being served"),
    _histogram("request_prompt_tokens", "tokens", "Length of prompts"),
    _histogram("request_generation_tokens", "tokens", "Length of answers"),
)

_ENGINE_WORK = (
    _counter("requests_arrived_total", "requests", "Requests that arrived: finished, running and waiting ones"),
    _counter("requests_rejected_total", "requests", "Requests that were turned away"),
    _counter("request_success_total", "requests", "Requests that ended well"),
    _counter("request_failure_total", "requests", "Requests that were aborted or failed"),
    _counter("prompt_tokens_total", "tokens", "Tokens of prompts"),
    _counter("generation_tokens_total", "tokens", "Tokens of answers"),
    _counter("preemptions_total", "requests", "Requests put back because the KV cache was full"),
    _counter("prefix_cache_queries_total", "tokens", "Tokens looked up in the prefix cache"),
    _counter("prefix_cache_hits_total", "tokens", "Tokens found in the prefix cache"),
)

_HOST_LOAD = (
    _share("host_cpu_ratio", "Share of the allowed processor time that is in use, waiting for disks not counted"),
    _share("host_numa_cpu_ratio", "Share of one NUMA node's processor time that is in use"),
    _gauge("host_cpus", "processors", "Processors that may be used; in a container what its quota allows"),
    _gauge("host_load1", "tasks", "Tasks that run or wait, mean of about one minute; may pass the processors"),
    _gauge("host_load5", "tasks", "Tasks that run or wait, mean of about five minutes"),
    _gauge("host_load15", "tasks", "Tasks that run or wait, mean of about fifteen minutes"),
    _share("host_pressure_ratio", "Share of the last 10 s in which some task waited for the resource"),
    _counter("host_pressure_some_seconds_total", "seconds", "Time in which some task waited for the resource"),
    _counter("host_pressure_full_seconds_total", "seconds", "Time in which all tasks waited for the resource"),
)

_HOST_MEMORY = (
    _gauge("host_memory_used_bytes", "bytes", "Memory that could not be given to a new program", scale_out_only=True),
    _gauge("host_memory_available_bytes", "bytes", "Memory that a new program could have", scale_out_only=True),
    _gauge("host_memory_total_bytes", "bytes", "Memory of the machine; in a container what its limit allows"),
    Metric(
        "host_memory_used_ratio",
        "ratio",
        "gauge",
        "Share of the allowed memory that is in use",
        saturating=True,
        scale_out_only=True,
    ),
    _gauge("host_numa_memory_used_bytes", "bytes", "Memory of one NUMA node that is not free", scale_out_only=True),
    _gauge("host_numa_memory_free_bytes", "bytes", "Memory of one NUMA node that is free", scale_out_only=True),
    _gauge("host_numa_memory_total_bytes", "bytes", "Memory of one NUMA node"),
    _gauge("host_swap_used_bytes", "bytes", "Swap space in use"),
    _gauge("host_swap_total_bytes", "bytes", "Swap space of the machine"),
    _counter("host_swap_in_bytes_total", "bytes", "Bytes read back from swap space"),
    _counter("host_swap_out_bytes_total", "bytes", "Bytes written to swap space"),
)

_HOST_DISKS = (
    _share("host_disk_used_ratio", "Share of a file system that ordinary users find in use"),
    _gauge("host_disk_total_bytes", "bytes", "Size of a file system"),
    _counter("host_disk_read_bytes_total", "bytes", "Bytes read from a disk"),
    _counter("host_disk_write_bytes_total", "bytes", "Bytes written to a disk"),
    _counter("host_disk_busy_seconds_total", "seconds", "Time in which a disk had work; many serve more at once"),
)

_HOST_NETWORK = (
    _counter("host_network_receive_bytes_total", "bytes", "Bytes received"),
    _counter("host_network_transmit_bytes_total", "bytes", "Bytes sent"),
    _counter("host_network_receive_errors_total", "packets", "Packets that arrived broken"),
    _counter("host_network_transmit_errors_total", "packets", "Packets that could not be sent"),
    _counter("host_network_receive_drops_total", "packets", "Packets that arrived and were dropped"),
    _counter("host_network_transmit_drops_total", "packets", "Packets that were dropped before they were sent"),
)

_HOST_SYSTEM = (
    _gauge("host_file_descriptors", "files", "Files that are open on the machine"),
    _gauge("host_file_descriptors_limit", "files", "Files that may be open on the machine"),
    _event("host_boot_timestamp_seconds", "When the machine was started"),
    _gauge("host_collect_duration_seconds", "seconds", "How long one round over the machine took"),
    _counter("host_collect_errors_total", "errors", "Readings of the machine that failed or took too long, by call"),
)

_MACHINE = (
    _event(
        "instance_interruption_timestamp_seconds",
        "When the cloud takes or restarts the machine, by kind; 0 = no notice",
    ),
    _event("instance_rebalance_timestamp_seconds", "When the cloud advised to leave this machine; 0 = no advice"),
    _gauge("instance_notices_readable", "boolean", "1 while the cloud's metadata service answers the agent"),
)

_ALERTS = (_gauge("alert_firing", "boolean", "1 while an alert of an Alertmanager fires, 0 when it is known not to"),)

METRICS: tuple[Metric, ...] = (
    *_GPU_LOAD,
    *_GPU_MEMORY,
    *_GPU_BOARD,
    *_GPU_LINKS,
    *_GPU_HEALTH,
    *_GPU_LAYOUT,
    *_COLLECTION,
    *_ENGINE_STATE,
    *_ENGINE_TIMES,
    *_ENGINE_WORK,
    *_HOST_LOAD,
    *_HOST_MEMORY,
    *_HOST_DISKS,
    *_HOST_NETWORK,
    *_HOST_SYSTEM,
    *_MACHINE,
    *_ALERTS,
)

AGGREGATES = {
    "min": "The lowest value",
    "mean": "The mean",
    "max": "The highest value",
    "p95": "The 95th percentile",
    "count": "How many values there were",
}
"""Suffixes of what several values of a gauge within one interval amount to: `gpu_power_watts_max`. They are names of
their own, because whoever adds up `gpu_power_watts` must not add its maximum too."""

ALIASES = {
    "gpu_utilization": "gpu_busy_ratio",
    "queue_length": "requests_waiting",
    "cpu_usage": "host_cpu_ratio",
}
"""Names of the short dialects of rule files."""
