"""When each pool ticks: at multiples of its period, and early when something new concerns it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from autoscaler.ruleset import SHADOW, RuleSet

EARLY_SHARE = 0.2
"""New data starts a tick early, but not sooner than this share of the pool's tick after the last one."""


@dataclass(slots=True)
class Timetable:
    """The last and the next tick of every pool. `late_s`: how late the pool that was asked for last is.

    Time in which nobody asked, before a start, makes no pool late.
    """

    late_s: float = 0.0
    _due_at: dict[str, float] = field(default_factory=dict)
    _ticked_at: dict[str, float] = field(default_factory=dict)
    _asked_since: float | None = None

    def ticked(self, pool: str, tick_s: float, now: float) -> None:
        """A tick begins now (or began then, in an earlier process)."""
        self._ticked_at[pool] = now
        self._due_at[pool] = _next_due(pool, tick_s, now)

    def due(
        self, now: float, rules: Mapping[str, RuleSet], touched: Set[str], urgent: Set[str] = frozenset()
    ) -> list[str]:
        """Pools whose time has come, those among `touched` that may tick early, and all that are `urgent`; the others
        of those that were touched come soon."""
        found = []
        if self._asked_since is None:
            self._asked_since = now
        for pool, r in rules.items():
            at = self._due_at.setdefault(pool, now)
            ticked_at = self._ticked_at.get(pool, -r.tick_s)
            # The clock went back, or the period became shorter: nobody waits for a time that far ahead.
            adrift = at > now + r.tick_s or ticked_at > now
            early = pool in urgent or (pool in touched and now - ticked_at >= EARLY_SHARE * r.tick_s)
            if pool in touched and not early:
                # What came too soon after a tick is not left until the next one; that may be nearly a period away.
                self._due_at[pool] = min(at, ticked_at + EARLY_SHARE * r.tick_s)
            if at <= now:
                self.late_s = max(0.0, now - max(at, self._asked_since))
            if at <= now or early or adrift:
                found.append(pool)
        return found

    def next_at(self, now: float) -> float:
        """When the next pool is due; in a second when there is none."""
        return min(self._due_at.values(), default=now + 1.0)

    def forget_all_but(self, pools: Set[str]) -> set[str]:
        """Drops every other pool; returns which those were."""
        gone = self._due_at.keys() - pools
        for pool in gone:
            del self._due_at[pool]
            self._ticked_at.pop(pool, None)
        return gone


def _next_due(pool: str, tick_s: float, now: float) -> float:
    """The pool's next tick: multiples of its period from a phase of its own, so that pools do not all tick at once."""
    phase = phase_s(pool, tick_s)
    due = (now - phase) // tick_s * tick_s + tick_s + phase
    # Rounding may put the end of a period that is no whole number of seconds on its beginning.
    return due if due > now else due + tick_s


def phase_s(pool: str, tick_s: float) -> float:
    """How long after the multiples of its period a pool ticks; a candidate ticks together with the pool it shadows."""
    return zlib.crc32(pool.removesuffix(SHADOW).encode()) % 1000 / 1000 * tick_s
