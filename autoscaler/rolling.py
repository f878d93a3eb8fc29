"""Forecasts with a rolling origin over a recorded workload, each made from what was known at its time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoscaler.errors import InputError
from autoscaler.forecasters.drift import Change
from autoscaler.forecasters.fitted import Fitted
from autoscaler.forecasters.grid import ANCHOR_S, LEVEL_S, Grid, Indices, Values, grid_of, window_level
from autoscaler.forecasters.last import Anchor
from autoscaler.forecasters.mean10 import WINDOW_S
from autoscaler.forecasters.target import Target, outcomes
from autoscaler.ports import Forecaster, Model
from autoscaler.trace import Trace
from autoscaler.types import Frame

REFIT_SHARE = 0.1
REFIT_S = (3600.0, 86400.0)
MAX_FITS = 40
"""A model is learned anew when its history has grown by a tenth, at least each hour's, at most each day's worth, and
at most 40 times over a trace."""

GROWTH_S = 7 * 86400.0
NAIVE_GROWTH = 1.3
"""What is put on the last value while no growth was seen, as a service that starts would do by hand."""


@dataclass(frozen=True, slots=True)
class Course:
    """What is forecast when: every `every_s` from `start_s` of the trace's time on, `horizon_s` ahead."""

    horizon_s: float
    every_s: float
    start_s: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rolled:
    """Forecasts and what came, all (time,) in the trace's unit per bucket; NaN = not known, or no forecast.

    actual: mean of the five minutes that end at target_at. said (quantile, time). naive: point forecasts by name,
    `last` among them. naive_tail (quantile, time): last value times the quantile of its growth in the week before.
    """

    issued_at: Values
    target_at: Values
    actual: Values
    quantiles: tuple[float, ...]
    said: Values
    naive: dict[str, Values]
    naive_tail: Values
    fits: int


def roll(
    trace: Trace, forecaster: Forecaster, course: Course, progress: Callable[[float], None] = lambda _: None
) -> Rolled:
    """Forecast all of a course. `progress` is told the time that has been reached. Raises InputError."""
    kinds = getattr(forecaster, "kinds", ("mean",))
    if "mean" not in kinds:
        name = type(forecaster).__name__.lower()
        raise InputError(
            f"{name} forecasts {', '.join(kinds)}, and what is measured here is the mean; take another one"
        )
    issued_at = _issued(trace, course)
    whole = grid_of(frame(trace, trace.end_s))
    # Between two edges only the buckets that ended are known, so that the horizon seems longer from there.
    edge_at = trace.at_s[0] + trace.step_s * np.floor((issued_at - trace.at_s[0]) / trace.step_s + 1e-6)
    ahead_s = np.round(issued_at - edge_at + course.horizon_s, 3)
    forecaster = _aimed(forecaster, tuple(sorted(set(ahead_s.tolist()))))
    said = np.full((len(course.quantiles), len(issued_at)), np.nan)
    tail = np.full_like(said, np.nan)
    actual = np.full(len(issued_at), np.nan)
    naive = {name: np.full(len(issued_at), np.nan) for name in ("last", "mean10", "drift", "blend")}
    fits, start = 0, 0
    while start < len(issued_at):
        known_s = float(edge_at[start]) - float(trace.at_s[0])
        until_s = float(issued_at[start]) + _refit_s(known_s, float(issued_at[-1] - issued_at[0]))
        end = int(np.searchsorted(issued_at, until_s))
        model = forecaster.fit(frame(trace, float(edge_at[start])))
        fits += 1
        for horizon_s in sorted(set(ahead_s[start:end].tolist())):
            part = start + np.flatnonzero(ahead_s[start:end] == horizon_s)
            target = Target("mean", horizon_s)
            seen = frame(trace, float(edge_at[part[-1]]))
            said[:, part] = _forecasts(model, seen, edge_at[part], target, course.quantiles)
            # Looked up on the whole trace, as that is what they are compared with.
            places = _places(whole, edge_at[part])
            actual[part] = outcomes(whole, target, places)
            for name, values in _naive(whole, places, target).items():
                naive[name][part] = values
            growth = _growth(whole.until(float(edge_at[start])), target, course.quantiles)
            tail[:, part] = growth[:, None] * naive["last"][part]
        start = end
        progress(float(issued_at[end - 1]))
    return Rolled(issued_at, issued_at + course.horizon_s, actual, course.quantiles, said, naive, tail, fits)


def frame(trace: Trace, until_s: float) -> Frame:
    """The buckets of a trace that ended by a time, each dated by its end."""
    at = trace.at_s + trace.step_s
    kept = int(np.searchsorted(at, until_s + 1e-6 * trace.step_s, side="right"))
    return Frame(trace.step_s, at[:kept], trace.amount[None, :kept], at[max(0, kept - 1) : kept], ("fresh",))


def _issued(trace: Trace, course: Course) -> Values:
    if course.horizon_s < trace.step_s:
        raise InputError(
            f"a horizon of {course.horizon_s:g} s is shorter than a bucket of the trace, {trace.step_s:g} s; "
            f"look ahead {trace.step_s:g} s or more"
        )
    first = float(trace.at_s[0])
    # On the beat of the trace's start, so that other settings forecast at the same times.
    start = first + course.every_s * math.ceil((course.start_s - first) / course.every_s - 1e-9)
    count = math.floor((trace.end_s - course.horizon_s - start) / course.every_s + 1e-9) + 1
    issued_at = start + course.every_s * np.arange(max(0, count))
    issued_at = issued_at[issued_at >= first + trace.step_s]
    if not issued_at.size:
        raise InputError(
            f"not enough history: the trace holds {trace.end_s - first:g} s, and from {course.start_s - first:g} s on "
            f"no forecast {course.horizon_s:g} s ahead has its outcome in it; begin earlier, or give a longer trace"
        )
    return np.asarray(issued_at)


def _aimed(forecaster: Forecaster, horizons_s: tuple[float, ...]) -> Forecaster:
    """The forecaster, told to learn just what is asked of it, if it can be told."""
    if not dataclasses.is_dataclass(forecaster) or isinstance(forecaster, type):
        return forecaster
    known = {field.name for field in dataclasses.fields(forecaster)}
    wanted: dict[str, Any] = {"horizons_s": horizons_s, "of": ("mean",)}
    return dataclasses.replace(forecaster, **{name: value for name, value in wanted.items() if name in known})


def _refit_s(known_s: float, span_s: float) -> float:
    return max(min(max(REFIT_SHARE * known_s, REFIT_S[0]), REFIT_S[1]), span_s / MAX_FITS)


def _forecasts(model: Model, seen: Frame, at: Values, target: Target, quantiles: tuple[float, ...]) -> Values:
    """Amounts (quantile, time). Our own models answer for many origins in one call; any other is asked at each."""
    if isinstance(model, Fitted):
        return model.ahead(seen, at, target, quantiles)
    said = np.full((len(quantiles), len(at)), np.nan)
    for place, when in enumerate(at):
        kept = int(np.searchsorted(seen.at, when + 1e-6, side="right"))
        recent = dataclasses.replace(
            seen, at=seen.at[:kept], values=seen.values[:, :kept], last_at=seen.at[kept - 1 : kept]
        )
        outlook = model.outlook(recent, (target.horizon_s,), quantiles, target.of)
        grid = grid_of(recent)
        level = float(window_level(grid, np.array([len(grid) - 1]), LEVEL_S)[0])
        said[:, place] = max(level, outlook.floor) * np.array(outlook.growth)[:, 0]
    return np.where(np.isfinite(said), said, np.nan)


def _places(grid: Grid, at: Values) -> Indices:
    return np.array([grid.index(when) for when in at.tolist()], dtype=np.int64)


def _naive(grid: Grid, places: Indices, target: Target) -> dict[str, Values]:
    last = Anchor(ANCHOR_S)(grid, places, target)
    drift = Change(1.0)(grid, places, target)
    return {
        "last": last,
        "mean10": Anchor(WINDOW_S)(grid, places, target),
        "drift": drift,
        "blend": (last + drift) / 2.0,
    }


def _growth(past: Grid, target: Target, quantiles: tuple[float, ...]) -> Values:
    """Quantiles of outcome over last value in the week before, (quantile,)."""
    origins = np.arange(max(0, len(past) - past.steps(GROWTH_S)), len(past))
    last = window_level(past, origins, ANCHOR_S)
    came = outcomes(past, target, origins)
    judged = np.isfinite(came) & (last > 0.0)
    if not judged.any():
        return np.where(np.array(quantiles) > 0.5, NAIVE_GROWTH, 1.0)
    return np.asarray(np.quantile(came[judged] / last[judged], quantiles))
