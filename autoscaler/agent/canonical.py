"""The page under our own names: the table of canonical metrics, each followed by its aggregates."""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.agent.families import Family, Line, prefix
from autoscaler.signals import aggregated, all_metrics, metric
from autoscaler.types import SeriesKey


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
    if known is None:
        return "Not a canonical metric; the collector that brought it knows its meaning"
    more = "; clips at a limit, so it cannot say how much more is asked for" if known.saturating else ""
    kept = "; engines keep it, so a low value proves nothing" if known.scale_out_only else ""
    return f"{known.help} ({known.unit}){more}{kept}"


def _base(name: str) -> str:
    """The metric whose aggregate this is; the name itself if it is none."""
    parts = aggregated(name)
    return name if parts is None else parts[0]
