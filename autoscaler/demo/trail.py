"""How a demo went so far, as lines of small bars that share one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

BARS = " ▁▂▃▄▅▆▇█"


@dataclass(slots=True)
class Trail:
    """Demand, wanted and ready replicas and queue of every `every_s` seconds of the load; None = not known."""

    every_s: float
    demand: list[float | None] = field(default_factory=list)
    wanted: list[float | None] = field(default_factory=list)
    ready: list[float | None] = field(default_factory=list)
    queue: list[float | None] = field(default_factory=list)

    def see(
        self, elapsed_s: float, demand: float | None, wanted: float | None, ready: float | None, queue: float | None
    ) -> None:
        """Note the state at a time; a slot is set by what is seen first in it."""
        slot = int(elapsed_s / self.every_s)
        for values, value in zip(self._lines, (demand, wanted, ready, queue), strict=True):
            values.extend([None] * (slot - len(values)))
            if len(values) == slot:
                values.append(value)

    @property
    def _lines(self) -> tuple[list[float | None], ...]:
        return (self.demand, self.wanted, self.ready, self.queue)


def highest(*lines: Sequence[float | None]) -> float:
    """The scale that some lines share, 1 at least."""
    return max([1.0, *(value for line in lines for value in line if value is not None)])


def bars(values: Sequence[float | None], top: float) -> str:
    """One character a value, a full bar at `top`; a dot where nothing is known, and a visible bar for all above 0."""
    return "".join("·" if v is None else BARS[_height(v, top)] for v in values)


def _height(value: float, top: float) -> int:
    if value <= 0:
        return 0
    return max(1, min(len(BARS) - 1, round(value / top * (len(BARS) - 1))))
