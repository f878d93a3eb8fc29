"""Outlooks of a back-test by the day instead of one by one: the questions are known in advance.

The demand of a recorded workload does not depend on what is decided. So every question until a model is made anew can
be answered in one call, in which each answer still stands on what was known at its time alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest.fluid import Demand
from autoscaler.forecasters.grid import Grid, grid_of
from autoscaler.forecasters.needed import Needed
from autoscaler.foresight.forecasts import FIT_S, RECENT_S, even, kept_s
from autoscaler.foresight.modeller import Bench, Failure, Question
from autoscaler.ports import Forecaster
from autoscaler.ruleset import RuleSet
from autoscaler.types import Frame, Outlook

ASK_S = 54.0
"""With this wait, which the worker spreads by a tenth either way, ticks of 15 s ask at every full minute."""

LONGER = 1.15
"""A model is kept up to a tenth longer than its time."""

SAME = 1e-6
ARRIVALS = "requests_arrived_total"


@dataclass(frozen=True, slots=True)
class Coming:
    """Every point (time,) that a signal will have: clock times, ascending, and values."""

    at: NDArray[np.float64]
    values: NDArray[np.float64]

    def between(self, since: float, until: float) -> Coming:
        """The points with since <= at <= until."""
        begin, end = np.searchsorted(self.at, (since - 1e-6, until + 1e-6))
        return Coming(self.at[begin:end], self.values[begin:end])


@dataclass(frozen=True, slots=True)
class _Answers:
    """Outlooks at every bucket from `since` on, and the buckets of demand that they go back to."""

    since: float
    asked: tuple[tuple[float, ...], tuple[float, ...]]
    outlooks: tuple[Outlook, ...]
    grid: Grid


@dataclass(slots=True)
class Foretold:
    """A modeller whose models of need are asked in advance; all others, and whenever what came is not what was to come,
    as they are asked live. coming: points of the signal that each model learns, by the model's key."""

    coming: Mapping[str, Coming]
    bench: Bench = field(default_factory=Bench)
    asked_at_once: int = 0
    _answers: dict[str, _Answers] = field(default_factory=dict)

    def fit(self, key: str, forecaster: Forecaster, history: Frame) -> Failure | None:
        problem = self.bench.fit(key, forecaster, history)
        if problem is None:
            self._answers.pop(key, None)
        return problem

    def outlooks(self, key: str, question: Question) -> tuple[Outlook, ...] | Failure | None:
        model, coming = self.bench.shelf.get(key), self.coming.get(key)
        if isinstance(model, Needed) and coming is not None and question.of == ("need",) and len(model.history):
            found = self._found(key, model, coming, question)
            if found is not None:
                self.asked_at_once += 1
                return (found,)
        return self.bench.outlooks(key, question)

    def close(self) -> None:
        self.bench.close()

    def _found(self, key: str, model: Needed, coming: Coming, question: Question) -> Outlook | None:
        """The answer that is there or can be made; None where it would not be the one that is given live."""
        at = float(question.recent.at[-1])
        step_s = model.history.step_s
        # Between the buckets of its history a model sees others than those that can be laid out in advance.
        if question.recent.interval_s != step_s or not _whole((at - model.history.end_at) / step_s):
            return None
        asked = question.horizons_s, question.quantiles
        answers = self._answers.get(key)
        if answers is None or answers.asked != asked or not 0 <= _place(answers, at) < len(answers.outlooks):
            answers = self._answers[key] = _asked(model, coming, question, at)
        place = _place(answers, at)
        if not 0 <= place < len(answers.outlooks) or not _came_true(answers.grid, question.recent):
            return None
        return answers.outlooks[place]


def coming_of(rules: RuleSet, demand: Demand, at_s: NDArray[np.float64], origin: float) -> dict[str, Coming]:
    """What the signals of arrivals that are forecast will read at ticks (tick,) of the trace, whose time 0 is `origin`
    on the clock; by the keys of their models."""
    found = {}
    edges = np.array(demand.edges_s)
    total = np.concatenate([[0.0], np.cumsum(np.array(demand.rate) * np.diff(edges))])
    for signal in rules.signals:
        source = rules.signal(signal.forecast) if signal.forecast is not None else None
        if source is not None and source.metric == ARRIVALS and source.rate_s and source.rate_s > 0:
            # A rate is not known before its window is full.
            full = at_s[at_s - source.rate_s >= edges[0] - 1e-6]
            more = np.interp(full, edges, total) - np.interp(full - source.rate_s, edges, total)
            found[f"{rules.pool}/{signal.name}"] = Coming(origin + full, more / source.rate_s)
    return found


def _asked(model: Needed, coming: Coming, question: Question, at: float) -> _Answers:
    """Asks for every bucket from a time on until the model is made anew."""
    asked, step_s = (question.horizons_s, question.quantiles), model.history.step_s
    known_s = step_s * float(np.count_nonzero(np.isfinite(model.history.values)))
    # An old model that could not be made anew is asked by the hour.
    left_s = model.history.end_at + LONGER * kept_s(known_s) - at
    last = float(coming.at[-1]) if coming.at.size else -math.inf
    buckets = math.floor(min(max(left_s, FIT_S[0]), last - at) / step_s + 1e-6)
    some = coming.between(at - RECENT_S, at + step_s * max(0, buckets))
    if buckets < 0 or some.at.size < 2 or abs(float(some.at[-1]) - (at + step_s * buckets)) > 1e-3:
        return _Answers(at, asked, (), model.history)
    recent = even(some.at, some.values)
    times = at + step_s * np.arange(buckets + 1, dtype=np.float64)
    found = tuple(model.outlooks(recent, times, *asked))
    return _Answers(at, asked, found, grid_of(recent))


def _place(answers: _Answers, at: float) -> int:
    place = (at - answers.since) / answers.grid.step_s
    return round(place) if _whole(place) else -1


def _came_true(grid: Grid, recent: Frame) -> bool:
    """Whether the newest buckets that were asked about are those that were laid out."""
    until = grid.index(float(recent.at[-1]))
    # The first of both may hold only a part of its samples.
    count = min(until, recent.values.shape[1] - 1)
    if count < 1:
        return False
    laid, seen = grid.values[until + 1 - count : until + 1], recent.values[0, -count:]
    return bool(np.allclose(laid, seen, rtol=SAME, atol=0.0, equal_nan=True))


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-3
