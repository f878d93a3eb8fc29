"""What leaves for good: what failed or came too late, and drains whose wait is over."""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.planner.draft import Draft
from autoscaler.planner.patience import began_at, overdue, watched_s
from autoscaler.planner.sickness import Sickness
from autoscaler.planner.warming import leave
from autoscaler.types import Fleet, Instance, Memory, Operate


def give_up(draft: Draft, fleet: Fleet, memory: Memory, health: Sickness) -> set[str]:
    """Terminates what failed or never became ready in time; returns the ids that count for nothing any more.

    While too many are sick they stay where they are, and only probes that came to nothing go. A little fewer, and one
    at a time goes, when nothing else is on its way.
    """
    now = draft.decision.at
    ended = [i for i in fleet.instances if i.state == "failed"]
    late = [i for i in fleet.instances if overdue(draft.rules, memory, i, now)]
    kept = _kept(draft, fleet, memory, health)
    given_up = set()
    for i in draft.within_reach([i for i in ended if i.id not in kept], "failed"):
        draft.operate("terminate", i, i.detail or "it failed")
        given_up.add(i.id)
    for i in draft.within_reach([i for i in late if i.id not in kept], "pending"):
        draft.operate("terminate", i, _late(i, now))
        given_up.add(i.id)
    return given_up


def waiting(health: Sickness, given_up: set[str], short: int, fleet: Fleet) -> int:
    """How many of the replicas that are short are not to be ordered now, as their turn to be replaced comes later.

    Negative while too many are sick: those that are late hide nothing then, since a probe is wanted.
    """
    late = [i for i in health.sick if i.state == "pending" and i.id not in given_up]
    if health.halted:
        return -sum(i.replicas for i in late)
    if not health.slowed or short <= 0:
        return 0
    failed = sum(i.replicas for i in health.sick if i.state == "failed" and i.id not in given_up)
    # The one whose turn it is may be ordered, whichever of them is given up for it.
    return min(failed, short if _coming(health, fleet) else short - 1)


def _coming(health: Sickness, fleet: Fleet) -> bool:
    """Whether a machine that is well is on its way."""
    return any(i.state == "pending" and i not in health.sick for i in fleet.instances)


def _kept(draft: Draft, fleet: Fleet, memory: Memory, health: Sickness) -> set[str]:
    """The sick that stay for now."""
    if health.halted:
        since = memory.halted_since if memory.halted_since is not None else draft.decision.at
        kept = {i.id for i in health.sick if i.requested_at <= since}
        draft.note("sick", f"{health.text}: none is removed or replaced until enough serve again")
        return kept
    if not health.slowed:
        return set()
    draft.note("sick", f"{health.text}: they are replaced one at a time")
    return {i.id for i in health.sick[0 if _coming(health, fleet) else 1 :]}


def _late(instance: Instance, now: float) -> str:
    again = instance.since > instance.requested_at
    said = f"; {instance.detail}" if instance.detail else ""
    begun = "started from the warm pool" if again else "ordered"
    return f"not ready {now - began_at(instance):.0f} s after it was {begun}{said}"


def finish_drains(draft: Draft, alive: Sequence[Instance], memory: Memory) -> None:
    """Terminates what has nothing in flight any more, or has waited as long as the rules say."""
    rules, now = draft.rules, draft.decision.at
    acted = {a.instance for a in draft.actions if isinstance(a, Operate)}
    for i in draft.within_reach(alive, "draining"):
        # Until a report shows it out of routing it may still be given work, however long ago that was asked for.
        if i.id in acted or i.asked:
            continue
        settled = i.in_flight_at is not None and i.in_flight_at >= i.since + rules.scale_in.settle_s
        if i.in_flight == 0 and settled:
            leave(draft, i, "drained, nothing is in flight")
        elif watched_s(memory, i.since, now) >= rules.scale_in.drain_s:
            left = "an unknown number of" if i.in_flight is None else str(i.in_flight)
            why = f"drain deadline of {rules.scale_in.drain_s:.0f} s, {left} requests in flight"
            # One that did not become empty may be stuck, and is not kept for later.
            if i.in_flight is None:
                leave(draft, i, why)
            else:
                draft.operate("terminate", i, why)
