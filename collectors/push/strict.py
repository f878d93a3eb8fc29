"""One series of a remote-write request, read by the protobuf library: slow, and what the fast path agrees with."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from autoscaler.types import Labels
from collectors.push.prompb import messages
from collectors.push.refusal import RefusedError

NAME = "__name__"
MAX_LABELS = 64
MAX_LABEL_BYTES = 4096
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class Parsed:
    """One series. key: its labels alone, as protobuf's encoders write them. samples: (milliseconds, value)."""

    labels: Labels
    key: bytes
    samples: tuple[tuple[int, float], ...]


def parse(raw: bytes, start: int, end: int, skipped: Counter[str]) -> Parsed:
    """The TimeSeries between two places. Exemplars and native histograms are counted in `skipped`.

    Raises RefusedError for what is no series.
    """
    from google.protobuf.message import DecodeError

    where = f"timeseries at byte {start}"
    try:
        series = messages()["TimeSeries"].FromString(raw[start:end])
    except DecodeError:
        text = "is not a TimeSeries of remote write 1.0 in protobuf with UTF-8 labels; correct the sender"
        raise RefusedError(400, "malformed", f"{where} {text}", [(where, text)]) from None
    skipped["exemplars"] += len(series.exemplars)
    skipped["histograms"] += len(series.histograms)
    labels = tuple((label.name, label.value) for label in series.labels)
    fault = _fault(labels)
    if fault:
        raise RefusedError(400, "malformed", f"{where}: labels: {fault}", [(f"{where}.labels", fault)])
    samples = tuple((sample.timestamp, sample.value) for sample in series.samples)
    for other in ("samples", "exemplars", "histograms"):
        series.ClearField(other)
    series.DiscardUnknownFields()
    return Parsed(labels, series.SerializeToString(), samples)


def _fault(labels: Labels) -> str:
    pairs = dict(labels)
    if len(labels) > MAX_LABELS:
        return f"there are {len(labels)}, the limit is {MAX_LABELS}; drop some by write_relabel_configs"
    if len(pairs) < len(labels):
        twice = next(name for n, (name, _) in enumerate(labels) if name in dict(labels[:n]))
        return f"{twice[:100]!r} stands there twice; a label has one value"
    if "" in pairs:
        return "one has no name; give every label a name"
    if not _METRIC.fullmatch(pairs.get(NAME, "")):
        return f"{NAME} is {pairs.get(NAME, '')[:100]!r}, not the name of a metric; give every series one"
    for name, value in labels:
        if len(name) + len(value) > MAX_LABEL_BYTES:
            return f"{name[:100]!r} is longer than {MAX_LABEL_BYTES} characters; drop it by write_relabel_configs"
    return ""


def varint(length: int) -> bytes:
    """A length as protobuf writes it: seven bits a byte, the lowest first."""
    digits = bytearray()
    while length > 127:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits)
