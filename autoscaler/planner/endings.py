"""What leaves for good: what failed or came too late, and drains whose wait is over."""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.planner.draft import Draft
from autoscaler.planner.patience import overdue, watched_s
from autoscaler.types import Fleet, Instance, Memory, Operate


def give_up(draft: Draft, fleet: Fleet, memory: Memory) -> set[str]:
    """Terminates what failed or never became ready in time; returns the ids that count for nothing any more."""
    now = draft.decision.at
    given_up = set()
    for i in draft.within_reach(fleet.instances, "failed"):
        draft.operate("terminate", i, i.detail or "it failed")
        given_up.add(i.id)
    for i in draft.within_reach(fleet.instances, "pending"):
        if overdue(draft.rules, memory, i, now):
            draft.operate("terminate", i, f"not ready {now - i.requested_at:.0f} s after it was ordered")
            given_up.add(i.id)
    return given_up


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
            draft.operate("terminate", i, "drained, nothing is in flight")
        elif watched_s(memory, i.since, now) >= rules.scale_in.drain_s:
            left = "an unknown number of" if i.in_flight is None else str(i.in_flight)
            draft.operate(
                "terminate", i, f"drain deadline of {rules.scale_in.drain_s:.0f} s, {left} requests in flight"
            )
