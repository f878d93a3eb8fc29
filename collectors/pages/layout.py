"""From the series of a page to the columns of a batch: who feeds which column, computed once per layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autoscaler.signals import is_counter
from autoscaler.types import Labels, SeriesKey
from collectors.pages.arrivals import Arrival, Tally, find_arrivals
from collectors.pages.identity import Identity
from collectors.pages.sharing import Sharing, settle

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

INT64_BLANK_FROM = 9.2e18
"""DCGM's INT64 blanks are 0x7ffffffffffffff0 and above (dcgm_structs.h); a float holds them only about."""
INT32_BLANKS = (2147483632.0, 2147483635.0)
"""First and last of DCGM's INT32 blanks, which INT64 fields also carry. Exactly these four: a real energy counter
passes this range, so nothing beyond it is a blank."""
FP64_BLANK_FROM = 140737488355328.0


@dataclass(frozen=True, slots=True)
class Combination:
    """A canonical metric that no series carries alone: of `left` and the `right` of equal labels, or the only right.

    Nothing to subtract (no error was ever counted) leaves a difference's left side as it is.
    """

    metric: str
    operation: Literal["product", "quotient", "difference"]
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Contest:
    """Spellings of one metric at one target, best first: of each its rank and the series that carry it."""

    family: str
    entrants: tuple[tuple[int, Indices], ...]

    def winner(self, present: NDArray[np.bool_]) -> int:
        """The best rank that the page carries; the first one if it carries none."""
        return next((rank for rank, series in self.entrants if present[series].any()), self.entrants[0][0])


@dataclass(slots=True)
class Ratchet:
    """Turns numbers that may fall into counters: only what they rise by counts. All of it is kept across layouts."""

    after: dict[SeriesKey, tuple[float, float]] = field(default_factory=dict)
    tallies: dict[SeriesKey, Tally] = field(default_factory=dict)

    def keep(self, keys: Sequence[SeriesKey]) -> None:
        """Forget all other series."""
        if self.after or self.tallies:
            wanted = set(keys)
            self.after = {key: state for key, state in self.after.items() if key in wanted}
            self.tallies = {key: tally for key, tally in self.tallies.items() if key in wanted}

    def count(self, key: SeriesKey, value: float) -> float:
        """The total of all rises so far; a first value is where counting starts."""
        if np.isnan(value):
            return value
        last, total = self.after.get(key, (value, 0.0))
        total += max(0.0, value - last)
        self.after[key] = (value, total)
        return total

    def arrived(self, keys: Sequence[SeriesKey], arrival: Arrival, values: Floats) -> float:
        """Requests that arrived so far, of the values (columns,) of a page with these keys."""
        tally = self.tallies.setdefault(keys[arrival.column], Tally())
        finished = [(keys[column], float(values[column])) for column in arrival.finished]
        return tally.count(finished, [(keys[column], float(values[column])) for column in arrival.inside])


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of a batch and where they come from. `parts` arrays have one entry per (series, column) pair.

    series: (parts,) index of the series that is read. column: (parts,) index of the column that is fed; where several
    feed one column, the first that has a value does. The rest says how a printed value becomes a canonical one.
    """

    keys: tuple[SeriesKey, ...]
    series: Indices
    column: Indices
    factor: Floats
    offset: Floats
    int64: Indices
    fp64: Indices
    negative: Indices
    sensor: Indices
    masked: tuple[tuple[int, int], ...]
    lowest_bit: tuple[int, ...]
    rising: tuple[int, ...]
    combined: tuple[tuple[int, str, int, int | None], ...]
    arrivals: tuple[Arrival, ...]
    contests: tuple[Contest, ...]
    winners: tuple[int, ...]
    shared: bool
    sharing: Sharing

    def standing(self, present: NDArray[np.bool_]) -> bool:
        """Whether the spellings that won are those that win among the series present now, and users share as before."""
        wins = zip(self.contests, self.winners, strict=True)
        return self.sharing.standing(present) and all(contest.winner(present) == rank for contest, rank in wins)

    def convert(self, printed: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Canonical values (parts,) of printed ones (series,), NaN = none, and which were blanks or infinite."""
        values = printed[self.series]
        void = np.isinf(values)
        if self.int64.size:
            integers = values[self.int64]
            first, last = INT32_BLANKS
            void[self.int64] |= (integers >= INT64_BLANK_FROM) | ((integers >= first) & (integers <= last))
        if self.fp64.size:
            void[self.fp64] |= values[self.fp64] >= FP64_BLANK_FROM
        if self.negative.size:
            void[self.negative] |= values[self.negative] < 0.0
        if self.sensor.size:
            void[self.sensor] |= values[self.sensor] <= 0.0
        values[void] = np.nan
        for part, bits in self.masked:
            if not np.isnan(values[part]):
                values[part] = float(bool(int(values[part]) & bits))
        for part in self.lowest_bit:
            mask = 0 if np.isnan(values[part]) else int(values[part])
            values[part] = (mask & -mask).bit_length() - 1 if mask else np.nan
        return values * self.factor + self.offset, void

    def fill(self, printed: Floats, ratchet: Ratchet) -> tuple[Floats, int]:
        """Canonical values (columns,) of printed ones (series,), NaN = none, and how many were blanks or infinite."""
        values, void = self.convert(printed)
        blanks = int(np.unique(self.series[void]).size)
        if self.shared:
            filled = np.full(len(self.keys), np.nan)
            usable = ~np.isnan(values)
            # Of repeated indices the last assignment stays, so the order is turned round for the first to win.
            filled[self.column[usable][::-1]] = values[usable][::-1]
        else:
            filled = values
        for column in self.rising:
            filled[column] = ratchet.count(self.keys[column], float(filled[column]))
        for column, operation, left, right in self.combined:
            other = 0.0 if right is None else float(filled[right])
            filled[column] = combine(operation, float(filled[left]), other)
        for arrival in self.arrivals:
            filled[arrival.column] = ratchet.arrived(self.keys, arrival, filled)
        return filled, blanks


def combine(operation: str, left: float, right: float) -> float:
    """The value of a combination; a quotient by zero has none, and neither has what no number can hold."""
    match operation:
        case "product":
            found = left * right
        case "difference":
            found = left - right
        case _:
            found = left / right if right else math.nan
    return found if math.isfinite(found) else math.nan


def arrange(
    identities: Sequence[Sequence[Identity]],
    labels: Labels,
    present: NDArray[np.bool_],
    combinations: Sequence[Combination] = (),
    seen: NDArray[np.integer] | None = None,
) -> Layout:
    """The layout of a page whose series i means `identities[i]`, at a target with these labels. seen: see `settle`."""
    contests = _contests(identities)
    winners = tuple(contest.winner(present) for contest in contests)
    beaten = _beaten(contests, winners)
    sharing = settle(identities, present, seen)
    columns: dict[SeriesKey, int] = {}
    parts: list[tuple[int, int, Identity]] = []
    overlapping: set[int] = set()
    target = dict(labels)
    of_target = {pair[0]: pair for pair in labels}
    # Forty metrics of one GPU have the same labels: merged once, and kept as one object.
    alike: dict[Labels, Labels] = {}
    for series, meanings in enumerate(identities):
        for place, meaning in enumerate(meanings):
            identity = sharing.changed.get((series, place), meaning)
            if identity is not None and not (beaten and beaten.intersection(entries(identity))):
                own = identity.series_labels
                if own not in alike:
                    alike[own] = merged(own, of_target)
                key = SeriesKey(identity.metric, alike[own], identity.counter)
                column = columns.setdefault(key, len(columns))
                parts.append((series, column, identity))
                if identity.overlaps:
                    overlapping.add(column)
    shared = len(columns) < len(parts)
    combined = _combined(columns, combinations)
    arrivals = find_arrivals(columns, overlapping, target)
    rows = [identity for _, _, identity in parts]
    return Layout(
        keys=tuple(columns),
        series=np.array([series for series, _, _ in parts], dtype=np.int64),
        column=np.array([column for _, column, _ in parts], dtype=np.int64),
        factor=np.array([row.factor for row in rows], dtype=np.float64),
        offset=np.array([row.offset for row in rows], dtype=np.float64),
        int64=np.array([n for n, row in enumerate(rows) if row.blank in ("int64", "sensor")], dtype=np.int64),
        fp64=np.array([n for n, row in enumerate(rows) if row.blank == "fp64"], dtype=np.int64),
        negative=np.array([n for n, row in enumerate(rows) if row.blank == "negative"], dtype=np.int64),
        sensor=np.array([n for n, row in enumerate(rows) if row.blank == "sensor"], dtype=np.int64),
        masked=tuple((n, row.bits) for n, row in enumerate(rows) if row.bits),
        lowest_bit=tuple(n for n, row in enumerate(rows) if row.lowest_bit),
        rising=tuple(dict.fromkeys(column for _, column, row in parts if row.rising)),
        combined=combined,
        arrivals=arrivals,
        contests=contests,
        winners=winners,
        shared=shared or bool(combined) or bool(arrivals),
        sharing=sharing,
    )


def merged(labels: Labels, target: Mapping[str, tuple[str, str]]) -> Labels:
    """Labels of a series at a target whose pairs are given by name: the target's win, and the page's stay as
    `exported_...`, as Prometheus does it. Pairs stay the objects that they are; there are a million of them."""
    both = {}
    for pair in labels:
        moved = pair if pair[0] not in target else (f"exported_{pair[0]}", pair[1])
        both[moved[0]] = moved
    both.update(target)
    return tuple(sorted(both.values()))


def entries(identity: Identity) -> tuple[tuple[str, int], ...]:
    """The competitions that a meaning takes part in, each with its rank there: of its spelling, and of its copy.

    Spellings of a GPU's metric compete for that GPU: a page may carry the GPUs of two exporters, one of them older.
    """
    spelling: tuple[tuple[str, int], ...] = ()
    if identity.family:
        device = next((value for name, value in identity.labels if name == "uuid"), "")
        spelling = ((f"{identity.family}/{device}", identity.rank),)
    if identity.copy < 0:
        return spelling
    return (*spelling, (f"{identity.metric}{identity.series_labels}", identity.copy))


def _contests(identities: Sequence[Sequence[Identity]]) -> tuple[Contest, ...]:
    entrants: dict[str, dict[int, list[int]]] = {}
    for series, meanings in enumerate(identities):
        for identity in meanings:
            for family, rank in entries(identity):
                entrants.setdefault(family, {}).setdefault(rank, []).append(series)
    return tuple(
        Contest(family, tuple((rank, np.array(series)) for rank, series in sorted(ranks.items())))
        for family, ranks in entrants.items()
        if len(ranks) > 1
    )


def _beaten(contests: Sequence[Contest], winners: Sequence[int]) -> set[tuple[str, int]]:
    return {
        (contest.family, rank)
        for contest, winner in zip(contests, winners, strict=True)
        for rank, _ in contest.entrants
        if rank != winner
    }


def _combined(
    columns: dict[SeriesKey, int], combinations: Sequence[Combination]
) -> tuple[tuple[int, str, int, int | None], ...]:
    """Columns that are computed from others; they are added to `columns`, after those that are read."""
    found: list[tuple[int, str, int, int | None]] = []
    for rule in combinations:
        lefts = [key for key in columns if key.metric == rule.left]
        counter = is_counter(rule.metric)
        rights = {key.labels: column for key, column in columns.items() if key.metric == rule.right}
        for key in lefts:
            right = rights.get(key.labels, next(iter(rights.values())) if len(rights) == 1 else None)
            made = SeriesKey(rule.metric, key.labels, counter)
            if made not in columns and (right is not None or rule.operation == "difference"):
                columns[made] = len(columns)
                found.append((columns[made], rule.operation, columns[key], right))
    return tuple(found)
