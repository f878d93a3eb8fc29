"""One pass over all pools: how much of what they plan may be done at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from autoscaler.types import Launch, Plan, Reason

T = TypeVar("T")


def admit(plans: Sequence[Plan], max_launches: int) -> tuple[Plan, ...]:
    """The plans of one pass, with at most `max_launches` launches over all pools; earlier plans go first.

    What is cut off is not lost: the next tick plans it again.
    """
    left = max_launches
    admitted = []
    for p in plans:
        launches = sum(isinstance(a, Launch) for a in p.actions)
        cut = max(0, launches - left)
        left -= launches - cut
        if cut:
            kept = _without_last(p.actions, cut, lambda a: isinstance(a, Launch))
            reasons = _without_last(p.reasons, cut, lambda r: r.source == "launch")
            text = f"{cut} launches wait: at most {max_launches} in one pass over all pools"
            p = Plan(p.pool, p.decision, kept, (*reasons, Reason("launch_rate", p.reasons[-1].replicas, text)))  # noqa: PLW2901
        admitted.append(p)
    return tuple(admitted)


def _without_last(some: tuple[T, ...], count: int, cut: Callable[[T], bool]) -> tuple[T, ...]:
    gone = [n for n, one in enumerate(some) if cut(one)][-count:]
    return tuple(one for n, one in enumerate(some) if n not in set(gone))
