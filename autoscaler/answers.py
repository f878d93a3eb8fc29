"""What the providers answered: outcomes that no tick has recorded yet, and calls whose answer was lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace

from autoscaler.dispatch import Dispatch
from autoscaler.types import Action, Outcome


@dataclass(slots=True)
class Answers:
    """Outcomes by pool, from the time they arrive until a tick has journalled them."""

    _heard: dict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    _retry_at: dict[str, float] = field(default_factory=dict)

    def collect(self, hands: Iterable[Dispatch]) -> set[str]:
        """Takes what arrived; returns the pools that it concerns."""
        touched = set()
        for hand in hands:
            for outcome in hand.outcomes():
                self._heard[outcome.pool].append(_word_of(outcome))
                touched.add(outcome.pool)
        return touched

    def of(self, pool: str) -> tuple[Outcome, ...]:
        """What was heard for the pool and is not recorded."""
        return tuple(self._heard.get(pool, ()))

    def recorded(self, pool: str, outcomes: Sequence[Outcome]) -> None:
        """These are in the journal; what arrived since stays."""
        done = set(outcomes)
        left = [o for o in self._heard.pop(pool, ()) if o not in done]
        if left:
            self._heard[pool] = left

    def unanswered(
        self, open_intents: Sequence[Action], outcomes: Sequence[Outcome], now: float, wait_s: float
    ) -> list[Action]:
        """Open intents to ask for again: their answer was lost, or their provider said when to ask how they stand, and
        the wait is over. The id makes the repetition harmless.

        An intent past its time is not repeated; a report will tell what came of it.
        """
        live = {a.id: a for a in open_intents if now <= a.valid_until}
        for o in outcomes:
            under_way = o.status == "accepted" and o.retry_after_s is not None
            if (o.status == "unknown" or under_way) and o.action in live:
                self._retry_at[o.action] = now + (o.retry_after_s or wait_s)
            else:
                self._retry_at.pop(o.action, None)
        closed = {o.action for o in outcomes if o.final}
        for id_ in {a.id for a in open_intents} - live.keys() | closed:
            self._retry_at.pop(id_, None)
        again = [a for a in live.values() if self._retry_at.get(a.id, now + 1.0) <= now]
        for action in again:
            del self._retry_at[action.id]
        return again

    def forget_all_but(self, pools: Set[str]) -> None:
        """Drops what was heard for pools that nobody rules any more; reports will tell, should they come back."""
        for pool in self._heard.keys() - pools:
            del self._heard[pool]


def _word_of(outcome: Outcome) -> Outcome:
    """A provider's `done` is its word; an action counts as done when a report shows it."""
    return replace(outcome, status="accepted") if outcome.status == "done" else outcome
