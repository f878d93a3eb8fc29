"""Ridge regressions of growth: what is proportional, which shallow trees can only tell in steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.forecasters.grid import Indices, Values

PENALTY = 40.0
FARTHEST = 4.0
"""Columns are cut at this many standard deviations, and what is missing stands at the mean."""

KEPT = (0.005, 0.995)
"""What lies beyond these quantiles of what came counts as much as they do: squares would follow a few accidents."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Several regressions over the same columns of a table: mean, scale and weight (line, column), middle (line,)."""

    columns: Indices
    mean: Values
    scale: Values
    weight: Values
    middle: Values

    def predict(self, table: Values) -> Values:
        """What each line says (row, line)."""
        seen = table[:, None, self.columns]
        off = np.where(np.isfinite(seen), seen - self.mean, 0.0) / self.scale
        total: Values = (np.clip(off, -FARTHEST, FARTHEST) * self.weight).sum(axis=2) + self.middle
        return total


def ridge(table: Values, wanted: Values, columns: Indices) -> Lines:
    """One regression of what came (row,) on some columns of a table."""
    seen = table[:, columns]
    known = np.isfinite(seen)
    mean = np.where(known, seen, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    off = np.where(known, seen - mean, 0.0)
    scale = off.std(axis=0) + 1e-9
    off = np.clip(off / scale, -FARTHEST, FARTHEST)
    middle = float(np.median(wanted))
    left = wanted - middle
    left = np.clip(left, *np.quantile(left, KEPT))
    weight = np.linalg.solve(off.T @ off + PENALTY * np.eye(len(columns)), off.T @ left)
    return Lines(columns, mean[None], scale[None], weight[None], np.array([middle]))


def together(lines: Sequence[Lines]) -> Lines:
    """Lines over the same columns as one."""
    fields = ("mean", "scale", "weight", "middle")
    return Lines(lines[0].columns, *(np.concatenate([getattr(each, name) for each in lines]) for name in fields))
