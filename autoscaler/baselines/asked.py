"""Asking a policy at its own pace, from what was measured at each tick. Both back-tests do it this way."""

from __future__ import annotations

import math

from autoscaler.baselines.seen import SERVICE_S, Past, Policy, Seen


class Asked:
    """One policy and what it has seen: call `want` at every tick after the first."""

    __slots__ = ("_due_at", "_period_s", "_window_s", "boot_s", "capacity", "past", "policy", "tick_s")

    def __init__(self, policy: Policy, capacity: float, boot_s: float, tick_s: float) -> None:
        self.policy = policy
        self.capacity = capacity
        self.boot_s = boot_s
        self.tick_s = tick_s
        self.past = Past(tick_s)
        self._due_at = -math.inf
        self._period_s, self._window_s = policy.period_s, policy.window_s

    def want(self, now: float, rate: float, busy: float, waiting: float, ready: int, pending: int) -> int:
        """The wanted size; the present one when it is not the policy's turn.

        rate: work per second over the last tick. busy: share of ready capacity in use. NaN = not known.
        """
        self.past.add(rate)
        size = ready + pending
        if now < self._due_at - 1e-6:
            return size
        # On the beat of its own period, at the first tick that is not before it; a missed beat is not made up for.
        self._due_at = max(self._due_at, now - self.tick_s) + self._period_s
        demand = self.past.mean(self._window_s) if rate == rate else rate  # noqa: PLR0124 - NaN differs from itself
        flight = busy * ready * self.capacity * SERVICE_S + waiting
        return self.policy.want(
            Seen(now, demand, busy, waiting, flight, ready, pending, size, self.capacity, self.boot_s, self.past)
        )
