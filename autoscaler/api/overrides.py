"""Overrides: a person's word over a pool, always with an end, an author and a reason."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query

from autoscaler.api.auth import Operator
from autoscaler.api.deps import Deps, View
from autoscaler.api.ends import end_of
from autoscaler.api.models import OverrideIn, Overrides
from autoscaler.api.problems import Problem, documented
from autoscaler.ruleset import RuleSet
from autoscaler.types import Override

log = structlog.get_logger(__name__)
router = APIRouter(tags=["overrides"], responses=documented(401, 403, 404, 422, 503))

OverrideId = Annotated[
    str, Path(alias="id", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="a name of your choice")
]


@router.get("/pools/{pool}/overrides")
def list_overrides(view: View, deps: Deps) -> Overrides:
    """The overrides in force, oldest first."""
    pool = view.rules.pool
    return Overrides(pool=pool, overrides=[o for o in deps.journal.overrides(deps.clock.now()) if o.pool == pool])


@router.put("/pools/{pool}/overrides/{id}", responses=documented(400, 413))
def put_override(view: View, deps: Deps, caller: Operator, override_id: OverrideId, body: OverrideIn) -> Override:
    """Set an override, or replace the one of this name. A tick runs at once, so that it acts now."""
    now = deps.clock.now()
    faults: list[tuple[str, str]] = []
    until = end_of(body.until, body.for_, now, faults)
    _check_shape(body, view.rules, faults)
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
    deps.journal.put_override(override)
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


@router.delete("/pools/{pool}/overrides/{id}", status_code=204)
def end_override(
    view: View,
    deps: Deps,
    caller: Operator,
    override_id: OverrideId,
    author: Annotated[str, Query(min_length=1, max_length=100, pattern=r"\S")],
    reason: Annotated[str, Query(min_length=1, max_length=500, pattern=r"\S")],
) -> None:
    """End an override before its time."""
    pool = view.rules.pool
    if not deps.journal.end_override(pool, override_id, author.strip(), reason.strip(), deps.clock.now()):
        ids = [o.id for o in deps.journal.overrides(deps.clock.now()) if o.pool == pool]
        hint = f"in force are {', '.join(ids)}" if ids else "none is in force"
        raise Problem(404, f"pool {pool!r} has no override {override_id!r}; {hint}")
    log.info("override ended", pool=pool, id=override_id, author=author, reason=reason, token=caller.name)
    deps.board.wake.set()


def _check_shape(body: OverrideIn, rules: RuleSet, faults: list[tuple[str, str]]) -> None:
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
