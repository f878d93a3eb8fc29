"""HPA's limits on movement: stabilization windows and rates, which KEDA, PHPA and Crane inherit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

OUT_REPLICAS = 4
OUT_TIMES = 2


@dataclass(slots=True)
class Extreme:
    """The largest (sign 1) or smallest (sign -1) of the numbers of a window, kept as a monotone queue.

    Numbers of exactly `window_s` ago are out, as in kubernetes/kubernetes pkg/controller/podautoscaler/horizontal.go.
    """

    window_s: float
    sign: int = 1
    _kept: deque[tuple[float, int]] = field(init=False, default_factory=deque)

    def __bool__(self) -> bool:
        return bool(self._kept)

    def add(self, now: float, number: int) -> int:
        """The extreme with one more number."""
        kept = self._kept
        worth = self.sign * number
        while kept and self.sign * kept[-1][1] <= worth:
            kept.pop()
        kept.append((now, number))
        while len(kept) > 1 and kept[0][0] <= now - self.window_s:
            kept.popleft()
        return kept[0][1]


@dataclass(slots=True)
class Behaviour:
    """Scale-in takes the largest raw result of its window, scale-out the smallest of its own.

    Then at most max(+4, x2) in 15 s; scale-in may take all. Events of one period of 15 s are counted from its start,
    and a controller that looks every 15 s starts a new period each time, so the rate is on the size it finds.
    """

    in_window_s: float = 300.0
    out_window_s: float = 0.0
    _highs: Extreme = field(init=False)
    _lows: Extreme = field(init=False)

    def __post_init__(self) -> None:
        self._highs, self._lows = Extreme(self.in_window_s, 1), Extreme(self.out_window_s, -1)

    def limit(self, now: float, size: int, raw: int) -> int:
        """What is left of a raw result. The first call counts the present size as one more result."""
        if not self._highs:
            self._highs.add(now, size)
            self._lows.add(now, size)
        most, least = self._highs.add(now, raw), self._lows.add(now, raw)
        wanted = max(size, least)
        wanted = min(wanted, most)
        return min(wanted, max(size + OUT_REPLICAS, OUT_TIMES * size))
