"""Bands of 100,000 series x 240 points, alone and as the whole evaluation with labels and alert state.

The whole evaluation is one tick of an alert on raw series: bands from the lookback, judgement of the newest point,
alert state and labels, and which notifications are due, while 200 series breach, 100 begin to and 100 calm down.
"By time" is the layout of the store: all series of one instant side by side.
Run: python -m benchmarks.bands
"""

from __future__ import annotations

import os

# One core is what is claimed; BLAS must know before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from autoscaler.alerts import due, follow
from autoscaler.clock import cpu_seconds, monotonic
from autoscaler.movement import Bounds
from autoscaler.ports import Threshold
from autoscaler.ruleset import RuleSet, SeriesAlert
from autoscaler.thresholds.robust import Robust
from autoscaler.thresholds.sigma import Sigma
from autoscaler.thresholds.static import Static
from autoscaler.types import Alert, Frame, Quality, SeriesKey
from benchmarks.table import Row, show

SERIES, POINTS, GPUS = 100_000, 240, 8
REPEATS = 7
TARGET_S = 0.1
BREACHING, CALMING = 200, 100
STALE_BYTES = 64 * 1024 * 1024


def frame(seed: int, gaps: float = 0.0) -> Frame:
    """float32 series of about 300 +/- 50 with the judged point as one more column; `gaps` is the share of NaN."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((SERIES, POINTS + 1), dtype=np.float32) * np.float32(50) + np.float32(300)
    if gaps:
        values[:, :-1][rng.random((SERIES, POINTS), dtype=np.float32) < gaps] = np.nan
    # Judged points at the centre: what breaches is then what this benchmark makes breach.
    values[:, -1] = 300.0
    keys = tuple(
        SeriesKey(
            "gpu_power_watts",
            (("gpu", str(n % GPUS)), ("instance", f"node-{n // GPUS:05}:9400"), ("job", "dcgm"), ("pool", "chat")),
        )
        for n in range(SERIES)
    )
    at = np.arange(POINTS + 1) * 15.0
    fresh: Quality = "fresh"
    return Frame(15.0, at, values, np.full(SERIES, at[-1]), (fresh,) * SERIES, keys=keys)


def measure(work: Callable[[], object]) -> tuple[float, float, float]:
    """Median CPU seconds (all threads), median and worst wall seconds; caches are emptied before each run."""
    evict = np.zeros(STALE_BYTES, dtype=np.uint8)
    walls, cpus = [], []
    for _ in range(REPEATS):
        evict += 1
        wall, cpu = monotonic(), cpu_seconds()
        work()
        cpus.append(cpu_seconds() - cpu)
        walls.append(monotonic() - wall)
    return float(np.median(cpus)), float(np.median(walls)), max(walls)


def evaluation(threshold: Threshold, clean: Frame) -> Callable[[], object]:
    """One tick of a series alert: some series begin to breach, some stay, some calm down; what is due is found."""
    spec = SeriesAlert("power", "gpu_power_watts", "outside", threshold, POINTS * 15.0, silence_s=0.0, text="6 sigma")
    rules = RuleSet("chat", Bounds(1, 9), alerts=(spec,))
    now = float(clean.at[-1])
    values = clean.values.copy(order="K")
    values[: BREACHING + CALMING, -1] = 900.0
    before: dict[str, Alert] = dict(follow(rules, [], {"power": replace(clean, values=values)}, {}, now))
    values[:CALMING, -1] = 300.0
    values[CALMING : BREACHING + 2 * CALMING, -1] = 900.0
    later = replace(clean, values=values, at=clean.at + 15.0, last_at=clean.last_at + 15.0)

    def tick() -> object:
        after = follow(rules, [], {"power": later}, before, now + 15.0)
        news = due(before, after)
        assert len(news) == 2 * CALMING, "as many new alerts as resolved ones"
        return after

    return tick


def row(what: str, work: Callable[[], object], target: float | None = None) -> Row:
    """CPU seconds of one core, which other work on the machine does not stretch; wall seconds stand beside them."""
    cpu, wall, worst = measure(work)
    text = f"{what} (wall {wall * 1e3:.0f}, worst {worst * 1e3:.0f} ms)"
    return Row(text, cpu, "s", target, None, lower_is_better=True)


def run() -> list[Row]:
    """Every case of this page."""
    clean = frame(1)
    history = replace(clean, at=clean.at[:-1], values=clean.values[:, :-1])
    past = history.values
    found = [row("plain numpy mean and std", lambda: (past.mean(axis=1), past.std(axis=1)))]
    # The spread of the made-up values never reaches 6 sigma: what breaches is what the benchmark makes breach.
    cases: list[tuple[str, Threshold, float | None]] = [
        ("static", Static(100.0, 600.0), None),
        ("sigma", Sigma(6.0), TARGET_S),
        ("sigma, clip_at", Sigma(6.0, clip_at=2000.0), TARGET_S),
        ("robust", Robust(6.0), TARGET_S),
    ]
    for name, threshold, target in cases:
        found.append(row(f"{name}: bands", partial(threshold.bands, history)))
        found.append(row(f"{name}: whole evaluation", evaluation(threshold, clean), target))
    by_time = replace(clean, values=clean.values.copy(order="F"))
    found.append(row("sigma: whole evaluation, by time", evaluation(Sigma(6.0), by_time), TARGET_S))
    found.append(row("robust: whole evaluation, by time", evaluation(Robust(6.0), by_time), TARGET_S))
    gappy = frame(2, gaps=0.01)
    gappy = replace(gappy, at=gappy.at[:-1], values=gappy.values[:, :-1])
    found.append(row("sigma: bands, 1 % gaps", partial(Sigma(6.0).bands, gappy)))
    found.append(row("robust: bands, 1 % gaps", partial(Robust(6.0).bands, gappy)))
    return found


if __name__ == "__main__":
    show(run(), f"{SERIES:,} series x {POINTS} points, float32, CPU seconds, median of {REPEATS}")
