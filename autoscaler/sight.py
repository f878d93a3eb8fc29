"""What the newest point of each of many series says of a condition: outside its band, inside, or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from autoscaler.ports import OfMoments, Threshold
from autoscaler.ruleset import SeriesAlert
from autoscaler.types import Bands, FloatArray, Frame, Keys, Newest
from autoscaler.words import amount, seconds


@dataclass(frozen=True, slots=True)
class Sight:
    """What the sample taken `at` says of a condition; `met` None = it cannot tell. since: when it became true."""

    met: bool | None
    at: float
    text: str = ""
    value: float | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The newest point of every series of an alert against the band of the points before it.

    at: of the newest of all. value, last_at, fresh: (series,), as in `Newest`. outside: (series,) whether the condition
    of each is met.
    """

    spec: SeriesAlert
    at: float
    value: FloatArray
    last_at: FloatArray
    fresh: NDArray[np.bool_]
    keys: Keys
    bands: Bands
    outside: NDArray[np.bool_]

    @classmethod
    def of(cls, spec: SeriesAlert, series: Frame | Newest) -> View | None:
        """None if no series has had any value yet."""
        if isinstance(series, Newest):
            if math.isnan(series.at):
                return None
            assert moments_suffice(spec.threshold), "only for such a threshold the values are left out"
            at, value, fresh, keys = series.at, series.values, series.fresh, series.keys
            bands = spec.threshold.bands_of(series.past)
        else:
            if series.values.shape[1] == 0:
                return None
            at, value = float(series.at[-1]), series.values[:, -1]
            fresh = np.array([quality == "fresh" for quality in series.quality], np.bool_)
            keys = series.keys if isinstance(series.keys, Keys) else Keys(series.keys)
            bands = spec.threshold.bands(_before(series, at - spec.lookback_s))
        return cls(spec, at, value, series.last_at, fresh, keys, bands, _outside(spec, value, bands))

    def breaching(self) -> list[int]:
        """Rows whose condition is met by a fresh sample."""
        found: list[int] = np.flatnonzero(self.outside & self.fresh).tolist()
        return found

    def sight(self, row: int) -> Sight:
        """What the newest point of one series says, in words."""
        value, lower, upper = float(self.value[row]), float(self.bands.lower[row]), float(self.bands.upper[row])
        at = float(self.last_at[row])
        at = self.at if math.isnan(at) else at
        met = bool(self.outside[row] and self.fresh[row])
        if not met and not self._proves_calm(row, value, lower, upper):
            return Sight(None, at)
        return Sight(met, at, _text(self.spec, value, lower, upper), value)

    def _proves_calm(self, row: int, value: float, lower: float, upper: float) -> bool:
        needed = {"above": (upper,), "below": (lower,), "outside": (lower, upper)}[self.spec.direction]
        clipped = self.bands.clipped is not None and bool(self.bands.clipped[row]) and self.spec.direction != "below"
        known = math.isfinite(value) and not any(map(math.isnan, needed))
        return known and not clipped and bool(self.fresh[row])


def moments_suffice(threshold: Threshold) -> TypeGuard[OfMoments]:
    """Whether a threshold, as it is configured, does without the values of the past."""
    # Asking a protocol takes Python 0.2 ms, which is longer than judging a thousand series.
    return bool(getattr(threshold, "moments_suffice", False))


def _before(frame: Frame, since: float) -> Frame:
    """The points of the lookback without the judged one."""
    # Samples come a little early and late; half an interval decides which one is the first.
    first = int(np.searchsorted(frame.at, since - 0.5 * frame.interval_s))
    before = slice(min(first, frame.at.size - 1), -1)
    return replace(frame, at=frame.at[before], values=frame.values[:, before], lower=None, upper=None)


def _outside(spec: SeriesAlert, value: FloatArray, bands: Bands) -> NDArray[np.bool_]:
    """Whether the condition of each series is met; NaN on either side never is."""
    outside: NDArray[np.bool_] = np.zeros(value.shape, dtype=np.bool_)
    if spec.direction != "below":
        outside |= (value > bands.upper) & (value < np.inf)
    if spec.direction != "above":
        outside |= (value < bands.lower) & (value > -np.inf)
    return outside


def _text(spec: SeriesAlert, value: float, lower: float, upper: float) -> str:
    """`gpu_power_watts 812 is above its band 380 to 640 (3 sigma of the last 1 h)`."""
    place = "above" if value > upper else "below" if value < lower else "inside"
    if math.isinf(lower) or math.isinf(upper):
        bound = upper if math.isinf(lower) else lower
        place = {"above": "above", "below": "below", "inside": "not above" if math.isinf(lower) else "not below"}[place]
        text = f"{spec.metric} {amount(value)} is {place} {amount(bound)}"
    else:
        text = f"{spec.metric} {amount(value)} is {place} its band {amount(lower)} to {amount(upper)}"
    return f"{text} ({spec.text} of the last {seconds(spec.lookback_s)})" if spec.lookback_s else text
