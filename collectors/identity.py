"""What a sample of a page means to us, settled once per series and then applied by arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from autoscaler.types import Labels

Blank = Literal["none", "int64", "fp64"]
"""By which sentinels a field says that it has no value: DCGM's blanks differ by the field's own type."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The canonical series that one series of a page feeds, and how: canonical value = printed value * factor + offset.

    labels: what remains of the page's labels, sorted. bits: a mask; the canonical value is 1 where the printed integer
    has one of these bits. lowest_bit: it is the number of the lowest bit that the printed integer has. rank: among
    series of one `family` at one target the lowest rank present wins, they are never added (two spellings of one
    metric); an empty family competes with nobody. rising: only positive changes count (a window or gauge that stands in
    for a counter).
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


Resolve = Callable[[str, Labels, str], tuple[Identity, ...]]
"""(sample name, labels, declared type) -> what the series means; empty = nobody wants it."""
