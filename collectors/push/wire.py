"""Remote-write requests, read at more than a million samples a second once their series are known.

A request repeats the labels of every series in full, the same bytes each time. So the bytes of a label section are
looked up in a dictionary instead of being decoded, and what is left of a series is one sample of a fixed shape, read by
numpy for all series at once. Only the protobuf library may add a key: the bytes before the samples, when the labels
that it read are exactly what these bytes say. A hit then proves that all labels were seen. What does not fit (several
samples, exemplars, another order of fields) is read by the library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from autoscaler.types import Labels
from collectors.push.refusal import RefusedError
from collectors.push.strict import Parsed, parse

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

STALE = 0x7FF0000000000002
"""The NaN by which Prometheus says that a series has ended (model/value of prometheus/prometheus)."""

_SERIES, _METADATA = 0x0A, 0x1A
_FULL = 18
"""Bytes of a sample with value and a time from 2004 to 2109: tag, length, tag, double, tag, varint of 6 bytes."""
_ZERO = 9
"""The same without a value, which is 0: proto3 leaves zeros out."""
_SHIFTS = np.array([0, 7, 14, 21, 28, 35], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Decoded:
    """Samples of one request, (samples,) each: number of the series, milliseconds, value; an ended series is NaN.

    skipped: what was not taken, by kind.
    """

    series: Indices
    at_ms: Indices
    values: Floats
    ended: NDArray[np.bool_]
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Walk:
    """What a walk over the bytes found: known series and where they end, by the shape of their sample."""

    full: list[int] = field(default_factory=list)
    full_ends: list[int] = field(default_factory=list)
    zero: list[int] = field(default_factory=list)
    zero_ends: list[int] = field(default_factory=list)
    odd: list[tuple[int, int]] = field(default_factory=list)
    metadata: int = 0


@dataclass(frozen=True, slots=True)
class _Samples:
    """Some samples, (samples,) each: number of the series, milliseconds, the bits of the value."""

    series: Indices
    at_ms: Indices
    bits: NDArray[np.uint64]

    def only(self, these: NDArray[np.bool_]) -> _Samples:
        """Those that the mask picks."""
        return _Samples(self.series[these], self.at_ms[these], self.bits[these])


class Reader:
    """Decodes requests. `register` gives a series (its labels, sorted) a number, or None where there is no room."""

    def __init__(self, register: Callable[[Labels], int | None]) -> None:
        self._register = register
        self._index: dict[bytes, int] = {}
        self._keys: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        """Label sections known."""
        return len(self._index)

    def forget(self, series: Iterable[int]) -> None:
        """Drop what leads to these series."""
        for number in series:
            for key in self._keys.pop(number, ()):
                del self._index[key]

    def read(self, raw: bytes) -> Decoded:
        """All samples of a WriteRequest. Raises RefusedError for bytes that are none; nothing is registered then."""
        found = self._walk(raw)
        buffer = np.frombuffer(raw, dtype=np.uint8)
        starts: dict[int, int] = {}
        parts = []
        for read, series, ends in (
            (_read_full, found.full, found.full_ends),
            (_read_zero, found.zero, found.zero_ends),
        ):
            if series:
                good, samples = read(buffer, np.array(series, dtype=np.int64), np.array(ends, dtype=np.int64))
                if not good.all():
                    starts = starts or _starts(raw)
                    found.odd += [(starts[ends[n]], ends[n]) for n in np.flatnonzero(~good)]
                    samples = samples.only(good)
                parts.append(samples)
        odd, skipped = self._read_strictly(raw, found.odd)
        parts.append(odd)
        bits = np.concatenate([part.bits for part in parts])
        skipped["metadata"] += found.metadata
        return Decoded(
            np.concatenate([part.series for part in parts]),
            np.concatenate([part.at_ms for part in parts]),
            bits.view(np.float64),
            bits == STALE,
            {reason: count for reason, count in skipped.items() if count},
        )

    # --- the fast path --------------------------------------------------------------------------------------------

    def _walk(self, raw: bytes) -> _Walk:
        found = _Walk()
        get = self._index.get
        full, full_ends, zero, zero_ends = found.full, found.full_ends, found.zero, found.zero_ends
        at, size = 0, len(raw)
        try:
            while at < size:
                if raw[at] != _SERIES:
                    at = _other(raw, at, found)
                    continue
                length = raw[at + 1]
                start = at + 2
                if length > 127:
                    high = raw[at + 2]
                    if high < 128:
                        length += (high << 7) - 128
                        start = at + 3
                    else:
                        length, start = _varint(raw, at + 1)
                at = start + length
                if at < _FULL:
                    # Counting back from here would count from the end of the request.
                    found.odd.append((start, at))
                    continue
                number = None
                if raw[at - _FULL] == 0x12:
                    number = get(raw[start : at - _FULL])
                if number is not None:
                    full.append(number)
                    full_ends.append(at)
                    continue
                number = get(raw[start : at - _ZERO])
                if number is None:
                    found.odd.append((start, at))
                else:
                    zero.append(number)
                    zero_ends.append(at)
        except IndexError:
            at = size + 1
        if at != size:
            raise RefusedError(
                400, "malformed", "the request breaks off inside a field; send it whole, as one WriteRequest"
            )
        return found

    # --- the thorough path ----------------------------------------------------------------------------------------

    def _read_strictly(self, raw: bytes, odd: list[tuple[int, int]]) -> tuple[_Samples, Counter[str]]:
        """Samples of these series, and what was skipped."""
        skipped: Counter[str] = Counter()
        parsed = [parse(raw, start, end, skipped) for start, end in odd]
        series: list[int] = []
        at_ms: list[int] = []
        values: list[float] = []
        for (start, end), one in zip(odd, parsed, strict=True):
            number = self._number(raw, start, end, one) if one.samples else None
            if number is None:
                skipped["no_room"] += len(one.samples)
                continue
            for time_ms, value in one.samples:
                series.append(number)
                at_ms.append(time_ms)
                values.append(value)
        bits = np.array(values, dtype=np.float64).view(np.uint64)
        return _Samples(np.array(series, dtype=np.int64), np.array(at_ms, dtype=np.int64), bits), skipped

    def _number(self, raw: bytes, start: int, end: int, one: Parsed) -> int | None:
        number = self._index.get(one.key)
        if number is not None:
            return number
        number = self._register(tuple(sorted(one.labels)))
        # The library read exactly these labels from the whole series; if their bytes are what it begins with, then no
        # label stands behind them.
        if number is not None and raw.startswith(one.key, start, end):
            self._index[one.key] = number
            self._keys.setdefault(number, []).append(one.key)
        return number


def _read_full(buffer: Bytes, series: Indices, ends: Indices) -> tuple[NDArray[np.bool_], _Samples]:
    """Samples with a value that stand before these ends, and whether each has the shape."""
    tails = sliding_window_view(buffer, _FULL)[ends - _FULL]
    good = (tails[:, 0] == 0x12) & (tails[:, 1] == 0x10) & (tails[:, 2] == 0x09)
    good &= (tails[:, 11] == 0x10) & _six_bytes(tails[:, 12:])
    bits = np.ascontiguousarray(tails[:, 3:11]).view("<u8")[:, 0].astype(np.uint64)
    return good, _Samples(series, _milliseconds(tails[:, 12:]), bits)


def _read_zero(buffer: Bytes, series: Indices, ends: Indices) -> tuple[NDArray[np.bool_], _Samples]:
    """The same for samples of 0."""
    tails = sliding_window_view(buffer, _ZERO)[ends - _ZERO]
    good = (tails[:, 0] == 0x12) & (tails[:, 1] == 0x07) & (tails[:, 2] == 0x10)
    good &= _six_bytes(tails[:, 3:])
    return good, _Samples(series, _milliseconds(tails[:, 3:]), np.zeros(series.size, dtype=np.uint64))


def _six_bytes(varints: Bytes) -> NDArray[np.bool_]:
    return np.asarray((varints[:, :5] > 127).all(axis=1) & (varints[:, 5] < 128))


def _milliseconds(varints: Bytes) -> Indices:
    return np.asarray(((varints & 0x7F).astype(np.int64) << _SHIFTS).sum(axis=1), dtype=np.int64)


def _starts(raw: bytes) -> dict[int, int]:
    """Where each series starts, by where it ends; for the few whose tail is odd."""
    found, at = {}, 0
    while at < len(raw):
        tag = raw[at]
        if tag != _SERIES:
            at = _other(raw, at, _Walk())
            continue
        length, start = _varint(raw, at + 1)
        at = start + length
        found[at] = start
    return found


def _other(raw: bytes, at: int, found: _Walk) -> int:
    """The place behind a field that is no series: metadata, or one that a later version may add."""
    tag, at = _varint(raw, at)
    if not 8 <= tag < 1 << 32:
        text = f"the bytes before {at} are the tag of no field"
        raise RefusedError(400, "malformed", f"{text}; send remote write 1.0")
    found.metadata += tag == _METADATA
    match tag & 7:
        case 0:
            return _varint(raw, at)[1]
        case 1:
            return at + 8
        case 2:
            length, at = _varint(raw, at)
            return at + length
        case 5:
            return at + 4
        case kind:
            text = f"the byte at {at} begins a field of wire type {kind}, which a WriteRequest has not"
            raise RefusedError(400, "malformed", f"{text}; send remote write 1.0")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and where it ends. IndexError at the end of the bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            return value, at
    raise RefusedError(400, "malformed", f"the number before byte {at} is longer than ten bytes; send remote write 1.0")
