"""The charts of a pool as data: columns on one time base, which chart draws which, and the decisions as marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.problems import Problem
from autoscaler.api.room.pages import HEADERS, Looking
from autoscaler.api.room.pool.grid import Values, grid
from autoscaler.api.room.pool.past import (
    Past,
    ahead,
    bounds,
    capacity,
    forecast_of,
    foretold,
    interval_s,
    measured,
    past,
    size,
)
from autoscaler.api.room.pools.glance import unit_of
from autoscaler.board import PoolView
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.shadow.account import demand_signal
from autoscaler.signals import metric

LONGEST_S = 31 * 86400.0
POINTS, MAX_POINTS = 800, 2000
MAX_CHARTS = 10
MOST_MARKS = 500
KINDS = {
    "mean": "the mean at that time",
    "peak": "the highest until then",
    "need": "the rate that serves all until then",
}
"""What a forecast is of, in words."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One column of a chart. kind: line, step, imagined (a step of a candidate), ahead (from now on) or bound."""

    column: str
    label: str
    kind: str
    colour: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. bands: pairs of columns, upper and lower, with the area between them. marks: decisions are drawn.

    note: what a reader has to know of it.
    """

    id: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    bands: tuple[tuple[str, str], ...] = ()
    marks: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A decision that changed the size."""

    number: int
    at: float
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Series:
    """Charts and columns of a span. at ascends, columns have its length, NaN is a gap. present: rows up to now.

    empty: signals without a single value in the span.
    """

    pool: str
    since: float
    until: float
    now: float
    at: Values
    present: int
    columns: dict[str, Values]
    charts: tuple[Chart, ...]
    marks: tuple[Mark, ...]
    thinned: bool
    empty: tuple[str, ...]


@router.get("/ui/pools/{pool}/series")
def series_of(
    view: View,
    deps: Deps,
    _: Looking,
    since: Annotated[float | None, Query(ge=0, le=1e11, allow_inf_nan=False)] = None,
    until: Annotated[float | None, Query(ge=0, le=1e11, allow_inf_nan=False)] = None,
    points: Annotated[int, Query(ge=10, le=MAX_POINTS)] = POINTS,
) -> JSONResponse:
    """All columns of the span, the last hour unless told; null is a gap."""
    now = deps.clock.now()
    end = now if until is None else until
    begin = end - 3600.0 if since is None else since
    if not 1.0 <= end - begin <= LONGEST_S:
        raise Problem(422, f"from since to until are {end - begin:g} s; ask for 1 s to 31 days")
    return JSONResponse(_shown(series(view, deps, begin, end, points)), headers=HEADERS)


def series(view: PoolView, deps: ApiDeps, since: float, until: float, points: int) -> Series:
    """The charts of a span. Raises StorageError when the journal cannot be read."""
    p = past(view, deps, since, until)
    rules = view.rules
    plain = [s for s in rules.signals if s.forecast is None]
    base = grid(since, until, points, _pace_s(p, plain))
    columns = {f"s:{s.name}": measured(p, base, s) for s in plain}
    columns |= {name: size(p, base, name) for name in ("want", "ready", "pending")}
    columns["capacity"] = capacity(p, base, columns["ready"])
    candidate = deps.shadows().get(rules.pool)
    if candidate is not None and candidate.candidate is not None:
        columns["candidate"] = size(past(candidate.candidate, deps, since, until), base, "want")
    for signal in plain:
        columns[f"low:{signal.name}"], columns[f"high:{signal.name}"] = bounds(p, base, signal.name)
    look = forecast_of(rules)
    if look is not None:
        columns["foretold"] = foretold(p, base, look)
    at, coming = base.at, ahead(p, look) if look is not None and p.now - until < 60.0 else None
    if coming is not None:
        # The fan begins in the row that says what is newest.
        columns = {name: np.append(rows, np.full(len(coming.at) - 1, math.nan)) for name, rows in columns.items()}
        for quantile, rows in coming.rows:
            later = np.array([math.nan if cell is None else cell for cell in rows])
            columns[f"q{quantile:g}"] = np.append(np.full(at.size - 1, math.nan), later)
        at = np.append(at, coming.at[1:])
    known = {name: rows for name, rows in columns.items() if np.isfinite(rows).any()}
    marks = deps.journal.past.short(rules.pool, since=since, until=until, only="both", limit=MOST_MARKS)
    return Series(
        pool=rules.pool,
        since=since,
        until=until,
        now=p.now,
        at=at,
        present=base.at.size,
        columns=known,
        charts=charts(rules, known, coming.of if coming is not None else ""),
        marks=tuple(Mark(m.number, m.at, m.before or 0, m.want) for m in reversed(marks)),
        thinned=base.thinned,
        empty=tuple(s.name for s in plain if f"s:{s.name}" not in known),
    )


def _pace_s(p: Past, plain: Sequence[Signal]) -> float:
    """Seconds between points of the quickest signal, as the last of them came."""
    near = max(p.since, p.until - 3600.0)
    found = [interval_s(p.history(s.name, near, p.until)[0], p.view.rules) for s in plain]
    return min([*found, p.view.rules.tick_s])


def charts(rules: RuleSet, known: dict[str, Values], of: str) -> tuple[Chart, ...]:
    """Demand, replicas, then every other signal: what waits, how long it takes, how busy it is, the rest."""
    demand = demand_signal(rules)
    made = [_demand(rules, demand, known, of), _replicas(known)]
    others = [s for s in rules.signals if f"s:{s.name}" in known and (demand is None or s.name != demand.name)]
    made += [_signal(s, known) for s in sorted(others, key=lambda s: (_rank(s), s.name))]
    return tuple(chart for chart in made if chart.lines)[:MAX_CHARTS]


def _demand(rules: RuleSet, demand: Signal | None, known: dict[str, Values], of: str) -> Chart:
    found = []
    if demand is not None:
        found = [
            Line(f"s:{demand.name}", f"demand ({demand.name})", "line", "demand"),
            Line("capacity", "capacity of ready replicas", "step", "ready"),
            Line("foretold", "was foretold", "line", "ahead"),
            *_band(demand),
        ]
        names = sorted((name for name in known if name.startswith("q")), key=lambda name: float(name[1:]))
        found += [Line(n, f"forecast {float(n[1:]):.0%}", "ahead", "ahead") for n in names]
        bands = [(f"high:{demand.name}", f"low:{demand.name}"), *([(names[-1], names[0])] if len(names) > 1 else [])]
    unit = unit_of(rules).strip() or "work/s"
    lines = tuple(found)
    note = f"Forecasts: {KINDS[of]}." if of in KINDS else ""
    made = Chart("demand", "Demand and capacity", unit, lines, tuple(bands) if demand else (), note=note)
    return _kept(made, known)


def _band(signal: Signal) -> tuple[Line, Line]:
    """What conditions compare a signal with."""
    low, high = Line(f"low:{signal.name}", "lower bound", "bound", "soft"), f"high:{signal.name}"
    return low, Line(high, "upper bound", "bound", "soft")


def _replicas(known: dict[str, Values]) -> Chart:
    found = (
        Line("candidate", "the candidate would want", "imagined", "ahead"),
        Line("want", "wanted", "step", "wanted"),
        Line("ready", "ready", "step", "ready"),
        Line("pending", "pending", "step", "pending"),
    )
    return _kept(Chart("replicas", "Replicas", "replicas", found, marks=True), known)


def _signal(signal: Signal, known: dict[str, Values]) -> Chart:
    named = metric(signal.metric) if signal.metric is not None else None
    unit = "" if named is None or signal.aggregate == "count" else f"{named.unit}{'/s' if signal.rate_s else ''}"
    colour = {0: "queue", 1: "pending", 2: "ready"}.get(_rank(signal), "demand")
    found = (
        Line(f"s:{signal.name}", signal.name, "line", colour),
        *_band(signal),
    )
    said = signal.metric or "a query"
    title = f"{signal.name}: {said}" if said != signal.name else said
    bands = ((f"high:{signal.name}", f"low:{signal.name}"),)
    return _kept(Chart(f"signal-{signal.name}", title, unit, found, bands), known)


def _kept(chart: Chart, known: dict[str, Values]) -> Chart:
    """The chart with those of its columns that have a value."""
    some = tuple(line for line in chart.lines if line.column in known)
    bands = tuple((high, low) for high, low in chart.bands if high in known and low in known)
    return replace(chart, lines=some, bands=bands)


def _rank(signal: Signal) -> int:
    """Queues, latencies, shares of a whole, the rest."""
    named = metric(signal.metric) if signal.metric is not None else None
    if signal.metric == "requests_waiting":
        return 0
    if named is None:
        return 3
    return {"seconds": 1, "ratio": 2}.get(named.unit, 3)


def _shown(found: Series) -> dict[str, object]:
    return {
        "pool": found.pool,
        "since": found.since,
        "until": found.until,
        "now": found.now,
        "thinned": found.thinned,
        "at": np.round(found.at, 3).tolist(),
        "columns": {name: _rounded(rows) for name, rows in found.columns.items()},
        "charts": [asdict(chart) for chart in found.charts],
        "marks": [asdict(mark) for mark in found.marks],
        "empty": list(found.empty),
    }


def _rounded(rows: Values) -> list[float | None]:
    """Five significant digits, which no chart can show, and null for gaps."""
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where((rows == 0) | ~np.isfinite(rows), 1.0, 10.0 ** (4 - np.floor(np.log10(np.abs(rows)))))
    short = np.round(rows * size) / size
    return [value if math.isfinite(value) else None for value in short.tolist()]
