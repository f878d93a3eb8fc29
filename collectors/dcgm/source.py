"""What a way to reach DCGM must do, and how it says that it cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from collectors.dcgm.reading import Reading
from collectors.nvml.device import MetricState


class UnreachableError(Exception):
    """DCGM cannot be had this way. missing: it is not installed rather than broken, so another way may be tried."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


class Source(Protocol):
    """One way to reach DCGM. Its methods are called by one thread, which they may hold up for a while."""

    @property
    def name(self) -> str:
        """What it is called in errors."""
        ...

    @property
    def waits(self) -> bool:
        """Whether `read` waits for news itself, rather than being called once an interval."""
        ...

    @property
    def note(self) -> str:
        """What is to be known about its values; empty = nothing."""
        ...

    def open(self) -> None:
        """Begin. Raises UnreachableError."""
        ...

    def read(self, now: float) -> Iterable[Reading]:
        """What is new since the last call. Raises UnreachableError when it ended."""
        ...

    def states(self) -> tuple[MetricState, ...]:
        """Metrics that are not to be had, and why."""
        ...

    def close(self) -> None:
        """End, and leave nothing behind. Never raises."""
        ...
