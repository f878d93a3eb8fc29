"""Which pools the first page lists and in what order: the query of its address, as values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.api.room.pools.attention import Need
from autoscaler.api.room.pools.glance import Glance
from autoscaler.api.room.pools.standing import WORDS

MAX_TEXT = 200

_KEYS: Mapping[str, Callable[[Glance], Any]] = {
    "trouble": lambda g: g.trouble,
    "name": lambda g: 0,
    "load": lambda g: -(g.load_percent if g.load_percent is not None else -1),
    "queue": lambda g: -(g.queue or 0.0),
    "size": lambda g: -(g.wanted or 0),
    "cost": lambda g: -(g.usd_per_hour or 0.0),
    "change": lambda g: -(g.change.at if g.change is not None else 0.0),
}
"""Each falls back on the name, so that equal pools do not change places."""

ORDERS = {
    "trouble": "trouble first",
    "name": "name",
    "load": "load, highest first",
    "queue": "queue, longest first",
    "size": "size, largest first",
    "cost": "cost, highest first",
    "change": "last change, newest first",
}

MARKED = ("alerts", "people")
"""Choices beside the states: pools with alerts that fire, and pools in which people ordered something."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a visitor wants to see. text: a part of the name, of the state or of what people ordered. state: a word, or
    one of MARKED; empty = all."""

    text: str = ""
    state: str = ""
    sort: str = "trouble"


def wish(query: Mapping[str, str]) -> Wish:
    """The query's wish; what is not known there falls back to everything, trouble first, since links grow old."""
    state, sort = query.get("state", ""), query.get("sort", "trouble")
    return Wish(
        query.get("q", "")[:MAX_TEXT].strip(),
        state if state in WORDS or state in MARKED else "",
        sort if sort in _KEYS else "trouble",
    )


def listed(glances: Iterable[Glance], wanted: Wish) -> list[Glance]:
    """The pools that are asked for, in the order that is asked for."""
    found = [g for g in glances if _fits(g, wanted)]
    return sorted(found, key=lambda g: (_KEYS[wanted.sort](g), g.pool))


def _fits(g: Glance, wanted: Wish) -> bool:
    if wanted.state == "alerts":
        fits = g.firing > 0
    elif wanted.state == "people":
        fits = bool(g.notes)
    else:
        fits = wanted.state in ("", g.state.word)
    if fits and wanted.text:
        said = " ".join((g.pool, g.state.word, *(n.word for n in g.notes))).lower()
        fits = all(part in said for part in wanted.text.lower().split())
    return fits


@dataclass(frozen=True, slots=True)
class Totals:
    """The strip above the list, over all pools whatever is listed. people: pools that need a person."""

    pools: int
    ready: int
    pending: int
    gpus: int
    usd_per_hour: float
    usd_today: float
    firing: int
    critical: int
    people: int
    unwatched: int


def totals(glances: Iterable[Glance], needs: Iterable[Need]) -> Totals:
    """Sums; a pool whose fleet is not known counts as nothing, and as one that is not watched."""
    rows = list(glances)
    return Totals(
        pools=len(rows),
        ready=sum(g.ready or 0 for g in rows),
        pending=sum(g.pending or 0 for g in rows),
        gpus=sum(g.gpus for g in rows),
        usd_per_hour=sum(g.usd_per_hour or 0.0 for g in rows),
        usd_today=sum(g.usd_today for g in rows),
        firing=sum(g.firing for g in rows),
        critical=sum(g.critical for g in rows),
        people=len({n.pool for n in needs if n.pool}),
        unwatched=sum(g.ready is None for g in rows),
    )
