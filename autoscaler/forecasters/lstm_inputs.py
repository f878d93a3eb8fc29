"""What the LSTM looks at: two hours of demand and six signals in steps of five minutes, and what seasons brought."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autoscaler.forecasters.features import View
from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, grid_of, joined, trailing_mean, window_mean
from autoscaler.forecasters.target import Target, season_before
from autoscaler.types import Frame, Of

SIGNALS = (
    "host_cpu_ratio",
    "gpu_sm_active_ratio",
    "gpu_memory_used_ratio",
    "gpu_dram_active_ratio",
    "host_network_receive_bytes_total",
    "host_network_transmit_bytes_total",
)
"""The six inputs by canonical name: ratios as means over the pool, network as its sum in bytes per second."""

RATIOS = 4
STEP_S = 300.0
STEPS = 24
HORIZONS_S = (300.0, 600.0, 900.0)
TARGETS = tuple(Target(of, horizon_s) for of in ("mean", "peak") for horizon_s in HORIZONS_S)
OF: tuple[Of, ...] = ("mean", "peak")

DAY_S = 86400.0
SEASONS_S = (1800.0, 3600.0, DAY_S, 7 * DAY_S)
AVERAGES_S = (60.0, 120.0, 600.0, 1200.0, 1800.0, 3600.0, 14400.0, 43200.0, DAY_S)
NOISE_S = (1800.0, 7200.0)

USUAL_GROWTH, USUAL_COUNT = 0.1, 10.0
"""Growth over a quarter of an hour before any is known, and how many known minutes weigh as much."""

WIDEST = 8.0
"""Inputs are cut at this many usual growths: beyond it more of the same says nothing new."""

CHANNELS = 3 + 2 * len(SIGNALS)
SMOOTH_S = 1200.0
"""A single minute of yesterday is mostly noise; its growth is shown once more as the growth of means over this time."""

CONTEXT = len(AVERAGES_S) + len(NOISE_S) + 1 + len(SEASONS_S) * (len(HORIZONS_S) + 3) + len(HORIZONS_S) + 2 + 4 + 4


@dataclass(frozen=True, slots=True)
class Inputs(Grid):
    """A series with the six signals of its pool in the same buckets: signals (6, time), NaN where one is not known."""

    signals: Values

    def until(self, at: float) -> Inputs:
        """The buckets that ended by `at`."""
        # Not super(): a dataclass with slots is another class than the one that its methods were written in.
        kept = Grid.until(self, at)
        return Inputs(kept.values, kept.step_s, kept.end_at, self.signals[:, : len(kept)])

    @property
    def known(self) -> tuple[str, ...]:
        """The names of the signals that have a value anywhere."""
        return tuple(name for name, row in zip(SIGNALS, self.signals, strict=True) if np.isfinite(row).any())


def inputs_of(frame: Frame) -> Inputs:
    """The series to forecast, which is the first row, and those of the six signals that the frame's other rows have.

    Rows are known by the metric of their keys; without keys the rows after the first are the six in the order of
    `SIGNALS`. A first row that is one of the six counts as that too. Raises ValueError for rows that are neither.
    """
    rows = frame.values.shape[0] if frame.values.ndim == 2 else 0
    names = tuple(key.metric for key in frame.keys) if frame.keys else (("", *SIGNALS) if rows > 1 else ("",))
    if not rows or len(names) != rows:
        wanted = f"one series, or that and {', '.join(SIGNALS)}"
        raise ValueError(f"lstm looks at {wanted}, not at values of shape {frame.values.shape}; give keys to the rows")
    strange = [name for name in names[1:] if name not in SIGNALS]
    if strange:
        raise ValueError(f"lstm knows no input {', '.join(strange)}; give some of {', '.join(SIGNALS)} after the first")
    level = grid_of(_row(frame, 0))
    signals = np.full((len(SIGNALS), len(level)), np.nan)
    for place, name in enumerate(names):
        if name in SIGNALS:
            signals[SIGNALS.index(name)] = grid_of(_row(frame, place)).values
    return Inputs(level.values, level.step_s, level.end_at, signals)


def going_on(older: Inputs, newer: Inputs) -> Inputs:
    """Both pasts as one that ends with the newer, signal by signal."""
    level = joined(older, newer)
    rows = [
        joined(Grid(then, older.step_s, older.end_at), Grid(now, newer.step_s, newer.end_at)).values
        for then, now in zip(older.signals, newer.signals, strict=True)
    ]
    return Inputs(level.values, level.step_s, level.end_at, np.stack(rows))


def _row(frame: Frame, place: int) -> Frame:
    return replace(frame, values=frame.values[place : place + 1])


# --- what the network is shown ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Windows:
    """Some origins as the network sees them. steps (origin, time, channel), context (origin, feature), both finite.

    anchor (origin,): log of the level that growth is counted on. usual (origin,): the growth over a quarter of an hour
    that was usual in the last day, in logs; the network speaks in multiples of it.
    """

    steps: Values
    context: Values
    anchor: Values
    usual: Values


def windows(grid: Grid, origins: Indices, floor: float) -> Windows:
    """The windows of some origins; nothing after an origin is looked at. Signals that are not there are masked."""
    view = View(grid, origins, floor)
    anchor = view.anchor()
    usual = usual_growth(grid, origins, floor)
    back = np.floor(np.arange(STEPS - 1, -1, -1) * STEP_S / grid.step_s + 1e-6).astype(np.int64)
    places = origins[:, None] - back
    level = np.log(window_mean(grid, places, ANCHOR_S) + floor) - anchor[:, None]
    channels = [level / usual[:, None], level, np.isfinite(level)]
    signals = grid.signals if isinstance(grid, Inputs) else np.full((len(SIGNALS), len(grid)), np.nan)
    for number, row in enumerate(signals):
        seen = _shown(number, row, grid, origins, trailing_mean(row, grid.steps(STEP_S), places))
        channels += [seen, np.isfinite(seen)]
    context = [
        *_levels(view, anchor, usual),
        *_seasons(view, anchor, usual),
        *_per_request(grid, signals, origins, floor),
    ]
    angle = 2.0 * np.pi * grid.at[origins] if len(grid) else np.zeros(len(origins))
    context += [np.sin(angle / DAY_S), np.cos(angle / DAY_S), np.sin(angle / 3600.0), np.cos(angle / 3600.0)]
    return Windows(_finite(np.stack(channels, axis=2)), _finite(np.stack(context, axis=1)), anchor, usual)


def usual_growth(grid: Grid, origins: Indices, floor: float) -> Values:
    """Root mean square of the log growth over a quarter of an hour in the last day, drawn towards `USUAL_GROWTH`."""
    every = np.arange(len(grid))
    level = np.log(window_mean(grid, every, ANCHOR_S) + floor)
    before = every - grid.steps(HORIZONS_S[-1])
    growth = np.where(before >= 0, level - level[np.maximum(before, 0)], np.nan)
    day = grid.steps(DAY_S)
    square = trailing_mean(growth**2, day, origins)
    count = day * trailing_mean(np.isfinite(growth).astype(np.float64), day, origins)
    total = np.where(count > 0, square * count, 0.0) + USUAL_COUNT * USUAL_GROWTH**2
    return np.asarray(np.sqrt(total / (np.where(count > 0, count, 0.0) + USUAL_COUNT)))


def _shown(number: int, row: Values, grid: Grid, origins: Indices, seen: Values) -> Values:
    """One signal's means over five minutes (origin, time) as a channel."""
    if SIGNALS[number] == "gpu_sm_active_ratio":
        # How near to full counts by itself: there demand shows no more.
        return np.asarray(2.0 * seen - 1.0)
    if number < RATIOS:
        # What is usual of the others differs from pool to pool and tells a network only which of its pools it is.
        return np.asarray(5.0 * (seen - trailing_mean(row, grid.steps(DAY_S), origins)[:, None]))
    # Logs of amounts over the mean of the last hour, 2 % of that added to both so that silence is finite.
    hour = trailing_mean(row, grid.steps(3600.0), origins)[:, None]
    return np.asarray(np.log((seen + 0.02 * hour + 1.0) / (1.02 * hour + 1.0)))


def _levels(view: View, anchor: Values, usual: Values) -> list[Values]:
    """Means over several windows against the present level, how rough the present is, and the usual growth."""
    grid, origins = view.grid, view.origins
    found = [(view.log(window_mean(grid, origins, window)) - anchor) / usual for window in AVERAGES_S]
    change = np.abs(np.diff(view.log(grid.values), prepend=np.nan)) if len(grid) else np.empty(0)
    found += [trailing_mean(change, grid.steps(window), origins) / usual for window in NOISE_S]
    return [*found, np.log(usual / USUAL_GROWTH)]


def _seasons(view: View, anchor: Values, usual: Values) -> list[Values]:
    """What each period brought: growth at each horizon, growth of longer means, where it led, whether it is known.

    Then the mean growth and the mean place of the last seven days, and of how many of them they are known.
    """
    columns: list[Values] = []
    for period_s in SEASONS_S:
        ago, reached = _growth_ago(view, usual, period_s)
        columns += [*ago, _smooth(view, usual, period_s), (reached - anchor) / usual, np.isfinite(ago[-1])]
    growths, places = zip(*(_growth_ago(view, usual, day * DAY_S) for day in range(1, 8)), strict=True)
    days = np.concatenate([np.array(growths), ((np.array(places) - anchor) / usual)[:, None]], axis=1)
    known = np.isfinite(days)
    mean = np.where(known, days, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return [*columns, *mean, known.sum(axis=0)[-1] / 7.0]


def _growth_ago(view: View, usual: Values, period_s: float) -> tuple[list[Values], Values]:
    """Growth at each horizon a period ago, in usual growths, and the log of where the last of them led."""
    found, reached = [], view.log(np.full(len(view.origins), np.nan))
    for horizon_s in HORIZONS_S:
        earlier, came = season_before(view.grid, Target("mean", horizon_s), view.origins, period_s)
        reached = view.log(came)
        found.append((reached - view.log(window_mean(view.grid, earlier, ANCHOR_S))) / usual)
    return found, reached


def _smooth(view: View, usual: Values, period_s: float) -> Values:
    """Growth a period ago from the mean of twenty minutes to that around the horizon, not beyond the origin."""
    grid, target = view.grid, Target("mean", HORIZONS_S[-1])
    earlier, _ = season_before(grid, target, view.origins, period_s)
    beyond = np.minimum(earlier + target.steps(grid) + grid.steps(SMOOTH_S / 2), view.origins)
    grown = view.log(window_mean(grid, beyond, SMOOTH_S)) - view.log(window_mean(grid, earlier, SMOOTH_S))
    return np.asarray(grown / usual)


def _per_request(grid: Grid, signals: Values, origins: Indices, floor: float) -> list[Values]:
    """Bytes received and sent per unit of demand, over five minutes and an hour, against the day before."""
    columns = []
    for row in signals[RATIOS:]:
        # Only buckets in which both are known, so that a gap in one is no change of the other.
        both = np.where(np.isfinite(grid.values), row, np.nan)
        paid = np.where(np.isfinite(row), grid.values + floor, np.nan)

        def each(window_s: float, both: Values = both, paid: Values = paid) -> Values:
            steps = grid.steps(window_s)
            return np.asarray(np.log((trailing_mean(both, steps, origins) + 1.0) / trailing_mean(paid, steps, origins)))

        day = each(DAY_S)
        columns += [each(STEP_S) - day, each(3600.0) - day]
    return columns


def _finite(values: Values) -> Values:
    return np.clip(np.nan_to_num(values, nan=0.0, posinf=WIDEST, neginf=-WIDEST), -WIDEST, WIDEST)
