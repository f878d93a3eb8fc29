"""Time-stamped values as CSV text: the columns that a detector reads, and the rows as they were written."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import Fault, InputError

TIME_COLUMNS = ("timestamp", "t_s")
VALUE_COLUMN = "value"
GAPS = frozenset(("", "nan", "na", "n/a", "null", "none", "inf", "-inf", "+inf", "infinity", "-infinity"))
MAX_ROWS = 2_000_000
MAX_FAULTS = 20
MILLISECONDS_FROM = 1e11
"""Numbers from here on are milliseconds: as seconds they would lie after the year 5000."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """Rows in the order of the file. at_s: (row,) seconds since 1970 or some start. values: (row,), NaN is a gap."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    at_s: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def back_steps(self) -> int:
        """Rows that are older than one before them."""
        return int(np.count_nonzero(self.at_s < np.maximum.accumulate(self.at_s)))

    @property
    def repeats(self) -> int:
        """Rows with the time of the row before them."""
        return int(np.count_nonzero(np.diff(self.at_s) == 0.0))


def parse_stamped(text: str, name: str, column: str = VALUE_COLUMN) -> Stamped:
    """The rows of a CSV text called `name` in messages; raises InputError with every fault, the first 20 of them.

    Times stand in `timestamp` or `t_s`: ISO 8601 (UTC where there is no zone), seconds, or milliseconds. Empty cells,
    NaN and infinities are gaps, as are rows with `missing` = 1. Stamps may repeat or step back.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    rows: list[tuple[str, ...]] = []
    at: list[float] = []
    values: list[float] = []
    faults: list[Fault] = []
    try:
        header = tuple(cell.strip() for cell in next(reader, ()))
        places = _Places.of(header, name, column)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(rows) == MAX_ROWS:
                words = f"is one more than the limit of {MAX_ROWS} rows; cut the file"
                raise InputError(Fault(name, reader.line_num, 1, "row", words))
            read = _read(cells, header, places, name, reader.line_num)
            if isinstance(read, Fault):
                faults.append(read)
                continue
            rows.append(tuple(cells))
            at.append(read[0])
            values.append(read[1])
    except csv.Error as error:
        words = f"is not CSV ({error}); save the file as CSV with commas"
        raise InputError(Fault(name, reader.line_num, 1, "row", words)) from error
    if not rows and not faults:
        faults.append(Fault(name, 1, 1, header[places.time], "there are no rows below the header; give one a sample"))
    if len(faults) > MAX_FAULTS:
        rest = Fault(name, 0, 0, "", f"{len(faults) - MAX_FAULTS} more faults; correct these first")
        faults = [*faults[:MAX_FAULTS], rest]
    if faults:
        raise InputError(*faults)
    return Stamped(header, tuple(rows), np.array(at), np.array(values))


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the time, the value and the mark of a gap stand in a row."""

    time: int
    value: int
    missing: int | None

    @classmethod
    def of(cls, header: tuple[str, ...], name: str, column: str) -> _Places:
        found = [header.index(choice) for choice in TIME_COLUMNS if choice in header]
        if not found:
            words = f"the columns are {', '.join(header) or 'none'}; name one of them timestamp or t_s"
            raise InputError(Fault(name, 1, 1, "timestamp", words))
        if column not in header:
            others = ", ".join(cell for cell in header if cell not in TIME_COLUMNS) or "none"
            words = f"is not a column of this file; it has {others}; name one of them with --column"
            raise InputError(Fault(name, 1, 1, column, words))
        return cls(found[0], header.index(column), header.index("missing") if "missing" in header else None)


def _read(
    cells: list[str], header: tuple[str, ...], places: _Places, name: str, line: int
) -> tuple[float, float] | Fault:
    """The time and the value of a row, or what is wrong with it."""
    if len(cells) != len(header):
        words = f"{len(cells)} cell(s) in a table of {len(header)} columns; complete or delete the row"
        return Fault(name, line, 1, "row", words)
    gap = places.missing is not None and cells[places.missing].strip() == "1"
    place = places.time
    try:
        at_s = _time_s(cells[place])
        place = places.value
        return at_s, math.nan if gap else _value(cells[place])
    except ValueError as error:
        return Fault(name, line, sum(len(cell) + 1 for cell in cells[:place]) + 1, header[place], str(error))


def _time_s(text: str) -> float:
    text = text.strip()
    try:
        seconds = _number(text)
    except ValueError:
        try:
            stamp = datetime.fromisoformat(text)
        except ValueError:
            words = f"{text[:40]!r} is not a time; write 2026-01-31 23:55:00, or seconds"
            raise ValueError(words) from None
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds):
        raise ValueError(f"{text[:40]!r} is not a time; write 2026-01-31 23:55:00, or seconds")
    return seconds / 1000.0 if seconds >= MILLISECONDS_FROM else seconds


def _value(text: str) -> float:
    text = text.strip()
    if text.lower() in GAPS:
        return math.nan
    try:
        value = _number(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a number; write one such as 12.5, or nothing for a gap") from None
    return value if math.isfinite(value) else math.nan


def _number(text: str) -> float:
    # float() also takes 1_000, which nobody means.
    if "_" in text:
        raise ValueError(text)
    return float(text)
