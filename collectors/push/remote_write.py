"""The receiver of Prometheus remote write 1.0: snappy, protobuf, and the samples of each target put together."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from autoscaler.types import Labels
from collectors.push.bodies import unsnapped
from collectors.push.refusal import RefusedError
from collectors.push.source import Source
from collectors.push.sources import Sources, Tally
from collectors.push.strict import NAME
from collectors.push.wire import Reader

TARGET = ("instance", "job", "pool")
"""Labels that say which target a series comes from. `pool` is one of them, so that a source has one pool."""
HOLD_S = 0.25
"""Pieces of one scrape leave a sender within milliseconds of each other unless a request was filled up."""
PATIENCE_S = 10.0
"""Prometheus sends a request that is not full after 5 s (queue_config.batch_send_deadline): silence until then and a
lost request more say nothing about a target."""
_V1 = "send `application/x-protobuf` with prometheus.WriteRequest (remote write 1.0)"


class RemoteWrite:
    """Takes bodies of POST /api/v1/write."""

    def __init__(self, sources: Sources, tally: Tally) -> None:
        self._sources = sources
        self._tally = tally
        self._reader = Reader(self._register)
        self._owners: list[Source | None] = []
        self._places: dict[str, int] = {}
        self._members: dict[str, list[int]] = {}
        self._free: list[int] = []
        self._used = 0
        self._owner_of = np.zeros(1024, dtype=np.int64)
        self._series_of = np.zeros(1024, dtype=np.int64)

    def take(self, body: bytes, headers: Mapping[str, str], now: float) -> int:
        """How many samples were taken. Raises RefusedError, with nothing taken."""
        _check(headers)
        decoded = self._reader.read(unsnapped(body))
        self._tally.skipped.update(decoded.skipped)
        limits = self._sources.limits
        at = decoded.at_ms / 1000.0
        old, ahead = at < now - limits.window_s, at > now + limits.ahead_s
        series, values, ended = decoded.series, decoded.values, decoded.ended
        out = old | ahead
        if out.any():
            self._tally.skipped["too_old"] += int(np.count_nonzero(old))
            self._tally.skipped["ahead"] += int(np.count_nonzero(ahead))
            series, at, values, ended = series[~out], at[~out], values[~out], ended[~out]
        if not series.size:
            return 0
        # Signalling ones, as Prometheus's mark of an ended series is, make every later multiplication warn.
        values[np.isnan(values)] = np.nan
        owners, places = self._owner_of[series], self._series_of[series]
        if (owners == owners[0]).all():
            parts = [slice(None)]
        else:
            order = np.argsort(owners, kind="stable")
            owners, places, at, values, ended = owners[order], places[order], at[order], values[order], ended[order]
            cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), owners.size]
            parts = [slice(*bounds) for bounds in pairwise(cuts)]
        taken = 0
        for part in parts:
            source = self._owners[int(owners[part][0])]
            assert source is not None, "a number of a source that was forgotten"
            taken += source.add(places[part], at[part], values[part], ended[part], now)
            self._sources.touch(source)
        return taken

    def forget(self, source: Source) -> None:
        """Drop the numbers of a source's series: it forgot some, or was forgotten. The strict reader adds them anew."""
        place = self._places.pop(source.name, None)
        if place is not None:
            numbers = self._members.pop(source.name)
            self._reader.forget(numbers)
            self._free += numbers
            self._owners[place] = None

    def _register(self, labels: Labels) -> int | None:
        pairs = dict(labels)
        name = pairs.pop(NAME)
        target = tuple((label, pairs.pop(label)) for label in TARGET if pairs.get(label))
        if len(self._reader) >= self._sources.limits.series:
            return None
        source = self._sources.get(
            _named(target), target, self._tally.skipped, hold_s=HOLD_S, patience_s=PATIENCE_S, scraped=True
        )
        if source is None:
            return None
        if self._free:
            number = self._free.pop()
        else:
            number, self._used = self._used, self._used + 1
            if number == self._owner_of.size:
                self._owner_of = np.concatenate((self._owner_of, np.zeros_like(self._owner_of)))
                self._series_of = np.concatenate((self._series_of, np.zeros_like(self._series_of)))
        place = self._places.get(source.name)
        if place is None:
            place = self._places[source.name] = self._room()
            self._owners[place] = source
            self._members[source.name] = []
        self._members[source.name].append(number)
        self._owner_of[number] = place
        self._series_of[number] = source.number(name, tuple(sorted(pairs.items())))
        return number

    def _room(self) -> int:
        if None in self._owners:
            return self._owners.index(None)
        self._owners.append(None)
        return len(self._owners) - 1


def _check(headers: Mapping[str, str]) -> None:
    media, _, more = headers.get("content-type", "").partition(";")
    message = more.partition("proto=")[2].strip(' "')
    if message not in ("", "prometheus.WriteRequest"):
        raise RefusedError(
            415, "unsupported", f"messages of {message[:100]!r} (remote write 2) are not read here; {_V1}"
        )
    if media.strip().lower() != "application/x-protobuf":
        raise RefusedError(415, "unsupported", f"Content-Type {media[:100]!r} is not remote write; {_V1}")
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding != "snappy":
        rule = "remote write 1.0 is compressed with snappy (block format); send Content-Encoding: snappy"
        raise RefusedError(415, "unsupported", f"Content-Encoding {encoding[:50]!r} is not read here; {rule}")
    version = headers.get("x-prometheus-remote-write-version", "0.1.0")
    if not version.startswith("0.1."):
        raise RefusedError(415, "unsupported", f"remote write version {version[:20]!r} is not read here; {_V1}")


def _named(target: Labels) -> str:
    """What a person recognises first: the address, or the job where there is none."""
    labels = dict(target)
    shown = labels.get("instance") or labels.get("job") or "remote write"
    return f"{shown}{{{','.join(f'{name}={value!r}' for name, value in target)}}} by remote write"
