"""Hugging Face's Text Generation Inference, in maintenance mode: `tgi_` names, no labels, counters without `_total`.

Sources: docs/source/reference/metrics.md and router/src/server.rs of huggingface/text-generation-inference. A request
that finds no room fails with `err="overloaded"`.
"""

from __future__ import annotations

from collectors.engines.alias import Alias, Engine, aliases, having

TGI = Engine(
    name="tgi",
    prefixes=("tgi_",),
    aliases={
        "requests_running": aliases("tgi_batch_current_size"),
        "requests_waiting": aliases("tgi_queue_size"),
        # The batch's budget of tokens, the nearest that it has to the size of its cache.
        "kv_cache_capacity_tokens": aliases("tgi_batch_current_max_tokens"),
        # A mean per request, which stands in for the time between tokens.
        "time_per_output_token_seconds": aliases("tgi_request_mean_time_per_token_duration"),
        "request_time_per_output_token_seconds": aliases("tgi_request_mean_time_per_token_duration"),
        "e2e_request_latency_seconds": aliases("tgi_request_duration"),
        "request_queue_time_seconds": aliases("tgi_request_queue_duration"),
        "request_inference_time_seconds": aliases("tgi_request_inference_duration"),
        "request_prompt_tokens": aliases("tgi_request_input_length"),
        "request_generation_tokens": aliases("tgi_request_generated_tokens"),
        "prompt_tokens_total": aliases("tgi_request_input_length_sum"),
        "generation_tokens_total": aliases("tgi_request_generated_tokens_sum"),
        "request_success_total": aliases("tgi_request_success"),
        "request_failure_total": aliases("tgi_request_failure"),
        "requests_rejected_total": aliases(Alias("tgi_request_failure", where=having("err", "overloaded"))),
    },
    counters=frozenset({"tgi_request_count", "tgi_batch_inference_count", "tgi_batch_inference_success"}),
    switch="it is always on",
)
