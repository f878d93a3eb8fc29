"""The rules in force, and a check of rules that may come into force."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from autoscaler.api.deps import Deps
from autoscaler.api.models import FaultOut, RuleCheck, Rules, RuleSource, RuleText
from autoscaler.api.paging import link_next
from autoscaler.api.problems import documented
from autoscaler.errors import Fault
from autoscaler.rulefile.reader import Defaults, check_file, check_text

PAGE = 100
MAX_PAGE = 1000

router = APIRouter(tags=["rules"], responses=documented(401, 403))


@router.get("/rules", responses=documented(422))
def list_rules(
    deps: Deps,
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    after: Annotated[str, Query(max_length=200, description="the last pool of the page before")] = "",
) -> Rules:
    """The rule files in force with their hashes and warnings, and what keeps newer versions from being taken."""
    shown = sorted(item for item in deps.rulebook.current().items() if item[0] > after)
    next_after = shown[limit - 1][0] if len(shown) > limit else None
    link_next(request, response, after=next_after)
    return Rules(
        sources=[
            RuleSource(
                pool=pool, file=rules.file, hash=rules.hash, lints=lints_of(rules.file, rules.hash, deps.defaults)
            )
            for pool, rules in shown[:limit]
        ],
        problems=[shown_fault(fault) for fault in deps.rulebook.problems[:MAX_PAGE]],
        next_after=next_after,
    )


@router.post("/rules/check", responses=documented(400, 413, 422))
def check_rules(body: RuleText, deps: Deps) -> RuleCheck:
    """Everything that `sigmascale check` says about the text of a rule file; nothing is applied."""
    checked = check_text(body.text, file=body.file, defaults=deps.defaults)
    rules = checked.rules
    return RuleCheck(
        valid=rules is not None,
        pool=rules.pool if rules is not None else None,
        hash=rules.hash if rules is not None else None,
        faults=[shown_fault(fault) for fault in checked.faults],
    )


def lints_of(file: str, rules_hash: str, defaults: Defaults) -> list[FaultOut] | None:
    """The warnings about the file that is in force; None when the file has changed since it was read."""
    try:
        return _lints_in_force(file, rules_hash, defaults)
    except LookupError:
        return None


@lru_cache(maxsize=4096)
def _lints_in_force(file: str, rules_hash: str, defaults: Defaults) -> list[FaultOut]:
    checked = check_file(Path(file), defaults=defaults)
    if checked.rules is None or checked.rules.hash != rules_hash:
        # An exception is not cached: the file may get its old contents back.
        raise LookupError(file)
    return [shown_fault(fault) for fault in checked.warnings]


def shown_fault(fault: Fault) -> FaultOut:
    """A fault as responses and pages show it."""
    return FaultOut(
        file=fault.file,
        line=fault.line,
        column=fault.column,
        where=fault.where,
        text=fault.text,
        severity=fault.severity,
    )
