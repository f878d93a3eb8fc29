"""Fewer replicas: what serves nobody yet goes first, then whoever is the least loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from autoscaler.planner.draft import Draft
from autoscaler.types import Instance


def shrink(draft: Draft, alive: Sequence[Instance], want: int) -> None:
    """Pending ones go first, newest first; then ready ones, each only if the rest still covers what is wanted."""
    size = sum(i.replicas for i in alive if i.state in ("pending", "ready"))
    # What is not listed yet cannot be told to stop; it is cancelled when it appears.
    for i in sorted(draft.within_reach(alive, "pending"), key=lambda i: -i.requested_at):
        if size - i.replicas >= want and draft.operate("terminate", i, "surplus, and not serving yet"):
            size -= i.replicas
    # A pending replica serves nobody yet: ready ones leave only when the other ready ones are enough by themselves.
    serving = sum(i.replicas for i in alive if i.state == "ready")
    for i in sorted(draft.within_reach(alive, "ready"), key=_victim_key(draft.rules.scale_in.victim)):
        if serving - i.replicas >= want:
            flight = "unknown" if i.in_flight is None else str(i.in_flight)
            if draft.operate("drain", i, f"surplus, {flight} requests in flight"):
                serving -= i.replicas


def _victim_key(victim: str) -> Callable[[Instance], Any]:
    if victim == "newest":
        return lambda i: (-i.requested_at, i.id)
    if victim == "oldest":
        return lambda i: (i.requested_at, i.id)
    # An unknown number of requests is not a small one.
    return lambda i: (math.inf if i.in_flight is None else i.in_flight, -i.usd_per_hour, -i.requested_at, i.id)
