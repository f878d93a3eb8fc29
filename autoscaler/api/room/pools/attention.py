"""What only a person can put right, each as one line with the page where that is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from autoscaler.api.deps import ApiDeps
from autoscaler.board import PoolView
from autoscaler.planner import sickness
from autoscaler.presence import Finding
from autoscaler.shadow import ShadowView

MOST = 200
"""Lines that are made at all; a page shows fewer and counts the rest."""


@dataclass(frozen=True, slots=True)
class Need:
    """One line. pool: whom it is about, empty = the service itself. path: the page that helps."""

    pool: str
    text: str
    path: str


def needs(deps: ApiDeps) -> tuple[Need, ...]:
    """Everything that waits for a person now: first what concerns the service, then pool by pool."""
    found = [*_service(deps)]
    findings, shadows = deps.findings(), deps.shadows()
    for pool, view in sorted(deps.board.pools().items()):
        if not view.rules.shadow_of:
            found += _pool(view, findings.get(pool, ()), shadows.get(pool))
            if len(found) >= MOST:
                break
    return tuple(found[:MOST])


def _service(deps: ApiDeps) -> Iterator[Need]:
    for fault in deps.rulebook.problems:
        yield Need("", f"rule file refused: {fault}", "/rules")
    for pool, alone in sorted(deps.board.ownerless.items()):
        if alone.release is None:
            yield Need(pool, alone.text, "/fleet")
    for text in deps.problems():
        yield Need("", text, "/fleet")
    told = deps.notices.problem()
    if told:
        yield Need("", told, "/alerts")


def _pool(view: PoolView, found: Sequence[Finding], shadow: ShadowView | None) -> Iterator[Need]:
    pool = view.rules.pool
    page, offers = f"/pools/{quote(pool, safe='')}", f"/offers?pool={quote(pool)}"
    if view.error:
        yield Need(pool, f"the last tick could not decide: {view.error}", page)
    for told in view.fleet.standings if view.fleet is not None else ():
        if told.problem:
            yield Need(pool, f"offer {told.offer}: {told.problem}", offers)
    memory = view.memory
    if memory is not None:
        for q in memory.quotas.values():
            if q.most <= q.had:
                yield Need(pool, f"quota reached at {q.had} machines of {q.family}: {q.text or q.offer}", offers)
        if memory.halted_since is not None and view.fleet is not None:
            health = sickness(view.rules, memory, view.fleet, view.at)
            yield Need(pool, f"{health.text}: none is removed or replaced; look at them", page)
    if view.rolling is not None and view.rolling.state == "failed":
        yield Need(pool, f"the roll failed: {view.rolling.text}", page)
    if found:
        more = f" (and {len(found) - 1} more findings)" if len(found) > 1 else ""
        yield Need(pool, f"signal {found[0].signal}: {found[0].text}{more}", page)
    if shadow is not None and shadow.problem:
        yield Need(pool, f"its candidate does not run: {shadow.problem}", "/rules")
