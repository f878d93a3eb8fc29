"""A recurrent network over demand and six signals, trained on simulated fleets and tuned on the pool's own history."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoscaler.errors import InputError
from autoscaler.forecasters.conformal import Calibrated
from autoscaler.forecasters.fitted import Fitted, tried_since
from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, floor_of
from autoscaler.forecasters.last import Anchor
from autoscaler.forecasters.law import Law, Succession
from autoscaler.forecasters.lstm_inputs import HORIZONS_S, OF, SIGNALS, Inputs, going_on, inputs_of, windows
from autoscaler.forecasters.lstm_network import QUANTILES, Weights, growth, load, require_torch
from autoscaler.forecasters.record import Record
from autoscaler.forecasters.spread import normal_score, spread_of
from autoscaler.forecasters.target import Target
from autoscaler.types import Frame

LONGEST_BUCKET_S = 900.0
"""The network looks at two hours in steps of five minutes; hourly buckets tell it nothing."""

LEAST_ROWS = 200
JUDGED_SHARE = 0.25
WIDEST_GROWTH = math.log(20.0)
MAX_PASSES = 1000


@dataclass(frozen=True, slots=True)
class Lstm:
    """Growth of the first series of a frame, from two hours of it and of the six signals in the other rows.

    The signals are those of `lstm_inputs.SIGNALS`; what is not there is masked, and the model names it in `lacks`.
    weights: a file that `lstm_training` wrote; None = the one that comes with sigmascale. passes: most steps of tuning
    on the history, of which the best by the newest quarter is kept; 0 = as trained. rows: most origins to learn from.
    """

    weights: Path | None = None
    passes: int = 100
    rows: int = 2500
    seed: int = 1

    def __post_init__(self) -> None:
        require_torch()
        faults = []
        if not 0 <= self.passes <= MAX_PASSES:
            faults.append(f"lstm: {self.passes} passes are not from 0 to {MAX_PASSES}; write a number such as 60")
        if not LEAST_ROWS <= self.rows <= 100_000:
            faults.append(f"lstm: {self.rows} rows are not from {LEAST_ROWS} to 100000; write a number such as 1500")
        if self.seed < 0:
            faults.append(f"lstm: seed {self.seed} is below 0; write a whole number")
        if faults:
            raise InputError(*faults)
        load(self.weights)

    def fit(self, history: Frame) -> Watched:
        """The model; its first row is what is forecast. Raises ValueError for rows that it does not know."""
        grid = inputs_of(history)
        since = tried_since(grid)
        law = self.learn(grid)
        if since is not None:
            law = Calibrated(
                Record(Succession(self.learn(grid.until(since)), law, grid.end_at), grid, since), floor_of(grid)
            )
        lacks = tuple(name for name in SIGNALS if name not in grid.known)
        end = f"{grid.end_at:.0f}" if len(grid) else "empty"
        missing = f"-without-{len(lacks)}-of-{len(SIGNALS)}" if lacks else ""
        return Watched(f"lstm@{end}{missing}", law, grid, floor_of(grid), lacks)

    def learn(self, grid: Grid) -> Law:
        """A law for a plain series too: all signals are masked then."""
        if grid.step_s > LONGEST_BUCKET_S:
            return spread_of(Anchor(ANCHOR_S), grid)
        floor = floor_of(grid)
        return Grown(self._tuned(load(self.weights), grid, floor), floor)

    def _tuned(self, weights: Weights, grid: Grid, floor: float) -> Weights:
        from autoscaler.forecasters.lstm_learning import Lesson, learned, rows_of

        if not self.passes:
            return weights
        chance = np.random.default_rng(self.seed)
        usable = np.flatnonzero(np.isfinite(grid.values))
        origins = np.sort(chance.choice(usable, min(self.rows, len(usable)), replace=False))
        cut = int(len(origins) * (1.0 - JUDGED_SHARE))
        if cut < LEAST_ROWS:
            return weights
        # No outcome that is learned may lie in the part that tells when to stop.
        reach = max(Target("mean", horizon_s).steps(grid) for horizon_s in HORIZONS_S)
        taught = rows_of(grid, origins[:cut][origins[:cut] + reach < origins[cut]], floor)
        judged = rows_of(grid, origins[cut:], floor)
        if len(taught) < LEAST_ROWS // 2 or len(judged) < LEAST_ROWS // 8:
            return weights
        lesson = Lesson(passes=self.passes, batch=256, rate=1e-3, look=10, patience=3, seed=self.seed)
        return learned(weights, taught, judged, lesson)[0]


@dataclass(frozen=True, slots=True)
class Watched(Fitted):
    """A model that goes on with the signals too. lacks: the inputs, by name, that its history had no value of."""

    lacks: tuple[str, ...]

    def joined(self, recent: Frame) -> Grid:
        assert isinstance(self.history, Inputs), "fit made it"
        return going_on(self.history, inputs_of(recent))


@dataclass(frozen=True, slots=True)
class Grown:
    """A law: the present level times the growth that the network says."""

    weights: Weights
    floor: float

    def ahead(self, grid: Grid, origins: Indices, target: Target, quantiles: tuple[float, ...]) -> Values:
        if not origins.size or not len(grid) or target.of not in OF:
            return np.full((len(quantiles), len(origins)), np.nan)
        shown = windows(grid, origins, self.floor)
        said = growth(self.weights, shown)
        first = OF.index(target.of) * len(HORIZONS_S)
        known = said[:, first : first + len(HORIZONS_S)]
        logs = shown.anchor + _at_quantiles(_at_horizon(known, target.horizon_s), quantiles)
        return np.asarray(np.maximum(np.exp(logs) - self.floor, 0.0))


def _at_horizon(known: Values, horizon_s: float) -> Values:
    """Growth (origin, quantile) at a horizon, from that (origin, horizon, quantile) at those learned.

    Between two it is on the line; before the first and after the last, growth is taken to add up as in a random walk.
    """
    nearest = 0 if horizon_s <= HORIZONS_S[0] else -1
    if horizon_s <= HORIZONS_S[0] or horizon_s >= HORIZONS_S[-1]:
        return np.asarray(known[:, nearest] * math.sqrt(horizon_s / HORIZONS_S[nearest]))
    after = next(place for place, h in enumerate(HORIZONS_S) if h >= horizon_s)
    share = (horizon_s - HORIZONS_S[after - 1]) / (HORIZONS_S[after] - HORIZONS_S[after - 1])
    return np.asarray((1.0 - share) * known[:, after - 1] + share * known[:, after])


def _at_quantiles(growths: Values, quantiles: tuple[float, ...]) -> Values:
    """Growth (quantile, origin) at any quantile, from that (origin, quantile) at those learned.

    Between two it is on the line over normal scores, beyond the outermost it goes on as in a normal distribution.
    """
    scores = np.array([normal_score(q) for q in QUANTILES])
    middle = growths[:, QUANTILES.index(0.5)]
    found = []
    for score in (normal_score(q) for q in quantiles):
        if scores[0] <= score <= scores[-1]:
            after = max(1, int(np.searchsorted(scores, score)))
            share = (score - scores[after - 1]) / (scores[after] - scores[after - 1])
            found.append((1.0 - share) * growths[:, after - 1] + share * growths[:, after])
        else:
            edge = 0 if score < 0.0 else -1
            found.append(middle + (growths[:, edge] - middle) * score / scores[edge])
    return np.asarray(np.clip(np.stack(found), -WIDEST_GROWTH, WIDEST_GROWTH))
