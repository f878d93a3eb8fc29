"""Mean of ten minutes: steadier than the last value where minutes are noisy."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.forecasters.fitted import Fitted, fitted
from autoscaler.forecasters.grid import Grid
from autoscaler.forecasters.last import Anchor
from autoscaler.forecasters.law import Law
from autoscaler.forecasters.spread import spread_of
from autoscaler.types import Frame

WINDOW_S = 600.0


@dataclass(frozen=True, slots=True)
class Mean10:
    """The mean of the last ten minutes goes on; quantiles from how far it was off over the last week."""

    def fit(self, history: Frame) -> Fitted:
        return fitted("mean10", self, history)

    def learn(self, grid: Grid) -> Law:
        return spread_of(Anchor(WINDOW_S), grid)
