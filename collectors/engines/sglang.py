"""SGLang, port 30000: `sglang:` names, printed only by a server started with `--enable-metrics`.

Sources: the production metrics page and srt/metrics/collector.py of sgl-project/sglang. Metrics of the scheduler carry
the ranks of their process, those of whole requests do not. `num_requests_total` counts requests that ended; whether
it counts aborted ones too could not be confirmed.
"""

from __future__ import annotations

from collectors.engines.alias import Alias, Engine, aliases, having, same

_STAGE = "sglang:per_stage_req_latency_seconds"

SGLANG = Engine(
    name="sglang",
    prefixes=("sglang:",),
    aliases={
        **same(
            "sglang:",
            (
                "time_to_first_token_seconds",
                "e2e_request_latency_seconds",
                "prompt_tokens_total",
                "generation_tokens_total",
            ),
        ),
        "requests_running": aliases("sglang:num_running_reqs"),
        "requests_waiting": aliases("sglang:num_queue_reqs"),
        "kv_cache_used_ratio": aliases("sglang:token_usage"),
        "kv_cache_capacity_tokens": aliases(
            "sglang:max_total_num_tokens",
            Alias("sglang:cache_config_info", capacity=("num_pages", "page_size")),
        ),
        "time_per_output_token_seconds": aliases(
            "sglang:inter_token_latency_seconds",
            "sglang:time_per_output_token_seconds",
        ),
        "request_queue_time_seconds": aliases(
            "sglang:queue_time_seconds",
            Alias(_STAGE, where=having("stage", "prefill_waiting", "request_waiting"), drop=("stage",)),
        ),
        "request_prefill_time_seconds": aliases(
            Alias(_STAGE, where=having("stage", "prefill_forward"), drop=("stage",))
        ),
        "request_prompt_tokens": aliases("sglang:prompt_tokens_histogram"),
        "request_generation_tokens": aliases("sglang:generation_tokens_histogram"),
        "request_success_total": aliases("sglang:num_requests_total"),
        "request_failure_total": aliases("sglang:num_aborted_requests_total"),
        # A gauge that falls back to 0: only what it rises by are retractions.
        "preemptions_total": aliases(Alias("sglang:num_retracted_reqs", rising=True)),
        # -1 says that the cache is switched off.
        "prefix_cache_hit_ratio": aliases(Alias("sglang:cache_hit_rate", blank="negative")),
        "generation_tokens_per_second": aliases("sglang:gen_throughput"),
        "model_load_seconds": aliases("sglang:engine_load_weights_time"),
    },
    switch="start the server with --enable-metrics",
)
