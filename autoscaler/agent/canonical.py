"""The page under our own names: the table of canonical metrics, and the aggregates of each second behind a suffix.

A collector tells them apart by the label `stat`. On a page they have names of their own, `gpu_power_watts_max`: whoever
adds up `gpu_power_watts` must not add its maximum too.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.agent.families import Family, Line, prefix
from autoscaler.signals import all_metrics, metric
from autoscaler.types import SeriesKey

STATISTIC = "stat"
STATISTICS = {
    "min": "The lowest value",
    "mean": "The mean",
    "max": "The highest value",
    "p95": "The 95th percentile",
}


def spelled(key: SeriesKey) -> SeriesKey:
    """The series as pages and pushes name it."""
    statistic = key.label(STATISTIC)
    if statistic not in STATISTICS:
        return key
    labels = tuple(pair for pair in key.labels if pair[0] != STATISTIC)
    return SeriesKey(f"{key.metric}_{statistic}", labels, key.counter)


def families(keys: Sequence[SeriesKey]) -> tuple[Family, ...]:
    """Every series under its own name, in the order of the table; names that the table does not hold come last."""
    lines: dict[str, list[Line]] = {}
    counters = set()
    for place, key in enumerate(keys):
        lines.setdefault(key.metric, []).append(Line(prefix(key.metric, key.labels), (place,)))
        if key.counter:
            counters.add(key.metric)
    ranks = {known.name: rank for rank, known in enumerate(all_metrics())}
    names = sorted(lines, key=lambda name: (ranks.get(_base(name), len(ranks)), name))
    return tuple(
        Family(name, "counter" if name in counters else "gauge", describe(name), tuple(lines[name])) for name in names
    )


def describe(name: str) -> str:
    """What a metric says, as HELP: with its unit, and what it does not prove."""
    known = metric(name)
    if known is not None:
        more = "; clips at a limit, so it cannot say how much more is asked for" if known.saturating else ""
        kept = "; engines keep it, so a low value proves nothing" if known.scale_out_only else ""
        return f"{known.help} ({known.unit}){more}{kept}"
    base = _base(name)
    if base != name:
        return f"{STATISTICS[name[len(base) + 1 :]]} of {base} within one second"
    return "Not a canonical metric; the collector that brought it knows its meaning"


def _base(name: str) -> str:
    """The metric whose aggregate this is; the name itself if it is none."""
    base, _, statistic = name.rpartition("_")
    return base if statistic in STATISTICS and metric(base) is not None else name
