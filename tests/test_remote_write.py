"""Remote write 1.0: what is read from the wire is what the protobuf library reads, and what is refused."""

from __future__ import annotations

import contextlib
import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.types import Labels
from collectors.push import strict
from collectors.push.prompb import messages
from collectors.push.refusal import RefusedError
from collectors.push.wire import STALE, Decoded, Reader
from tests.pushed import HEADERS, START, Pushed, body, message, piece, series, snappy

STALE_NAN = struct.unpack("<d", struct.pack("<Q", STALE))[0]
RECORDED = sorted((Path(__file__).parent / "data" / "remote_write").glob("*.snappy"))


class Numbered:
    """Numbers for series as they come, and the label sets behind them."""

    def __init__(self) -> None:
        self.labels: list[Labels] = []
        self.reader = Reader(self.register)

    def register(self, labels: Labels) -> int:
        if labels not in self.labels:
            self.labels.append(labels)
        return self.labels.index(labels)

    def read(self, raw: bytes) -> Counter[tuple[Labels, int, bytes]]:
        return self.named(self.reader.read(raw))

    def named(self, decoded: Decoded) -> Counter[tuple[Labels, int, bytes]]:
        """What was read, as labels, milliseconds and the exact bits of the value."""
        bits = decoded.values.view(np.uint64).tolist()
        rows = zip(decoded.series.tolist(), decoded.at_ms.tolist(), bits, strict=True)
        return Counter((self.labels[n], ms, struct.pack("<Q", b)) for n, ms, b in rows)


def oracle(raw: bytes) -> Counter[tuple[Labels, int, bytes]]:
    """What the protobuf library reads from the same bytes."""
    return Counter(
        (tuple(sorted((label.name, label.value) for label in one.labels)), s.timestamp, struct.pack("<d", s.value))
        for one in messages()["WriteRequest"].FromString(raw).timeseries
        for s in one.samples
    )


NAMES = st.sampled_from(["up", "vllm:num_requests_waiting", "DCGM_FI_DEV_POWER_USAGE", "x"])
TEXTS = st.text(max_size=30) | st.text("abc", min_size=120, max_size=140) | st.just("ü" * 200)
LABELS = st.dictionaries(st.sampled_from(["job", "instance", "pool", "gpu", "le", "zone"]), TEXTS, max_size=4)
VALUES = st.sampled_from([0.0, -0.0, 1.0, STALE_NAN, math.nan, math.inf]) | st.floats(width=64)
TIMES = st.integers(1_600_000_000_000, 1_800_000_000_000) | st.integers(-(2**63), 2**63 - 1) | st.just(0)
SAMPLES = st.lists(st.tuples(VALUES, TIMES), max_size=3) | st.lists(st.tuples(VALUES, TIMES), min_size=1, max_size=1)
SERIES = st.tuples(
    NAMES, LABELS, SAMPLES, st.sampled_from(["plain", "plain", "plain", "exemplar", "turned", "unknown"])
)


def encoded(given_series: tuple[str, dict[str, str], list[tuple[float, int]], str]) -> bytes:
    """A TimeSeries field, in the usual order of bytes or in one that protobuf allows as well."""
    name, labels, samples, shape = given_series
    one = messages()["TimeSeries"]()
    for key, text in sorted({"__name__": name, **labels}.items()):
        one.labels.add(name=key, value=text)
    first: bytes = one.SerializeToString()
    rest = messages()["TimeSeries"]()
    for value, at in samples:
        rest.samples.add(value=value, timestamp=at)
    if shape == "exemplar":
        rest.exemplars.append(b"\x0a\x00")
    last: bytes = rest.SerializeToString()
    if shape == "unknown":
        last += b"\xf8\x07\x01"
    inner = last + first if shape == "turned" else first + last
    return b"\x0a" + strict.varint(len(inner)) + inner


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(st.lists(SERIES, max_size=6), min_size=1, max_size=4), st.booleans())
def test_what_is_read_is_what_the_protobuf_library_reads(requests: list[list[Any]], metadata: bool) -> None:
    """Bit for bit, whatever was read before: the same reader meets the same series again in other company."""
    numbered = Numbered()
    for request in [*requests, *requests]:
        raw = b"".join(map(encoded, request)) + (b"\x1a\x02\x08\x01" if metadata else b"")
        assert numbered.read(raw) == oracle(raw)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(SERIES, min_size=1, max_size=3), st.data())
def test_damaged_bytes_are_refused_or_read_as_protobuf_reads_them(request: list[Any], data: st.DataObject) -> None:
    whole = b"".join(map(encoded, request))
    numbered = Numbered()
    numbered.read(whole)
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if damaged:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(damaged)
    try:
        expected = oracle(raw)
    except DecodeError:
        with pytest.raises(RefusedError):
            numbered.read(raw)
        return
    with contextlib.suppress(RefusedError):  # such as for labels that protobuf does not judge
        assert numbered.read(raw) == expected


def test_series_that_are_known_are_read_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    numbered = Numbered()
    request = [series("a", (START, 1.5)), series("b", (START, 0.0)), series("c", (START, STALE_NAN), gpu="7" * 200)]
    numbered.read(message(*request).SerializeToString())
    monkeypatch.setattr("collectors.push.wire.parse", lambda *_: pytest.fail("the library was asked"))
    later = [(labels, [(START + 15.0, value) for _, value in samples]) for labels, samples in request]
    raw = message(*reversed(later)).SerializeToString()
    assert numbered.read(raw) == oracle(raw)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_bodies_are_read_as_the_library_reads_them(path: Path) -> None:
    from collectors.push.bodies import unsnapped

    raw = unsnapped(path.read_bytes())
    numbered = Numbered()
    assert numbered.read(raw) == oracle(raw)
    assert numbered.read(raw) == oracle(raw)
    assert len(numbered.labels) >= 500


GOOD = body(*piece(0.0, "a"))
NAMELESS = snappy(message(({"job": "x"}, [(START, 1.0)])).SerializeToString())


def twice() -> bytes:
    made = message(*piece(0.0, "a"))
    made.timeseries[0].labels.add(name="job", value="other")
    return snappy(made.SerializeToString())


@pytest.mark.parametrize(
    ("headers", "content", "status", "text"),
    [
        ({"content-type": "text/plain"}, GOOD, 415, "Content-Type 'text/plain' is not remote write"),
        (
            {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"},
            GOOD,
            415,
            "messages of 'io.prometheus.write.v2.Request' (remote write 2) are not read here",
        ),
        ({"x-prometheus-remote-write-version": "2.0.0"}, GOOD, 415, "version '2.0.0' is not read here"),
        ({"content-encoding": "zstd"}, GOOD, 415, "Content-Encoding 'zstd' is not read here; remote write 1.0 is"),
        ({}, b"\xff" * 9, 400, "not snappy's block format"),
        ({}, b"\xff\x06\x00\x00sNaPpY", 400, "not snappy's block format"),
        ({}, b"\xff\xff\xff\xff\x0f" + b"x", 413, "says that it decompresses to 4,294,967,295 bytes"),
        ({}, GOOD[:-3], 400, "not snappy's block format"),
        ({}, snappy(message(*piece(0.0, "a")).SerializeToString()[:-3]), 400, "breaks off inside a field"),
        ({}, snappy(b"\x0a\x03abc"), 400, "timeseries at byte 2 is not a TimeSeries"),
        ({}, NAMELESS, 400, "labels: __name__ is '', not the name of a metric"),
        ({}, twice(), 400, "'job' stands there twice"),
    ],
    ids=[
        "another type",
        "remote write 2",
        "version 2",
        "another compression",
        "noise",
        "framed snappy",
        "a bomb",
        "half a block",
        "half a message",
        "no protobuf",
        "no name",
        "a label twice",
    ],
)
def test_a_wrong_request_is_refused_with_the_reason_and_nothing_is_taken(
    headers: dict[str, str], content: bytes, status: int, text: str
) -> None:
    pushed = Pushed()
    receipt = pushed.post("remote_write", content, HEADERS | headers)
    assert receipt.status == status
    assert text in receipt.detail
    assert pushed.wait(1.0) == []
    assert pushed.refused() == {receipt.reason: 1}


def test_one_bad_series_keeps_the_whole_request_out() -> None:
    pushed = Pushed()
    receipt = pushed.post("remote_write", body(*piece(0.0, "a"), ({"__name__": "1x", "job": "x"}, [(START, 1.0)])))
    assert (receipt.status, pushed.wait(1.0)) == (400, [])
