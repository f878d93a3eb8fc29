"""The metrics page of a worker, with the names, labels and buckets of a vLLM server of 2026."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from autoscaler.demo.batching import Batch, Job

FIRST_TOKEN_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
TOKEN_BUCKETS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
REQUEST_BUCKETS_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)


@dataclass(slots=True)
class WorkerMetrics:
    """Counts what a batch does and prints it. `cache_tokens` is the size of the stand-in's KV cache."""

    batch: Batch
    model: str
    cache_tokens: int
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _finished: Counter = field(init=False)
    _prompt_tokens: Counter = field(init=False)
    _generation_tokens: Counter = field(init=False)
    _first_token: Histogram = field(init=False)
    _between_tokens: Histogram = field(init=False)
    _request: Histogram = field(init=False)

    def __post_init__(self) -> None:
        labels, values, where = ("model_name", "engine"), (self.model, "0"), self.registry
        gauges = (
            ("vllm:num_requests_running", "Requests in the batch", lambda: len(self.batch.running)),
            ("vllm:num_requests_waiting", "Requests in the queue", lambda: len(self.batch.waiting)),
            ("vllm:kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1", self._cache_ratio),
        )
        for name, text, count in gauges:
            Gauge(name, text, labels, registry=where).labels(*values).set_function(count)
        self._finished = Counter(
            "vllm:request_success", "Requests that ended", (*labels, "finished_reason"), registry=where
        )
        for reason in ("stop", "length", "abort", "error"):
            self._finished.labels(*values, reason)
        self._prompt_tokens = Counter("vllm:prompt_tokens", "Prompt tokens", labels, registry=where).labels(*values)
        self._generation_tokens = Counter("vllm:generation_tokens", "Generated tokens", labels, registry=where).labels(
            *values
        )
        self._first_token, self._between_tokens, self._request = (
            Histogram(f"vllm:{name}_seconds", text, labels, registry=where, buckets=buckets).labels(*values)
            for name, text, buckets in (
                ("time_to_first_token", "Arrival to first token", FIRST_TOKEN_BUCKETS_S),
                ("inter_token_latency", "Between two tokens of a request", TOKEN_BUCKETS_S),
                ("e2e_request_latency", "Arrival to last token", REQUEST_BUCKETS_S),
            )
        )

    def _cache_ratio(self) -> float:
        return min(1.0, self.batch.cached_tokens / self.cache_tokens)

    def count_finished(self, job: Job) -> None:
        """Count a request that got all its tokens."""
        assert job.first_token_at is not None, "a finished request has had its first token"
        assert job.finished_at is not None, "only finished requests are counted"
        self._finished.labels(self.model, "0", "length").inc()
        self._prompt_tokens.inc(job.prompt_tokens)
        self._generation_tokens.inc(job.max_tokens)
        self._first_token.observe(job.first_token_at - job.arrived_at)
        self._request.observe(job.finished_at - job.arrived_at)
        if job.max_tokens > 1:
            # The batch computes with steps of equal length between two events, so the mean stands for every token.
            mean_s = (job.finished_at - job.first_token_at) / (job.max_tokens - 1)
            for _ in range(job.max_tokens - 1):
                self._between_tokens.observe(mean_s)

    def count_aborted(self) -> None:
        """Count a request whose caller went away."""
        self._finished.labels(self.model, "0", "abort").inc()

    def page(self) -> bytes:
        """The page in the text exposition format 0.0.4."""
        return generate_latest(self.registry)
