"""Trains the weights that come with sigmascale, on simulated fleets: python -m autoscaler.forecasters.lstm_training

Everything is seeded; on the same machine and versions the same file comes out. `make lstm` runs it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoscaler.errors import InputError
from autoscaler.forecasters.grid import floor_of
from autoscaler.forecasters.lstm_fleets import Fleet, fleets
from autoscaler.forecasters.lstm_inputs import RATIOS, SIGNALS, Inputs, inputs_of
from autoscaler.forecasters.lstm_learning import Lesson, Rows, learned, rows_of
from autoscaler.forecasters.lstm_network import SHIPPED, require_torch, save, untrained, weights_of

TRAINED_SEED, JUDGED_SEED, HELD_OUT_SEED = 11, 12, 13
"""Fleets that the network learns from, that end its training, and that only the benchmark sees."""

DAYS = 12.0
FLEETS, JUDGED_FLEETS = 400, 60
ROWS = 300
AT_ONCE = 40
"""Fleets that are in memory together."""

LESSON = Lesson(passes=4000, batch=512, rate=3e-3, look=200, patience=8, seed=1)


def rows_of_fleets(count: int, seed: int, each: int = ROWS, days: float = DAYS) -> Rows:
    """So many fleets as rows, with what makes the network robust: signals that are missing, gaps, short histories."""
    chance = np.random.default_rng([seed, 1])
    found = []
    for fleet in (one for start in range(0, count, AT_ONCE) for one in _some(count, days, seed, start)):
        grid = _worn(inputs_of(fleet.frame(of_load=bool(chance.random() < 0.2))), chance)
        origins = np.sort(chance.choice(np.arange(60, len(grid) - 15), each, replace=False))
        found.append(rows_of(grid, origins, floor_of(grid)))
    return Rows(
        *(np.concatenate([getattr(one, name) for one in found]) for name in ("steps", "context", "came", "weight"))
    )


def _some(count: int, days: float, seed: int, start: int) -> tuple[Fleet, ...]:
    return fleets(min(AT_ONCE, count - start), days, 1000 * seed + start)


def _worn(grid: Inputs, chance: np.random.Generator) -> Inputs:
    """As it is found in practice: a third of the pools have the level alone, a third lack some, some have gaps."""
    values, signals = np.array(grid.values), np.array(grid.signals)
    have = chance.random()
    if have < 0.33:
        signals[:] = np.nan
    elif have < 0.66:
        signals[chance.random(len(SIGNALS)) < 0.5] = np.nan
    for _ in range(chance.integers(0, 6)):
        since = int(chance.integers(0, len(grid)))
        until = since + int(chance.integers(1, 120))
        which = int(chance.integers(0, len(SIGNALS) + 2))
        if which < len(SIGNALS):
            signals[which, since:until] = np.nan
        else:
            values[since:until] = np.nan
            if which > len(SIGNALS):
                signals[:, since:until] = np.nan
    # Buckets are longer in some traces; a network that never saw them would be wrong about their noise.
    if chance.random() < 0.15:
        return _coarser(replace(grid, values=values, signals=signals), int(chance.choice([2, 5, 10])))
    return replace(grid, values=values, signals=signals)


def _coarser(grid: Inputs, times: int) -> Inputs:
    kept = len(grid) - len(grid) % times
    cut = grid.values[-kept:].reshape(-1, times).mean(axis=1)
    rows = grid.signals[:, -kept:].reshape(RATIOS + 2, -1, times).mean(axis=2)
    return Inputs(cut, grid.step_s * times, grid.end_at, rows)


def main() -> None:
    """Make the fleets, train, and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m autoscaler.forecasters.lstm_training", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(SHIPPED), help="file to write (.npz)")
    parser.add_argument("--fleets", type=int, default=FLEETS, help="simulated fleets to learn from")
    parser.add_argument("--passes", type=int, default=LESSON.passes, help="gradient steps at most")
    given = parser.parse_args()
    try:
        require_torch()
    except InputError as error:
        parser.exit(2, f"{error}\n")
    taught = rows_of_fleets(given.fleets, TRAINED_SEED)
    judged = rows_of_fleets(max(1, min(JUDGED_FLEETS, given.fleets)), JUDGED_SEED)
    print(f"{len(taught)} rows of {given.fleets} simulated fleets to learn from, {len(judged)} to stop by", flush=True)
    start = weights_of(untrained(LESSON.seed))
    weights, least, first = learned(start, taught, judged, replace(LESSON, passes=given.passes))
    save(given.out, weights)
    size = given.out.stat().st_size
    print(f"pinball loss {first:.4f} before, {least:.4f} after; {given.out} has {size:,} bytes")


if __name__ == "__main__":
    main()
