"""Chooses per series: naive models always compete, a learned one must win twice, and goes when it gets worse."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.errors import InputError
from autoscaler.forecasters.conformal import Calibrated
from autoscaler.forecasters.contest import TAIL_FROM, Contest, Entrant
from autoscaler.forecasters.drift import Drift
from autoscaler.forecasters.ema import Ema
from autoscaler.forecasters.fitted import Fitted, model, tried_since
from autoscaler.forecasters.grid import floor_of, grid_of
from autoscaler.forecasters.last import Last
from autoscaler.forecasters.law import Learner, Succession
from autoscaler.forecasters.mean10 import Mean10
from autoscaler.forecasters.quantile import HORIZONS_S, Quantile
from autoscaler.forecasters.record import Record
from autoscaler.forecasters.seasonal import Seasonal
from autoscaler.types import Frame, Of

NAIVE: tuple[tuple[str, Learner], ...] = (
    ("last", Last()),
    ("mean10", Mean10()),
    ("drift", Drift()),
    ("ema", Ema()),
    ("seasonal", Seasonal()),
)


@dataclass(frozen=True, slots=True)
class Select:
    """The forecaster that was best on the newest part of the history, for each horizon, for middle and tail apart.

    All learn from the older part and are judged on the newer (a quarter, at most two days) in two windows. The best
    naive one is used unless the learned one loses 5 % less in both; live, it is demoted when over a day it loses 5 %
    more than that naive one, until the next fit. With less than four hours of history it is the last value with a
    spread of its own errors, and 1.3 times that at 0.95 before there are any. The fields are those of `Quantile`;
    risk: the quantile that judges the tail.
    """

    horizons_s: tuple[float, ...] = HORIZONS_S
    of: tuple[Of, ...] = ("mean", "peak")
    rows: int = 4000
    trees: int = 45
    seed: int = 1
    risk: float = 0.95

    def __post_init__(self) -> None:
        if not TAIL_FROM <= self.risk < 1.0:
            raise InputError(f"select: risk {self.risk} is not from {TAIL_FROM} to below 1; write one such as 0.95")
        self._learned()

    def fit(self, history: Frame) -> Fitted:
        grid = grid_of(history)
        since = tried_since(grid)
        if since is None:
            return model("select", Last().learn(grid), grid)
        older = grid.until(since)
        entrants = [
            Entrant(
                name, naive, Record(Succession(learner.learn(older), learner.learn(grid), grid.end_at), grid, since)
            )
            for name, naive, learner in (*((n, True, one) for n, one in NAIVE), ("quantile", False, self._learned()))
        ]
        contest = Contest(tuple(entrants), grid, self.risk)
        return model("select", Calibrated(Record(contest, grid, since), floor_of(grid)), grid)

    def _learned(self) -> Quantile:
        return Quantile(self.horizons_s, self.of, self.rows, self.trees, self.seed)
