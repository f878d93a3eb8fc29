"""A counter of the driver: it grows by itself, can be set, reset and made to wrap."""

from __future__ import annotations

from collections.abc import Callable

from tests.peers.nvml.layout import CounterData


class Counter:
    """Reads and steers one counter. `now_us` tells the scenario's time."""

    def __init__(self, data: CounterData, now_us: Callable[[], int]) -> None:
        self.data = data
        self._now_us = now_us

    @property
    def value(self) -> int:
        """What the library answers at this moment."""
        data = self.data
        grown = int(data.base + data.per_second * max(0, self._now_us() - data.since_us) / 1e6)
        return grown % data.wraps_at if data.wraps_at else grown

    def set(self, value: int) -> None:
        """Jump to a value; the rate stays."""
        self.data.base, self.data.since_us = value, self._now_us()

    def grow(self, per_second: float) -> None:
        """Go on from the present value at this rate."""
        self.set(self.value)
        self.data.per_second = per_second

    def add(self, value: int) -> None:
        """Count this much more now."""
        self.set(self.value + value)

    def reset(self) -> None:
        """Start from zero, as after a driver reload; the rate stays."""
        self.set(0)

    def wrap_at(self, limit: int) -> None:
        """Go back to zero at this value, 2**32 for instance; 0 = never."""
        self.data.wraps_at = limit
