"""From rare rows to alerts: edges, silence, and habits. What one row leaves to the next, and nothing else."""

from __future__ import annotations

import math
from collections import deque

from autoscaler.detect.settings import Alarm


class Bell:
    """Told of every row that is rare enough for an alert, in their order; says which rows are one."""

    def __init__(self, settings: Alarm) -> None:
        self._settings = settings
        self._rang_at = -math.inf
        self._highest = 0.0
        self._rung: deque[tuple[float, float]] = deque()

    def rings(self, at_s: float, rarity: float) -> bool:
        """Whether an alert fires on a row of this rarity, in powers of ten."""
        law = self._settings
        since_s = at_s - self._rang_at
        if since_s < law.silence_s and not (since_s >= law.again_s and rarity > self._highest + law.worse):
            self._highest = max(self._highest, rarity)
            return False
        while self._rung and at_s - self._rung[0][0] >= law.habit_s:
            self._rung.popleft()
        if len(self._rung) >= law.habit and rarity <= _median([one for _, one in self._rung]):
            return False
        self._rung.append((at_s, rarity))
        self._rang_at, self._highest = at_s, rarity
        return True


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
