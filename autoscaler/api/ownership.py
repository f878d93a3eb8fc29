"""Whose machines are whose: fleets without rules and how they are let go, machines of others and how they join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from autoscaler.api.auth import Operator
from autoscaler.api.deps import ApiDeps, Deps, PoolName, View
from autoscaler.api.paging import After, link_next, page
from autoscaler.api.problems import Problem, documented, found_close
from autoscaler.errors import ProviderError
from autoscaler.ownerless import with_release
from autoscaler.ports import Adopter
from autoscaler.ruleset import RuleSet
from autoscaler.types import Instance, Offer, Override

log = structlog.get_logger(__name__)
router = APIRouter(tags=["ownership"], responses=documented(401, 403, 404, 409, 422, 502, 503))

MAX_ADOPTED = 500
MAX_PAGE = 1000


class OwnerlessPool(BaseModel):
    """A pool that no rule file in force is about, and its instances. release: the override that lets it go."""

    pool: str
    instances: list[Instance]
    text: str
    release: Override | None


class OwnerlessPools(BaseModel):
    """Such pools, by name. next_after: for `after`, null = the end."""

    pools: list[OwnerlessPool]
    next_after: str | None


class WordIn(BaseModel):
    """Who says so, and why."""

    model_config = ConfigDict(extra="forbid")
    author: str = Field(min_length=1, max_length=100, pattern=r"\S")
    reason: str = Field(min_length=1, max_length=500, pattern=r"\S")


class AdoptIn(WordIn):
    """Machines to give to a pool, by their provider's ids."""

    instances: list[str] = Field(min_length=1, max_length=MAX_ADOPTED)


class Adoptable(BaseModel):
    """Machines that are nobody's and are what the pool's offers would launch. unknown: what could not be asked, and
    what to do instead."""

    pool: str
    instances: list[Instance]
    unknown: list[str]


class Adopted(BaseModel):
    """What was given to the pool; the next report of its provider shows it."""

    pool: str
    instances: list[str]


@router.get("/ownerless")
def list_ownerless(
    deps: Deps,
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    after: After = "",
) -> OwnerlessPools:
    """Pools that have instances and no rule file in force. Their machines go on until a person releases them."""
    found, next_after = page([*deps.board.ownerless.values()], lambda o: (o.pool,), after, limit)
    link_next(request, response, after=next_after)
    return OwnerlessPools(
        pools=[OwnerlessPool(pool=o.pool, instances=[*o.instances], text=o.text, release=o.release) for o in found],
        next_after=next_after,
    )


@router.post("/ownerless/{pool}/release", responses=documented(400, 413))
def release(pool: PoolName, deps: Deps, caller: Operator, body: WordIn) -> Override:
    """Let the machines of a pool without rules go: out of routing, empty or past the drain deadline, then ended."""
    if pool in deps.rulebook.current():
        raise Problem(409, f"pool {pool!r} has a rule file in force; remove that first, or change its limits")
    if pool not in deps.board.ownerless:
        raise Problem(404, f"no instances of a pool {pool!r} without rules; {found_close(pool, deps.board.ownerless)}")
    problems = deps.rulebook.problems
    if problems:
        # The pool's own file may be the one that cannot be read.
        raise Problem(
            409, f"rule files are broken, and one of them may be of pool {pool}; mend it first: {problems[0]}"
        )
    now = deps.clock.now()
    override = with_release(pool, body.author.strip(), body.reason.strip(), now)
    deps.journal.put_override(override)
    log.warning("pool released", pool=pool, author=override.author, reason=override.reason, token=caller.name)
    deps.board.wake.set()
    return override


@router.get("/pools/{pool}/adoptable")
def list_adoptable(view: View, deps: Deps, _: Operator) -> Adoptable:
    """Machines that are nobody's and could join the pool. Asks its providers, which takes seconds."""
    found: list[Instance] = []
    unknown = []
    for name, offers, adopter in _asked(view.rules, deps):
        if adopter is None:
            unknown.append(f"provider {name} cannot adopt; it has only what was launched through it")
            continue
        try:
            found += adopter.adoptable(view.rules.pool, offers)
        except ProviderError as error:
            unknown.append(f"provider {name}: {error}")
    return Adoptable(pool=view.rules.pool, instances=found, unknown=unknown)


@router.post("/pools/{pool}/adopt", responses=documented(400, 413))
def adopt(view: View, deps: Deps, caller: Operator, body: AdoptIn) -> Adopted:
    """Give machines to the pool by tagging them. They count from the next report on, as a floor for a while."""
    pool = view.rules.pool
    if deps.withheld:
        raise Problem(409, "the service only watches (shadow), so it tags nothing; tag them by hand or run it for real")
    for _name, offers, adopter, ids in _shared(view.rules, deps, body.instances):
        try:
            adopter.take_over(pool, offers, ids)
        except ProviderError as error:
            raise Problem(409 if type(error) is ProviderError else 502, str(error)) from error
    log.warning(
        "adopted", pool=pool, instances=body.instances, author=body.author, reason=body.reason, token=caller.name
    )
    deps.board.wake.set()
    return Adopted(pool=pool, instances=body.instances)


def _asked(rules: RuleSet, deps: ApiDeps) -> list[tuple[str, Sequence[Offer], Adopter | None]]:
    by_provider: dict[str, list[Offer]] = {}
    for offer in rules.offers:
        by_provider.setdefault(offer.provider, []).append(offer)
    adopters: Mapping[str, Adopter] = deps.adopters()
    return [(name, offers, adopters.get(name)) for name, offers in by_provider.items()]


def _shared(
    rules: RuleSet, deps: ApiDeps, ids: Sequence[str]
) -> list[tuple[str, Sequence[Offer], Adopter, Sequence[str]]]:
    """The ids by provider: the one that has it adoptable, else the only one that could. Everything is looked up before
    anything is tagged."""
    asked = [(name, offers, adopter) for name, offers, adopter in _asked(rules, deps) if adopter is not None]
    if not asked:
        raise Problem(409, f"no provider of pool {rules.pool} can adopt; see docs/ownership.md for the tags to set")
    if len(asked) == 1:
        return [(*asked[0], ids)]
    found: list[tuple[str, Sequence[Offer], Adopter, Sequence[str]]] = []
    left = list(dict.fromkeys(ids))
    for name, offers, adopter in asked:
        try:
            known = {i.id for i in adopter.adoptable(rules.pool, offers)}
        except ProviderError as error:
            raise Problem(502, f"provider {name}: {error}") from error
        mine = [i for i in left if i in known]
        left = [i for i in left if i not in known]
        found += [(name, offers, adopter, mine)] if mine else []
    if left:
        raise Problem(409, f"{', '.join(left[:5])}: nobody's machine of no provider of pool {rules.pool}")
    return found
