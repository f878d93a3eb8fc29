"""What must hold before a rule acts: tests of signals, put together, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.ports import Threshold


@dataclass(frozen=True, slots=True)
class Test:
    """A leaf condition: one signal against a threshold. `lookback_s` is the history that the threshold is given."""

    __test__ = False

    signal: str
    direction: Literal["above", "below", "outside"]
    threshold: Threshold
    lookback_s: float = 0.0
    text: str = ""

    @property
    def key(self) -> str:
        """Stable identity, `signal direction threshold` and the lookback if there is one, for hold times and alerts."""
        lookback = f" of {self.lookback_s:g} s" if self.lookback_s else ""
        return f"{self.signal} {self.direction} {self.text}{lookback}"


@dataclass(frozen=True, slots=True)
class Group:
    """At least `need` of the parts hold: all of them, any of them, or a quorum."""

    need: int
    parts: tuple[Test | Group, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold, and for how long without a break."""

    test: Test | Group
    for_s: float = 0.0


def leaves(test: Test | Group) -> tuple[Test, ...]:
    """The leaf conditions, left to right."""
    if isinstance(test, Test):
        return (test,)
    return tuple(leaf for part in test.parts for leaf in leaves(part))
