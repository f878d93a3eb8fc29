"""Cordons and replacements of single instances: out of service for a while, or another one in its place."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request, Response

from autoscaler.api.auth import Operator
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.ends import end_of
from autoscaler.api.operations_models import MarkIn, Marks, MarkView
from autoscaler.api.paging import After, link_next, page
from autoscaler.api.problems import Problem, documented, found_close
from autoscaler.board import PoolView
from autoscaler.types import Instance, Mark, MarkKind
from autoscaler.words import instant

CORDON_S, REPLACE_S = 4 * 3600.0, 86400.0
MOST = 1000
"""Marks in force at once; whoever needs more wants a roll, or another pool."""

log = structlog.get_logger(__name__)
router = APIRouter(tags=["operations"], responses=documented(401, 403, 404, 422, 503))

PoolName = Annotated[str, Query(max_length=200, description="only this pool; empty = every pool")]
InstanceId = Annotated[str, Query(min_length=1, max_length=500, description="the instance")]
Author = Annotated[str, Query(min_length=1, max_length=100, pattern=r"\S")]
Reason = Annotated[str, Query(min_length=1, max_length=500, pattern=r"\S")]


@router.get("/marks")
def list_marks(
    deps: Deps,
    request: Request,
    response: Response,
    pool: PoolName = "",
    kind: MarkKind | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = MOST,
    after: After = "",
) -> Marks:
    """Cordons and replacements in force, oldest first."""
    if pool and pool not in deps.board.pools():
        raise Problem(404, f"there is no pool {pool!r}; {found_close(pool, deps.board.pools())}")
    found = [m for m in in_force(deps, pool) if kind in (None, m.kind)]
    marks, next_after = page(found, lambda m: (m.created_at, m.pool, m.instance), after, limit, "age")
    link_next(request, response, after=next_after)
    return Marks(marks=[shown(m, deps.board.pools().get(m.pool)) for m in marks], next_after=next_after)


@router.post("/cordons", status_code=201, responses=documented(400, 409, 413))
def cordon(body: MarkIn, deps: Deps, caller: Operator) -> MarkView:
    """Take an instance out of routing and of the pool's count. It finishes what it holds and is kept until the end."""
    view, instance = find(deps, body.instance, body.pool)
    known = _marked(deps, instance)
    if known is not None and known.kind == "cordon":
        raise Problem(409, f"{instance.id} is {_words(known)}; end it first with `sigmascale uncordon {instance.id}`")
    if not body.force and instance.state == "ready" and len(view.routable or ()) <= 1 and view.routable:
        rule = "is the only instance that serves; order another first with `sigmascale replace`, or repeat with force"
        raise Problem(409, f"{instance.id} {rule}")
    return _put(deps, caller.name, body, instance, "cordon", CORDON_S)


@router.delete("/cordons", status_code=204)
def uncordon(
    deps: Deps, caller: Operator, instance: InstanceId, author: Author, reason: Reason, pool: PoolName = ""
) -> None:
    """End a cordon: the instance serves and counts again."""
    _end(deps, caller.name, instance, "cordon", author.strip(), reason.strip(), pool)


@router.post("/replacements", status_code=201, responses=documented(400, 409, 413))
def replace(body: MarkIn, deps: Deps, caller: Operator) -> MarkView:
    """Order a successor; when that serves, the instance drains and goes. One that is cordoned has its successor."""
    view, instance = find(deps, body.instance, body.pool)
    known = _marked(deps, instance)
    if known is not None and known.kind == "replace":
        raise Problem(409, f"{instance.id} is {_words(known)}; end it first with `sigmascale replace --cancel`")
    if not view.rules.offers:
        rule = f"has no offers, so no successor can be ordered; add offers to {view.rules.file or 'its rule file'}"
        raise Problem(409, f"pool {view.rules.pool!r} {rule}")
    return _put(deps, caller.name, body, instance, "replace", REPLACE_S)


@router.delete("/replacements", status_code=204)
def keep(
    deps: Deps, caller: Operator, instance: InstanceId, author: Author, reason: Reason, pool: PoolName = ""
) -> None:
    """Take a replacement back, as long as the instance has not left."""
    _end(deps, caller.name, instance, "replace", author.strip(), reason.strip(), pool)


def in_force(deps: ApiDeps, pool: str = "") -> list[Mark]:
    """Marks that have not ended, oldest first, without those whose instance has left."""
    now, views = deps.clock.now(), deps.board.pools()
    return [m for m in deps.journal.operations.marks(now, pool) if m.until > now and not _left(m, views.get(m.pool))]


def _left(mark: Mark, view: PoolView | None) -> bool:
    """Whether a report that is younger than the mark lists the instance no more."""
    fleet = view.fleet if view is not None else None
    return (
        fleet is not None
        and fleet.observed_at > mark.created_at
        and all(i.id != mark.instance for i in fleet.instances)
    )


def shown(mark: Mark, view: PoolView | None) -> MarkView:
    """A mark and how far it is."""
    fleet = view.fleet if view is not None else None
    i = next((i for i in fleet.instances if i.id == mark.instance), None) if fleet is not None else None
    return MarkView(
        pool=mark.pool,
        instance=mark.instance,
        kind=mark.kind,
        until=mark.until,
        author=mark.author,
        reason=mark.reason,
        created_at=mark.created_at,
        state=i.state if i is not None else None,
        text=_progress(mark, i, fleet is not None),
    )


def find(deps: ApiDeps, name: str, pool: str | None) -> tuple[PoolView, Instance]:
    """The instance of that id and its pool. Raises Problem, which says what there is."""
    views = {p: v for p, v in deps.board.pools().items() if v.fleet is not None and not v.rules.shadow_of}
    if pool is not None and pool not in deps.board.pools():
        raise Problem(404, f"there is no pool {pool!r}; {found_close(pool, deps.board.pools())}")
    found = [(v, i) for v in views.values() if v.fleet for i in v.fleet.instances if i.id == name]
    mine = [(v, i) for v, i in found if pool in (None, i.pool)]
    if found and not mine:
        raise Problem(404, f"instance {name!r} belongs to pool {found[0][1].pool!r}, not to {pool!r}; name that one")
    if len(mine) > 1:
        pools = " and ".join(sorted(i.pool for _, i in mine))
        raise Problem(409, f"instance {name!r} is in the pools {pools}; name one of them")
    if not mine:
        ids = [i.id for p, v in views.items() if v.fleet and pool in (None, p) for i in v.fleet.instances]
        where = f" in pool {pool!r}" if pool else ""
        raise Problem(404, f"there is no instance {name!r}{where}; {found_close(name, ids)}")
    view, instance = mine[0]
    if instance.id.startswith("ordered:"):
        raise Problem(409, f"{name} is ordered and not listed by its provider yet; wait until it has an id of its own")
    if instance.state == "stopping":
        raise Problem(409, f"{name} is on its way out already; there is nothing to do")
    return view, instance


def _marked(deps: ApiDeps, instance: Instance) -> Mark | None:
    return next((m for m in in_force(deps, instance.pool) if m.instance == instance.id), None)


def _put(deps: ApiDeps, token: str, body: MarkIn, instance: Instance, kind: MarkKind, lasts_s: float) -> MarkView:
    now = deps.clock.now()
    faults: list[tuple[str, str]] = []
    until = end_of(body.until, body.for_, now, faults, lasts_s)
    if faults:
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults), faults)
    if len(in_force(deps)) >= MOST:
        raise Problem(409, f"{MOST} instances are marked already, which is the limit; end some, or use a roll")
    mark = Mark(instance.id, instance.pool, kind, until, body.author.strip(), body.reason.strip(), now)
    deps.journal.operations.put_mark(mark)
    about = {"instance": mark.instance, "pool": mark.pool, "kind": kind, "until": until}
    log.info("instance marked", **about, author=mark.author, reason=mark.reason, token=token)
    deps.board.wake.set()
    return shown(mark, deps.board.pools().get(mark.pool))


def _end(deps: ApiDeps, token: str, name: str, kind: MarkKind, author: str, reason: str, pool: str) -> None:
    mine = [m for m in in_force(deps, pool) if m.kind == kind]
    found = [m for m in mine if m.instance == name]
    state = "cordoned" if kind == "cordon" else "to be replaced"
    if not found:
        raise Problem(404, f"{name!r} is not {state}; {found_close(name, [m.instance for m in mine])}")
    if len(found) > 1:
        raise Problem(409, f"{name!r} is {state} in {len(found)} pools; name one with pool")
    deps.journal.operations.end_mark(found[0].pool, name, author, reason, deps.clock.now())
    log.info("mark ended", instance=name, pool=found[0].pool, kind=kind, author=author, reason=reason, token=token)
    deps.board.wake.set()


def _words(mark: Mark) -> str:
    state = "cordoned already" if mark.kind == "cordon" else "to be replaced already"
    return f"{state}, until {instant(mark.until)} by {mark.author}: {mark.reason}"


def _progress(mark: Mark, i: Instance | None, known: bool) -> str:
    if i is None:
        return "it is not there any more" if known else "the fleet is not known"
    held = f", {i.in_flight} requests in flight" if i.in_flight else ""
    if mark.kind == "cordon":
        return {"ready": "leaves routing at the next tick", "draining": f"out of routing{held}"}.get(
            i.state, f"counts for nothing, and is {i.state}"
        )
    waits = {"ready": "serves until its successor does", "draining": f"drains{held}"}
    return waits.get(i.state, f"is {i.state}")
