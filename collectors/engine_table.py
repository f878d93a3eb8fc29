"""Canonical signal -> the names by which engines export it, best first, with factor and labels; data only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collectors.layout import Combination

MICRO = 1e-6
MILLI = 1e-3


@dataclass(frozen=True, slots=True)
class Alias:
    """One engine's name of a signal.

    where: (label, values) that a series must have. drop: labels that say nothing further. rename: (theirs, ours).
    capacity: the value is the product of these two labels, of a series whose own value is 1; of its other labels only
    those that name the engine stay. rising: a gauge or window
    of which only positive changes count.
    """

    name: str
    factor: float = 1.0
    offset: float = 0.0
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    capacity: tuple[str, str] | None = None
    rising: bool = False


_FINISHED_WELL = (("finished_reason", ("stop", "length", "repetition")),)
_FINISHED_BADLY = (("finished_reason", ("abort", "error")),)
_GPU = (("gpu_uuid", "uuid"),)


def _is(label: str, value: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ((label, (value,)),)


def _aliases(*entries: Alias | str) -> tuple[Alias, ...]:
    return tuple(Alias(entry) if isinstance(entry, str) else entry for entry in entries)


def _everywhere(names: Iterable[str]) -> dict[str, tuple[Alias, ...]]:
    """Signals that vLLM and its kin export under the canonical name behind their prefix."""
    return {name: (Alias(f"vllm:{name}"),) for name in names}


ALIASES: dict[str, tuple[Alias, ...]] = {
    **_everywhere(
        (
            "request_time_per_output_token_seconds",
            "request_prefill_time_seconds",
            "request_decode_time_seconds",
        )
    ),
    "requests_running": _aliases(
        "vllm:num_requests_running",
        "sglang:num_running_reqs",
        "trtllm_num_requests_running",
        Alias("nv_trt_llm_request_metrics", where=_is("request_type", "scheduled"), drop=("request_type",)),
        "tgi_batch_current_size",
        "dynamo_frontend_inflight_requests",
        "ray_serve_replica_processing_queries",
        "ray_serve_num_ongoing_requests_at_replicas",
    ),
    "requests_waiting": _aliases(
        "vllm:num_requests_waiting",
        "sglang:num_queue_reqs",
        "trtllm_num_requests_waiting",
        Alias("nv_trt_llm_request_metrics", where=_is("request_type", "waiting"), drop=("request_type",)),
        "nv_inference_pending_request_count",
        "tgi_queue_size",
        "dynamo_frontend_queued_requests",
        "ray_serve_deployment_queued_queries",
        "ray_serve_replica_queued_queries",
    ),
    "kv_cache_used_ratio": _aliases(
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "sglang:token_usage",
        "trtllm_kv_cache_utilization",
        Alias(
            "nv_trt_llm_kv_cache_block_metrics",
            where=_is("kv_cache_block_type", "fraction"),
            drop=("kv_cache_block_type",),
        ),
    ),
    "kv_cache_capacity_tokens": _aliases(
        Alias("vllm:cache_config_info", capacity=("num_gpu_blocks", "block_size")),
        "sglang:max_total_num_tokens",
        Alias("sglang:cache_config_info", capacity=("num_pages", "page_size")),
        "tgi_batch_current_max_tokens",
    ),
    # Not canonical themselves: sides of the combinations below.
    "trtllm_kv_cache_max_blocks": _aliases(
        "trtllm_kv_cache_max_blocks",
        Alias(
            "nv_trt_llm_kv_cache_block_metrics", where=_is("kv_cache_block_type", "max"), drop=("kv_cache_block_type",)
        ),
    ),
    "trtllm_kv_cache_tokens_per_block": _aliases(
        "trtllm_kv_cache_tokens_per_block",
        Alias(
            "nv_trt_llm_kv_cache_block_metrics",
            where=_is("kv_cache_block_type", "tokens_per"),
            drop=("kv_cache_block_type",),
        ),
    ),
    "ray_serve_deployment_request_counter_total": _aliases("ray_serve_deployment_request_counter"),
    "time_to_first_token_seconds": _aliases(
        "vllm:time_to_first_token_seconds",
        "sglang:time_to_first_token_seconds",
        "trtllm_time_to_first_token_seconds",
        Alias("nv_inference_first_response_histogram_ms", MILLI),
        "dynamo_frontend_time_to_first_token_seconds",
    ),
    "time_per_output_token_seconds": _aliases(
        "vllm:inter_token_latency_seconds",
        "vllm:time_per_output_token_seconds",
        "sglang:inter_token_latency_seconds",
        "sglang:time_per_output_token_seconds",
        "trtllm_time_per_output_token_seconds",
        "tgi_request_mean_time_per_token_duration",
        "dynamo_frontend_inter_token_latency_seconds",
    ),
    "e2e_request_latency_seconds": _aliases(
        "vllm:e2e_request_latency_seconds",
        "sglang:e2e_request_latency_seconds",
        "trtllm_e2e_request_latency_seconds",
        "tgi_request_duration",
        "dynamo_frontend_request_duration_seconds",
        Alias("ray_serve_deployment_processing_latency_ms", MILLI),
    ),
    # Triton's core has no histogram of these: a sum, whose mean is over the increase of request_success_total.
    "e2e_request_latency_seconds_sum": _aliases(Alias("nv_inference_request_duration_us", MICRO)),
    "request_queue_time_seconds": _aliases(
        "vllm:request_queue_time_seconds",
        Alias("sglang:per_stage_req_latency_seconds", where=_is("stage", "request_waiting"), drop=("stage",)),
        "trtllm_request_queue_time_seconds",
        "tgi_request_queue_duration",
        Alias("ray_serve_deployment_queuing_latency_ms", MILLI),
    ),
    "request_queue_time_seconds_sum": _aliases(Alias("nv_inference_queue_duration_us", MICRO)),
    "request_inference_time_seconds": _aliases("vllm:request_inference_time_seconds", "tgi_request_inference_duration"),
    "request_inference_time_seconds_sum": _aliases(Alias("nv_inference_compute_infer_duration_us", MICRO)),
    "request_prompt_tokens": _aliases("vllm:request_prompt_tokens", "tgi_request_input_length"),
    "request_generation_tokens": _aliases("vllm:request_generation_tokens", "tgi_request_generated_tokens"),
    "prompt_tokens_total": _aliases(
        "vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "tgi_request_input_length_sum"
    ),
    "generation_tokens_total": _aliases(
        "vllm:generation_tokens_total",
        "sglang:generation_tokens_total",
        "tgi_request_generated_tokens_sum",
        "dynamo_frontend_output_tokens_total",
    ),
    "request_success_total": _aliases(
        Alias("vllm:request_success_total", where=_FINISHED_WELL),
        "sglang:num_requests_total",
        "trtllm_request_success_total",
        "nv_inference_request_success",
        "tgi_request_success",
        Alias("dynamo_frontend_requests_total", where=_is("status", "success")),
    ),
    "request_failure_total": _aliases(
        Alias("vllm:request_success_total", where=_FINISHED_BADLY),
        "sglang:num_aborted_requests_total",
        "nv_inference_request_failure",
        "tgi_request_failure",
        Alias("dynamo_frontend_requests_total", where=_is("status", "error")),
        "ray_serve_deployment_error_counter",
    ),
    "preemptions_total": _aliases("vllm:num_preemptions_total", Alias("sglang:num_retracted_reqs", rising=True)),
    "prefix_cache_queries_total": _aliases("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    "prefix_cache_hits_total": _aliases("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    "engine_asleep": _aliases(
        # 1 unless the state "awake" holds.
        Alias("vllm:engine_sleep_state", -1.0, 1.0, where=_is("sleep_state", "awake"), drop=("sleep_state",))
    ),
    "model_load_seconds": _aliases("nv_model_load_duration_secs"),
    "gpu_busy_ratio": _aliases(Alias("nv_gpu_utilization", rename=_GPU)),
    "gpu_memory_used_bytes": _aliases(Alias("nv_gpu_memory_used_bytes", rename=_GPU)),
    "gpu_memory_total_bytes": _aliases(Alias("nv_gpu_memory_total_bytes", rename=_GPU)),
    "gpu_power_watts": _aliases(Alias("nv_gpu_power_usage", rename=_GPU)),
    "gpu_power_limit_watts": _aliases(Alias("nv_gpu_power_limit", rename=_GPU)),
    "gpu_energy_joules_total": _aliases(Alias("nv_energy_consumption", rename=_GPU)),
}

NIM: dict[str, tuple[Alias, ...]] = {
    "requests_running": _aliases("num_requests_running"),
    "requests_waiting": _aliases("num_requests_waiting"),
    "kv_cache_used_ratio": _aliases("gpu_cache_usage_perc"),
    "time_to_first_token_seconds": _aliases("time_to_first_token_seconds"),
    "time_per_output_token_seconds": _aliases("time_per_output_token_seconds"),
    "e2e_request_latency_seconds": _aliases("e2e_request_latency_seconds"),
    "prompt_tokens_total": _aliases("prompt_tokens_total"),
    "generation_tokens_total": _aliases("generation_tokens_total"),
    "request_success_total": _aliases("request_finish_total"),
}
"""NVIDIA NIM prints vLLM's names without a prefix, so these are looked for only at targets that are said to be NIM."""

COMBINATIONS = (
    Combination(
        "kv_cache_capacity_tokens", "product", "trtllm_kv_cache_max_blocks", "trtllm_kv_cache_tokens_per_block"
    ),
    Combination(
        "kv_cache_used_ratio",
        "quotient",
        "dynamo_frontend_worker_active_decode_blocks",
        "dynamo_frontend_model_total_kv_blocks",
    ),
    Combination(
        "request_success_total",
        "difference",
        "ray_serve_deployment_request_counter_total",
        "request_failure_total",
    ),
)
