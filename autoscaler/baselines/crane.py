"""Crane's effective HPA: a periodic forecast (DSP) of the metric, alone or with HPA's own result.

Source: gocrane/crane, pkg/prediction/dsp/prediction.go and estimators.go.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.baselines.hpa import Hpa, by_average_value
from autoscaler.baselines.seen import Seen, Values

SAMPLE_S = 60.0
DAY = 1440
PERIODS = (DAY, 7 * DAY)
HISTORY = 15 * DAY
SHUFFLES = 100
HOUR = 60
MARGINS = (0.01, 0.10, 0.15, 0.20)
SHAPES = ((1.0, 3), (0.05, 50))
"""Of the estimators: the least amplitude that is kept, and how many bins are kept in any case."""

TOP_BINS = 100
FLOOR = 0.01
MISS_BASE = 1.25


@dataclass(slots=True)
class Crane:
    """The most of the next hour's forecast, in replicas; with_hpa: at least what HPA on demand asks for.

    Crane learns from samples of a minute over 15 days; it is run anew here every 6 hours (Crane does so with each
    sample). Without a period of a day or a week, seen at least twice, there is no forecast and HPA decides. HPA's
    windows and rates hold for both, since the forecast is an external metric of an HPA.
    """

    target: float = 0.7
    with_hpa: bool = False
    tolerance: float = 0.1
    refresh_s: float = 6 * 3600.0
    period_s: float = 15.0
    window_s: float = 60.0
    _hpa: Hpa = field(init=False)
    _ahead: Values | None = field(init=False, default=None)
    _made_at: float = field(init=False, default=-math.inf)
    _minute: int = field(init=False, default=-1)
    _most: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._hpa = Hpa(self.target, "demand", self.tolerance)

    def want(self, seen: Seen) -> int:
        if seen.now - self._made_at >= self.refresh_s:
            samples = seen.past.steps(SAMPLE_S, HISTORY)[1] / seen.capacity
            self._ahead, self._made_at, self._minute = forecast(samples.tobytes()), seen.now, -1
        present = self._hpa.raw(seen)
        if self._ahead is None:
            return seen.size if present is None else self._hpa.limit(seen, present)
        minute = int((seen.now - self._made_at) // SAMPLE_S)
        if minute != self._minute:
            self._minute = minute
            places = np.arange(minute, minute + HOUR) % len(self._ahead)
            self._most = float(self._ahead[places].max())
        wanted = by_average_value(self._most, self.target, seen.size, self.tolerance)
        if self.with_hpa and present is not None:
            wanted = max(wanted, present)
        return self._hpa.limit(seen, wanted)


@functools.lru_cache(maxsize=512)
def forecast(samples: bytes) -> Values | None:
    """One period of expected load, (minute,), the first being the next one; None without a period.

    samples: the bytes of (minute,) loads in replicas' worth of work, so that the settings of a sweep share the work.
    """
    loads = np.frombuffer(samples, dtype=np.float64)
    loads = loads[len(loads) % DAY :]
    period = period_of(loads)
    if period is None:
        return None
    past, actual = loads[:-period], loads[-period:]
    tried = [
        (loss(estimate(past, period, *shape, margin), actual), shape, margin) for shape in SHAPES for margin in MARGINS
    ]
    _, shape, margin = min(tried)
    return estimate(loads, period, *shape, margin)


def period_of(loads: Values) -> int | None:
    """Minutes of the period, a day or a week: of the spectrum's significant ones that with the highest correlation."""
    count = len(loads)
    if count < 2 * PERIODS[0]:
        return None
    centred = loads - loads.mean()
    rng = np.random.default_rng(0)
    peaks = sorted(float(np.abs(np.fft.rfft(rng.permutation(centred))).max()) for _ in range(SHUFFLES))
    spectrum = np.abs(np.fft.rfft(centred))
    padded = np.fft.rfft(centred, 2 * count)
    correlation = np.fft.irfft(np.abs(padded) ** 2)[:count]
    found = [
        (float(correlation[period]) / (count - period), period)
        for period in PERIODS
        if count >= 2 * period and count % period == 0 and spectrum[count // period] > peaks[-2]
    ]
    best = max(found, default=(0.0, 0))
    return best[1] if best[0] > 0 else None


def estimate(loads: Values, period: int, least: float, bins: int, margin: float) -> Values:
    """The last period of the loads without their noise, x (1 + margin).

    Kept are the strong bins and those slower than an hour; strong is what the 100 largest reach, but at least `least`,
    unless fewer than `bins` would be left.
    """
    spectrum = np.fft.rfft(loads)
    amplitude = 2.0 * np.abs(spectrum) / len(loads)
    ranked = np.sort(amplitude)[::-1]
    bound = max(float(ranked[min(TOP_BINS, len(ranked)) - 1]), least)
    bound = min(bound, float(ranked[min(bins, len(ranked)) - 1]))
    slow = np.arange(len(spectrum)) * HOUR <= len(loads)
    smooth = np.fft.irfft(np.where((amplitude >= bound) | slow, spectrum, 0.0), len(loads))
    last: Values = np.maximum(smooth[-period:], FLOOR) * (1.0 + margin)
    return last


def loss(said: Values, actual: Values) -> float:
    """The mean loss of a forecast: too little by a share u costs -ln(1 - u) / ln 1.25, too much by o costs o."""
    off = (actual - said) / np.maximum(actual, FLOOR)
    missed = -np.log(np.maximum(1.0 - np.clip(off, 0.0, None), 1e-6)) / math.log(MISS_BASE)
    return float(np.mean(np.where(off > 0, missed, -off)))
