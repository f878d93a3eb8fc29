"""Forecasters that misbehave in one way each, and a store that holds the past of a pool's signals."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoscaler.clock import monotonic
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.store import Store
from autoscaler.types import Frame, Of, Outlook, Past
from tests.worlds import NOW, rules

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Always:
    """A model that sees the same growth ahead, whatever was."""

    growth: float
    floor: float = 0.0

    def outlook(self, recent: Frame, horizons_s: tuple[float, ...], quantiles: tuple[float, ...], of: Of) -> Outlook:
        rows = tuple(tuple(self.growth for _ in horizons_s) for _ in quantiles)
        return Outlook(float(recent.at[-1]), "always", of, horizons_s, quantiles, rows, self.floor)


@dataclass(frozen=True, slots=True)
class Steady:
    """A forecaster whose models see the same growth ahead."""

    growth: float = 2.0

    def fit(self, history: Frame) -> Always:
        return Always(self.growth)


@dataclass(frozen=True, slots=True)
class Breaking:
    """One that cannot learn."""

    text: str = "no idea"

    def fit(self, history: Frame) -> Always:
        raise RuntimeError(self.text)


@dataclass(frozen=True, slots=True)
class Dying:
    """One that ends the process it learns in."""

    def fit(self, history: Frame) -> Always:
        os._exit(3)


@dataclass(frozen=True, slots=True)
class Endless:
    """One that never comes to an end."""

    def fit(self, history: Frame) -> Always:
        while monotonic() < math.inf:
            pass
        return Always(1.0)


@dataclass(frozen=True, slots=True)
class Mute:
    """A model that answers with too few numbers."""

    def outlook(self, recent: Frame, horizons_s: tuple[float, ...], quantiles: tuple[float, ...], of: Of) -> Outlook:
        return Outlook(float(recent.at[-1]), "mute", of, horizons_s, quantiles, ((1.0,),))


@dataclass(frozen=True, slots=True)
class Terse:
    """Its forecaster."""

    def fit(self, history: Frame) -> Mute:
        return Mute()


def foreseeing(forecaster: object, **changes: object) -> RuleSet:
    """The small pool of the pure tests, sized by its load and by that load ahead."""
    ahead = Signal("ahead", forecast="load", ahead_s=600.0, quantile=0.95, forecaster=forecaster)  # type: ignore[arg-type]
    load = Signal("load", metric="requests_arrived_total", rate_s=60)
    return rules(signals=(load, ahead), rules=(Rule("ahead", Target("ahead", 10.0)),), **changes)


def past(demand: Callable[[float], float], days: float, until: float = NOW, step_s: float = 60.0) -> Past:
    """The load of a pool before a time, as a store would tell it."""
    at = np.arange(until - days * DAY_S, until, step_s)
    return Past("chat", "load", at, np.array([demand(a) for a in at.tolist()]))


def store_with(demand: Callable[[float], float], days: float, until: float = NOW) -> Store:
    """A store that knows that load."""
    store = Store(None, history_s=30 * DAY_S)
    store.fill(past(demand, days, until))
    return store
