"""A pool's page: how it stands, what it did and why, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.room.pages import Looking, Visitor, render
from autoscaler.api.room.pool.decisions import chosen, listed, wanted
from autoscaler.api.room.pool.grid import Values
from autoscaler.api.room.pool.missing import Found, Pool
from autoscaler.api.room.pool.parts import compared, head, judgements, known, machines
from autoscaler.api.room.pool.series import Series, series
from autoscaler.errors import StorageError

MOST_NOTICE = 300
FIGURES = 12
"""Rows of the tables that say in numbers what the charts draw."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Span:
    """What the charts can show. every_s: how often an open page asks for it anew."""

    name: str
    title: str
    seconds: float
    every_s: float


SPANS = (
    Span("15m", "15 minutes", 900.0, 2.0),
    Span("1h", "hour", 3600.0, 5.0),
    Span("6h", "6 hours", 6 * 3600.0, 15.0),
    Span("24h", "24 hours", 86400.0, 60.0),
    Span("7d", "7 days", 7 * 86400.0, 300.0),
)
USUAL = SPANS[1]


@dataclass(frozen=True, slots=True)
class Tried:
    """A form that was sent and needs another look: what was typed, what is wrong with it, or what it asks back."""

    deed: str
    fields: Mapping[str, str]
    problem: str = ""
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One column in numbers. values: at even instants of the span, None = not known."""

    label: str
    now: float | None
    least: float | None
    most: float | None
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """One chart in numbers. at: instants of the values of each column."""

    id: str
    title: str
    unit: str
    at: tuple[float, ...]
    columns: tuple[Figure, ...]


@router.get("/pools/{pool}")
def page(request: Request, deps: Deps, who: Looking, pool: Pool) -> Response:
    """The page."""
    return shown(request, deps, who, pool)


def shown(
    request: Request, deps: ApiDeps, who: Visitor, pool: Found, tried: Tried | None = None, status: int = 200
) -> Response:
    """The page, with a form that needs another look if there is one."""
    query = request.query_params
    view, span = pool.view, _span(query)
    try:
        decisions, past = listed(view, deps, wanted(query)), _figures(pool, deps, span)
        unread = ""
    except StorageError as error:
        decisions, past, unread = None, (), str(error)
    parts: dict[str, Any] = {
        "decisions": decisions,
        "figures": past,
        "unread": unread,
        "span": span,
        "spans": SPANS,
        "notice": query.get("notice", "")[:MOST_NOTICE],
        "tried": tried,
        "picked": query.get("instance", "")[:500],
        "everything": query.get("instances") == "all",
        "number": query.get("decision", "")[:20],
        "ending": query.get("end", "")[:64],
        "undo": query.get("undo", "")[:20],
    }
    return render(
        request,
        deps,
        who,
        "pool.html",
        status,
        **parts,
        **_now(pool, deps, parts),
        **chosen(pool, deps, query.get("decision", "")),
    )


def _now(pool: Found, deps: ApiDeps, parts: Mapping[str, object]) -> dict[str, Any]:
    view = pool.view
    return {
        "pool": pool.name,
        "head": head(view, deps),
        "machines": machines(view, deps, bool(parts["everything"])),
        "judgements": judgements(view, deps),
        "known": known(view, deps),
        "compared": compared(view, deps),
    }


def _span(query: Mapping[str, str]) -> Span:
    return next((s for s in SPANS if s.name == query.get("span")), USUAL)


def _figures(pool: Found, deps: ApiDeps, span: Span) -> tuple[Figures, ...]:
    now = deps.clock.now()
    found = series(pool.view, deps, now - span.seconds, now, 240)
    at = tuple(float(t) for t in found.at[_picked(found)])
    return tuple(
        Figures(
            c.id, c.title, c.unit, at, tuple(_figure(one.label, found.columns[one.column], found) for one in c.lines)
        )
        for c in found.charts
    )


def _picked(found: Series) -> NDArray[np.intp]:
    """Rows at even distances, the newest included."""
    return np.linspace(0, found.present - 1, FIGURES).astype(np.intp)


def _figure(label: str, rows: Values, found: Series) -> Figure:
    """A column in numbers; what is foretold has no present and no values of the span."""
    present = rows[: found.present]
    known = present[np.isfinite(present)]
    ahead = rows[np.isfinite(rows)]
    return Figure(
        label,
        float(known[-1]) if known.size else None,
        float(known.min()) if known.size else float(ahead.min()) if ahead.size else None,
        float(known.max()) if known.size else float(ahead.max()) if ahead.size else None,
        tuple(float(value) if np.isfinite(value) else None for value in present[_picked(found)]),
    )


# --- parts that follow the service ---------------------------------------------------------------------------------


@router.get("/ui/pools/{pool}/head")
def head_part(request: Request, deps: Deps, who: Looking, pool: Pool) -> Response:
    """How the pool stands."""
    return render(request, deps, who, "pool_head.html", pool=pool.name, head=head(pool.view, deps))


@router.get("/ui/pools/{pool}/instances")
def instances_part(request: Request, deps: Deps, who: Looking, pool: Pool) -> Response:
    """The table of instances."""
    everything = request.query_params.get("instances") == "all"
    found = machines(pool.view, deps, everything)
    return render(request, deps, who, "pool_instances.html", pool=pool.name, machines=found, everything=everything)


@router.get("/ui/pools/{pool}/signals")
def signals_part(request: Request, deps: Deps, who: Looking, pool: Pool) -> Response:
    """The table of signals, and what is learned."""
    return render(
        request,
        deps,
        who,
        "pool_signals.html",
        pool=pool.name,
        judgements=judgements(pool.view, deps),
        known=known(pool.view, deps),
    )


@router.get("/ui/pools/{pool}/shadow")
def shadow_part(request: Request, deps: Deps, who: Looking, pool: Pool) -> Response:
    """The pool beside its candidate."""
    return render(request, deps, who, "pool_shadow.html", pool=pool.name, compared=compared(pool.view, deps))


@router.get("/ui/pools/{pool}/figures")
def figures_part(request: Request, deps: Deps, who: Looking, pool: Pool) -> Response:
    """The charts in numbers."""
    span = _span(request.query_params)
    found = _figures(pool, deps, span)
    return render(request, deps, who, "pool_figures.html", pool=pool.name, figures=found, span=span)
