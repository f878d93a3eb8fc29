"""The receiver of OTLP/HTTP metrics, in protobuf and JSON (OpenTelemetry protocol specification, section OTLP/HTTP)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoscaler.types import Labels, Receipt
from collectors.push.bodies import MAX_RAW_BYTES, plain
from collectors.push.otlp_names import hardware, labels_of, metric_name, resource_labels
from collectors.push.refusal import RefusedError
from collectors.push.source import Source
from collectors.push.sources import Sources, Tally
from collectors.push.strict import varint

PROTOBUF, JSON = "application/x-protobuf", "application/json"
NO_VALUE = 1
"""DataPointFlags.NO_RECORDED_VALUE: the series has ended, as by a stale marker."""
DELTA, CUMULATIVE = 1, 2
PATIENCE_S = 10.0
MAX_ATTRIBUTES = 64
MAX_POINTS = 200_000
MAX_TEXT = 500
MAX_JSON_BYTES = 16 << 20
"""JSON costs the protobuf library a hundred times what its own encoding does."""
_GRPC = {400: 3, 413: 8, 415: 3, 422: 3, 429: 14}
"""google.rpc.Code of our statuses: INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE."""


@dataclass(frozen=True, slots=True)
class _Point:
    """One sample to be. delta: it adds to what was there before."""

    metric: str
    labels: Labels
    hint: str
    at: float
    value: float
    delta: bool = False


@dataclass(slots=True)
class _Skipped:
    """Points that are no samples, by the reason that the sender is told."""

    points: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, points: int, reason: str) -> None:
        self.points += points
        self.reasons[reason] = self.reasons.get(reason, 0) + points

    def text(self) -> str:
        """All reasons with their counts."""
        return "; ".join(f"{count} data points: {reason}" for reason, count in self.reasons.items())


class Otlp:
    """Takes bodies of POST /v1/metrics."""

    def __init__(self, sources: Sources, tally: Tally) -> None:
        self._sources = sources
        self._tally = tally
        self._totals: dict[str, dict[int, tuple[float, float]]] = {}

    def take(self, body: bytes, headers: Mapping[str, str], now: float) -> tuple[int, Receipt]:
        """How many samples were taken, and what the sender is told. Raises RefusedError, with nothing taken."""
        media = media_type(headers)
        limit = MAX_RAW_BYTES if media == PROTOBUF else MAX_JSON_BYTES
        request = _parse(plain(body, headers.get("content-encoding", ""), limit), media)
        skipped = _Skipped()
        read = [(_source_labels(r.resource), list(_points(r, now, skipped))) for r in request.resource_metrics]
        if sum(len(points) for _, points in read) > MAX_POINTS:
            raise RefusedError(413, "too_large", f"there are more than {MAX_POINTS:,} samples; export smaller batches")
        taken = sum(self._take(labels, points, now, skipped) for labels, points in read if points)
        self._tally.skipped["no_sample"] += skipped.points
        return taken, _response(media, skipped)

    def forget(self, source: Source) -> None:
        """Series of this source have other numbers now, or it is gone."""
        self._totals.pop(source.name, None)

    def _take(self, labels: Labels, points: list[_Point], now: float, skipped: _Skipped) -> int:
        limits = self._sources.limits
        source = self._sources.get(_named(labels), labels, self._tally.skipped, patience_s=PATIENCE_S)
        if source is None or self._sources.series > limits.series:
            skipped.add(len(points), f"the limit of {limits.series:,} pushed series is reached")
            return 0
        useful = [p for p in points if now - limits.window_s <= p.at <= now + limits.ahead_s]
        if len(useful) < len(points):
            reason = f"older than {limits.window_s:g} s or more than {limits.ahead_s:g} s ahead of this service's clock"
            skipped.add(len(points) - len(useful), reason)
        if not useful:
            return 0
        self._sources.touch(source)
        series = np.array([source.number(p.metric, p.labels, p.hint) for p in useful], dtype=np.int64)
        values = [self._level(source, n, p) for n, p in zip(series.tolist(), useful, strict=True)]
        at = np.array([p.at for p in useful])
        return source.add(series, at, np.array(values), np.isnan(np.array([p.value for p in useful])), now)

    def _level(self, source: Source, series: int, point: _Point) -> float:
        """The value of a point; of a delta, what all deltas so far add up to."""
        if not point.delta or np.isnan(point.value):
            return point.value
        totals = self._totals.setdefault(source.name, {})
        total, at = totals.get(series, (0.0, 0.0))
        if point.at > at:  # a repetition of an export that we had taken adds nothing
            totals[series] = total, at = total + point.value, point.at
        return total


def media_type(headers: Mapping[str, str]) -> str:
    """The encoding of a request. Raises RefusedError for others than OTLP's two."""
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in (PROTOBUF, JSON):
        raise RefusedError(
            415, "unsupported", f"Content-Type {media[:100]!r} is not read here; send {PROTOBUF} or {JSON}"
        )
    return media


def refusal(refused: RefusedError, headers: Mapping[str, str]) -> Receipt:
    """A refusal as OTLP wants it: a google.rpc.Status in the encoding of the request."""
    # Fields of google/rpc/status.proto: code = 1, message = 2.
    code, message = _GRPC.get(refused.status, 3), refused.detail
    if headers.get("content-type", "").partition(";")[0].strip().lower() == PROTOBUF:
        text = message.encode()
        body, media = b"\x08" + bytes((code,)) + b"\x12" + varint(len(text)) + text, PROTOBUF
    else:
        body, media = json.dumps({"code": code, "message": message}).encode(), JSON
    return Receipt(
        refused.status,
        message,
        refused.errors,
        refused.reason,
        refused.retry_after_s,
        body,
        media,
    )


def _parse(body: bytes, media: str) -> Any:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    try:
        if media == PROTOBUF:
            request.ParseFromString(body)
        else:
            json_format.Parse(body, request, ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        text = f"the body is not an ExportMetricsServiceRequest in {media} ({str(error)[:200]})"
        raise RefusedError(400, "malformed", f"{text}; correct the exporter") from None
    return request


def _response(media: str, skipped: _Skipped) -> Receipt:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    answer = ExportMetricsServiceResponse()
    if skipped.points:
        answer.partial_success.rejected_data_points = skipped.points
        answer.partial_success.error_message = skipped.text()
    body = answer.SerializeToString() if media == PROTOBUF else json_format.MessageToJson(answer, indent=None).encode()
    return Receipt(200, body=body, media_type=media)


def _source_labels(resource: Any) -> Labels:
    return resource_labels(_attributes(resource.attributes))


def _named(labels: Labels) -> str:
    own = dict(labels)
    shown = next((own[name] for name in ("instance", "host", "job") if name in own), "unnamed")
    return f"{shown}{{{','.join(f'{name}={value!r}' for name, value in labels)}}} by OTLP"


def _points(resource: Any, now: float, skipped: _Skipped) -> Iterator[_Point]:
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            match metric.WhichOneof("data"):
                case "gauge":
                    for point in metric.gauge.data_points:
                        yield _number(metric, point, now, "gauge", delta=False)
                case "sum":
                    yield from _sums(metric, now, skipped)
                case "histogram":
                    for point in metric.histogram.data_points:
                        yield from _histogram(metric, point, now, skipped)
                case "exponential_histogram":
                    text = "exponential histograms are not read; use explicit buckets"
                    skipped.add(len(metric.exponential_histogram.data_points), text)
                case "summary":
                    text = "summaries cannot be merged over instances; use histograms"
                    skipped.add(len(metric.summary.data_points), text)
                case _:
                    skipped.add(0, "a metric without data")


def _sums(metric: Any, now: float, skipped: _Skipped) -> Iterator[_Point]:
    temporality = metric.sum.aggregation_temporality
    if temporality not in (DELTA, CUMULATIVE):
        skipped.add(len(metric.sum.data_points), "sums without a temporality say neither a level nor a change")
        return
    for point in metric.sum.data_points:
        hint = "counter" if metric.sum.is_monotonic else "gauge"
        yield _number(metric, point, now, hint, delta=temporality == DELTA)


def _number(metric: Any, point: Any, now: float, hint: str, *, delta: bool) -> _Point:
    attributes = _attributes(point.attributes)
    found = hardware(metric.name, attributes)
    if found is None:
        name = metric_name(metric.name, metric.unit, total=hint == "counter", gauge=hint == "gauge")
        found = name, labels_of(attributes)
    kind = point.WhichOneof("value")
    value = float("nan") if kind is None or point.flags & NO_VALUE else float(getattr(point, kind))
    return _Point(*found, hint, _at(point, now), value, delta)


def _histogram(metric: Any, point: Any, now: float, skipped: _Skipped) -> Iterator[_Point]:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    temporality = metric.histogram.aggregation_temporality
    if temporality not in (DELTA, CUMULATIVE) or (counts and len(counts) != len(bounds) + 1):
        skipped.add(1, "histograms need a temporality, and one bucket more than bounds")
        return
    name = metric_name(metric.name, metric.unit, total=False, gauge=False)
    labels = dict(labels_of(_attributes(point.attributes)))
    at, delta, none = _at(point, now), temporality == DELTA, bool(point.flags & NO_VALUE)

    def one(part: str, value: float, **more: str) -> _Point:
        own = tuple(sorted({**labels, **more}.items()))
        return _Point(name + part, own, "histogram", at, float("nan") if none else value, delta)

    total = 0
    for bound, count in zip([*map(_bound, bounds), "+Inf"], counts, strict=False):
        total += count
        yield one("_bucket", total, le=bound)
    if point.HasField("sum"):
        yield one("_sum", point.sum)
    yield one("_count", point.count)


def _bound(bound: float) -> str:
    """A bound as Prometheus's text format writes it: 1.0, not 1."""
    return repr(float(bound))


def _at(point: Any, now: float) -> float:
    return point.time_unix_nano / 1e9 if point.time_unix_nano else now


def _attributes(attributes: Any) -> dict[str, str]:
    return {a.key[:MAX_TEXT]: text for a in attributes[:MAX_ATTRIBUTES] if (text := _text(a.value)[:MAX_TEXT])}


def _text(value: Any) -> str:
    """An attribute's value as a label's; lists and maps are none."""
    match value.WhichOneof("value"):
        case "string_value":
            return str(value.string_value)
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return repr(value.double_value)
        case _:
            return ""
