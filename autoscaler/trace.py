"""Recorded workloads: CSV text with a column of times, turned into amounts per bucket or single arrivals."""

from __future__ import annotations

import difflib
import gzip
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import Fault, InputError

MAX_FAULTS = 20
MAX_TEXT_BYTES = 1 << 30
MAX_BUCKETS_PER_ROW = 10
TIME_COLUMN = "t_s"
MISSING_COLUMN = "missing"
AS_ARRIVALS = "read a file of requests as arrivals"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Trace:
    """A workload in even buckets of `step_s` seconds, the first at `at_s[0]`.

    at_s: (bucket,) left edges. amount: (bucket,) what came within the bucket, NaN in a gap. missing: (bucket,) the
    gaps, where nothing is known, which is not the same as nothing having come.
    """

    at_s: NDArray[np.float64]
    amount: NDArray[np.float64]
    step_s: float
    missing: NDArray[np.bool_]

    @property
    def end_s(self) -> float:
        """The right edge of the last bucket."""
        return float(self.at_s[-1]) + self.step_s

    def rate_at(self, t_s: float) -> float:
        """Amount per second at a time of the trace: NaN in a gap, 0 before its start and after its end."""
        bucket = math.floor((t_s - float(self.at_s[0])) / self.step_s)
        return float(self.amount[bucket]) / self.step_s if 0 <= bucket < len(self.amount) else 0.0

    def bridged(self) -> Trace:
        """This trace with straight lines through its gaps, from bucket to bucket; `missing` stays as it was."""
        if self.missing.all():
            return Trace(self.at_s, np.zeros_like(self.amount), self.step_s, self.missing)
        amount = np.interp(self.at_s, self.at_s[~self.missing], self.amount[~self.missing])
        return Trace(self.at_s, amount, self.step_s, self.missing)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Single requests. at_s: (request,) ascending. values: (column, request), in the order of `columns`."""

    at_s: NDArray[np.float64]
    columns: tuple[str, ...]
    values: NDArray[np.float64]


def load_trace(path: Path | str, column: str) -> Trace:
    """The column of a CSV file (plain, or gzip when its name ends in .gz); raises InputError with every fault."""
    return parse_trace(text_of(Path(path)), str(path), column)


def load_arrivals(path: Path | str, *columns: str) -> Arrivals:
    """The times and columns of a CSV file with one row a request; raises InputError with every fault."""
    return parse_arrivals(text_of(Path(path)), str(path), *columns)


def parse_trace(text: str, name: str, column: str) -> Trace:
    """The column of a CSV text called `name` in messages. The first column is `t_s`, the left edge of its bucket.

    The step is the commonest distance of two rows; buckets without a row are gaps, as are rows with `missing` = 1.
    Raises InputError with every fault, the first 20 of them.
    """
    table = _Table(text, name)
    value_place = table.place(column)
    missing_place = table.header.index(MISSING_COLUMN) if MISSING_COLUMN in table.header else None
    at: list[float] = []
    amount: list[float] = []
    lines: list[int] = []
    for line, cells in table.rows():
        gap = missing_place is not None and table.flag(line, cells, missing_place)
        t_s = table.number(line, cells, 0)
        value = math.nan if gap else table.number(line, cells, value_place)
        if value < 0:
            table.fault(line, cells, value_place, f"{value:g} is below 0, an amount never is; correct the row")
        elif at and t_s == at[-1]:
            table.fault(line, cells, 0, f"{t_s:g} is there twice; give one row a bucket, or {AS_ARRIVALS}")
        elif at and t_s < at[-1]:
            table.fault(
                line, cells, 0, f"{t_s:g} comes before {at[-1]:g} of the row above; sort the rows by {TIME_COLUMN}"
            )
        at.append(t_s)
        amount.append(value)
        lines.append(line)
    if len(at) < 2:
        table.fault(len(at) + 1, [], 0, f"{len(at)} row(s) do not tell the length of a bucket; give two or more")
    table.raise_faults()
    return _bucketed(table, np.array(at), np.array(amount), lines)


def parse_arrivals(text: str, name: str, *columns: str) -> Arrivals:
    """The times, ascending or equal, and columns of a CSV text with one row a request; raises InputError."""
    table = _Table(text, name)
    places = [table.place(column) for column in columns]
    at: list[float] = []
    values: list[list[float]] = []
    for line, cells in table.rows():
        t_s = table.number(line, cells, 0)
        if at and t_s < at[-1]:
            table.fault(
                line, cells, 0, f"{t_s:g} comes before {at[-1]:g} of the row above; sort the rows by {TIME_COLUMN}"
            )
        at.append(t_s)
        values.append([table.number(line, cells, place) for place in places])
    if not at:
        table.fault(1, [], 0, "there are no rows below the header; give one for each request")
    table.raise_faults()
    return Arrivals(np.array(at), columns, np.array(values, dtype=np.float64).reshape(len(at), len(columns)).T)


def _bucketed(table: _Table, at: NDArray[np.float64], amount: NDArray[np.float64], lines: list[int]) -> Trace:
    distances = np.diff(at)
    counts = Counter(np.round(distances, 6).tolist())
    commonest = max(counts, key=lambda distance: (counts[distance], -distance))
    # Times may be rounded (0.333, 0.667, 1.0): the mean over nearly equal distances does not drift away over the rows.
    step_s = float(np.mean(distances[np.abs(distances - commonest) <= max(1e-6, 1e-2 * commonest)]))
    bucket = np.round((at - at[0]) / step_s) if step_s > 0 else np.zeros_like(at)
    uneven = np.flatnonzero((np.abs(at - at[0] - bucket * step_s) > 1e-2 * step_s) | (np.diff(bucket, prepend=-1) < 1))
    rule = f"buckets of {step_s:g} s, the commonest distance; give even buckets, or {AS_ARRIVALS}"
    for n in uneven:
        table.fault(lines[n], [], 0, f"{at[n]:g} does not lie on {rule}")
    if not uneven.size and bucket[-1] >= MAX_BUCKETS_PER_ROW * len(at):
        table.fault(lines[-1], [], 0, f"{at[-1]:g} would leave most buckets empty; correct the times, or cut the trace")
    table.raise_faults()
    amounts = np.full(int(bucket[-1]) + 1, np.nan)
    amounts[bucket.astype(np.intp)] = amount
    return Trace(at[0] + step_s * np.arange(len(amounts)), amounts, step_s, np.isnan(amounts))


class _Table:
    """The rows of one CSV text and the faults found in it so far."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._lines = text.removeprefix("\ufeff").split("\n")
        self._faults: list[Fault] = []
        self._found = 0
        self.header = [cell.strip().strip('"') for cell in self._lines[0].split(",")]
        if self.header[0] != TIME_COLUMN:
            self.fault(
                1,
                [],
                0,
                f"the first column is {self.header[0]!r}, not {TIME_COLUMN} (seconds); name the columns in line 1",
            )
            self.raise_faults()

    def place(self, column: str) -> int:
        """The index of a value column; raises InputError when there is none of this name."""
        choices = [name for name in self.header[1:] if name != MISSING_COLUMN]
        if column not in choices:
            close = difflib.get_close_matches(column, choices, n=1)
            words = f"is not a value column of this file; it has {', '.join(choices) or 'none'}"
            self._add(Fault(self.name, 1, 1, column, words + (f"; did you mean {close[0]}?" if close else "")))
            self.raise_faults()
        return self.header.index(column)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of every complete row; other rows are faults, blank lines are nothing."""
        for line, text in enumerate(self._lines[1:], start=2):
            if not text.strip():
                continue
            cells = text.rstrip("\r").split(",")
            if len(cells) == len(self.header):
                yield line, cells
            else:
                words = f"{len(cells)} cell(s) in a table of {len(self.header)} columns; complete or delete the row"
                self._add(Fault(self.name, line, 1, "row", words))

    def number(self, line: int, cells: list[str], place: int) -> float:
        """The number in a cell; a fault and NaN when it holds none, or one that is not finite."""
        text = cells[place].strip()
        # float() also takes 1_000, other scripts' digits and nan.
        if _NUMBER.fullmatch(text) and math.isfinite(value := float(text)):
            return value
        self.fault(line, cells, place, f"{text[:40]!r} is not a number; write one such as 12.5" + self._gap_hint(place))
        return math.nan

    def flag(self, line: int, cells: list[str], place: int) -> bool:
        """Whether a cell holds 1; a fault unless it holds 0 or 1."""
        text = cells[place].strip()
        if text not in ("0", "1"):
            self.fault(line, cells, place, f"{text[:40]!r} is neither 0 nor 1; write 1 for a gap, else 0")
        return text == "1"

    def fault(self, line: int, cells: list[str], place: int, text: str) -> None:
        """Note a fault in a cell; without `cells` it is in the whole line."""
        column = sum(len(cell) + 1 for cell in cells[:place]) + 1
        self._add(Fault(self.name, line, column, self.header[place], text))

    def raise_faults(self) -> None:
        """Raise InputError if there was a fault."""
        if self._found > len(self._faults):
            self._faults.append(
                Fault(self.name, 0, 0, "", f"{self._found - MAX_FAULTS} more faults; correct these first")
            )
        if self._faults:
            raise InputError(*self._faults)

    def _add(self, fault: Fault) -> None:
        self._found += 1
        if self._found <= MAX_FAULTS:
            self._faults.append(fault)

    def _gap_hint(self, place: int) -> str:
        return f", or mark the row as a gap in a column {MISSING_COLUMN}" if place else ""


def text_of(path: Path) -> str:
    """The text of a file, plain or gzip when its name ends in .gz; raises InputError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise InputError(
                Fault(str(path), 0, 0, "", f"holds more than {MAX_TEXT_BYTES >> 20} MiB of text; cut the trace")
            )
        return content.decode("utf-8")
    except FileNotFoundError:
        words = "there is no such file; check the path"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        words = f"is not a whole gzip file ({error}); copy it again, or drop .gz from its name if it is plain text"
    except UnicodeDecodeError as error:
        words = f"byte {error.start} is not UTF-8 text; save the file as UTF-8"
    except OSError as error:
        words = f"cannot be read ({error.strerror}); check that it is a file that this user may read"
    raise InputError(Fault(str(path), 0, 0, "", words))
