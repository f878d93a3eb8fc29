"""Rule files: what is in force, what the linter says about it, and what a changed one would mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from autoscaler.api.crosssite import refuse_cross_site
from autoscaler.api.deps import ApiDeps, Deps, PoolName
from autoscaler.api.models import FaultOut
from autoscaler.api.problems import Problem, found_close
from autoscaler.api.room.pages import Looking, Visitor, render
from autoscaler.api.room.signin import fields
from autoscaler.api.rules import lints_of, shown_fault
from autoscaler.errors import InputError
from autoscaler.rulefile.reader import Checked, check_text
from autoscaler.ruleset import RuleSet
from autoscaler.yamltree import read_bytes

SHOWN = 500
LONGEST_TEXT = 200_000

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One pool's rules in the list. lints: None = the file has changed since it was taken."""

    pool: str
    file: str
    hash: str
    lints: Sequence[FaultOut] | None
    candidate: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """The rules in force, how many more there are, and what keeps newer versions from being taken."""

    rows: Sequence[Row]
    more: int
    problems: Sequence[FaultOut]


@dataclass(frozen=True, slots=True)
class Box:
    """The box in which a changed rule file is written. faults: None = nothing was checked yet. problem: why what was
    asked for was not done."""

    text: str
    since: str = "1d"
    faults: Sequence[FaultOut] | None = None
    valid: bool = False
    problem: str = ""


@router.get("/rules")
def page(request: Request, deps: Deps, who: Looking) -> Response:
    """Every rule file in force, and what keeps newer versions from being taken."""
    return render(request, deps, who, "rules.html", found=_listed(deps))


@router.get("/ui/rules")
def listed(request: Request, deps: Deps, who: Looking) -> Response:
    """The part that follows the files."""
    return render(request, deps, who, "rules_list.html", found=_listed(deps))


@router.get("/rules/{pool}")
def one(
    request: Request,
    deps: Deps,
    who: Looking,
    pool: PoolName,
    dry_run: Annotated[str, Query(max_length=40, description="start from the text of this dry run")] = "",
) -> Response:
    """One pool's rules, what the linter says about them, and the box for a changed file."""
    rules = rules_of(deps, pool)
    before = deps.dry_runs.get(dry_run)
    return shown(request, deps, who, rules, Box(before.text if before is not None else text_of(rules)))


@router.post("/rules/{pool}/check")
async def check(request: Request, deps: Deps, who: Looking, pool: PoolName) -> Response:
    """What is wrong with the text in the box; nothing is applied."""
    refuse_cross_site(request)
    rules, given = rules_of(deps, pool), await fields(request)
    box = Box(given.get("text", "")[:LONGEST_TEXT], given.get("since", "1d"))
    return shown(request, deps, who, rules, checked_box(deps, rules, box)[0])


def rules_of(deps: ApiDeps, pool: str) -> RuleSet:
    """The rules in force of a pool, or a Problem that names those there are."""
    known = deps.rulebook.current()
    if pool not in known:
        raise Problem(404, f"there are no rules in force for a pool {pool!r}; {found_close(pool, known)}")
    return known[pool]


def text_of(rules: RuleSet) -> str:
    """The file as it is on disk now; empty when it cannot be read, which `/rules` says."""
    try:
        return read_bytes(Path(rules.file)).decode("utf-8", "replace")
    except InputError:
        return ""


def checked_box(deps: ApiDeps, rules: RuleSet, box: Box) -> tuple[Box, Checked]:
    """The box with what is wrong with its text. Another pool's file is a fault of its own."""
    checked = check_text(box.text, file=Path(rules.file).name, defaults=deps.defaults)
    problem = ""
    if checked.rules is not None and checked.rules.pool != rules.pool:
        problem = (
            f"this is a file of pool {checked.rules.pool!r}; open the rules of that pool, or write pool: {rules.pool}"
        )
    faults = [shown_fault(fault) for fault in checked.faults]
    return Box(box.text, box.since, faults, checked.rules is not None and not problem, problem), checked


def shown(request: Request, deps: ApiDeps, who: Visitor, rules: RuleSet, box: Box) -> Response:
    """The page of one pool's rules with this box; 422 when what was asked for was not done."""
    status = 422 if box.problem or (box.faults is not None and not box.valid) else 200
    lints = lints_of(rules.file, rules.hash, deps.defaults)
    runs = deps.dry_runs.of(rules.pool)
    return render(request, deps, who, "rules_pool.html", status, rules=rules, lints=lints, box=box, runs=runs)


def _listed(deps: ApiDeps) -> Listed:
    rules = sorted(deps.rulebook.current().items())
    rows = [
        Row(pool, r.file, r.hash, lints_of(r.file, r.hash, deps.defaults), pool in deps.shadows())
        for pool, r in rules[:SHOWN]
    ]
    problems = [shown_fault(fault) for fault in deps.rulebook.problems[:SHOWN]]
    return Listed(rows, max(0, len(rules) - SHOWN), problems)
