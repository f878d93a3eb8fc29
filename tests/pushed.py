"""Remote-write bodies, and a push collector on a clock that a test sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cramjam

from autoscaler.clock import SimClock
from autoscaler.types import Batch, Post, PostKind, Receipt, SeriesKey
from collectors.push import Push
from collectors.push.prompb import messages

START = 1_700_000_000.0
HEADERS = {
    "content-type": "application/x-protobuf",
    "content-encoding": "snappy",
    "x-prometheus-remote-write-version": "0.1.0",
}
TARGET = {"job": "engines", "instance": "a:1", "pool": "chat"}
Series = tuple[Mapping[str, str], Sequence[tuple[float, float]]]
"""Labels, and (seconds, value) of each sample."""


def series(name: str, *samples: tuple[float, float], **labels: str) -> Series:
    """A series of the target, with these labels besides."""
    return {"__name__": name, **TARGET, **labels}, samples


def piece(at: float, *names: str, value: float = 1.0) -> list[Series]:
    """A sample of each of these series, so many seconds after the start."""
    return [series(name, (START + at, value)) for name in names]


def message(*given: Series) -> Any:
    """A WriteRequest as Prometheus writes it: labels sorted by name."""
    made = messages()["WriteRequest"]()
    for labels, samples in given:
        one = made.timeseries.add()
        for name, text in sorted(labels.items()):
            one.labels.add(name=name, value=text)
        for at, value in samples:
            one.samples.add(value=value, timestamp=round(at * 1000))
    return made


def snappy(raw: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(raw))


def body(*given: Series) -> bytes:
    return snappy(message(*given).SerializeToString())


@dataclass(slots=True)
class Pushed:
    """A push collector without its thread: time passes when `at` is moved. `batches` is all that was collected."""

    clock: SimClock = field(default_factory=lambda: SimClock(START))
    push: Push = field(init=False)
    batches: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.push = Push(self.clock)

    def post(self, kind: PostKind, content: bytes, headers: Mapping[str, str] = HEADERS, pool: str = "") -> Receipt:
        return self.push.receive(Post(kind, content, headers, pool))

    def write(self, *given: Series) -> list[Batch]:
        """Take a remote-write request, which must be taken; what came of it at once."""
        receipt = self.post("remote_write", body(*given))
        assert receipt.status == 204, receipt
        return self.collect()

    def collect(self) -> list[Batch]:
        found = list(self.push.collect(self.clock.now()))
        self.batches += found
        return found

    def wait(self, seconds: float) -> list[Batch]:
        """Let time pass; what came of it."""
        self.clock.at += seconds
        return self.collect()

    def skipped(self, kind: PostKind = "remote_write") -> dict[str, int]:
        return skipped(self.push, kind)

    def refused(self, kind: PostKind = "remote_write") -> dict[str, int]:
        """Posts that were refused, by reason."""
        return next({k: n for k, n in s.refused.items() if n} for s in self.push.status() if s.kind == kind)


def skipped(push: Push, kind: PostKind = "remote_write") -> dict[str, int]:
    """What was not taken of posts that were, by reason."""
    return next({k: n for k, n in s.skipped.items() if n} for s in push.status() if s.kind == kind)


def values(batch: Batch) -> dict[str, float]:
    """Values of a batch by metric; for series that have one metric each."""
    return {key.metric: float(value) for key, value in zip(batch.keys, batch.values, strict=True)}


def shown(batches: Iterable[Batch]) -> list[tuple[float, str, dict[str, float]]]:
    """Seconds since the start, state and values of each batch."""
    return [(round(b.at - START, 3), b.state, values(b)) for b in batches]


def keys(batches: Iterable[Batch]) -> set[SeriesKey]:
    return {key for batch in batches for key in batch.keys}
