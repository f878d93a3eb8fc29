"""The rows of the first page, kept: a row is made anew only when its pool was judged anew or people changed something.

Every row has the number of its last change, so that a page asks only for what is new since its own. The numbers begin
anew with the process, and carry a mark of it: a page that was drawn by another process is given everything.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from markupsafe import Markup

from autoscaler.api.deps import ApiDeps
from autoscaler.api.operations import in_force
from autoscaler.api.room.pools.glance import Glance, LastChange, glance, step, unit_of
from autoscaler.api.room.pools.spark import SPAN_S, Spark, spark
from autoscaler.api.room.pools.standing import late
from autoscaler.board import PoolView
from autoscaler.errors import StorageError
from autoscaler.ruleset import SHADOW
from autoscaler.shadow.account import demand_of, demand_signal
from autoscaler.types import Learned, Mark, Override

ASKED_AT_ONCE = 40
"""Pools whose last change is looked up in the journal in one pass, so that the first page after a start is no slower
than the others; the rest follow with their next ticks."""

Draw = Callable[[Glance, Glance | None], Markup]
"""A pool and its candidate as the HTML of one row."""

T = TypeVar("T", Override, Mark)


@dataclass(slots=True)
class Row:
    """A pool, with its candidate, as it was drawn last. key: all that the drawing depends on."""

    key: tuple[Any, ...]
    glance: Glance
    candidate: Glance | None
    html: Markup
    number: int


@dataclass(slots=True)
class Glances:
    """One for an application; any thread may ask, and one at a time makes rows."""

    rows: dict[str, Row] = field(default_factory=dict)
    number: int = 0
    mark: str = field(default_factory=lambda: secrets.token_hex(4))
    _changes: dict[str, tuple[float, LastChange | None]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def version(self) -> str:
        """Names the newest change; `since` of a page."""
        return f"{self.mark}-{self.number}"

    def fresh(self, deps: ApiDeps, draw: Draw) -> dict[str, Row]:
        """Every pool's row by name, as of now. draw: from (glance, candidate) to HTML."""
        with self._lock:
            views, now = deps.board.pools(), deps.clock.now()
            overrides = _by_pool(deps.journal.overrides(now))
            marks = _by_pool(in_force(deps))
            asked = ASKED_AT_ONCE
            rows = {}
            for pool in sorted(views):
                view = views[pool]
                if view.rules.shadow_of:
                    continue
                shadow = views.get(f"{pool}{SHADOW}")
                known = pool in self._changes and not self._outdated(view)
                asked -= not known
                change = self._change(view, deps, asked >= 0)
                # A view is replaced whole, so that its identity says whether there is anything new.
                key = (view, shadow, overrides.get(pool, ()), marks.get(pool, ()), change, late(view, now))
                row = self.rows.get(pool)
                if row is None or not _same(row.key, key):
                    row = self._draw(row, key, deps, draw, now)
                rows[pool] = row
            if rows.keys() != self.rows.keys():
                self.number += 1
            self.rows = rows
            self._changes = {pool: c for pool, c in self._changes.items() if pool in rows}
            return rows

    def number_of(self, since: str) -> int:
        """The number that a page was drawn at; -1 for another process's, or none."""
        mark, _, number = since.partition("-")
        return int(number) if mark == self.mark and number.isdecimal() and len(number) < 16 else -1

    def _draw(self, before: Row | None, key: tuple[Any, ...], deps: ApiDeps, draw: Draw, now: float) -> Row:
        view, shadow, overrides, marks, change, _ = key
        made = _glance(view, deps, overrides, marks, change, now)
        other = _glance(shadow, deps, (), (), None, now) if shadow is not None else None
        html = draw(made, other)
        if before is None or before.html != html:
            self.number += 1
            return Row(key, made, other, html, self.number)
        return Row(key, made, other, html, before.number)

    # --- the last change ----------------------------------------------------------------------------------------

    def _outdated(self, view: PoolView) -> bool:
        known_at = self._changes[view.rules.pool][0]
        recent = view.memory.changes if view.memory is not None else ()
        return bool(recent) and recent[-1][0] > known_at

    def _change(self, view: PoolView, deps: ApiDeps, may_ask: bool) -> LastChange | None:
        """From the decision at hand, from what the pool remembers, or else from the journal."""
        pool, d = view.rules.pool, view.decision
        if d is not None and d.want != d.current and not d.blind:
            found = LastChange(d.number, d.at, d.current, d.want, step(d))
            self._changes[pool] = (d.at, found)
        elif pool not in self._changes or self._outdated(view):
            recent = view.memory.changes[-1] if view.memory is not None and view.memory.changes else None
            if not may_ask:
                return LastChange(0, *recent) if recent is not None else None
            self._changes[pool] = (recent[0] if recent is not None else view.at, _journalled(pool, deps))
        return self._changes[pool][1]


def _journalled(pool: str, deps: ApiDeps) -> LastChange | None:
    try:
        found = deps.journal.changes([pool], limit=1)
        decision = deps.journal.decision(pool, found[0].number) if found else None
    except StorageError:
        return None  # the banner says that the journal cannot be used
    if not found:
        return None
    c = found[0]
    return LastChange(c.number, c.at, c.before, c.after, step(decision) if decision is not None else "")


def _glance(
    view: PoolView,
    deps: ApiDeps,
    overrides: Iterable[Override],
    marks: Iterable[Mark],
    change: LastChange | None,
    now: float,
) -> Glance:
    learned = deps.foresight.learned(view.rules.workload) if deps.foresight is not None else Learned()
    return glance(view, tuple(overrides), tuple(marks), change, learned, _spark(view, deps, now), now)


def _spark(view: PoolView, deps: ApiDeps, now: float) -> Spark | None:
    signal = demand_signal(view.rules)
    if signal is None or view.decision is None or view.rules.shadow_of:
        return None
    at, values = deps.store.recent(view.rules.pool, signal.name, now - SPAN_S)
    each = demand_of(view.rules, view.decision)[1]
    capacity = each * view.fleet.ready if each is not None and view.fleet is not None else None
    return spark(at, values, now, capacity, unit_of(view.rules))


def _by_pool(some: Iterable[T]) -> Mapping[str, tuple[T, ...]]:
    found = defaultdict[str, list[T]](list)
    for one in some:
        found[one.pool].append(one)
    return {pool: tuple(ones) for pool, ones in found.items()}


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Views by identity, the rest by value: to compare two views would cost more than to draw one."""
    return one[0] is other[0] and one[1] is other[1] and one[2:] == other[2:]
