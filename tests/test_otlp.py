"""OTLP/HTTP metrics: real exporters of the OpenTelemetry SDK, both encodings, and what the protocol wants to hear."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from autoscaler.api.serve import Server
from autoscaler.clock import SystemClock
from autoscaler.types import Batch, Receipt
from collectors.push import Push
from collectors.push.otlp_names import metric_name
from tests.apiworld import SECRETS, api_world
from tests.pushed import START, Pushed, values

PROTOBUF, JSON = {"content-type": "application/x-protobuf"}, {"content-type": "application/json"}
RESOURCE = {"service.name": "llm", "service.instance.id": "i-1", "host.name": "node-1", "pool": "chat"}


def request(*metrics: dict[str, Any], resource: dict[str, str] | None = None) -> ExportMetricsServiceRequest:
    """A request with these metrics, in the JSON form of the protocol."""
    attributes = [{"key": k, "value": {"stringValue": v}} for k, v in (resource or RESOURCE).items()]
    scopes = [{"metrics": list(metrics)}]
    given = {"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": scopes}]}
    return json_format.ParseDict(given, ExportMetricsServiceRequest())


def point(value: float | None, at: float = START, flags: int = 0, **attributes: str) -> dict[str, Any]:
    found: dict[str, Any] = {"timeUnixNano": str(round(at * 1e9)), "flags": flags}
    found["attributes"] = [{"key": k.replace("__", "."), "value": {"stringValue": v}} for k, v in attributes.items()]
    return found if value is None else found | {"asDouble": value}


def gauge(name: str, *points: dict[str, Any], unit: str = "") -> dict[str, Any]:
    return {"name": name, "unit": unit, "gauge": {"dataPoints": list(points)}}


def total(name: str, *points: dict[str, Any], temporality: int = 2, monotonic: bool = True) -> dict[str, Any]:
    data = {"dataPoints": list(points), "aggregationTemporality": temporality, "isMonotonic": monotonic}
    return {"name": name, "sum": data}


def export(pushed: Pushed, *metrics: dict[str, Any], resource: dict[str, str] | None = None) -> list[Batch]:
    """Take an export, which must be taken; what came of it at once."""
    receipt = pushed.post("otlp", request(*metrics, resource=resource).SerializeToString(), PROTOBUF)
    assert receipt.status == 200, receipt
    return pushed.collect()


def rejected(receipt: Receipt) -> tuple[int, str]:
    found = ExportMetricsServiceResponse.FromString(receipt.body).partial_success
    return found.rejected_data_points, found.error_message


# --- the SDK ------------------------------------------------------------------------------------------------------


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Push]]:
    push = Push(SystemClock())
    server = Server(api_world(folder, receiver=push).app, "127.0.0.1", 0)
    server.start()
    try:
        yield server.url, push
    finally:
        server.stop()


@pytest.mark.parametrize("path", ["/v1/metrics", "/api/v1/otlp/v1/metrics"])
@pytest.mark.parametrize("delta", [False, True], ids=["cumulative", "delta"])
def test_what_the_sdk_exports_arrives_in_our_words(tmp_path: Path, path: str, delta: bool) -> None:
    temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    with served(tmp_path) as (url, push):
        exporter = OTLPMetricExporter(
            endpoint=url + path,
            headers={"Authorization": f"Bearer {SECRETS['operator']}"},
            preferred_temporality={Counter: temporality, Histogram: temporality},
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        provider = MeterProvider([reader], Resource(RESOURCE), shutdown_on_exit=False)
        meter = provider.get_meter("test")
        jobs, times = meter.create_counter("jobs.done", unit="{job}"), meter.create_histogram("http.duration", unit="s")

        def utilization(_: CallbackOptions) -> Iterator[Observation]:
            yield Observation(0.75, {"hw.id": "GPU-1", "hw.type": "gpu"})

        meter.create_observable_gauge("hw.gpu.utilization", [utilization], unit="1")
        for _ in range(2):
            jobs.add(5, {"kind": "a"})
            times.record(0.3)
            assert provider.force_flush()
        provider.shutdown()
        batch = push.collect(SystemClock().now())[-1]
    found = {key.metric: value for key, value in zip(batch.keys, batch.values, strict=True) if not key.label("le")}
    assert found["gpu_busy_ratio"] == 0.75
    assert found["jobs_done_total"] == 10.0
    assert (found["http_duration_seconds_count"], found["http_duration_seconds_sum"]) == (2.0, 0.6)
    buckets = {k.label("le"): v for k, v in zip(batch.keys, batch.values, strict=True) if k.label("le")}
    assert buckets["+Inf"] == 2.0
    assert all(key.counter for key in batch.keys if key.metric.startswith(("jobs_done", "http_duration")))
    assert dict(batch.labels) == {"instance": "i-1", "job": "llm", "host": "node-1", "pool": "chat"}
    assert {key.label("uuid") for key in batch.keys if key.metric == "gpu_busy_ratio"} == {"GPU-1"}


# --- points -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["protobuf", "json", "gzip"])
def test_both_encodings_and_gzip_are_read(encoding: str) -> None:
    made, pushed = request(gauge("queue.length", point(3.0), unit="{item}")), Pushed()
    content, headers = made.SerializeToString(), PROTOBUF
    if encoding == "json":
        content, headers = json_format.MessageToJson(made).encode(), JSON
    if encoding == "gzip":
        content, headers = gzip.compress(content), headers | {"content-encoding": "gzip"}
    receipt = pushed.post("otlp", content, headers)
    assert (receipt.status, receipt.media_type) == (200, headers["content-type"])
    assert receipt.body == (b"{}" if encoding == "json" else b"")
    (batch,) = pushed.collect()
    assert (batch.at, values(batch)) == (START, {"queue_length": 3.0})


def test_deltas_add_up_and_a_repeated_export_adds_nothing() -> None:
    pushed = Pushed()
    for n, delta in enumerate((5.0, 2.0, 4.0)):
        pushed.clock.at = START + 10 * n
        for _ in range(2):
            export(pushed, total("jobs", point(delta, START + 10 * n), temporality=1))
    totals = {round(b.at - START): values(b)["jobs_total"] for b in pushed.batches}
    assert totals == {0: 5.0, 10: 7.0, 20: 11.0}
    assert pushed.skipped("otlp") == {"out_of_order": 3}


def test_a_sum_that_may_fall_is_a_gauge() -> None:
    (batch,) = export(Pushed(), total("open.connections", point(4.0), monotonic=False))
    assert [(key.metric, key.counter) for key in batch.keys] == [("open_connections", False)]


def test_a_point_without_a_recorded_value_ends_its_series() -> None:
    pushed = Pushed()
    export(pushed, gauge("a", point(1.0)), gauge("b", point(1.0)))
    pushed.clock.at += 10.0
    (batch,) = export(pushed, gauge("a", point(2.0, START + 10)), gauge("b", point(None, START + 10, flags=1)))[-1:]
    assert values(batch)["a"] == 2.0
    assert math.isnan(values(batch)["b"])


def test_what_is_no_sample_is_named_in_partial_success_and_the_rest_is_taken() -> None:
    pushed, bare = Pushed(), {"timeUnixNano": str(int(START * 1e9)), "count": 1}
    made = request(
        gauge("a", point(1.0), point(2.0, START - 5000, zone="old")),
        {"name": "e", "exponentialHistogram": {"dataPoints": [bare], "aggregationTemporality": 2}},
        {"name": "s", "summary": {"dataPoints": [bare, bare]}},
        total("t", point(1.0), temporality=0),
    )
    receipt = pushed.post("otlp", made.SerializeToString(), PROTOBUF)
    count, text = rejected(receipt)
    assert (receipt.status, count) == (200, 5)
    assert "1 data points: exponential histograms are not read; use explicit buckets" in text
    assert "2 data points: summaries cannot be merged over instances; use histograms" in text
    assert "1 data points: sums without a temporality" in text
    assert "1 data points: older than 1200 s or more than 60 s ahead" in text
    assert values(pushed.collect()[0]) == {"a": 1.0}
    assert pushed.skipped("otlp") == {"no_sample": 5}


HARDWARE = [
    ("hw.gpu.utilization", {}, "gpu_busy_ratio"),
    ("hw.gpu.utilization", {"hw__gpu__task": "decoder"}, "gpu_decoder_ratio"),
    ("hw.gpu.memory.usage", {}, "gpu_memory_used_bytes"),
    ("hw.gpu.memory.limit", {}, "gpu_memory_total_bytes"),
    ("hw.gpu.memory.utilization", {}, "gpu_memory_used_ratio"),
    ("hw.power", {"hw__type": "gpu"}, "gpu_power_watts"),
    ("hw.temperature", {"hw__type": "gpu"}, "gpu_temperature_celsius"),
    ("hw.status", {"hw__type": "gpu", "hw__state": "ok"}, "gpu_up"),
    ("hw.power", {"hw__type": "power_supply"}, "hw_power"),
]


@pytest.mark.parametrize(
    ("name", "attributes", "metric"), HARDWARE, ids=[" ".join([r[0], *r[1].values()]) for r in HARDWARE]
)
def test_hardware_conventions_are_canonical_metrics(name: str, attributes: dict[str, str], metric: str) -> None:
    own = {"hw__id": "GPU-1", "hw__driver_version": "580", **attributes}
    (batch,) = export(Pushed(), gauge(name, point(1.0, START, 0, **own)))
    assert [key.metric for key in batch.keys] == [metric]
    assert batch.keys[0].label("uuid") == "GPU-1"


@pytest.mark.parametrize(
    ("name", "unit", "kind", "found"),
    [
        ("http.server.duration", "ms", "", "http_server_duration_milliseconds"),
        ("disk.io", "By", "total", "disk_io_bytes_total"),
        ("bytes.total", "By", "total", "bytes_total"),
        ("cpu.use", "1", "gauge", "cpu_use_ratio"),
        ("jobs", "1", "total", "jobs_total"),
        ("speed", "By/s", "gauge", "speed_bytes_per_second"),
        ("queue", "{request}", "gauge", "queue"),
        ("gpu_power_watts", "W", "gauge", "gpu_power_watts"),
        ("vllm:num_requests_waiting", "", "gauge", "vllm:num_requests_waiting"),
        ("a--b..c", "", "gauge", "a_b_c"),
        ("2fast", "", "gauge", "_2fast"),
    ],
)
def test_names_are_spelled_as_prometheus_spells_them(name: str, unit: str, kind: str, found: str) -> None:
    assert metric_name(name, unit, total=kind == "total", gauge=kind == "gauge") == found


def test_what_does_not_tell_resources_apart_is_no_label() -> None:
    resource = RESOURCE | {
        "process.pid": "1",
        "telemetry.sdk.name": "x",
        "service.version": "2",
        "service.namespace": "s",
    }
    (batch,) = export(Pushed(), gauge("a", point(1.0)), resource=resource)
    assert dict(batch.labels) == {"instance": "i-1", "job": "s/llm", "host": "node-1", "pool": "chat"}


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "content", "status", "text"),
    [
        ({"content-type": "text/plain"}, b"", 415, "send application/x-protobuf or application/json"),
        (PROTOBUF, b"\x0a\x05abc", 400, "is not an ExportMetricsServiceRequest in application/x-protobuf"),
        (JSON, b'{"resourceMetrics": 3}', 400, "is not an ExportMetricsServiceRequest in application/json"),
        (JSON, b"\xff", 400, "is not an ExportMetricsServiceRequest in application/json"),
        (PROTOBUF | {"content-encoding": "br"}, b"", 415, "Content-Encoding 'br' is not read here"),
        (PROTOBUF | {"content-encoding": "gzip"}, b"no", 400, "the body is not gzip"),
        (PROTOBUF | {"content-encoding": "gzip"}, gzip.compress(b"\0" * (65 << 20), 1), 413, "the limit is 67,108,864"),
    ],
)
def test_a_refusal_is_a_google_rpc_status_in_the_encoding_of_the_request(
    headers: dict[str, str], content: bytes, status: int, text: str
) -> None:
    receipt = Pushed().post("otlp", content, headers)
    assert receipt.status == status
    assert text in receipt.detail
    if receipt.media_type == "application/json":
        told = json.loads(receipt.body)
        assert (told["message"], told["code"]) == (receipt.detail, 3)
    else:
        assert receipt.body[:1] == b"\x08"
        assert receipt.detail.encode() in receipt.body
