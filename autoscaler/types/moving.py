"""A move of a pool to a cheaper mix of machines, while it is under way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moving:
    """Part of the pool's memory, so that a restart goes on where it was.

    leaving: instances whose successors are ordered or serve; empty = none is under way. since: when it began. begun:
    when the instances of the last hour began to be replaced. text: what for.
    """

    leaving: tuple[str, ...] = ()
    since: float = 0.0
    begun: tuple[float, ...] = ()
    text: str = ""
