"""The offers page: what each pool could buy, for how much, how fast, how many, and what stands in the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.offers import OfferView, offers_of
from autoscaler.api.room.asked import Asked, asked_of
from autoscaler.api.room.pages import Looking, render
from autoscaler.board import PoolView
from autoscaler.types import Learned

PER_PAGE = 20
ONLY = (
    ("", "all offers"),
    ("problem", "with a problem"),
    ("short", "short now"),
    ("used", "with instances"),
    ("unpriced", "without a price"),
)

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One offer. p50_s, p90_s: from order to serving; learned: from this pool's launches, otherwise a prior.

    success: share of launches that came to serve, None = none was seen. state: what matters most about it now.
    """

    offer: OfferView
    p50_s: float
    p90_s: float | None
    learned: bool
    success: float | None
    usd_per_replica: float | None
    state: str


@dataclass(frozen=True, slots=True)
class Pool:
    """The offers of one pool that match, and how many it has in all."""

    name: str
    rows: tuple[Row, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Found:
    """One page of pools. tiles: offers by state, over all pools."""

    pools: tuple[Pool, ...]
    page: int
    pages: int
    matching: int
    tiles: tuple[tuple[str, int, str], ...]


Choice = Annotated[Asked, Depends(asked_of(dict(ONLY)))]


@router.get("/offers")
def page(request: Request, deps: Deps, who: Looking, asked: Choice) -> Response:
    """The page."""
    return render(request, deps, who, "offers.html", asked=asked, kinds=ONLY, found=_found(deps, asked))


@router.get("/ui/offers")
def fragment(request: Request, deps: Deps, who: Looking, asked: Choice) -> Response:
    """The part that follows the service."""
    return render(request, deps, who, "offers_pools.html", asked=asked, kinds=ONLY, found=_found(deps, asked))


@dataclass(frozen=True, slots=True)
class Brief:
    """An offer in short: what tells whether it is wanted on the page, and costs little for thousands of them."""

    key: str
    state: str
    short: bool
    problem: bool
    priced: bool


def _found(deps: ApiDeps, asked: Asked) -> Found:
    words, now = asked.text.lower().split(), deps.clock.now()
    matching = list[tuple[PoolView, frozenset[str], int]]()
    counts: Counter[str] = Counter()
    for name, view in sorted(deps.board.pools().items()):
        if view.rules.shadow_of:
            continue
        briefs = tuple(_briefs(view, now))
        counts.update(b.state for b in briefs)
        used = {i.offer for i in view.fleet.instances} if view.fleet is not None else set()
        kept = frozenset(b.key for b in briefs if _kept(name, b, b.key in used, words, asked.only))
        if kept:
            matching.append((view, kept, len(briefs)))
    pages = max(1, math.ceil(len(matching) / PER_PAGE))
    page = min(asked.page, pages)
    shown = [
        Pool(view.rules.pool, tuple(_rows(view, deps, kept)), count)
        for view, kept, count in matching[(page - 1) * PER_PAGE : page * PER_PAGE]
    ]
    tiles = (
        ("can be bought", counts["can be bought"], ""),
        ("short: the cloud had none lately", counts["short"], "warn"),
        ("at a quota", counts["quota"], "warn"),
        ("with a problem", counts["problem"], "bad"),
    )
    return Found(tuple(shown), page, pages, len(matching), tiles)


def _briefs(view: PoolView, now: float) -> Iterator[Brief]:
    standings = {s.offer: s for s in view.fleet.standings} if view.fleet is not None else {}
    shortages = view.memory.shortages if view.memory is not None else {}
    for offer in view.rules.offers:
        told, lack = standings.get(offer.key), shortages.get(offer.key)
        short = lack is not None and lack.until > now
        problem = told is not None and bool(told.problem)
        at_quota = told is not None and (told.units == 0 or told.error == "quota")
        state = "quota" if at_quota else "problem" if problem else "short" if short else "can be bought"
        priced = offer.price_known or (told is not None and told.usd_per_hour is not None and bool(offer.priced))
        yield Brief(offer.key, state, short, problem, priced)


def _kept(pool: str, brief: Brief, used: bool, words: Sequence[str], only: str) -> bool:
    fits = {"": True, "problem": brief.problem, "short": brief.short, "used": used, "unpriced": not brief.priced}[only]
    about = f"{pool} {brief.key}".lower()
    return fits and all(word in about for word in words)


def _rows(view: PoolView, deps: ApiDeps, kept: frozenset[str]) -> Iterator[Row]:
    pool, now = view.rules.pool, deps.clock.now()
    states = {b.key: b.state for b in _briefs(view, now)}
    learned = deps.foresight.learned(pool) if deps.foresight is not None else Learned()
    success: Mapping[str, float] = deps.foresight.success(pool, now) if deps.foresight is not None else {}
    for offer in offers_of(view, deps):
        if offer.offer not in kept:
            continue
        lead, price = learned.lead_times.get(offer.offer), offer.usd_per_hour
        yield Row(
            offer=offer,
            p50_s=lead.p50_s if lead is not None else offer.lead_time_s,
            p90_s=lead.p90_s if lead is not None else None,
            learned=lead is not None and lead.version != "prior",
            success=success.get(offer.offer),
            usd_per_replica=price / offer.replicas if price is not None and offer.replicas > 1 else None,
            state=states[offer.offer],
        )
