"""The JSON that an agent, a script or a cron job pushes: checked by hand, so that every fault has its path."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoscaler.types import Labels
from collectors.push.bodies import plain
from collectors.push.refusal import RefusedError
from collectors.push.senders import Sender, Senders
from collectors.push.sources import Sources, Tally

INTERVAL_S = 15.0
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.05, 3600.0
MAX_SAMPLES = 50_000
MAX_LABELS = 32
MAX_NAME, MAX_VALUE = 200, 500
MAX_BODY = 16 << 20
MAX_FAULTS = 20
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_KEYS = ("source", "interval_s", "labels", "samples", "at", "instance", "started_at")
_SAMPLE_KEYS = ("metric", "labels", "value", "at")


@dataclass(frozen=True, slots=True)
class _Pushed:
    """A whole body. samples: (metric, labels, value, at); a value of NaN is none. sender: None = it does not say."""

    source: str
    interval_s: float
    labels: Labels
    samples: tuple[tuple[str, Labels, float, float], ...]
    sender: Sender | None


class JsonPush:
    """Takes bodies of POST /api/v1/push."""

    def __init__(self, sources: Sources, tally: Tally) -> None:
        self._sources = sources
        self._tally = tally
        self.senders = Senders(sources.limits.sources)

    def take(self, body: bytes, headers: Mapping[str, str], now: float) -> int:
        """How many samples were taken. Raises RefusedError with every fault, and nothing taken."""
        pushed = _read(plain(body, headers.get("content-encoding", ""), MAX_BODY), now)
        limits = self._sources.limits
        if self._sources.series + len(pushed.samples) > limits.series + MAX_SAMPLES:
            rule = f"the limit of all sources is {limits.series:,}; push fewer metrics"
            raise RefusedError(422, "no_room", f"there are {self._sources.series:,} pushed series already and {rule}")
        times = np.array([at for *_, at in pushed.samples])
        good = np.ones(times.size, dtype=np.bool_)
        for reason, out in (("too_old", times < now - limits.window_s), ("ahead", times > now + limits.ahead_s)):
            self._tally.skipped[reason] += int(np.count_nonzero(out))
            good &= ~out
        if not good.any():
            text = (
                f"every sample is {now - float(times.max()):,.0f} s old by this service's clock, which reads {now:.0f}"
            )
            rule = f"samples from {limits.window_s:g} s ago to {limits.ahead_s:g} s ahead are of use; set the clock"
            raise _refused([("samples", f"{text}; {rule}")])
        if pushed.sender is not None:
            self.senders.admit(_who(pushed), pushed.sender, pushed.interval_s, now)
        name = _named(pushed)
        source = self._sources.get(name, pushed.labels, self._tally.skipped, interval_s=pushed.interval_s)
        if source is None:
            raise RefusedError(422, "no_room", f"there are {limits.sources:,} sources already, which is the limit")
        series = np.array([source.number(metric, labels) for metric, labels, *_ in pushed.samples], dtype=np.int64)
        values = np.array([value for *_, value, _ in pushed.samples])
        self._sources.touch(source)
        return source.add(series[good], times[good], values[good], None, now)


def _named(pushed: _Pushed) -> str:
    """One source for each pace of a sender: what is asked of a series each second is not asked of a slow one."""
    return f"{_who(pushed)} by push every {pushed.interval_s:g} s"


def _who(pushed: _Pushed) -> str:
    return f"{pushed.source}{{{','.join(f'{name}={value!r}' for name, value in pushed.labels)}}}"


def _read(body: bytes, now: float) -> _Pushed:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "malformed", f"the body is not JSON in UTF-8 ({error}); send an object") from None
    faults: list[tuple[str, str]] = []
    if not isinstance(given, dict):
        raise _refused([("body", "is not an object; send {source, interval_s, labels, samples}")])
    faults += _unknown("", given, _KEYS)
    source = given.get("source")
    if not isinstance(source, str) or not 0 < len(source) <= MAX_NAME or not source.isprintable():
        faults.append(("source", f"must be a text of 1 to {MAX_NAME} printable characters; name the sender"))
    interval_s = _number(given.get("interval_s", INTERVAL_S))
    if interval_s is None or not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
        faults.append(("interval_s", f"must be a number of seconds from {MIN_INTERVAL_S:g} to {MAX_INTERVAL_S:g}"))
    labels, found = _labels("labels", given.get("labels", {}))
    faults += found
    at = now
    if given.get("at") is not None:
        at, found = _time("at", given["at"])
        faults += found
    sender, found = _sender(given)
    faults += found
    samples = given.get("samples")
    if not isinstance(samples, list) or not samples:
        faults.append(("samples", "must be a list of at least one {metric, labels, value, at}"))
        samples = []
    elif len(samples) > MAX_SAMPLES:
        raise _refused([("samples", f"there are {len(samples):,}, the limit is {MAX_SAMPLES:,}; push in parts")])
    read = []
    for n, sample in enumerate(samples):
        one, found = _sample(f"samples[{n}]", sample, at)
        read.append(one)
        faults += found
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise _refused(faults)
    return _Pushed(str(source), float(interval_s or 0.0), labels, tuple(read), sender)


def _sender(given: Mapping[str, Any]) -> tuple[Sender | None, list[tuple[str, str]]]:
    """Which process pushes; both keys or neither."""
    instance, started_at = given.get("instance"), given.get("started_at")
    if instance is None and started_at is None:
        return None, []
    faults = []
    if not isinstance(instance, str) or not 0 < len(instance) <= MAX_NAME or not instance.isprintable():
        rule = f"must be a text of 1 to {MAX_NAME} printable characters that names the process, beside started_at"
        faults.append(("instance", rule))
    at, found = _time("started_at", started_at)
    return Sender(str(instance), at), faults + found


def _sample(where: str, given: Any, at: float) -> tuple[tuple[str, Labels, float, float], list[tuple[str, str]]]:
    if not isinstance(given, dict):
        return ("", (), 0.0, 0.0), [(where, "is not an object; write {metric, labels, value, at}")]
    faults = list(_unknown(f"{where}.", given, _SAMPLE_KEYS))
    metric = given.get("metric")
    if not isinstance(metric, str) or len(metric) > MAX_NAME or not _METRIC.fullmatch(metric):
        rule = f"must be a metric's name of up to {MAX_NAME} of the characters a-z A-Z 0-9 _ :"
        faults.append((f"{where}.metric", rule))
    labels, found = _labels(f"{where}.labels", given.get("labels", {}))
    faults += found
    value = math.nan
    if "value" not in given:
        faults.append((f"{where}.value", "is missing; write a number, or null when there is none now"))
    elif given["value"] is not None:
        number = _number(given["value"])
        if number is None:
            rule = "must be a finite number; write null when there is no usable value now"
            faults.append((f"{where}.value", f"is {_shown(given['value'])} and {rule}"))
        else:
            value = number
    if given.get("at") is not None:
        at, found = _time(f"{where}.at", given["at"])
        faults += found
    return (str(metric), labels, value, at), faults


def _labels(where: str, given: Any) -> tuple[Labels, list[tuple[str, str]]]:
    if not isinstance(given, dict):
        return (), [(where, "must be an object of texts; write {} for none")]
    if len(given) > MAX_LABELS:
        return (), [(where, f"there are {len(given)} labels, the limit is {MAX_LABELS}; leave some out")]
    faults = []
    for name, value in given.items():
        if len(name) > MAX_NAME or not _LABEL.fullmatch(name) or name == "__name__":
            faults.append((f"{where}.{name[:50]}", "is not the name of a label: letters, digits and _, no digit first"))
        elif not isinstance(value, str) or len(value) > MAX_VALUE or not _encodable(value):
            faults.append((f"{where}.{name}", f"must be a text of up to {MAX_VALUE} characters"))
    return () if faults else tuple(sorted((k, v) for k, v in given.items() if v)), faults


def _encodable(text: str) -> bool:
    """Whether it is Unicode: JSON can write halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _time(where: str, given: Any) -> tuple[float, list[tuple[str, str]]]:
    at = _number(given)
    if at is None or not 0.0 <= at <= 253402300799.0:
        unit = "; these look like milliseconds" if at is not None and at > 0 else ""
        return 0.0, [(where, f"is {_shown(given)} and must be Unix seconds{unit}")]
    return at, []


def _number(given: Any) -> float | None:
    """A finite number; None for anything else, truth values among it."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    try:
        number = float(given)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _unknown(prefix: str, given: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key in given:
        if key not in known:
            yield f"{prefix}{key[:50]}", f"is not known here; there are {', '.join(known)}"


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, float | int) else json.dumps(value)
    return text if len(text) <= 50 else f"{text[:50]}..."


def _refused(faults: list[tuple[str, str]]) -> RefusedError:
    where, text = faults[0]
    more = f"; {len(faults) - 1} more under errors" if len(faults) > 1 else ""
    return RefusedError(422, "malformed", f"{where}: {text}{more}", faults[:MAX_FAULTS])
