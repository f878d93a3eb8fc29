"""One number of a pool from its raw series, as of a time, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoscaler.ruleset import Signal
from autoscaler.signals import answer, is_answer
from autoscaler.store.aggregate import Float64s, aggregate, histogram_quantile, partial_bounds, rates, window_totals
from autoscaler.store.rawseries import ABSENT_S
from autoscaler.store.selection import Part, Selection
from autoscaler.store.source import Source
from autoscaler.types import Quality

AGE_INTERVALS = 3.0
FROZEN_INTERVALS = 10.0
FROZEN_S = 90.0
"""dcgm-exporter collects every 30 s by default, so a faster scrape repeats each value; three collections must agree."""

_AVERAGED = ("_active_ratio", "_occupancy_ratio", "_saturation_ratio")
_SAMPLED = ("_busy_ratio", "_copy_ratio", "kv_cache_used_ratio")


@dataclass(frozen=True, slots=True)
class Measured:
    """Value of a pool signal. `newest_at` is the time of the newest sample in it, NaN if there is none.

    `value` is NaN exactly when there is none to be had: missing, frozen, or fresh and nothing was observed.
    """

    value: float
    quality: Quality
    detail: str = ""
    newest_at: float = math.nan
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class _Series:
    """All series of a signal, (series,) each: value, its time, whether it may be used, whether it should be there."""

    values: Float64s
    at: Float64s
    recent: NDArray[np.bool_]
    expected: NDArray[np.bool_]
    sources: tuple[Source, ...]
    owner_of: NDArray[np.intp]


def measure(
    signal: Signal, selection: Selection, now: float, work_at: float = -math.inf, busy_at: float = -math.inf
) -> Measured:
    """Aggregate of the series that answer, with bounds for those that do not.

    A series answers while its source is up and its last value is at most `max_age_s` old. Series that their source
    stopped giving are expected for another `max_hold_s`; where it stopped giving all of them, for a day. `work_at` is
    when work counters of the pool last moved, `busy_at` when one of its GPUs was last busy by the driver's own account.
    """
    if not selection.parts:
        return _nothing(signal, selection, now)
    if signal.quantile is not None and signal.over_s is not None:
        return _histogram(signal, selection, signal.quantile, signal.over_s, now)
    if signal.rate_s is not None and not selection.counters:
        text = f"{signal.metric} is not a counter: a rate needs one, leave `rate` out"
        return Measured(math.nan, "missing", text)
    values = [_rate(part, signal.rate_s) if signal.rate_s else part.ring.raw[part.columns] for part in selection.parts]
    series = _series(signal, selection, now, values)
    frozen = np.zeros(0, np.bool_) if signal.rate_s else _frozen(signal, selection, series, work_at, busy_at)
    if frozen.any():
        if frozen[series.recent].all():
            return _stuck(signal, series)
        # One stuck series among living ones is one that does not answer; a zero there may well be an idle replica.
        series = replace(series, recent=series.recent & ~(frozen & (series.values != 0.0)))
    return _judge(signal, selection, series, now)


def _judge(signal: Signal, selection: Selection, series: _Series, now: float) -> Measured:
    known = int(np.count_nonzero(series.recent))
    if known == series.recent.size and not (selection.silent or selection.refused):
        value = aggregate(series.values, signal.aggregate, signal.quantile)
        return Measured(value, "fresh", "", float(series.at.max()))
    if known:
        used = series.values[series.recent]
        newest_at = float(series.at[series.recent].max())
        value = aggregate(used, signal.aggregate, signal.quantile)
        missing = int(np.count_nonzero(series.expected & ~series.recent)) + _unheard(selection, series)
        missing += selection.refused
        if not missing:
            return Measured(value, "fresh", "", newest_at)
        lower, upper = partial_bounds(used, missing, signal.aggregate, signal.quantile)
        return Measured(value, "partial", _who(signal, selection, series, now), newest_at, lower=lower, upper=upper)
    held = ~np.isnan(series.values) & (series.at >= now - signal.max_hold_s)
    if not held.any():
        return Measured(math.nan, "missing", _who(signal, selection, series, now))
    value = aggregate(series.values[held], signal.aggregate, signal.quantile)
    return Measured(value, "stale", _who(signal, selection, series, now), float(series.at[held].max()))


def _series(signal: Signal, selection: Selection, now: float, values: list[Float64s]) -> _Series:
    recents, expecteds, ats, owners, count = [], [], [], [], 0
    for part, own in zip(selection.parts, values, strict=True):
        ring, columns = part.ring, part.columns
        at = ring.last_at[columns]
        max_age_s = AGE_INTERVALS * ring.news_s[part.owner] if signal.max_age_s is None else signal.max_age_s
        recents.append(ring.up[part.owner] & (at >= now - max_age_s) & ~np.isnan(own))
        listed = ring.listed[columns]
        gives = np.zeros(len(part.sources), np.bool_)
        gives[part.owner_of[listed]] = True
        absent = ~gives[part.owner_of] & (at >= now - ABSENT_S)
        expecteds.append(listed | absent | (at >= now - signal.max_hold_s))
        ats.append(at)
        owners.append(part.owner_of + count)
        count += len(part.sources)
    if len(values) == 1:
        return _Series(values[0], ats[0], recents[0], expecteds[0], selection.parts[0].sources, owners[0])
    sources = tuple(source for part in selection.parts for source in part.sources)
    return _Series(
        np.concatenate(values),
        np.concatenate(ats),
        np.concatenate(recents),
        np.concatenate(expecteds),
        sources,
        np.concatenate(owners),
    )


def _rate(part: Part, window_s: float) -> Float64s:
    """Increase per second of each counter of a part, over the window that ends at the newest row of its source.

    A window in which a source has no two news would be empty most of the time; it is as long as these need.
    """
    found = np.empty(0)
    slowest_s = float(part.ring.news_s[part.owners].max())
    if slowest_s > part.ring.interval_s:
        window_s = max(window_s, 2.0 * slowest_s)
    for times, grown in _windows(part, window_s):
        found, complete = rates(times, grown, part.ring.began_at[part.columns], window_s)
        if complete:
            break
    return found


def _windows(part: Part, window_s: float) -> Iterator[tuple[Float64s, Float64s]]:
    """Times and values (time, series) of the newest rows, enough to fill the window, then twice as many each time."""
    ring = part.ring
    count = min(math.ceil(window_s / ring.interval_s) + 2, ring.slots)
    while True:
        slots, at = ring.rows(part.owners, count)
        if count == ring.slots or not (at[0] > at[-1] - window_s).any():
            yield at[:, part.owner_of], ring.values[slots[:, part.owner_of], part.columns].astype(np.float64)
            if count == ring.slots:
                return
        count = min(2 * count, ring.slots)


def _histogram(signal: Signal, selection: Selection, quantile: float, over_s: float, now: float) -> Measured:
    """Quantile of the observations of the last `over_s`, over all histograms of the pool that share their buckets."""
    histograms = selection.histograms
    if histograms is None:
        return Measured(math.nan, "missing", f"{signal.metric} has no buckets with a readable bound `le`")
    totals = [window_totals(*next(_windows(part, over_s)), over_s) for part in selection.parts]
    buckets = _series(signal, selection, now, totals)
    last = histograms.buckets[:, -1]
    series = _Series(
        values=buckets.values[histograms.buckets].sum(axis=1),
        at=buckets.at[last],
        recent=np.logical_and.reduce(buckets.recent[histograms.buckets], axis=1),
        expected=buckets.expected[last],
        sources=buckets.sources,
        owner_of=buckets.owner_of[last],
    )
    some = bool(series.recent.any())
    used = series.recent if some else ~np.isnan(series.values) & (series.at >= now - signal.max_hold_s)
    if not used.any():
        return Measured(math.nan, "missing", _who(signal, selection, series, now))
    newest_at = float(series.at[used].max())
    merged = buckets.values[histograms.buckets[used]].sum(axis=0)
    value, lower, upper = histogram_quantile(quantile, histograms.bounds, merged)
    if math.isnan(value):
        return Measured(math.nan, "missing", f"no observations of {signal.metric} in {over_s:g} s", newest_at)
    found = Measured(value, "fresh", "", newest_at, lower=lower, upper=upper)
    out = (series.expected & ~series.recent).any() or selection.refused
    if not some or out or _unheard(selection, series):
        return replace(found, quality="partial" if some else "stale", detail=_who(signal, selection, series, now))
    if histograms.left_out:
        text = f"{histograms.left_out} histograms have other buckets than the rest and are left out"
        return replace(found, quality="partial", detail=text)
    return found


def _frozen(signal: Signal, selection: Selection, series: _Series, work_at: float, busy_at: float) -> NDArray[np.bool_]:
    """Series whose value has been the same, bit for bit, for longer than is plausible while work flows, (series,).

    Only device and cache activity is judged. A ratio may sit at its limit 1 for as long as there is load. It may sit at
    0 while short requests pass between two samples, unless it is an average over the interval. While the work
    counters stand still, nothing is suspicious: a true zero is data. Averages come from the profiling counters, which
    a profiler pauses and a fault stops while the driver's own `gpu_busy_ratio` goes on; that is a witness against them.
    """
    metric = signal.metric or ""
    averaged = metric.endswith(_AVERAGED)
    if not averaged and not metric.endswith(_SAMPLED):
        return np.zeros(0, np.bool_)
    found = []
    worked_at = max(work_at, busy_at) if averaged else work_at
    for part in selection.parts:
        ring, columns = part.ring, part.columns
        news_s = ring.news_s[part.owner]
        at, changed_at, value = ring.last_at[columns], ring.changed_at[columns], ring.raw[columns]
        limit_s = np.maximum(FROZEN_INTERVALS * ring.interval_s, np.maximum(AGE_INTERVALS * news_s, FROZEN_S))
        flows = (worked_at > changed_at + news_s) & (worked_at >= at - AGE_INTERVALS * news_s)
        plausible = (value == 1.0) if averaged else (value == 1.0) | (value == 0.0)
        found.append((at - changed_at > limit_s) & flows & ~plausible)
    stuck = np.concatenate(found)
    return stuck & series.recent


def _stuck(signal: Signal, series: _Series) -> Measured:
    values = series.values[series.recent]
    newest_at = float(series.at[series.recent].max())
    many = f"{values[0]:g}" if np.all(values == values[0]) else f"the same {values.size} values"
    text = f"{signal.metric} has shown exactly {many} for over {FROZEN_S:g} s while requests are being served"
    return Measured(math.nan, "frozen", text, newest_at)


def _unheard(selection: Selection, series: _Series) -> int:
    """Series that are missing because a source has been down from the start: as many as the others give on average."""
    down = sum(source.down_since is not None for source in selection.silent)
    return round(down * max(1.0, series.values.size / max(len(series.sources), 1)))


def _nothing(signal: Signal, selection: Selection, now: float) -> Measured:
    down = [source for source in selection.silent if source.down_since is not None]
    text = f"no source gives {signal.metric}"
    if selection.refused:
        text = _no_room(signal, selection)
    if signal.metric == answer(signal.name):
        text = "no collector has answered its query; configure one such as `prometheus`"
    return Measured(math.nan, "missing", f"{text}; {_down(down, now)}" if down else text)


def _who(signal: Signal, selection: Selection, series: _Series, now: float) -> str:
    """Which targets do not answer, or how many series are without a value when all of them do."""
    heard = np.zeros(len(series.sources), np.bool_)
    heard[series.owner_of[series.recent]] = True
    expected = np.zeros(len(series.sources), np.bool_)
    expected[series.owner_of[series.expected | series.recent]] = True
    absent = [source for source, ok, due in zip(series.sources, heard, expected, strict=True) if due and not ok]
    silent = [source for source in selection.silent if source.down_since is not None]
    total = int(np.count_nonzero(expected)) + len(silent)
    if absent and not silent and _windowed(signal) and all(_answers(source, now) for source in absent):
        ready = f"{int(np.count_nonzero(heard))} of {total} targets gave the two samples"
        return f"{ready} that a rate or a window needs; {_called(absent)} gave one so far, the next one is enough"
    if (absent or silent) and is_answer(signal.metric or ""):
        return _down([*absent, *silent], now)
    if selection.refused:
        return _no_room(signal, selection)
    if absent or silent:
        return f"{int(np.count_nonzero(heard))} of {total} targets answer; {_down([*absent, *silent], now)}"
    count, known = np.count_nonzero(series.expected | series.recent), np.count_nonzero(series.recent)
    return f"{known} of {count} series have a recent value"


def _no_room(signal: Signal, selection: Selection) -> str:
    return f"{selection.refused} series of {signal.metric} found no room; scrape fewer, or raise max_series"


def _windowed(signal: Signal) -> bool:
    return signal.rate_s is not None or signal.over_s is not None


def _answers(source: Source, now: float) -> bool:
    """Whether the source is up and young, so that only a second sample can be what it lacks."""
    return source.down_since is None and now - source.at <= AGE_INTERVALS * source.interval_s


def _called(sources: list[Source]) -> str:
    """The first of them by its address, without the labels that follow it, and how many more there are."""
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    return sources[0].name.partition("{")[0] + more


def _down(sources: list[Source], now: float) -> str:
    source, name = sources[0], sources[0].name.partition("{")[0]
    more = f", and {len(sources) - 1} more" if len(sources) > 1 else ""
    if source.down_since is not None:
        return f"{name} is down since {max(0.0, now - source.down_since):.0f} s{more}"
    return f"{name} gave no value for {max(0.0, now - source.at):.0f} s{more}"
