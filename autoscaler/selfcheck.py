"""Asks every few seconds whether what the rules in force want is there, and tells people once when it is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import structlog

from autoscaler.board import Board
from autoscaler.ports import Clock
from autoscaler.presence import Finding, Given, Hint, check, gone
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store

log = structlog.get_logger(__name__)

GRACE_S = 15.0
"""After a start or a new rule file targets need three scrapes of the usual 5 s to say what they have."""
EVERY_S = 2.0

Findings = Mapping[str, tuple[Finding, ...]]
Problems = Mapping[tuple[str, str], str]
"""(pool, signal) -> why a store that was asked has no number for it."""


@dataclass(slots=True)
class _Pool:
    """What is remembered of a pool: since when its rules are in force, which signals were there, what was told."""

    hash: str
    since: float
    known: set[str] = field(default_factory=set)
    told: tuple[Finding, ...] = ()


class SelfCheck:
    """The findings of every pool. `run` is for one thread; what it found may be read from any.

    hint: how to make a source give a metric. problems: of queries to stores. grace_s: how long a pool may take to have
    what its rules ask for.
    """

    def __init__(
        self,
        rules: Callable[[], Mapping[str, RuleSet]],
        store: Store,
        board: Board,
        clock: Clock,
        hint: Hint = lambda _: "",
        problems: Callable[[], Problems] = dict,
        grace_s: float = GRACE_S,
        every_s: float = EVERY_S,
    ) -> None:
        self._rules, self._store, self._board, self._clock = rules, store, board, clock
        self._hint, self._grace_s, self._every_s = hint, grace_s, every_s
        self._problems = problems
        self._pools: dict[str, _Pool] = {}
        self._found: Findings = MappingProxyType({})
        self._lost: Mapping[str, Mapping[str, str]] = MappingProxyType({})
        self._ran_at: float | None = None

    def findings(self) -> Findings:
        """What is wrong with signals now, by pool; pools without a finding are left out."""
        return self._found

    def lost(self, pool: str) -> Mapping[str, str]:
        """Which of a pool's signals were there and are gone, as `alerts.follow` takes it."""
        return self._lost.get(pool, {})

    def run(self) -> None:
        """Check every pool if it is time to."""
        now = self._clock.now()
        if self._ran_at is not None and 0.0 <= now - self._ran_at < self._every_s:
            return
        self._ran_at = now
        rules = self._rules()
        found: dict[str, tuple[Finding, ...]] = {}
        lost: dict[str, Mapping[str, str]] = {}
        self._pools = {pool: state for pool, state in self._pools.items() if pool in rules}
        for pool, in_force in rules.items():
            found[pool], lost[pool] = self._check(in_force, now)
        self._found = MappingProxyType({pool: some for pool, some in found.items() if some})
        self._lost = MappingProxyType(lost)

    def _check(self, rules: RuleSet, now: float) -> tuple[tuple[Finding, ...], Mapping[str, str]]:
        state = self._pools.get(rules.pool)
        if state is None:
            state = self._pools[rules.pool] = _Pool(rules.hash, now)
        elif state.hash != rules.hash:
            # What a signal means may have changed with the file; what it has is asked again at once.
            state.hash, state.since, state.known = rules.hash, now, set()
        given = self._given(rules)
        for signal in rules.signals:
            here = given.get(signal.name)
            if here is not None and here.series and not gone(signal, here, now):
                state.known.add(signal.name)
        in_grace = 0.0 <= now - state.since < max(self._grace_s, 3.0 * rules.tick_s)
        judged = {name: g for name, g in given.items() if name in state.known or not in_grace}
        view = self._board.pools().get(rules.pool)
        readings = view.decision.readings if view is not None and view.decision is not None else {}
        values = {name: reading.value for name, reading in readings.items()}
        # What else is there only explains what is not, and there may be thousands of names.
        lacking = any(n not in state.known and (not g.series or math.isnan(g.newest_at)) for n, g in judged.items())
        there = self._store.metrics(rules.pool) if lacking else frozenset[str]()
        found = check(rules, judged, there, state.known, values, now, self._hint)
        self._tell(state, found)
        gone_now = {f.signal: f.text for f in found if f.kind == "disappeared"}
        return found, {name: gone_now.get(name, "") for name in state.known}

    def _given(self, rules: RuleSet) -> dict[str, Given]:
        """What there is for each signal, and for one without values who could tell why."""
        given, problems, in_force = self._store.given(rules), self._problems(), self._rules()

        def explained(signal: Signal, here: Given) -> Given:
            problem = problems.get((rules.pool, signal.name), "") if signal.promql is not None else ""
            metric = signal.metric if signal.promql is None and math.isnan(here.newest_at) else None
            owners = () if metric is None else self._store.owners(metric)
            strays = tuple(sorted(owner for owner in owners if owner and owner not in in_force))
            return replace(here, problem=problem, strays=strays) if problem or strays else here

        return {s.name: explained(s, given[s.name]) for s in rules.signals if s.name in given}

    def _tell(self, state: _Pool, found: tuple[Finding, ...]) -> None:
        """Log what is new and what is over. Ages and values change all the time and are no news."""
        before = {(f.signal, f.kind): f for f in state.told}
        after = {(f.signal, f.kind): f for f in found}
        for name, finding in after.items():
            if name not in before:
                log.warning("signal " + finding.kind, pool=finding.pool, signal=finding.signal, finding=finding.text)
        for name, finding in before.items():
            if name not in after:
                log.info("signal as it should be", pool=finding.pool, signal=finding.signal, was=finding.kind)
        state.told = found
