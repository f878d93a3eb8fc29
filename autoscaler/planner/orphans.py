"""Orphans: instances with our tags whose launch the journal does not know. Which of them stay, and how others leave.

Until its grace is over such an instance counts as part of its pool, so that nothing is ordered twice, and nobody leaves
because of it. Then the pool keeps what it lacks otherwise; the rest is an orphan, which is drained and ended.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from autoscaler.planner.draft import Draft
from autoscaler.planner.patience import watched_s
from autoscaler.ruleset import RuleSet
from autoscaler.types import Fleet, Instance, Memory

QUIET_S = 300.0
"""Nothing is called an orphan so soon after a start: providers and people may still be about to tell what it is."""
AT_ONCE = 5
"""Orphans of one pool that one tick sends away. A journal that was put back from an old copy knows little."""


def judged(
    rules: RuleSet, memory: Memory, fleet: Fleet, ordered: int, started_at: float, now: float
) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    """(kept, orphans) of the strange instances whose grace is over, and of the orphans of before.

    kept: the pool lacks them, oldest first; from now on they belong to it. ordered: replicas that are on order and not
    listed. Nothing is judged before the size of the pool is known and soon after a start.
    """
    owned, after_s = memory.owned, rules.ownership.orphan_after_s
    if memory.want is None or now - started_at < QUIET_S:
        return (), tuple(i for i in fleet.instances if i.id in owned.swept)
    strange = [i for i in fleet.instances if i.id in owned.strange or i.id in owned.swept]
    due = [
        i
        for i in strange
        if i.id in owned.swept or after_s is None or watched_s(memory, owned.strange[i.id], now) > after_s
    ]
    names = {i.id for i in strange}
    missing = memory.want - ordered - sum(i.replicas for i in fleet.instances if _counts(i) and i.id not in names)
    kept, orphans = [], []
    for i in sorted(due, key=lambda i: (i.requested_at, i.id)):
        serves = i.state in ("pending", "ready", "draining")
        if after_s is None or (serves and missing > 0) or (i.state == "warm" and i.rests and rules.warm_pool.given):
            kept.append(i)
            missing -= i.replicas if serves else 0
        else:
            orphans.append(i)
    return tuple(kept), tuple(orphans)


def sweep(draft: Draft, fleet: Fleet, given_up: Collection[str], memory: Memory) -> None:
    """Sends orphans away, a few at a time: one that is ready leaves routing first and finishes what it holds, any
    other one ends at once. A pool that may have no replica at all keeps no warm machine either."""
    left = AT_ONCE
    for i in fleet.instances:
        orphan = i.id in memory.owned.swept
        if i.id in given_up or not (orphan or (i.state == "warm" and draft.rules.bounds.max == 0)):
            continue
        if left == 0:
            draft.note("orphans", f"more orphans wait: at most {AT_ONCE} leave in one tick")
            return
        why = "its launch is not in the journal, and the pool does not need it" if orphan else "the pool was released"
        if draft.within_reach([i], "ready"):
            left -= draft.operate("drain", i, f"orphan: {why}")
        elif draft.within_reach([i], "pending") or draft.within_reach([i], "warm"):
            left -= draft.operate("terminate", i, f"orphan: {why}" if orphan else why)


def usable(alive: Sequence[Instance], memory: Memory, now: float) -> list[Instance]:
    """Instances that growth may count and use: no orphans, and none that a person has just stopped."""
    owned = memory.owned
    if not owned.swept and not owned.aside:
        return list(alive)
    return [i for i in alive if i.id not in owned.swept and owned.aside.get(i.id, now) <= now]


def removable(usable: Sequence[Instance], memory: Memory) -> list[Instance]:
    """Instances that shrinking may count and choose from: whose those in their grace are is not known yet."""
    strange = memory.owned.strange
    return [i for i in usable if i.id not in strange] if strange else list(usable)


def _counts(instance: Instance) -> bool:
    return instance.state in ("pending", "ready")
