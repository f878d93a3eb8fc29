"""Series with labelled anomalies: those published, and what a score of alerts is made of."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoscaler.trace import load_trace

DATA = Path(__file__).parent / "data"
HOURLY = DATA / "mscloud_labelled_hourly.csv.gz"
MINUTES: dict[str, tuple[tuple[int, int], ...]] = {
    "mscloud_ingress_01_1min": ((4172, 4465), (8517, 8588)),
    "mscloud_ingress_03_1min": (),
    "mscloud_mongo_01_1min": (),
}
"""First and last row of each anomaly that the publisher labelled in the recorded workloads."""

PROBATION_RATIO, MAX_PROBATION_ROWS = 0.15, 750
FALSE_ALARM = 0.11
WIDE_RATIO = 0.1

Windows = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A series (row,), and the windows in which an alert is right: first and last row, in order, apart."""

    family: str
    name: str
    at_s: NDArray[np.float64]
    values: NDArray[np.float64]
    windows: Windows


@dataclass(frozen=True, slots=True)
class Counted:
    """What alerts on one series, or several, are worth: `points` of `windows` that can be had, in the sum of both."""

    points: float
    windows: int
    found: int
    false_alarms: int

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.points + other.points,
            self.windows + other.windows,
            self.found + other.found,
            self.false_alarms + other.false_alarms,
        )

    @property
    def score(self) -> float:
        """100 = every window found at its first row and no false alarm, 0 = silence."""
        return 100.0 * (self.points + self.windows) / (2 * self.windows) if self.windows else math.nan


NOTHING = Counted(0.0, 0, 0, 0)


def published() -> list[Labelled]:
    """Microsoft's cloud monitoring series with the windows as labelled."""
    columns: dict[str, list[tuple[float, float, int]]] = {}
    with gzip.open(HOURLY, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cell = (float(row["t_s"]), float(row["value"] or "nan"), int(row["anomaly"]))
            columns.setdefault(row["series"], []).append(cell)
    made = []
    for name, rows in columns.items():
        at_s, values, anomaly = (np.array(part, dtype=np.float64) for part in zip(*rows, strict=True))
        family = name.rsplit("_", 2 if "crash" in name else 1)[0]
        made.append(Labelled(family, name, at_s, values, _runs(anomaly > 0)))
    for name, windows in MINUTES.items():
        trace = load_trace(DATA / f"{name}.csv.gz", "value")
        made.append(Labelled("workload", name, trace.at_s, trace.amount, windows))
    return made


def _runs(flags: NDArray[np.bool_]) -> Windows:
    edges = np.diff(np.concatenate(([0], flags.astype(np.int64), [0])))
    return tuple(zip(np.flatnonzero(edges > 0).tolist(), (np.flatnonzero(edges < 0) - 1).tolist(), strict=True))


def widened(series: Labelled) -> Labelled:
    """The same with windows that cover at least a tenth of the series together, as in the Numenta benchmark."""
    if not series.windows:
        return series
    rows = len(series.values)
    least = WIDE_RATIO * rows / len(series.windows)
    made: list[tuple[int, int]] = []
    for first, last in series.windows:
        more = max(0.0, least - (last - first + 1)) / 2
        start, end = max(0, int(first - more)), min(rows - 1, int(last + more))
        if made and start <= made[-1][1] + 1:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((start, end))
    return Labelled(series.family, series.name, series.at_s, series.values, tuple(made))


def counted(series: Labelled, alerts: Sequence[int]) -> Counted:
    """Points of the alerts (row numbers, ascending) in the manner of Lavin and Ahmad 2015, standard profile.

    The first alert in a window earns up to 1, by a sigmoid of its place in it; a missed window costs 1; an alert
    outside costs 0.11, less right after a window. The first 15 % of a series, at most 750 rows, are not judged.
    """
    judged_from = min(int(PROBATION_RATIO * len(series.values)), MAX_PROBATION_ROWS)
    windows = [(max(first, judged_from), last) for first, last in series.windows if last >= judged_from]
    points, false_alarms = 0.0, 0
    found: set[int] = set()
    for row in alerts:
        if row < judged_from:
            continue
        before = sum(first <= row for first, _ in windows) - 1
        if before >= 0 and row <= windows[before][1]:
            if before not in found:
                first, last = windows[before]
                points += _sigmoid(-(last - row + 1) / (last - first + 1)) / _sigmoid(-1.0)
                found.add(before)
            continue
        false_alarms += 1
        if before < 0:
            points -= FALSE_ALARM
        else:
            first, last = windows[before]
            points += FALSE_ALARM * _sigmoid((row - last) / max(last - first, 1))
    return Counted(points - (len(windows) - len(found)), len(windows), len(found), false_alarms)


def _sigmoid(place: float) -> float:
    """From nearly 1 at the start of a window (-1) through 0 at its end (0) to -1 far behind it."""
    return -1.0 if place > 3.0 else 2.0 / (1.0 + math.exp(5.0 * place)) - 1.0
