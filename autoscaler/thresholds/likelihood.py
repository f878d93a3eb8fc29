"""Error likelihood: how unlikely the latest errors of a one-step forecast are among all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InputError
from autoscaler.thresholds.band import Shape, rows_per_block
from autoscaler.thresholds.robust import SIGMA_PER_MAD, medians
from autoscaler.types import Bands, FloatArray, Frame

SMOOTHING = 0.3
"""Weight of the newest value in the forecast: half of what it knows is younger than two points."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Outside is a value with which the mean of the last `recent` forecast errors leaves what such means usually are.

    The forecast is an exponential moving average. Usual is the median +/- k * 1.4826 * MAD of the means of all earlier
    stretches of `recent` errors, so that what was never foreseeable may go on being so, and a small error that stays
    counts like a large one that passes. After the anomaly likelihood of Lavin and Ahmad (2015), who compare a mean of
    few errors with a normal distribution of many; median and MAD in place of mean and deviation are ours. With
    `recent` = 1 each error stands for itself. The other fields mean what they mean for `Robust`.
    """

    k: float
    min_points: int = 20
    min_width: float = 0.0
    min_width_ratio: float = 0.0
    clip_at: float | None = None
    recent: int = 5

    def __post_init__(self) -> None:
        self._shape().check("likelihood threshold")
        if self.recent < 1:
            raise InputError(f"likelihood threshold: recent is {self.recent}, but must be at least 1 error; write 5")

    def bands(self, history: Frame) -> Bands:
        """Bounds of shape (series,), float64, for the next value; NaN = cannot judge yet."""
        values = history.values
        series = values.shape[0]
        count = np.zeros(series, dtype=np.int64)
        centre, spread = np.full(series, np.nan), np.full(series, np.nan)
        rows = rows_per_block(values)
        for start in range(0, series, rows) if values.shape[1] else ():
            part = slice(start, start + rows)
            count[part], centre[part], spread[part] = self._of_block(values[part])
        # The first `recent` points make the first mean, and a spread needs two of those.
        centre[count < self.recent + 3] = np.nan
        return self._shape().bands(values, count, centre, spread)

    def _of_block(self, block: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        known, count = _together(block)
        forecasts, errors = _errors(known)
        newest = forecasts[np.arange(len(known)), np.maximum(count - 1, 0)]
        means = _means(errors, self.recent)
        _, usual, deviation = medians(means)
        open_ = _newest_sum(errors, count, self.recent - 1)
        # The mean of the next error and the newest ones is usual + k spreads where the next value is this:
        return count, newest + self.recent * usual - open_, self.recent * SIGMA_PER_MAD * deviation

    def _shape(self) -> Shape:
        return Shape(self.k, self.min_points, self.min_width, self.min_width_ratio, self.clip_at)


def _together(block: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The finite values of each row moved to its front, in their order, with NaN behind; and how many there are."""
    wide = block.astype(np.float64)
    finite = np.isfinite(wide)
    count = np.count_nonzero(finite, axis=1)
    if not finite.all():
        order = np.argsort(~finite, axis=1, kind="stable")
        wide = np.take_along_axis(np.where(finite, wide, np.nan), order, axis=1)
    return wide, count


def _errors(known: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The forecast (series, time) after each value, and (series, time - 1) what each but the first was off by."""
    forecast = SMOOTHING * known
    forecast[:, 0] = known[:, 0]
    # Sums of 2, 4, 8, ... weighted values instead of one value after the other; the weight of the 128th is 1e-20.
    for shift in (1, 2, 4, 8, 16, 32, 64):
        forecast[:, shift:] += (1.0 - SMOOTHING) ** shift * forecast[:, :-shift].copy()
    return forecast, known[:, 1:] - forecast[:, :-1]


def _means(errors: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Means of every `length` neighbouring errors; NaN where one of them is."""
    if errors.shape[1] < length:
        return np.full((errors.shape[0], 1), np.nan)
    # A sum of shifted rows, not a difference of running sums, which would keep what a spike of 1e12 left of its digits.
    columns = errors.shape[1] - length + 1
    total = errors[:, :columns].copy()
    for shift in range(1, length):
        total += errors[:, shift : shift + columns]
    return total / length


def _newest_sum(errors: NDArray[np.float64], count: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """The sum of the newest `length` errors of rows that have `count` values each."""
    total = np.zeros(errors.shape[0])
    if not errors.shape[1]:
        return total
    row = np.arange(errors.shape[0])
    for back in range(length):
        at = count - 2 - back
        total += np.where(at >= 0, errors[row, np.maximum(at, 0)], 0.0)
    return total
