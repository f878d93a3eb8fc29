"""Overrides: a person's word over a pool, always with an end, an author and a reason."""

from __future__ import annotations

from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Path, Query, Request, Response

from autoscaler.api.auth import Operator
from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.ends import end_of
from autoscaler.api.models import OverrideIn, Overrides
from autoscaler.api.paging import After, link_next, page
from autoscaler.api.preconditions import WRITING, IfMatch, IfNoneMatch, require, tag_of
from autoscaler.api.problems import Problem, documented
from autoscaler.ruleset import RuleSet
from autoscaler.types import Override

log = structlog.get_logger(__name__)
router = APIRouter(tags=["overrides"], responses=documented(401, 403, 404, 422, 503))

MAX_PAGE = 1000

Kind = Annotated[Literal["pin", "floor", "ceiling", "freeze", "pause"] | None, Query(description="only this kind")]
AuthorIs = Annotated[str | None, Query(max_length=100, description="only of this person")]
OverrideId = Annotated[
    str, Path(alias="id", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="a name of your choice")
]


@router.get("/overrides")
def list_all_overrides(
    deps: Deps,
    request: Request,
    response: Response,
    kind: Kind = None,
    author: AuthorIs = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    after: After = "",
) -> Overrides:
    """The overrides in force of every pool, oldest first."""
    return _listed(deps, request, response, None, kind, author, limit, after)


@router.get("/pools/{pool}/overrides")
def list_overrides(
    view: View,
    deps: Deps,
    request: Request,
    response: Response,
    kind: Kind = None,
    author: AuthorIs = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    after: After = "",
) -> Overrides:
    """The overrides in force, oldest first."""
    return _listed(deps, request, response, view.rules.pool, kind, author, limit, after)


@router.get("/pools/{pool}/overrides/{id}")
def show_override(view: View, deps: Deps, response: Response, override_id: OverrideId) -> Override:
    """One override; its ETag is what If-Match of a change wants."""
    found = _find(deps, view.rules.pool, override_id)
    if found is None:
        raise _unknown(deps, view.rules.pool, override_id)
    response.headers["ETag"] = tag_of(found)
    return found


@router.put("/pools/{pool}/overrides/{id}", responses=documented(400, 412, 413))
def put_override(
    view: View,
    deps: Deps,
    caller: Operator,
    override_id: OverrideId,
    body: OverrideIn,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Override:
    """Set an override, or replace the one of this name. A tick runs at once, so that it acts now."""
    now = deps.clock.now()
    faults: list[tuple[str, str]] = []
    until = end_of(body.until, body.for_, now, faults)
    check_shape(body, view.rules, faults)
    if faults:
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults), faults)
    override = Override(
        id=override_id,
        pool=view.rules.pool,
        kind=body.kind,
        until=until,
        author=body.author.strip(),
        reason=body.reason.strip(),
        replicas=body.replicas,
        direction=body.direction or "both",
        created_at=now,
    )
    with WRITING:
        current = _find(deps, override.pool, override.id)
        require(f"override {override.id!r} of pool {override.pool!r}", current, if_match, if_none_match)
        deps.journal.put_override(override)
    response.headers["ETag"] = tag_of(override)
    log.info(
        "override set",
        pool=override.pool,
        id=override.id,
        kind=override.kind,
        until=until,
        author=override.author,
        reason=override.reason,
        token=caller.name,
    )
    deps.board.wake.set()
    return override


@router.delete("/pools/{pool}/overrides/{id}", status_code=204, responses=documented(412))
def end_override(
    view: View,
    deps: Deps,
    caller: Operator,
    override_id: OverrideId,
    author: Annotated[str, Query(min_length=1, max_length=100, pattern=r"\S")],
    reason: Annotated[str, Query(min_length=1, max_length=500, pattern=r"\S")],
    if_match: IfMatch = None,
) -> None:
    """End an override before its time."""
    pool = view.rules.pool
    with WRITING:
        require(f"override {override_id!r} of pool {pool!r}", _find(deps, pool, override_id), if_match)
        ended = deps.journal.end_override(pool, override_id, author.strip(), reason.strip(), deps.clock.now())
    if not ended:
        raise _unknown(deps, pool, override_id)
    log.info("override ended", pool=pool, id=override_id, author=author, reason=reason, token=caller.name)
    deps.board.wake.set()


def _listed(
    deps: ApiDeps,
    request: Request,
    response: Response,
    pool: str | None,
    kind: str | None,
    author: str | None,
    limit: int,
    after: str,
) -> Overrides:
    found = [
        o
        for o in deps.journal.overrides(deps.clock.now())
        if pool in (None, o.pool) and kind in (None, o.kind) and author in (None, o.author)
    ]
    shown, next_after = page(found, lambda o: (o.created_at, o.pool, o.id), after, limit, "age")
    link_next(request, response, after=next_after)
    return Overrides(pool=pool, overrides=shown, next_after=next_after)


def _find(deps: ApiDeps, pool: str, name: str) -> Override | None:
    return next((o for o in deps.journal.overrides(deps.clock.now()) if (o.pool, o.id) == (pool, name)), None)


def _unknown(deps: ApiDeps, pool: str, name: str) -> Problem:
    ids = [o.id for o in deps.journal.overrides(deps.clock.now()) if o.pool == pool]
    hint = f"in force are {', '.join(ids)}" if ids else "none is in force"
    return Problem(404, f"pool {pool!r} has no override {name!r}; {hint}")


def check_shape(body: OverrideIn, rules: RuleSet, faults: list[tuple[str, str]]) -> None:
    """Adds to `faults` what is wrong with an override of a pool with these rules."""
    least, most = rules.bounds.min, rules.bounds.max
    if body.kind in ("freeze", "pause"):
        if body.replicas is not None:
            faults.append(("replicas", f"a {body.kind} has no count; leave it out, or use pin, floor or ceiling"))
    elif body.replicas is None:
        faults.append(("replicas", f"a {body.kind} needs a count; give one between {least} and {most}"))
    elif not least <= body.replicas <= most:
        rule = f"is outside of the rule's bounds of {least} to {most}, which always hold; change it or the rule file"
        faults.append(("replicas", f"{body.replicas} {rule}"))
    if body.direction is not None and body.kind != "pause":
        faults.append(("direction", f"a {body.kind} has no direction; leave it out, or use pause"))
