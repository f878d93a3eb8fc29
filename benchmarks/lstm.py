"""The LSTM against naive forecasts and against trees: on simulated fleets that it never saw, and on recorded workloads.

Needs torch. Fleets have all six inputs; they are simulated, by the generator that made those it was trained on, from
another seed. Recorded workloads have the demand alone. Run: python -m benchmarks.lstm
"""

from __future__ import annotations

import argparse
import os

# One core a fit is what is claimed; BLAS must know before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoscaler.clock import cpu_seconds
from autoscaler.forecasters.contest import Contest, Entrant
from autoscaler.forecasters.drift import Change, Drift
from autoscaler.forecasters.fitted import Fitted, tried_since
from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, grid_of
from autoscaler.forecasters.last import Anchor, Last
from autoscaler.forecasters.law import Law, Learner, Succession
from autoscaler.forecasters.lstm import Lstm
from autoscaler.forecasters.lstm_fleets import Fleet, fleets
from autoscaler.forecasters.lstm_inputs import SIGNALS, inputs_of
from autoscaler.forecasters.lstm_training import HELD_OUT_SEED
from autoscaler.forecasters.mean10 import WINDOW_S, Mean10
from autoscaler.forecasters.quantile import Quantile
from autoscaler.forecasters.record import Record
from autoscaler.forecasters.spread import spread_of
from autoscaler.forecasters.target import Target, outcomes
from autoscaler.rolling import Course, roll
from autoscaler.skill import pinball, skill, wape
from autoscaler.types import Frame
from benchmarks.forecast import EVERY_S, QUANTILES, SERIES, START_SHARE, load

HELD_OUT_FLEETS, HELD_OUT_DAYS = 16, 12.0
HORIZON_S = 900.0
HORIZONS_S = (600.0, 900.0)
GROWTH_S = 7 * 86400.0
RISK = 0.95


@dataclass(frozen=True, slots=True)
class Blend:
    """The mean of the last value and of that plus all of yesterday's change."""

    def learn(self, grid: Grid) -> Law:
        return spread_of(self, grid)

    def __call__(self, grid: Grid, origins: Indices, target: Target) -> Values:
        return (Anchor(ANCHOR_S)(grid, origins, target) + Change(1.0)(grid, origins, target)) / 2.0


@dataclass(frozen=True, slots=True)
class Judged:
    """One forecaster on one series: error against the naive one that turned out best, loss at 0.95 against the last
    value times its own growth quantile, share of outcomes at or below 0.95."""

    series: str
    forecaster: str
    wape: float
    error: float
    loss: float
    covered: float


# --- simulated fleets ------------------------------------------------------------------------------------------------


def on_fleet(number: int, fleet: Fleet, *, of_load: bool = False) -> list[Judged]:
    """All forecasters on one fleet: learned once from the first 70 %, asked every five minutes over the rest."""
    whole, level = fleet.frame(of_load=of_load), fleet.frame(of_load=of_load, with_signals=False)
    grid, target = grid_of(level), Target("mean", HORIZON_S)
    start = int(START_SHARE * len(grid))
    origins = np.arange(start, len(grid) - target.steps(grid), 5)
    came = outcomes(grid, target, origins)
    naive = {
        "last": Anchor(ANCHOR_S)(grid, origins, target),
        "mean10": Anchor(WINDOW_S)(grid, origins, target),
        "drift": Change(1.0)(grid, origins, target),
        "blend": Blend()(grid, origins, target),
    }
    best = min(wape(came, said) for said in naive.values())
    tail_loss = _naive_loss(grid, start, target, origins, came)
    subjects: dict[str, tuple[Fitted, Frame]] = {
        "six inputs": (Lstm().fit(_until(whole, start)), whole),
        "six inputs, not tuned": (Lstm(passes=0).fit(_until(whole, start)), whole),
        "level alone": (Lstm().fit(_until(level, start)), level),
        "quantile (trees)": (Quantile((HORIZON_S,), ("mean",)).fit(_until(level, start)), level),
    }
    said = {name: model.ahead(frame, grid.at[origins], target, QUANTILES) for name, (model, frame) in subjects.items()}
    found = [_judged(f"fleet {number}", name, came, values, best, tail_loss) for name, values in said.items()]
    return found + [
        Judged(f"fleet {number}", name, wape(came, values), wape(came, values) / best, np.nan, np.nan)
        for name, values in naive.items()
    ]


def _judged(series: str, name: str, came: Values, said: Values, best: float, tail_loss: float) -> Judged:
    error = wape(came, said[0])
    return Judged(
        series, name, error, error / best, pinball(came, said[1], RISK) / tail_loss, float(np.mean(came <= said[1]))
    )


def _naive_loss(grid: Grid, start: int, target: Target, origins: Indices, came: Values) -> float:
    """Loss at 0.95 of the last value times the 0.95 quantile of its growth in the week before the start."""
    last = Anchor(ANCHOR_S)
    past = np.arange(max(0, start - grid.steps(GROWTH_S)), start - target.steps(grid))
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = outcomes(grid, target, past) / last(grid, past, target)
    return pinball(came, last(grid, origins, target) * float(np.nanquantile(growth[np.isfinite(growth)], RISK)), RISK)


def _until(frame: Frame, kept: int) -> Frame:
    last = np.full(len(frame.quality), frame.at[kept - 1])
    return Frame(frame.interval_s, frame.at[:kept], frame.values[:, :kept], last, frame.quality, keys=frame.keys)


# --- recorded workloads ----------------------------------------------------------------------------------------------


def on_trace(name: str, column: str, horizon_s: float) -> Judged:
    """One recorded workload, run as `sigmascale forecast --model lstm` does it."""
    trace = load(name, column)
    start_s = float(trace.at_s[0]) + START_SHARE * (trace.end_s - float(trace.at_s[0]))
    found = skill(roll(trace, Lstm(), Course(horizon_s, EVERY_S, start_s, QUANTILES)))
    error, covered = found.error_ratio, found.covered_ratios[RISK]
    series = f"{name}, {horizon_s / 60:g} min"
    return Judged(series, "level alone", error, error / found.best_naive[1], found.loss / found.naive_loss, covered)


# --- who would be chosen ---------------------------------------------------------------------------------------------


def chosen(frame: Frame) -> tuple[str, str]:
    """Whom the contest of `select` takes, for the middle and for the tail, at the end of a history."""
    grid = inputs_of(frame)
    since = tried_since(grid)
    assert since is not None, "histories here are long enough"
    learners: tuple[tuple[str, bool, Learner], ...] = (
        ("last", True, Last()),
        ("mean10", True, Mean10()),
        ("drift", True, Drift()),
        ("blend", True, Blend()),
        ("lstm", False, Lstm()),
    )
    older = grid.until(since)
    entrants = [
        Entrant(name, naive, Record(Succession(one.learn(older), one.learn(grid), grid.end_at), grid, since))
        for name, naive, one in learners
    ]
    return Contest(tuple(entrants), grid, RISK).names(Target("mean", HORIZON_S))


def chosen_on_trace(name: str, column: str) -> tuple[str, str]:
    trace = load(name, column)
    kept = int(START_SHARE * len(trace.at_s))
    at = (trace.at_s + trace.step_s)[:kept]
    return chosen(Frame(trace.step_s, at, trace.amount[None, :kept], at[-1:], ("fresh",)))


# --- the report ------------------------------------------------------------------------------------------------------


def summary(found: Sequence[Judged]) -> str:
    """One row a forecaster, over all series, as Markdown."""
    lines = [
        "| forecaster | error x best naive | better on | worst | loss x | covered % |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(one.forecaster for one in found):
        mine = [one for one in found if one.forecaster == name]
        error = np.array([one.error for one in mine])
        tail = "- | -"
        if np.isfinite(mine[0].loss):
            covered = 100 * np.array([one.covered for one in mine])
            tail = f"{np.mean([one.loss for one in mine]):.3f} | {covered.min():.1f} to {covered.max():.1f}"
        cells = f"{name} | {error.mean():.3f} | {np.count_nonzero(error < 1)} of {len(mine)} | {error.max():.3f}"
        lines.append(f"| {cells} | {tail} |")
    return "\n".join(lines)


def fit_seconds(days: float = 14.0) -> float:
    """CPU seconds to fit to two weeks of minutes with all six inputs; the faster of two."""
    whole = fleets(1, days, HELD_OUT_SEED)[0].frame()
    took = []
    for _ in range(2):
        before = cpu_seconds()
        Lstm().fit(whole)
        took.append(cpu_seconds() - before)
    return min(took)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lstm", description=__doc__)
    parser.add_argument("--fleets", type=int, default=HELD_OUT_FLEETS, help="simulated fleets")
    parser.add_argument("--out", type=Path, help="write the report to this file too")
    given = parser.parse_args()
    held_out = fleets(given.fleets, HELD_OUT_DAYS, HELD_OUT_SEED)
    kept = int(START_SHARE * HELD_OUT_DAYS * 1440)
    parts = [f"fit, two weeks of minutes, six inputs: {fit_seconds():.2f} CPU s"]
    for words, of_load in (("demand", False), ("busy GPUs", True)):
        found = [one for n, fleet in enumerate(held_out) for one in on_fleet(n, fleet, of_load=of_load)]
        parts.append(f"{len(held_out)} simulated fleets, {words}, {HORIZON_S / 60:g} min ahead\n\n{summary(found)}")
        print(parts[-1], flush=True)
    names = [chosen(_until(fleet.frame(), kept)) for fleet in held_out]
    counts = [sum(pair[place] == "lstm" for pair in names) for place in (0, 1)]
    parts.append(f"contest: lstm chosen for the middle on {counts[0]}, for the tail on {counts[1]} of {len(held_out)}")
    rows = [
        "| series | WAPE % | x best naive | loss x | covered % | contest: middle, tail |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for name, column in SERIES:
        pair = ", ".join(chosen_on_trace(name, column))
        for horizon_s in HORIZONS_S:
            one = on_trace(name, column, horizon_s)
            cells = f"{one.series} | {100 * one.wape:.1f} | {one.error:.3f} | {one.loss:.3f} | {100 * one.covered:.1f}"
            rows.append(f"| {cells} | {pair if horizon_s == HORIZON_S else ''} |")
            print(rows[-1], flush=True)
    parts.append(f"recorded workloads, the level alone ({len(SIGNALS)} inputs masked)\n\n" + "\n".join(rows))
    print("\n\n".join(parts))
    if given.out:
        given.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
