"""NVIDIA Dynamo: the front end's `dynamo_frontend_` names, port 8000; its workers pass their engine's on, port 8081.

Sources: lib/runtime/src/metrics/prometheus_names.rs and the metrics guide of ai-dynamo/dynamo. A queued request waits
for its first token and is in flight as well.
"""

from __future__ import annotations

from collectors.engines.alias import Alias, Engine, aliases, having
from collectors.pages.layout import Combination

_F = "dynamo_frontend_"
PASSED_BY = "dynamo_component"
"""The label that a worker adds to the series that it passes on."""

DYNAMO = Engine(
    name="dynamo",
    prefixes=("dynamo_",),
    aliases={
        "requests_running": aliases(f"{_F}inflight_requests"),
        "requests_waiting": aliases(Alias(f"{_F}queued_requests", overlaps=True)),
        "kv_cache_used_ratio": aliases("dynamo_component_kvstats_gpu_cache_usage_percent"),
        "time_to_first_token_seconds": aliases(f"{_F}time_to_first_token_seconds"),
        "time_per_output_token_seconds": aliases(f"{_F}inter_token_latency_seconds"),
        "e2e_request_latency_seconds": aliases(f"{_F}request_duration_seconds"),
        "request_prompt_tokens": aliases(f"{_F}input_sequence_tokens"),
        "request_generation_tokens": aliases(f"{_F}output_sequence_tokens"),
        "generation_tokens_total": aliases(f"{_F}output_tokens_total"),
        "request_success_total": aliases(Alias(f"{_F}requests_total", where=having("status", "success"))),
        "request_failure_total": aliases(Alias(f"{_F}requests_total", where=having("status", "error"))),
        "requests_rejected_total": aliases(Alias(f"{_F}requests_total", where=having("error_type", "overload"))),
    },
    combinations=(
        Combination(
            "kv_cache_used_ratio", "quotient", f"{_F}worker_active_decode_blocks", f"{_F}model_total_kv_blocks"
        ),
    ),
    switch="the front end always prints its page; workers need DYN_SYSTEM_PORT",
)
