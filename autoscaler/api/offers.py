"""What each pool could buy: prices, lead times, quotas, shortages, and what stands in an offer's way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.paging import After, link_next, page
from autoscaler.api.problems import Problem, documented, found_close
from autoscaler.board import PoolView
from autoscaler.types import Learned

PAGE = 10_000
MAX_PAGE = 10_000

router = APIRouter(tags=["offers"], responses=documented(401, 403, 404, 422))


class OfferView(BaseModel):
    """One offer of a pool. null = not known."""

    pool: str
    offer: str = Field(description="its key: provider/type/region/zone/purchase")
    provider: str
    type: str
    region: str
    zone: str
    purchase: str
    replicas: int = Field(description="replicas that one instance hosts")
    usd_per_hour: float | None
    price_from: str = Field(description="where the price comes from, empty = the rule file states it")
    lead_time_s: float = Field(description="from order to serving, median")
    lead_time_learned: bool
    instances: int = Field(description="instances of it that the pool has or has on order")
    units: int | None = Field(description="instances more that the account's quota had room for when it was asked")
    quota: str = Field(description="that quota in words")
    short_until: float | None = Field(description="after a shortage it is not asked for before then")
    shortages: int = Field(description="refusals in a row")
    problem: str = Field(description="why nothing of it can be launched and what to do, empty = nothing known")
    error: str = Field(description="the class of the problem, as in outcomes: provider or quota")
    asked_at: float | None = Field(description="when its cloud was asked, null = it was not")
    unknown: list[str] = Field(description="questions to its cloud that could not be asked, and why")


class OffersView(BaseModel):
    """Offers, by pool and then in the order of their rule files. next_after: for `after`, null = the end."""

    offers: list[OfferView]
    next_after: str | None


@router.get("/offers")
def list_offers(
    deps: Deps,
    request: Request,
    response: Response,
    pool: Annotated[str | None, Query(max_length=200)] = None,
    provider: Annotated[str | None, Query(max_length=100)] = None,
    troubled: Annotated[bool | None, Query(description="only offers with a problem or short, or without")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    after: After = "",
) -> OffersView:
    """What each pool could buy now, at what price, how fast, how many, and what stands in the way."""
    views = deps.board.pools()
    if pool is not None and pool not in views:
        raise Problem(404, f"there is no pool {pool!r}; {found_close(pool, views)}")
    wanted = [views[pool]] if pool is not None else [v for _, v in sorted(views.items()) if not v.rules.shadow_of]
    found = [
        (one.pool, place, one)
        for view in wanted
        for place, one in enumerate(offers_of(view, deps))
        if provider in (None, one.provider) and troubled in (None, bool(one.problem or one.short_until is not None))
    ]
    shown, next_after = page(found, lambda row: row[:2], after, limit)
    link_next(request, response, after=next_after)
    return OffersView(offers=[one for _, _, one in shown], next_after=next_after)


def offers_of(view: PoolView, deps: ApiDeps) -> Iterator[OfferView]:
    """The offers of one pool."""
    rules, fleet, now = view.rules, view.fleet, deps.clock.now()
    learned = deps.foresight.learned(rules.pool) if deps.foresight is not None else Learned()
    shortages = view.memory.shortages if view.memory is not None else {}
    for stated in rules.offers:
        offer = fleet.priced(stated) if fleet is not None else stated
        told = fleet.standing(offer.key) if fleet is not None else None
        lead, short = learned.lead_times.get(offer.key), shortages.get(offer.key)
        yield OfferView(
            pool=rules.pool,
            offer=offer.key,
            provider=offer.provider,
            type=offer.type,
            region=offer.region,
            zone=offer.zone,
            purchase=offer.purchase,
            replicas=offer.replicas,
            usd_per_hour=offer.usd_per_hour if offer.price_known else None,
            price_from=offer.priced,
            lead_time_s=lead.p50_s if lead is not None else offer.lead_time_s,
            lead_time_learned=lead is not None,
            instances=sum(i.offer == offer.key for i in fleet.instances) if fleet is not None else 0,
            units=told.units if told is not None else None,
            quota=told.quota if told is not None else "",
            short_until=short.until if short is not None and short.until > now else None,
            shortages=short.misses if short is not None else 0,
            problem=told.problem if told is not None else "",
            error=told.error if told is not None else "",
            asked_at=told.at if told is not None else None,
            unknown=list(told.unknown) if told is not None else [],
        )


def problems(deps: ApiDeps) -> Iterator[str]:
    """Offers of which nothing can be launched, for people who ask whether all is well."""
    for pool, view in sorted(deps.board.pools().items()):
        for told in view.fleet.standings if view.fleet is not None else ():
            if told.problem:
                yield f"pool {pool}, offer {told.offer}: {told.problem}"
