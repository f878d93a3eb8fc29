"""Whose machines are whose, while the loop runs: what `ownership` needs of the journal, and what comes of it.

An override that a person's change becomes is written before anything is planned on it. Every change is logged once and
counted for the exposition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import structlog

from autoscaler.errors import StorageError
from autoscaler.ledger import Ledger
from autoscaler.ownership import AUTHOR, OVERRIDE, Followed, Sight, follow
from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Decision, Fleet, Instance, Memory, Override, Reason

log = structlog.get_logger()


@dataclass(slots=True)
class Custody:
    """counts: (pool, kind of change) -> instances since the start.

    _known: pools of launches that the journal knows. _calm: fleets as of a tick after which nothing is left to follow.
    _said: what was logged last, by pool: a journal that refuses makes every tick find the same again.
    """

    journal: Ledger
    counts: Counter[tuple[str, str]]
    started_at: float | None = None
    _calm: dict[str, tuple[Instance, ...]] = field(default_factory=dict)
    _said: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def follow(
        self,
        rules: RuleSet,
        memory: Memory,
        reported: Fleet,
        intents: Sequence[Action],
        before: Decision | None,
        heard: Collection[str],
        now: float,
    ) -> Followed:
        """The tick's view of whose the pool's instances are, with the overrides in force. before: the last decision."""
        pool = rules.pool
        if self.started_at is None:
            self.started_at = now
        overrides = tuple(o for o in self.journal.overrides(now) if o.pool == pool)
        if not intents and self._calm.get(pool) == reported.instances and _settled(memory, overrides):
            # As the whole way would: a restart, which knows nothing of calm, must find the same.
            return Followed(replace(memory.owned, at=now), overrides)
        launches = self._launches(memory, reported)
        sight = Sight(now, self.started_at, launches, intents, heard, _asked(before), overrides)
        found = follow(rules, memory, reported, sight)
        self._write(pool, found, now)
        self._tell(pool, found)
        self._calm[pool] = reported.instances if launches is not None else ()
        return found

    def _launches(self, memory: Memory, reported: Fleet) -> dict[str, str] | None:
        """What the journal knows of the launches of instances that are new; None when it cannot be read."""
        new = {i.action for i in reported.instances if i.action is not None and i.id not in memory.owned.seen}
        if not new:
            return {}
        try:
            return dict(self.journal.launches(new))
        except StorageError as error:
            log.error("whose new instances are cannot be looked up; nothing is decided about them", problem=str(error))
            return None

    def _write(self, pool: str, found: Followed, now: float) -> None:
        try:
            if found.put is not None:
                self.journal.put_override(found.put)
            elif found.ended:
                self.journal.end_override(pool, OVERRIDE, AUTHOR, found.ended, now)
        except StorageError as error:
            # Nothing is done in this tick, since its record will be refused too; the next one finds the same again.
            log.error("an override could not be written", pool=pool, problem=str(error))

    def _tell(self, pool: str, found: Followed) -> None:
        texts = tuple(note.text for note in found.notes)
        if texts and self._said.get(pool) != texts:
            for note in found.notes:
                self.counts[pool, note.kind] += note.about
                log.warning("the fleet changed without an order of ours", pool=pool, change=note.kind, text=note.text)
        if texts:
            self._said[pool] = texts


def explained(decision: Decision, found: Followed) -> Decision:
    """The decision with what was found as reasons, after the first, which says what there was."""
    if not found.notes:
        return decision
    first, *rest = decision.reasons
    told = [Reason(f"manual:{note.kind}", first.replicas, note.text) for note in found.notes]
    # A decision's count is that of its last reason.
    reasons = (first, *told, *rest) if rest else (*told, first)
    return replace(decision, reasons=reasons)


def _asked(before: Decision | None) -> int | None:
    """The most that anything asked for; None when something could not be judged, or nothing was."""
    if before is None or before.blind or any(p.sense == "hold" for p in before.proposals):
        return None
    return max((p.replicas for p in before.proposals if p.sense in ("size", "raise", "floor")), default=0)


def _settled(memory: Memory, overrides: Sequence[Override]) -> bool:
    owned = memory.owned
    left = owned.at is None or owned.strange or owned.swept or owned.aside or owned.ours or owned.notices
    return not left and all(o.id != OVERRIDE for o in overrides)
