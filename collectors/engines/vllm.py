"""vLLM, port 8000: `vllm:` names, labels `model_name` and since 0.8 `engine` (the data-parallel rank).

A renamed metric is hidden one minor release later and removed after two, so that each old name has a last release.
Sources: vllm/v1/metrics/loggers.py of vllm-project/vllm at the tags v0.9.1, v0.9.2, v0.11.0 and v0.12.0, its pull
requests 15458 and 29330, and the recorded page in tests/data/pages/vllm.
"""

from __future__ import annotations

from collectors.engines.alias import Alias, Engine, aliases, having, same

_WELL = having("finished_reason", "stop", "length", "repetition")
_BADLY = having("finished_reason", "abort", "error")

VLLM = Engine(
    name="vllm",
    prefixes=("vllm:",),
    aliases={
        **same(
            "vllm:",
            (
                "time_to_first_token_seconds",
                "e2e_request_latency_seconds",
                "request_queue_time_seconds",
                "request_prefill_time_seconds",
                "request_decode_time_seconds",
                "request_inference_time_seconds",
                "request_prompt_tokens",
                "request_generation_tokens",
                "prompt_tokens_total",
                "generation_tokens_total",
            ),
        ),
        "requests_running": aliases("vllm:num_requests_running"),
        "requests_waiting": aliases("vllm:num_requests_waiting"),
        "kv_cache_used_ratio": aliases(
            # "perc" is 0 to 1 under both names.
            Alias("vllm:kv_cache_usage_perc", since="0.9.2"),
            Alias("vllm:gpu_cache_usage_perc", until="0.11"),
        ),
        "kv_cache_capacity_tokens": aliases(
            Alias("vllm:cache_config_info", capacity=("num_gpu_blocks", "block_size")),
        ),
        "time_per_output_token_seconds": aliases(
            Alias("vllm:inter_token_latency_seconds", since="0.10.2"),
            Alias("vllm:time_per_output_token_seconds", until="0.12"),
        ),
        "request_time_per_output_token_seconds": aliases("vllm:request_time_per_output_token_seconds"),
        # One family counts every end of a request; aborted and failed ones are no successes.
        "request_success_total": aliases(Alias("vllm:request_success_total", where=_WELL)),
        "request_failure_total": aliases(Alias("vllm:request_success_total", where=_BADLY)),
        "preemptions_total": aliases("vllm:num_preemptions_total"),
        "prefix_cache_queries_total": aliases(
            Alias("vllm:prefix_cache_queries_total", since="0.9.2"),
            Alias("vllm:gpu_prefix_cache_queries_total", until="0.11"),
        ),
        "prefix_cache_hits_total": aliases(
            Alias("vllm:prefix_cache_hits_total", since="0.9.2"),
            Alias("vllm:gpu_prefix_cache_hits_total", until="0.11"),
        ),
        "prefix_cache_hit_ratio": aliases(
            Alias("vllm:gpu_prefix_cache_hit_rate", blank="negative", until="0.10"),
        ),
        # 1 unless the state "awake" holds.
        "engine_asleep": aliases(
            Alias("vllm:engine_sleep_state", -1.0, 1.0, where=having("sleep_state", "awake"), drop=("sleep_state",))
        ),
        "generation_tokens_per_second": aliases(
            Alias("vllm:avg_generation_throughput_toks_per_s", until="0.10"),
        ),
    },
    events=frozenset({"vllm:lora_requests_info"}),
    # Of the first engine, which 0.11 no longer has.
    hints={
        "vllm:num_requests_swapped": ("", "0.10"),
        "vllm:cpu_cache_usage_perc": ("", "0.10"),
        "vllm:time_in_queue_requests": ("", "0.10"),
        "vllm:model_forward_time_milliseconds": ("", "0.10"),
        "vllm:model_execute_time_milliseconds": ("", "0.10"),
        "vllm:avg_prompt_throughput_toks_per_s": ("", "0.10"),
    },
    switch="it is on unless the server was started with --disable-log-stats",
)
