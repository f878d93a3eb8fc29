"""Forecasts over recorded workloads: the error of the middle, the loss of the tail, coverage, and what fitting costs.

Each series is forecast as `sigmascale forecast` does it: every five minutes over its last 30 %, with the default model
and the same settings for all, each time from what was known then. Run: python -m benchmarks.forecast
"""

from __future__ import annotations

import os

# One core a fit is what is claimed; BLAS must know before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoscaler.clock import cpu_seconds
from autoscaler.forecasters.select import Select
from autoscaler.rolling import Course, frame, roll
from autoscaler.skill import Skill, skill
from autoscaler.trace import Trace, load_trace
from benchmarks.table import Row, show

DATA = Path(__file__).parent / "data"
SERIES = (
    ("azure2024_code_week_1min", "requests"),
    ("servegen_m_small_1min", "requests"),
    ("servegen_m_small_10min", "requests"),
    ("servegen_deepseek_r1_1min", "requests"),
    ("nasa_http_1995_1min", "requests"),
    ("mscloud_ingress_01_1min", "value"),
    ("mscloud_ingress_03_1min", "value"),
    ("mscloud_mongo_01_1min", "value"),
)
HORIZONS_S = (600.0, 900.0)
HOURLY = ("bike_sharing_dc_hourly", "users", 3600.0)
"""Shown, but not counted: the claims are about 10 and 15 minutes."""

START_SHARE = 0.7
EVERY_S = 300.0
QUANTILES = (0.5, 0.95)
FIT_DAYS, FIT_HORIZONS_S = 14, (600.0, 1800.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """The skill on one series at one horizon."""

    name: str
    horizon_s: float
    skill: Skill

    @property
    def error(self) -> float:
        """Error against the naive forecast that turned out best."""
        return self.skill.error_ratio / self.skill.best_naive[1]

    @property
    def loss(self) -> float:
        """Loss at 0.95 against last value times its own growth quantile."""
        return self.skill.loss / self.skill.naive_loss

    @property
    def covered(self) -> float:
        """Share of outcomes at or below the 0.95 quantile."""
        return self.skill.covered_ratios[QUANTILES[1]]


def load(name: str, column: str) -> Trace:
    return load_trace(DATA / f"{name}.csv.gz", column)


def measured(name: str, column: str, horizon_s: float, every_s: float = EVERY_S) -> Measured:
    """One series at one horizon."""
    trace = load(name, column)
    start_s = float(trace.at_s[0]) + START_SHARE * (trace.end_s - float(trace.at_s[0]))
    return Measured(name, horizon_s, skill(roll(trace, Select(), Course(horizon_s, every_s, start_s, QUANTILES))))


def everything() -> list[Measured]:
    """All series at both horizons, then the hourly one; fanned out over the cores."""
    from joblib import Parallel, delayed

    tasks = [(name, column, horizon_s, EVERY_S) for name, column in SERIES for horizon_s in HORIZONS_S]
    tasks.append((*HOURLY, HOURLY[2]))
    found: list[Measured] = Parallel(n_jobs=len(os.sched_getaffinity(0)))(delayed(measured)(*task) for task in tasks)
    return found


def fit_seconds() -> float:
    """CPU seconds to learn the default horizons, mean and peak, from two weeks of minutes; the faster of two."""
    trace = load("servegen_m_small_1min", "requests")
    history = frame(trace, float(trace.at_s[0]) + FIT_DAYS * 86400.0)
    took = []
    for _ in range(2):
        before = cpu_seconds()
        Select(FIT_HORIZONS_S).fit(history)
        took.append(cpu_seconds() - before)
    return min(took)


def rows(found: Sequence[Measured]) -> list[Row]:
    """What is claimed, from the series that count."""
    errors = np.array([one.error for one in found])
    losses = np.array([one.loss for one in found])
    covered = np.array([one.covered for one in found])
    return [
        Row("series whose error is at most the best naive one's", float(np.mean(errors <= 1.0)), "of all", 0.8),
        Row("worst error against the best naive one", float(errors.max()), "x", 1.05, lower_is_better=True),
        Row("mean error against the best naive one", float(errors.mean()), "x", 0.95, lower_is_better=True),
        Row("mean pinball loss at 0.95 against grown last value", float(losses.mean()), "x", 0.8, lower_is_better=True),
        Row("series whose pinball loss is at most 0.8 x", float(np.mean(losses <= 0.8)), "of all"),
        Row("worst pinball loss at 0.95", float(losses.max()), "x", lower_is_better=True),
        Row("coverage of 0.95, lowest of all series", float(covered.min()), "", 0.92),
        Row("coverage of 0.95, highest of all series", float(covered.max()), "", 0.98, lower_is_better=True),
    ]


def run() -> list[Row]:
    """The claims; the table of all series is printed on the way."""
    found = everything()
    print(table(found))
    counted = [one for one in found if one.name != HOURLY[0]]
    fit = Row(
        "fit, two weeks of minutes, two horizons, mean and peak", fit_seconds(), "CPU s", 5.0, lower_is_better=True
    )
    return [*rows(counted), fit]


def table(found: Sequence[Measured]) -> str:
    """Every series at every horizon, as Markdown."""
    lines = [
        "| series | ahead | forecasts | WAPE % | last | mean10 | drift | blend | x best | loss x | covered % |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        naive = " | ".join(f"{100 * error:.1f}" for error in one.skill.naive_error_ratios.values())
        cells = f"{one.name} | {one.horizon_s / 60:g} min | {one.skill.judged} | {100 * one.skill.error_ratio:.1f}"
        lines.append(f"| {cells} | {naive} | {one.error:.3f} | {one.loss:.3f} | {100 * one.covered:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    show(run(), "forecast")
