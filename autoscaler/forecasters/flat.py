"""Many small trees laid out in arrays and asked at once: a library's own call takes a millisecond for one row.

Every leaf of a tree has a bit, from left to right. A split that sends a row to the right takes away the bits of all
leaves on its left; the lowest one that no split took is the leaf that the row ends in (QuickScorer: Lucchese et al.
2015). So no tree is walked: all splits of all trees are compared in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.forecasters.grid import Indices, Values

MAX_LEAVES = 8
ROWS_AT_ONCE = 64
"""So many rows of half a thousand trees stay in the processor's cache."""

_ALL = np.uint8(255)
_LOWEST = np.array([(n & -n).bit_length() - 1 if n else 0 for n in range(256)], dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Flat:
    """The trees of several regressors over one table. `column` (split, tree) counts a row that stands there twice:
    once with what is missing below everything, then above. `kept` are the bits that a step to the right leaves;
    `value` (tree, leaf); `start` (regressor,) is what the values of a regressor's trees are added to."""

    column: NDArray[np.intp]
    threshold: Values
    kept: NDArray[np.uint8]
    value: Values
    start: Values

    def predict(self, table: Values) -> Values:
        """What each regressor says (row, regressor) of a table (row, column); NaN = missing."""
        found = np.empty((len(table), len(self.start)))
        for first in range(0, len(table), ROWS_AT_ONCE):
            part = table[first : first + ROWS_AT_ONCE]
            found[first : first + ROWS_AT_ONCE] = self._some(part)
        return found

    def _some(self, table: Values) -> Values:
        gap = np.isnan(table)
        both = np.concatenate([np.where(gap, -np.inf, table), np.where(gap, np.inf, table)], axis=1)
        right = both.take(self.column.ravel(), axis=1) > self.threshold.ravel()
        bits = np.where(right, self.kept.ravel(), _ALL).reshape(len(table), *self.kept.shape)
        leaf = _LOWEST[np.bitwise_and.reduce(bits, axis=1)]
        leaf += MAX_LEAVES * np.arange(len(self.value))
        said = self.value.ravel()[leaf]
        total: Values = said.reshape(len(table), len(self.start), -1).sum(axis=2) + self.start
        return total


def flatten(regressors: Sequence[tuple[Any, Indices]], columns: int) -> Flat:
    """Fitted HistGradientBoostingRegressors, each with the places of its columns in a table of `columns`.

    They have equally many trees, of at most MAX_LEAVES leaves and without categories. Nothing public tells the splits
    of such a tree; a test holds what is read here against scikit-learn's own predictions.
    """
    trees = [(each[0].nodes, places) for regressor, places in regressors for each in regressor._predictors]
    column = np.zeros((MAX_LEAVES - 1, len(trees)), dtype=np.intp)
    threshold = np.full(column.shape, np.inf)
    kept = np.full(column.shape, _ALL)
    value = np.zeros((len(trees), MAX_LEAVES))
    most = float(np.finfo(np.float64).max)
    for number, (nodes, places) in enumerate(trees):
        splits, leaves = _read(nodes.tolist(), {name: n for n, name in enumerate(nodes.dtype.names)})
        value[number, : len(leaves)] = leaves
        for split, (feature, limit, missing_left, bits) in enumerate(splits):
            column[split, number] = places[feature] + (0 if missing_left else columns)
            # A split into known and missing has an infinite limit, which what is missing must be above.
            threshold[split, number] = min(limit, most)
            kept[split, number] = bits
    start = np.array([float(np.ravel(regressor._baseline_prediction)[0]) for regressor, _ in regressors])
    return Flat(column, threshold, kept, value, start)


def _read(nodes: list[tuple[Any, ...]], at: dict[str, int]) -> tuple[list[tuple[int, float, bool, int]], list[float]]:
    """Splits (column, limit, whether what is missing goes left, bits kept on the right), and leaves from the left."""
    splits: list[tuple[int, float, bool, int]] = []
    leaves: list[float] = []

    def visit(place: int) -> None:
        node = nodes[place]
        if node[at["is_leaf"]]:
            leaves.append(node[at["value"]])
            return
        first = len(leaves)
        visit(node[at["left"]])
        lost = sum(1 << leaf for leaf in range(first, len(leaves)))
        visit(node[at["right"]])
        missing_left = bool(node[at["missing_go_to_left"]])
        splits.append((node[at["feature_idx"]], node[at["num_threshold"]], missing_left, 255 & ~lost))

    visit(0)
    return splits, leaves
