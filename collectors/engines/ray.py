"""Ray Serve, on each node's metrics port, refreshed every 10 s: `ray_serve_` names; vLLM inside Ray as `ray_vllm_`.

Source: doc/source/serve/monitoring.md of ray-project/ray. Newer releases print each counter twice, with and without
`_total`.
"""

from __future__ import annotations

from collectors.engines.alias import MILLI, Alias, Engine, aliases
from collectors.pages.layout import Combination

_REQUESTS = "ray_serve_deployment_request_counter_total"

RAY = Engine(
    name="ray_serve",
    prefixes=("ray_serve_",),
    aliases={
        "requests_running": aliases(
            "ray_serve_replica_processing_queries", "ray_serve_num_ongoing_requests_at_replicas"
        ),
        "requests_waiting": aliases("ray_serve_deployment_queued_queries", "ray_serve_replica_queued_queries"),
        # A side of the combination below, not canonical itself: it counts failed requests too.
        _REQUESTS: aliases("ray_serve_deployment_request_counter"),
        "e2e_request_latency_seconds": aliases(Alias("ray_serve_deployment_processing_latency_ms", MILLI)),
        "request_queue_time_seconds": aliases(Alias("ray_serve_deployment_queuing_latency_ms", MILLI)),
        "request_failure_total": aliases("ray_serve_deployment_error_counter"),
    },
    combinations=(Combination("request_success_total", "difference", _REQUESTS, "request_failure_total"),),
    counters=frozenset(
        {
            "ray_serve_num_http_requests",
            "ray_serve_num_http_error_requests",
            "ray_serve_deployment_replica_starts",
            "ray_serve_num_router_requests",
            "ray_serve_handle_request_counter",
        }
    ),
    switch="read the metrics port of every Ray node, which `ray start --metrics-export-port` sets",
)
