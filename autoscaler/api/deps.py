"""What the API stands on: readers of the running service, and what it needs of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi import Path as PathParameter

from autoscaler.api.notices import Nobody, Notices
from autoscaler.api.problems import Problem, found_close
from autoscaler.board import Board, PoolView
from autoscaler.clock import SystemClock
from autoscaler.configparts import RateLimit
from autoscaler.counts import Counts
from autoscaler.dryrun import DryRuns
from autoscaler.foresight.worker import Foresight
from autoscaler.journal import Journal
from autoscaler.ports import Adopter, Clock, Receiver
from autoscaler.presence import Finding
from autoscaler.rulefile.reader import Defaults
from autoscaler.rulefile.watch import RuleBook
from autoscaler.shadow import ShadowView
from autoscaler.store import Store
from autoscaler.tokens import Token
from autoscaler.types.advice import Advise, no_advice

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """Everything that a request may look at. tokens: empty = this machine only, where `local` may change things.

    counts: what the parts of the service count now. local_file: where the local token can be read, for messages.
    defaults: what fills rule files, for checking new ones. findings: what is wrong with signals, by pool. problems: of
    disks and limits. foresight: what is known besides signals; None = nothing is. shadows: candidates, by active pool.
    adopters: who gives machines of others to pools, by provider. withheld: the service acts on nothing. rate_limit:
    how often one caller may ask. cors_origins: of pages elsewhere that may read, with cors_writes also write.
    session_key: what signs the cookies of people who signed in at the control room. advise: what fault codes of GPUs
    mean. how_to_get: what makes a source give a metric.
    adopters: who gives machines of others to pools, by provider. withheld: the service acts on nothing. session_key:
    what signs the cookies of people who signed in at the control room. dry_runs: of changed rule files. reports: the
    folder of back-test reports.
    """

    board: Board
    journal: Journal
    store: Store
    clock: Clock
    rulebook: RuleBook
    version: str
    tokens: tuple[Token, ...] = ()
    local: Token | None = None
    local_file: str = ""
    defaults: Defaults = field(default_factory=Defaults)
    counts: Callable[[], Counts] = Counts
    findings: Callable[[], Mapping[str, tuple[Finding, ...]]] = dict
    problems: Callable[[], tuple[str, ...]] = tuple
    max_body_bytes: int = 1 << 20
    receiver: Receiver | None = None
    foresight: Foresight | None = None
    shadows: Callable[[], Mapping[str, ShadowView]] = dict
    adopters: Callable[[], Mapping[str, Adopter]] = dict
    withheld: bool = False
    rate_limit: RateLimit = field(default_factory=RateLimit)
    cors_origins: tuple[str, ...] = ()
    cors_writes: bool = False
    notices: Notices = field(default_factory=Nobody)
    advise: Advise = no_advice
    how_to_get: Callable[[str], str] = lambda _: ""
    dry_runs: DryRuns = field(default_factory=lambda: DryRuns(SystemClock()))
    reports: Path | None = None
    session_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


async def of_request(request: Request) -> ApiDeps:
    """The dependencies that `create_app` was given."""
    deps = request.app.state.deps
    assert isinstance(deps, ApiDeps)
    return deps


Deps = Annotated[ApiDeps, Depends(of_request)]
PoolName = Annotated[str, PathParameter(description="name of the pool", max_length=200)]


def view_of(pool: PoolName, deps: Deps) -> PoolView:
    """The pool's last view, or a 404 that names the pools there are."""
    views = deps.board.pools()
    if pool not in views:
        raise Problem(404, f"there is no pool {pool!r}; {found_close(pool, views)}")
    return views[pool]


View = Annotated[PoolView, Depends(view_of)]
