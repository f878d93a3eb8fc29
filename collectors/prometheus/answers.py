"""What the elements of an answer say about a signal: a value, how old it is, and what is missing in it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoscaler.types import Labels, Past, Query
from collectors.prometheus.client import Point
from collectors.prometheus.promql import PART, Expression


@dataclass(frozen=True, slots=True)
class Answer:
    """One number for a signal, NaN = none. lower, upper: NaN unless targets are silent. problem: why there is none."""

    at: float
    value: float
    lower: float = math.nan
    upper: float = math.nan
    problem: str = ""


def answered(points: Sequence[Point], asked: Expression, aggregate: str, at: float) -> Answer:
    """The answer that the elements of an instant vector give at a time.

    Targets that do not answer the store make it uncertain. Nobody can tell that of an expression that a person wrote.
    """
    if not asked.newest_at:
        return _single(points, at)
    parts = {dict(point.labels).get(PART, ""): point.value for point in points}
    value = parts.get("value", math.nan)
    if math.isnan(value) or math.isinf(value):
        return Answer(at, math.nan, problem="no target of the pool has this metric there")
    newest_at = min(at, parts.get("newest_at", at))
    silent, answering = parts.get("silent", 0.0), max(1.0, parts.get("answering", 0.0))
    if silent <= 0:
        return Answer(newest_at, value)
    idle, alike = _without(value, silent, answering, aggregate)
    return Answer(newest_at, value, min(idle, alike), max(idle, alike))


def _without(value: float, silent: float, answering: float, aggregate: str) -> tuple[float, float]:
    """What the aggregate would be if the silent targets were idle, and if they were like those that answer."""
    share = answering / (answering + silent)
    match aggregate:
        case "sum" | "count":
            return value, value / share
        case "mean":
            return value * share, value
        case "max":
            return value, value
        case _:
            return min(0.0, value), value


def _single(points: Sequence[Point], at: float) -> Answer:
    if not points:
        return Answer(at, math.nan, problem="the query finds no series; compare its names and labels with the store's")
    if len(points) > 1:
        text = (
            f"the query gives {len(points)} series; wrap it in sum(...), max(...) or avg(...), a signal is one number"
        )
        return Answer(at, math.nan, problem=text)
    value = points[0].value
    if math.isnan(value) or math.isinf(value):
        return Answer(at, math.nan, problem=f"the query gives {value}, a division by nothing perhaps")
    return Answer(at, value)


def past_of(series: Sequence[tuple[Labels, Any]], query: Query, before: float) -> Past | None:
    """The past of a signal from a range query's only series; None when there is none or more than one."""
    if len(series) != 1:
        return None
    pairs = [(float(at), float(value)) for at, value in series[0][1]]
    usable = [(at, value) for at, value in pairs if math.isfinite(value) and at < before]
    if not usable:
        return None
    at, values = np.array(usable).T
    return Past(query.pool, query.signal, at, values, query.definition)
