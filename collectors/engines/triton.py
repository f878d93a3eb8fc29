"""Triton Inference Server, port 8002 (core and TensorRT-LLM back end), and TensorRT-LLM's own server `trtllm-serve`.

Sources: docs/user_guide/metrics.md of triton-inference-server/server and src/metrics.cc of its core,
docs/llm_features.md of its TensorRT-LLM back end, tensorrt_llm/metrics/collector.py of NVIDIA/TensorRT-LLM. The names
of Triton's counters lack `_total`. Its core has sums of durations but no histogram of them: a mean is the increase of
such a sum over that of request_success_total.
"""

from __future__ import annotations

from collectors.engines.alias import MICRO, MILLI, Alias, Engine, aliases, having, same
from collectors.pages.layout import Combination

_GPU = (("gpu_uuid", "uuid"),)
_BLOCK = "nv_trt_llm_kv_cache_block_metrics"
_REQUEST = "nv_trt_llm_request_metrics"
_MAX_BLOCKS, _PER_BLOCK = "trtllm_kv_cache_max_blocks", "trtllm_kv_cache_tokens_per_block"


def _block(kind: str) -> Alias:
    return Alias(_BLOCK, where=having("kv_cache_block_type", kind), drop=("kv_cache_block_type",))


def _requests(kind: str) -> Alias:
    return Alias(_REQUEST, where=having("request_type", kind), drop=("request_type",))


TRTLLM = Engine(
    name="trtllm",
    prefixes=("trtllm_",),
    aliases={
        **same(
            "trtllm_",
            (
                "time_to_first_token_seconds",
                "time_per_output_token_seconds",
                "e2e_request_latency_seconds",
                "request_queue_time_seconds",
                "request_prefill_time_seconds",
                "request_decode_time_seconds",
                "request_inference_time_seconds",
                "prompt_tokens_total",
                "generation_tokens_total",
                "request_success_total",
            ),
        ),
        "requests_running": aliases("trtllm_num_requests_running"),
        "requests_waiting": aliases("trtllm_num_requests_waiting"),
        "kv_cache_used_ratio": aliases("trtllm_kv_cache_utilization"),
        # Sides of the combination below, not canonical themselves.
        _MAX_BLOCKS: aliases("trtllm_kv_cache_max_blocks"),
        _PER_BLOCK: aliases("trtllm_kv_cache_tokens_per_block"),
        "request_failure_total": aliases("trtllm_request_error_total"),
        "prefix_cache_hit_ratio": aliases("trtllm_kv_cache_hit_rate"),
    },
    combinations=(Combination("kv_cache_capacity_tokens", "product", _MAX_BLOCKS, _PER_BLOCK),),
    switch="start trtllm-serve with return_perf_metrics and enable_iter_perf_stats in its options, and read its "
    "/prometheus/metrics",
)

TRITON = Engine(
    name="triton",
    prefixes=("nv_",),
    aliases={
        "requests_running": aliases(_requests("scheduled")),
        "requests_waiting": aliases(_requests("waiting"), "nv_inference_pending_request_count"),
        "kv_cache_used_ratio": aliases(_block("fraction")),
        _MAX_BLOCKS: aliases(_block("max")),
        _PER_BLOCK: aliases(_block("tokens_per")),
        "time_to_first_token_seconds": aliases(Alias("nv_inference_first_response_histogram_ms", MILLI)),
        "e2e_request_latency_seconds_sum": aliases(Alias("nv_inference_request_duration_us", MICRO)),
        "request_queue_time_seconds_sum": aliases(Alias("nv_inference_queue_duration_us", MICRO)),
        "request_inference_time_seconds_sum": aliases(Alias("nv_inference_compute_infer_duration_us", MICRO)),
        "request_success_total": aliases("nv_inference_request_success"),
        "request_failure_total": aliases("nv_inference_request_failure"),
        "requests_rejected_total": aliases(Alias("nv_inference_request_failure", where=having("reason", "REJECTED"))),
        "model_load_seconds": aliases("nv_model_load_duration_secs"),
        "gpu_busy_ratio": aliases(Alias("nv_gpu_utilization", rename=_GPU)),
        "gpu_memory_used_bytes": aliases(Alias("nv_gpu_memory_used_bytes", rename=_GPU)),
        "gpu_memory_total_bytes": aliases(Alias("nv_gpu_memory_total_bytes", rename=_GPU)),
        "gpu_power_watts": aliases(Alias("nv_gpu_power_usage", rename=_GPU)),
        "gpu_power_limit_watts": aliases(Alias("nv_gpu_power_limit", rename=_GPU)),
        "gpu_energy_joules_total": aliases(Alias("nv_energy_consumption", rename=_GPU)),
    },
    counters=frozenset(
        {
            # The quotient of these two is the mean batch.
            "nv_inference_count",
            "nv_inference_exec_count",
            "nv_inference_compute_input_duration_us",
            "nv_inference_compute_output_duration_us",
            # Hits of the cache of whole responses, which is not the prefix cache.
            "nv_cache_num_hits_per_model",
            "nv_cache_num_misses_per_model",
            "nv_cache_hit_duration_per_model",
            "nv_cache_miss_duration_per_model",
        }
    ),
    switch="start tritonserver with --allow-metrics=true; histograms need --metrics-config histogram_latencies=true",
)
