"""Values of fields, whoever read them, in the canonical series that a page of dcgm-exporter would give."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from autoscaler.types import Batch, Labels
from collectors.dcgm.fields import FIELDS, MASKS, PREFIX
from collectors.dcgm.names import identities
from collectors.derived import Derived
from collectors.pages.identity import Identity
from collectors.pages.layout import Layout, Ratchet, arrange

SERIES_LIMIT = 20_000
NAMES = {field.id: PREFIX + field.names[-1] for field in FIELDS} | {n: PREFIX + names[-1] for n, names in MASKS.items()}
"""Field id -> its newest spelling."""
METRICS = {field.id: field.metric for field in FIELDS}
"""Field id -> the canonical metric."""


@dataclass(frozen=True, slots=True)
class Value:
    """One field of one entity: its name and labels as dcgm-exporter would print them, and its value in DCGM's unit, NaN
    where it is blank."""

    name: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source said at one time. lane: fields that are read together have their own source in the store. at: Unix
    seconds, as the source dates it. complete: whether every entity was asked for every field."""

    lane: str
    interval_s: float
    at: float
    values: tuple[Value, ...]
    complete: bool = True


class FieldReader:
    """Turns readings of one source into batches; like a page's, their keys stay the same object.

    derive: whether what follows from others is added; of several lanes of the same GPUs only one may do that.
    """

    def __init__(self, source: str, labels: Labels, interval_s: float, *, derive: bool = True) -> None:
        self._source = source
        self._labels = tuple(sorted(labels))
        self._interval_s = interval_s
        self._numbers: dict[tuple[str, Labels], int] = {}
        self._meanings: list[tuple[Identity, ...]] = []
        self._layout: Layout | None = None
        self._ratchet = Ratchet()
        self._derived = Derived() if derive else None
        self.sentinels = 0

    def batch(self, values: Iterable[Value], at: float, *, complete: bool = True) -> Batch:
        """The batch of one reading at `at`. complete: whether every entity was asked for every field."""
        told: dict[int, float] = {}
        for one in values:
            number = self._number(one)
            if number is not None:
                told[number] = one.value
        printed = np.full(len(self._meanings), math.nan)
        present = np.zeros(len(self._meanings), dtype=np.bool_)
        if told:
            printed[list(told)] = list(told.values())
            present[list(told)] = True
        layout = self._layout
        if layout is None or (told and not layout.standing(present)):
            before = layout
            layout = arrange(self._meanings, self._labels, present)
            if before is not None and layout.keys == before.keys:
                layout = replace(layout, keys=before.keys)
            self._layout = layout
            self._ratchet.keep(layout.keys)
        found, self.sentinels = layout.fill(printed, self._ratchet)
        keys = layout.keys
        if self._derived is not None:
            keys, found = self._derived.extend(keys, found, at, complete=complete)
        return Batch(self._source, at, self._interval_s, keys, found, self._labels)

    def down(self, at: float) -> Batch:
        """The batch that says that the source did not answer."""
        return Batch(self._source, at, self._interval_s, (), np.empty(0), self._labels, "down")

    def _number(self, one: Value) -> int | None:
        number = self._numbers.get((one.name, one.labels))
        if number is None and len(self._meanings) < SERIES_LIMIT:
            number = self._numbers[one.name, one.labels] = len(self._meanings)
            self._meanings.append(identities(one.name, one.labels) or ())
            self._layout = None
        return number
