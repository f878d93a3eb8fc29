"""NVIDIA NIM for language models, port 8000 at /v1/metrics: vLLM's names without any prefix.

They are looked for only at targets that are said to be NIM, by the label `inference_engine: nim` of the target. Source:
the observability page of NVIDIA's NIM documentation. `num_request_max` is in requests, not tokens, and keeps its name.
"""

from __future__ import annotations

from collectors.engines.alias import Engine, aliases, same

NIM = Engine(
    name="nim",
    prefixes=(),
    aliases={
        **same(
            "",
            (
                "time_to_first_token_seconds",
                "time_per_output_token_seconds",
                "e2e_request_latency_seconds",
                "prompt_tokens_total",
                "generation_tokens_total",
                "request_prompt_tokens",
                "request_generation_tokens",
                "request_failure_total",
            ),
        ),
        "requests_running": aliases("num_requests_running"),
        "requests_waiting": aliases("num_requests_waiting"),
        "kv_cache_used_ratio": aliases("gpu_cache_usage_perc"),
        "request_success_total": aliases("request_success_total", "request_finish_total"),
    },
    switch="read /v1/metrics, and give its target the label inference_engine: nim",
)
