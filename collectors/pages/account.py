"""What we make of one exposition page: every line is accounted for once, as a sample or as dropped with a reason.

The same grammar, tables and arithmetic are asked as by the scraper's `PageReader`, which keeps none of the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.signals import is_counter, metric
from autoscaler.types import Labels, SeriesKey
from collectors import engines
from collectors.dcgm.counters import Missing, missing_families
from collectors.derived import Derived
from collectors.engines import EngineFact
from collectors.pages import grammar
from collectors.pages.grammar import Malformed, Sample
from collectors.pages.identity import Identity
from collectors.pages.layout import Layout, Ratchet, arrange, entries
from collectors.pages.resolve import COMBINATIONS, resolver, why_nobody

MAX_LINE_BYTES = 64 << 10
RISING = "only what it rises by counts, from its first value on"


@dataclass(frozen=True, slots=True)
class Series:
    """One series as we keep it. value: in base units, None = the source has none now. unit: empty = not known."""

    metric: str
    labels: Labels
    value: float | None
    unit: str
    kind: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A line that is a sample. series: what it became, one or more (bits of a mask, `gpu_info`). note: what to know."""

    line: int
    printed: Sample
    series: tuple[Series, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A line of which nothing is kept. accepted: it follows the grammar."""

    line: int
    text: str
    why: str
    accepted: bool


@dataclass(frozen=True, slots=True)
class Account:
    """All of a page. derived: series that no line carries alone. missing: what an exporter could print and does not."""

    lines: int
    samples: tuple[Taken, ...]
    dropped: tuple[Dropped, ...]
    duplicates: int
    derived: tuple[Series, ...]
    engines: tuple[EngineFact, ...]
    missing: tuple[Missing, ...]

    @property
    def rejected(self) -> int:
        """Lines that do not follow the grammar."""
        return sum(not line.accepted for line in self.dropped)

    @property
    def accepted(self) -> int:
        """Lines that do."""
        return self.lines - self.rejected


@dataclass(slots=True)
class _Row:
    """One series of the page: the lines that print it, in order, and what it means."""

    name: str
    labels: Labels
    lines: list[tuple[int, Sample]]
    means: tuple[Identity, ...] = ()


def account(page: bytes, target: Labels = (), engine: str = "", openmetrics: bool = False) -> Account:
    """The account of a page of a target with these labels; `engine` as for `resolve.resolver`."""
    rows: dict[tuple[str, Labels], _Row] = {}
    dropped: list[Dropped] = []
    comments: list[bytes] = []
    lines = 0
    for number, raw in enumerate(grammar.split(page), 1):
        if grammar.blank_or_comment(raw):
            comments.append(raw)
            continue
        lines += 1
        try:
            if len(raw) > MAX_LINE_BYTES:
                raise Malformed(f"has {len(raw)} bytes; the limit is {MAX_LINE_BYTES}")
            sample, _ = grammar.parse_line(grammar.text_of(raw), openmetrics)
        except Malformed as broken:
            dropped.append(Dropped(number, grammar.shortened(raw), str(broken), False))
            continue
        rows.setdefault((sample.name, sample.labels), _Row(sample.name, sample.labels, [])).lines.append(
            (number, sample)
        )
    types = grammar.types_of(comments)
    resolve = resolver(engine)
    for row in rows.values():
        row.means = resolve(row.name, row.labels, grammar.type_of(row.name, types))
    found = _Reading(tuple(rows.values()), target, types)
    taken = []
    for position, row in enumerate(found.rows):
        last, sample = row.lines[-1]
        dropped += [
            Dropped(number, shown(s), f"the series is printed again in line {last}, which counts", True)
            for number, s in row.lines[:-1]
        ]
        series, why = found.of(position)
        if why:
            dropped.append(Dropped(last, shown(sample), why, True))
        else:
            note = RISING if any(identity.rising for identity in row.means) else ""
            taken.append(Taken(last, sample, series, note))
    return Account(
        lines=lines,
        samples=tuple(sorted(taken, key=lambda t: t.line)),
        dropped=tuple(sorted(dropped, key=lambda d: d.line)),
        duplicates=sum(len(row.lines) - 1 for row in found.rows),
        derived=found.derived(),
        engines=engines.detect(rows),
        missing=missing_families({name for name, _ in rows}, mig=found.cut),
    )


def shown(sample: Sample, limit: int = 120) -> str:
    """A sample's line again, from what was read, cut to `limit` characters."""
    labels = ",".join(f'{name}="{value}"' for name, value in sample.labels)
    text = f"{sample.name}{{{labels}}} {sample.value:.12g}" if labels else f"{sample.name} {sample.value:.12g}"
    return text if len(text) <= limit else text[:limit] + "..."


class _Reading:
    """The rows of a page laid out as the scraper does it, asked row by row for what became of them."""

    def __init__(self, rows: Sequence[_Row], target: Labels, types: Mapping[str, str]) -> None:
        self.rows = rows
        self._types = types
        present = np.ones(len(rows), dtype=np.bool_)
        self.layout: Layout = arrange([row.means for row in rows], target, present, COMBINATIONS)
        printed = np.array([row.lines[-1][1].value for row in rows], dtype=np.float64)
        self._values, self._void = self.layout.convert(printed)
        self._filled, _ = self.layout.fill(printed, Ratchet())
        self._winner: dict[int, int] = {}
        self._parts: dict[int, list[int]] = {}
        for part, (row, column) in enumerate(
            zip(self.layout.series.tolist(), self.layout.column.tolist(), strict=True)
        ):
            self._parts.setdefault(row, []).append(part)
            # A sentinel drops its line, though the line may also prove that its GPU is there.
            if not math.isnan(self._values[part]) and not self._void[self._parts[row][0]]:
                self._winner.setdefault(column, part)
        self._entrants: dict[tuple[str, int], int] = {}
        for position, entrant in enumerate(rows):
            for identity in entrant.means:
                for entry in entries(identity):
                    self._entrants.setdefault(entry, position)

    def of(self, row: int) -> tuple[tuple[Series, ...], str]:
        """What a row became, or why it was dropped."""
        parts = self._parts.get(row, [])
        if not parts:
            return (), self._beaten(row) if self.rows[row].means else why_nobody(*self._name(row))
        won = [part for part in parts if self._winner.get(int(self.layout.column[part])) == part]
        if won:
            return tuple(self._series(part) for part in won), ""
        if self._void[parts].any():
            value = self.rows[row].lines[-1][1].value
            kind = "an infinite value" if math.isinf(value) else f"the sentinel {value:.17g}: the source has no value"
            return (), kind
        first = self._winner.get(int(self.layout.column[parts[0]]))
        if first is not None:
            line = self.rows[int(self.layout.series[first])].lines[-1][0]
            return (), f"repeats {self._key(parts[0]).metric} of line {line}: one value of one device"
        return tuple(self._series(part) for part in parts), ""

    @property
    def cut(self) -> bool:
        """Whether some GPU of the page is cut into MIG instances."""
        return any(key.label("gi_id") is not None for key in self.layout.keys)

    def derived(self) -> tuple[Series, ...]:
        """The series of columns that no row feeds by itself."""
        fed, given = set(self._winner), set(self.layout.column.tolist())
        keys, values = Derived().extend(self.layout.keys, self._filled, 0.0)
        columns = enumerate(zip(keys, values.tolist(), strict=True))
        made = ((key, value) for column, (key, value) in columns if column not in (given if math.isnan(value) else fed))
        return tuple(self._kept(key, value) for key, value in made)

    def _name(self, row: int) -> tuple[str, Labels]:
        return self.rows[row].name, self.rows[row].labels

    def _key(self, part: int) -> SeriesKey:
        return self.layout.keys[int(self.layout.column[part])]

    def _series(self, part: int) -> Series:
        row = self.rows[int(self.layout.series[part])]
        return self._kept(self._key(part), float(self._values[part]), grammar.type_of(row.name, self._types))

    def _kept(self, key: SeriesKey, value: float, hint: str = "") -> Series:
        unit, kind = meaning(key.metric, hint)
        return Series(key.metric, key.labels, None if math.isnan(value) else value, unit, kind)

    def _beaten(self, row: int) -> str:
        """What took the place of a row whose every meaning lost."""
        winners = dict(zip((c.family for c in self.layout.contests), self.layout.winners, strict=True))
        for identity in self.rows[row].means:
            for family, rank in entries(identity):
                if winners.get(family, rank) == rank:
                    continue
                other = self.rows[self._entrants[family, winners[family]]]
                line = other.lines[-1][0]
                if other.name == self.rows[row].name:
                    return f"repeats what line {line} says for a lower rank of the same engine"
                return f"{identity.metric} is already said by {other.name} in line {line}; spellings are never added"
        return "belongs to a user of a device whose own series counts"


def meaning(name: str, hint: str = "") -> tuple[str, str]:
    """Unit and kind of a series of this name, whose page declares the type `hint`; unit empty = not known."""
    if name in engines.EVENTS:
        return "unix seconds", "event"
    known = metric(name)
    if known is None:
        return "", "counter" if is_counter(name, hint) else hint if hint in ("gauge", "summary") else "untyped"
    if known.kind == "histogram" and name != known.name:
        return (known.unit if name.endswith("_sum") else "observations"), "histogram"
    return known.unit, known.kind
