"""Alerts on labelled series: how many anomalies are found, how early, and how many alerts are false.

Run: python -m benchmarks.detect, or with --leave-out, to see what settings chosen without a family reach on it.
"""

from __future__ import annotations

import os

# One core is what is claimed; BLAS must know before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import add

import numpy as np

from autoscaler.clock import cpu_seconds
from autoscaler.detect.alarm import Bell
from autoscaler.detect.detector import detect
from autoscaler.detect.settings import HOUR_S, Alarm, Tail
from benchmarks.drawn import drawn
from benchmarks.labelled import NOTHING, Counted, Labelled, counted, published, widened
from benchmarks.table import Row, show

SEEDS = (0, 1, 2)
FRESH_SEEDS = (10, 11, 12, 13)
"""Drawn series that no setting was chosen on."""

GOAL = 70.0
SIGMAS, LEAST_POINTS = 3.0, 20

Judge = Callable[[Labelled], Sequence[int]]


def ours(series: Labelled) -> Sequence[int]:
    """Where `sigmascale detect` fires an alert."""
    found: list[int] = np.flatnonzero(detect(series.at_s, series.values).anomalous).tolist()
    return found


def three_sigma(series: Labelled) -> Sequence[int]:
    """Every row outside mean +/- 3 standard deviations of all rows before it."""
    known = np.isfinite(series.values)
    values = np.where(known, series.values, 0.0)
    away = np.where(known, values - values[0], 0.0)
    count, total, squares = (np.cumsum(part) - part for part in (known.astype(np.float64), away, away**2))
    mean = total / np.maximum(count, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0))
    outside = known & (count >= LEAST_POINTS) & (np.abs(away - mean) > SIGMAS * spread)
    found: list[int] = np.flatnonzero(outside).tolist()
    return found


def three_sigma_alerts(series: Labelled) -> Sequence[int]:
    """Of those the first rows of each stretch, and none in the hours after one, which is our silence."""
    rows = three_sigma(series)
    outside = set(rows)
    bell = Bell(Alarm(worse=np.inf, habit=1 << 30))
    times = np.maximum.accumulate(series.at_s)
    return [row for row in rows if row - 1 not in outside and bell.rings(float(times[row]), 1.0)]


JUDGES: dict[str, Judge] = {"3 sigma, every row": three_sigma, "3 sigma, alerts": three_sigma_alerts, "ours": ours}


@dataclass(frozen=True, slots=True)
class Scored:
    """What each judge's alerts on one series are worth."""

    series: Labelled
    by: dict[str, Counted]


def scored(corpus: Sequence[Labelled], judges: dict[str, Judge]) -> list[Scored]:
    """Every judge on every series."""
    return [Scored(one, {name: counted(one, judge(one)) for name, judge in judges.items()}) for one in corpus]


def total(found: Sequence[Scored], name: str) -> Counted:
    """All series together."""
    return reduce(add, (one.by[name] for one in found), NOTHING)


def table(found: Sequence[Scored], by_family: bool) -> str:
    """Series, or families of them, as Markdown; "lost" is what is missing to perfect, in windows."""
    names = list(found[0].by)
    lines = [
        f"| {'family' if by_family else 'series'} | windows | "
        + " | ".join(f"{name}: score | found | false" for name in names)
        + " |",
        "|---|--:|" + "--:|--:|--:|" * len(names),
    ]
    groups: dict[str, list[Scored]] = {}
    for one in found:
        groups.setdefault(one.series.family if by_family else one.series.name, []).append(one)
    for group, members in [*groups.items(), ("all", list(found))]:
        sums = [total(members, name) for name in names]
        cells = " | ".join(f"{one.score:.0f} | {one.found} | {one.false_alarms}".replace("nan", "-") for one in sums)
        lines.append(f"| {group} | {sums[0].windows} | {cells} |")
    return "\n".join(lines)


def speed() -> float:
    """CPU seconds for 10,000 rows; the faster of two."""
    chance = np.random.default_rng(1)
    at_s = 300.0 * np.arange(10_000, dtype=np.float64)
    values = np.sin(2 * np.pi * at_s / 86400.0) + 0.1 * chance.normal(size=10_000)
    took = []
    for _ in range(2):
        before = cpu_seconds()
        detect(at_s, values)
        took.append(cpu_seconds() - before)
    return min(took)


def run() -> list[Row]:
    """The claims; the tables of all series are printed on the way."""
    rows = []
    labelled = published()
    for title, corpus, by_family in (
        ("published, windows as labelled", labelled, False),
        ("published, windows widened to a tenth", [widened(one) for one in labelled], True),
        ("drawn", drawn(SEEDS), True),
        ("drawn, fresh seeds", drawn(FRESH_SEEDS), True),
    ):
        found = scored(corpus, JUDGES)
        print(f"\n{title}\n\n{table(found, by_family)}", flush=True)
        peer = total(found, "3 sigma, alerts").score
        rows.append(Row(f"{title}: score", total(found, "ours").score, "of 100", GOAL, peer))
    return [*rows, Row("10,000 rows", speed(), "CPU s", 2.0, lower_is_better=True)]


def left_out() -> str:
    """The score of each family with the settings that are best on all others, as Markdown, and that of all together."""
    choices = [
        (Tail(foot=foot, start=start), Alarm(tolerated=tolerated, silence_s=hours * HOUR_S))
        for (foot, start), tolerated, hours in product(((0.6, 0.96), (0.8, 0.97)), (3.0, 5.0, 8.0), (6.0, 9.0, 12.0))
    ]
    lines = [
        "| left out | windows | score | best in hindsight | quantiles | tolerated | silence |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    both = []
    for corpus in (published(), drawn(SEEDS[:2])):
        families: dict[str, list[Counted]] = {}
        for one in corpus:
            worth = [counted(one, np.flatnonzero(detect(one.at_s, one.values, *c).anomalous).tolist()) for c in choices]
            sums = families.get(one.family, [NOTHING] * len(choices))
            families[one.family] = [a + b for a, b in zip(sums, worth, strict=True)]
        both.append(families)
    for side, families in enumerate(both):
        other = [reduce(add, (worth[n] for worth in both[1 - side].values())).score for n in range(len(choices))]
        together = NOTHING
        for family, worth in families.items():
            rest = [reduce(add, (w[n] for f, w in families.items() if f != family)).score for n in range(len(choices))]
            best = int(np.argmax(np.add(rest, other)))
            together += worth[best]
            tail, alarm = choices[best]
            hindsight = np.nanmax([w.score for w in worth]) if worth[0].windows else np.nan
            setting = f"{tail.foot:g}, {tail.start:g} | {alarm.tolerated:g} | {alarm.silence_s / HOUR_S:g} h"
            lines.append(
                f"| {family} | {worth[best].windows} | {worth[best].score:.0f} | {hindsight:.0f} | {setting} |"
            )
        lines.append(f"| all of them | {together.windows} | {together.score:.1f} | | | | |")
    return "\n".join(lines).replace("nan", "-")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detect", description=__doc__)
    parser.add_argument("--leave-out", action="store_true", help="choose settings without a family, score them on it")
    if parser.parse_args().leave_out:
        print(left_out())
    else:
        show(run(), "detect")
