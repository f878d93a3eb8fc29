"""The series that a target is known to print: how they look on the page, what they mean, when they were seen last."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Labels
from collectors.pages import grammar
from collectors.pages.grammar import Malformed
from collectors.pages.identity import Identity, Resolve
from collectors.pages.shape import Indices, Shape, shape_of
from collectors.pages.unread import Unread


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target may cost. `evict_after`: scrapes after which a series that is no longer printed is forgotten."""

    page_bytes: int = 64 << 20
    line_bytes: int = 64 << 10
    series: int = 100_000
    evict_after: int = 20


OTHERS = 3
"""Ways to print a series that are known beside the first one. An exporter that shuffles its labels has thousands."""


class NoRoom(Malformed):
    """A line that is a sample of a new series, for which there is no room."""


class Room:
    """What all targets of a process may cost together: series, and the bytes of their text. Safe to share by threads.

    refused: new series for which there was no room, since the start. One that is printed again counts again.
    """

    def __init__(self, series: int = 250_000, text_bytes: int = 512 << 20) -> None:
        self.series_limit = series
        self.text_limit = text_bytes
        self.series = 0
        self.text_bytes = 0
        self.refused = 0
        self._lock = Lock()

    def take(self) -> None:
        """Make room for one more series. Raises NoRoom when there is none."""
        with self._lock:
            full = self.series >= self.series_limit or self.text_bytes >= self.text_limit
            self.series += not full
            self.refused += full
        if full:
            raise NoRoom(
                f"is a new series; all targets together already have {self.series} with {self.text_bytes >> 20} MiB of "
                f"text, and the limit is {self.series_limit} with {self.text_limit >> 20} MiB"
            )

    def change(self, series: int, text_bytes: int) -> None:
        """Note series and text that came (above 0) or went."""
        with self._lock:
            self.series += series
            self.text_bytes += text_bytes


@dataclass(slots=True)
class _Row:
    """One series. head, tail: the prefix that was proven first, cut before its labels, since a GPU's forty metrics
    print the same ones; while there is none, the tail is the labels themselves."""

    name: str
    mark: int
    hint: str
    means: Identity | tuple[Identity, ...]
    head: bytes
    tail: bytes | Labels
    others: tuple[bytes, ...] = ()

    @property
    def printed(self) -> Labels:
        """The labels as printed, sorted."""
        if isinstance(self.tail, bytes):
            return grammar.parse_line((self.head + self.tail).decode() + "0")[0].labels
        return self.tail

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """Every way in which it is printed before its value."""
        return (self.head + self.tail, *self.others) if isinstance(self.tail, bytes) else ()

    def pieces(self, line: bytes) -> tuple[bytes, bytes] | None:
        """Head and tail of the prefix that the line begins with, if one is known."""
        if isinstance(self.tail, bytes) and line.startswith(self.head) and line.startswith(self.tail, len(self.head)):
            return self.head, self.tail
        return next(((prefix, b"") for prefix in self.others if line.startswith(prefix)), None)


class KnownSeries:
    """The series of one target, numbered from 0 in the order in which they were first seen.

    changed: whether meanings were added, changed or dropped since the flag was last taken down. unread: the series of
    the page at hand for which there was no room.

    There are a hundred thousand of these, and most of what they say they say alike: equal labels are one object.
    Pages that are read by their shape need no look-ups, so that what serves those is let go by `rest`.
    """

    def __init__(self, resolve: Resolve, limits: Limits, room: Room) -> None:
        self.changed = True
        self.unread = Unread(resolve)
        self._resolve = resolve
        self._limits = limits
        self._room = room
        self._rows: list[_Row] = []
        self._index: dict[bytes, int] | None = {}
        self._numbers: dict[int, int] | None = {}
        self._text_bytes = 0
        self._collided = False
        self._alike: dict[Labels, Labels] = {}
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}
        self._texts: dict[bytes, bytes] = {}
        self._labels: dict[bytes, Labels] = {}
        self._seen = np.zeros(0, dtype=np.int32)
        self._types: Mapping[str, str] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def index(self) -> dict[bytes, int]:
        """Prefix -> number, only for prefixes that the strict grammar has proven to end where the series ends."""
        if self._index is None:
            self._index = {prefix: n for n, row in enumerate(self._rows) for prefix in row.prefixes}
        return self._index

    def rest(self) -> None:
        """Let go of what only look-ups need; the next one makes it anew."""
        self._index = self._numbers = None
        self._alike, self._pairs, self._texts, self._labels = {}, {}, {}, {}

    def meanings(self) -> list[tuple[Identity, ...]]:
        """What each series means."""
        return [(row.means,) if isinstance(row.means, Identity) else row.means for row in self._rows]

    @property
    def seen(self) -> NDArray[np.int32]:
        """(series,) the scrape in which each was printed last."""
        return self._seen

    def names(self) -> frozenset[str]:
        """The sample names of all series."""
        return frozenset(row.name for row in self._rows)

    def named(self, prefix: bytes) -> tuple[str, Labels] | None:
        """Name and labels of a new series, if its labels were proven on other lines: a GPU's forty metrics print the
        same ones, and what a name in front of the brace and such labels make up needs no further proof."""
        head, _, tail = prefix.partition(b"{")
        labels = self._labels.get(tail)
        name = None if labels is None else grammar.bare_name(head)
        return None if labels is None or name is None else (name, labels)

    def number(self, name: str, labels: Labels) -> int:
        """The number of a series, a new one where it was not known. Raises NoRoom at a limit."""
        if self._numbers is None:
            self._numbers = self._numbered()
        mark = _mark(name, labels)
        while (number := self._numbers.get(mark)) is not None:
            row = self._rows[number]
            if row.name == name and row.printed == labels:
                return number
            mark += 1
            self._collided = True
        number = len(self._rows)
        hint = grammar.type_of(name, self._types)
        try:
            if number >= self._limits.series:
                raise NoRoom(f"is a new series; the target already has {number}, which is the limit")
            self._room.take()
        except NoRoom:
            self.unread.note(name, labels, hint)
            raise
        means = self._mean(name, labels, hint)
        self._rows.append(_Row(sys.intern(name), mark, sys.intern(hint), means, b"", labels))
        self._numbers[mark] = number
        self.changed = True
        return number

    def remember(self, prefix: bytes, number: int) -> None:
        """Note one way in which a series is printed before its value; the caller has proven it."""
        index = self.index
        if prefix in index:
            return
        index[prefix] = number
        row, more = self._rows[number], len(prefix)
        if isinstance(row.tail, bytes):
            if len(row.others) == OTHERS:
                more -= len(row.others[0])
                del index[row.others[0]]
                row.others = row.others[1:]
            row.others = (*row.others, prefix)
        else:
            head, brace, tail = prefix.partition(b"{")
            if head and tail and isinstance(row.tail, tuple):
                self._labels[tail] = row.tail
            tail = brace + tail
            row.head, row.tail = self._texts.setdefault(head, head), self._texts.setdefault(tail, tail)
        self._text_bytes += more
        self._room.change(0, more)

    def shape(self, lines: Sequence[bytes], series: Sequence[int]) -> Shape | None:
        """The shape of a page with these lines, whose samples are of these series; None unless all begin with a proven
        prefix. It keeps the rows' copies of the text, not the page's."""
        return shape_of(lines, series, lambda number, line: self._rows[number].pieces(line))

    def declare(self, types: Mapping[str, str]) -> None:
        """Take in the page's TYPE lines; a series whose type changed is settled anew."""
        if types == self._types:
            return
        self._types = types
        for row in self._rows:
            hint = grammar.type_of(row.name, types)
            if hint != row.hint:
                row.hint = hint
                row.means = self._mean(row.name, row.printed, hint)
                self.changed = True

    def mark(self, present: Indices, scrape: int) -> None:
        """Note that these series were printed in this scrape."""
        new = np.zeros(len(self._rows) - len(self._seen), dtype=np.int32)
        self._seen = np.concatenate((self._seen, new)) if new.size else self._seen
        self._seen[present] = scrape

    def evict(self, scrape: int, patience: int) -> bool:
        """Forget series that were not printed for `patience` scrapes; true if any were. Numbers change then."""
        keep = np.flatnonzero(self._seen > scrape - patience)
        if len(keep) == len(self._rows):
            return False
        before = len(self._rows), self._text_bytes
        self._rows = [self._rows[number] for number in keep]
        self._seen = self._seen[keep]
        self._text_bytes = sum(len(prefix) for row in self._rows for prefix in row.prefixes)
        self._room.change(len(self._rows) - before[0], self._text_bytes - before[1])
        self.rest()
        self.changed = True
        return True

    def close(self) -> None:
        """Give back the room of a target that will not be read again."""
        self._room.change(-len(self._rows), -self._text_bytes)
        self._rows, self._text_bytes = [], 0
        self.rest()

    def _numbered(self) -> dict[int, int]:
        numbers: dict[int, int] = {}
        for number, row in enumerate(self._rows):
            # A mark that had to make way for one that is gone now would not be found behind the gap.
            mark = _mark(row.name, row.printed) if self._collided else row.mark
            while mark in numbers:
                mark += 1
            row.mark = mark
            numbers[mark] = number
        return numbers

    def _mean(self, name: str, labels: Labels, hint: str) -> Identity | tuple[Identity, ...]:
        means = tuple(
            replace(
                identity,
                metric=sys.intern(identity.metric),
                labels=self._one(identity.labels),
                work=self._one(identity.work),
                family=sys.intern(identity.family),
            )
            for identity in self._resolve(name, labels, hint)
        )
        # Nearly all series mean one thing, which needs no tuple around it.
        return means[0] if len(means) == 1 else means

    def _one(self, labels: Labels) -> Labels:
        """The labels, as the object that stands for all that are equal."""
        found = self._alike.get(labels)
        if found is None:
            pairs = self._pairs
            own = [(sys.intern(name), sys.intern(value)) for name, value in labels]
            found = tuple(pairs.setdefault(pair, pair) for pair in own)
            self._alike[found] = found
        return found


def _mark(name: str, labels: Labels) -> int:
    """A number that stands for a series as printed; two series may have the same."""
    return hash((name, labels))
