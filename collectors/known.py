"""The series that a target is known to print: how they look on the page, what they mean, when they were seen last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Labels
from collectors import grammar
from collectors.grammar import Malformed, Sample
from collectors.identity import Identity, Resolve


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target may cost. `evict_after`: scrapes after which a series that is no longer printed is forgotten."""

    page_bytes: int = 64 << 20
    line_bytes: int = 64 << 10
    series: int = 100_000
    evict_after: int = 20


@dataclass(frozen=True, slots=True)
class Shape:
    """The sample lines of an ordinary page, in order: what precedes each value, and which series it is.

    A prefix ends in the blank before the value. repeats: lines of series that occur again.
    """

    prefixes: Sequence[bytes] = ()
    lengths: Sequence[int] = ()
    series: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    repeats: int = 0


@dataclass(slots=True)
class _Row:
    name: str
    labels: Labels
    hint: str
    means: tuple[Identity, ...]
    prefixes: list[bytes]


class KnownSeries:
    """The series of one target, numbered from 0 in the order in which they were first seen.

    index: prefix -> number, only for prefixes that the strict grammar has proven to end where the series ends.
    changed: whether meanings were added, changed or dropped since the flag was last taken down.
    """

    def __init__(self, resolve: Resolve, limits: Limits) -> None:
        self.index: dict[bytes, int] = {}
        self.changed = True
        self._resolve = resolve
        self._limits = limits
        self._rows: list[_Row] = []
        self._numbers: dict[tuple[str, Labels], int] = {}
        self._seen = np.zeros(0, dtype=np.int64)
        self._types: Mapping[str, str] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def meanings(self) -> list[tuple[Identity, ...]]:
        """What each series means."""
        return [row.means for row in self._rows]

    def number(self, sample: Sample) -> int:
        """The number of a sample's series, a new one where it was not known. Raises Malformed at the limit."""
        number = self._numbers.get((sample.name, sample.labels))
        if number is None:
            number = len(self._rows)
            if number >= self._limits.series:
                raise Malformed(f"is a new series; the target already has {number}, which is the limit")
            hint = grammar.type_of(sample.name, self._types)
            means = self._resolve(sample.name, sample.labels, hint)
            self._rows.append(_Row(sample.name, sample.labels, hint, means, []))
            self._numbers[sample.name, sample.labels] = number
            self.changed = True
        return number

    def remember(self, prefix: bytes, number: int) -> None:
        """Note one way in which a series is printed before its value; the caller has proven it."""
        if prefix not in self.index and len(self.index) < 2 * self._limits.series:
            self.index[prefix] = number
            self._rows[number].prefixes.append(prefix)

    def shape(self, prefixes: Sequence[bytes], series: Sequence[int]) -> Shape:
        """The shape of a page with these lines. It keeps the index's copies of the prefixes, not the page's."""
        lines = zip(prefixes, series, strict=True)
        own = [next(known for known in self._rows[n].prefixes if known == prefix) for prefix, n in lines]
        numbers = np.array(series, dtype=np.int64)
        return Shape(own, [len(prefix) for prefix in own], numbers, len(series) - len(set(series)))

    def declare(self, types: Mapping[str, str]) -> None:
        """Take in the page's TYPE lines; a series whose type changed is settled anew."""
        if types == self._types:
            return
        self._types = types
        for row in self._rows:
            hint = grammar.type_of(row.name, types)
            if hint != row.hint:
                row.hint = hint
                row.means = self._resolve(row.name, row.labels, hint)
                self.changed = True

    def mark(self, present: NDArray[np.int64], scrape: int) -> None:
        """Note that these series were printed in this scrape."""
        new = np.zeros(len(self._rows) - len(self._seen), dtype=np.int64)
        self._seen = np.concatenate((self._seen, new)) if new.size else self._seen
        self._seen[present] = scrape

    def evict(self, scrape: int) -> bool:
        """Forget series that were not printed for `evict_after` scrapes; true if any were. Numbers change then."""
        keep = np.flatnonzero(self._seen > scrape - self._limits.evict_after)
        if len(keep) == len(self._rows):
            return False
        self._rows = [self._rows[number] for number in keep]
        self._seen = self._seen[keep]
        self.index = {prefix: n for n, row in enumerate(self._rows) for prefix in row.prefixes}
        self._numbers = {(row.name, row.labels): n for n, row in enumerate(self._rows)}
        self.changed = True
        return True
