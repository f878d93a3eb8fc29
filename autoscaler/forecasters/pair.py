"""Two ensembles that are off in different ways: trees of growth, and trees of what a ridge regression leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.forecasters.boosting import Ensemble, Size, ensemble, examples
from autoscaler.forecasters.features import View, features
from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.target import Target

LEAST_ROWS = 100
SHORT_CLOCK_S = (600.0, 1800.0)
"""What runs every ten minutes or half an hour is seen by the place in that time."""

NOT_IN_LINE = 3
"""The clock's columns, the last ones of the table, are no amounts; nor is the first, the level itself."""

OTHER_SEED = 1000


@dataclass(frozen=True, slots=True)
class Pair:
    """Both, learned for one target."""

    target: Target
    floor: float
    trees: Ensemble
    lined: Ensemble

    def expected(self, grid: Grid, origins: Indices) -> tuple[Values, Values, Values]:
        """Log of level plus floor, median log growth on it, and the distance to its 0.95 quantile, (origin,) each."""
        if not origins.size:
            return np.empty(0), np.empty(0), np.empty(0)
        view = View(grid, origins, self.floor)
        table = _table(view, self.target)
        middle, width = self.trees.growth(table)
        other, other_width = self.lined.growth(table)
        # The first column is the level that growth is counted on.
        return table[:, 0], (middle + other) / 2.0, (width + other_width) / 2.0


def pair(grid: Grid, target: Target, floor: float, size: Size) -> Pair | None:
    """Learned from a past, or None when there are too few outcomes. Equal seeds give equal pairs."""
    chance = np.random.default_rng(size.seed)
    drawn = examples(grid, target, floor, size.rows, chance)
    if len(drawn.origins) < LEAST_ROWS:
        return None
    table = _table(View(grid, drawn.origins, floor), target)
    amounts = np.arange(1, table.shape[1] - NOT_IN_LINE - len(SHORT_CLOCK_S))
    other = Size(size.rows, size.trees, size.seed + OTHER_SEED)
    return Pair(
        target,
        floor,
        ensemble(table, drawn.growth, size, chance),
        ensemble(table, drawn.growth, other, chance, amounts),
    )


def _table(view: View, target: Target) -> Values:
    # What the seasons' highest levels were tells what they needed, and is looked up faster.
    table = features(view, Target("peak", target.horizon_s))
    at = view.grid.end_at - view.grid.step_s * (len(view.grid) - 1 - view.origins)
    return np.concatenate([table, *((at % period)[:, None] for period in SHORT_CLOCK_S)], axis=1)
