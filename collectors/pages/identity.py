"""What a sample of a page means to us, settled once per series and then applied by arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from autoscaler.types import Labels

Blank = Literal["none", "int64", "fp64", "negative", "sensor"]
"""By which values a source says that it has none: DCGM's blanks differ by the field's own type, engines print -1. A
sensor that is not there has int64's blanks or shows 0."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The canonical series that one series of a page feeds, and how: canonical value = printed value * factor + offset.

    labels: what remains of the page's labels, sorted. bits: a mask; the canonical value is 1 where the printed integer
    has one of these bits. lowest_bit: it is the number of the lowest bit that the printed integer has. rank: among
    series of one `family` at one target the lowest rank present wins, they are never added (two spellings of one
    metric); an empty family competes with nobody. rising: only positive changes count (a window or gauge that stands in
    for a counter). work: labels that say who uses what is measured, sorted. They are part of the series too, but series
    that differ in nothing else are one physical value with several users, never several values. copy: among series that
    feed one column the lowest copy present wins (ranks of one engine); below 0 = it repeats no other. overlaps: what it
    counts is counted among `requests_running` too.
    """

    metric: str
    labels: Labels = ()
    counter: bool = False
    factor: float = 1.0
    offset: float = 0.0
    blank: Blank = "none"
    bits: int = 0
    lowest_bit: bool = False
    family: str = ""
    rank: int = 0
    rising: bool = False
    work: Labels = ()
    copy: int = -1
    overlaps: bool = False

    @property
    def series_labels(self) -> Labels:
        """All labels of the series, sorted."""
        return tuple(sorted((*self.labels, *self.work))) if self.work else self.labels


Resolve = Callable[[str, Labels, str], tuple[Identity, ...]]
"""(sample name, labels, declared type) -> what the series means; empty = nobody wants it."""
