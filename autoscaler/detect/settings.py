"""The settings of the detector. There is one configuration for every series; docs/detect.md says how it was chosen."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Tail:
    """How rare a value is among earlier ones: a generalised Pareto tail through two quantiles.

    Two quantiles and a fixed shape instead of a fit: a fit to the largest values would learn the anomalies. The shape
    lies between an exponential tail (0) and one without a variance (0.5). least_rows: fewer tell nothing. young_rows:
    with so many known rows the tail is taken for twice as wide as they say, since quantiles of few rows are not sure.
    rows: the past that counts. every_rows: rows judged by one fit.
    """

    foot: float = 0.6
    start: float = 0.96
    shape: float = 0.2
    rows: int = 6000
    least_rows: int = 30
    young_rows: float = 20.0
    every_rows: int = 16


@dataclass(frozen=True, slots=True)
class Alarm:
    """When a rare row becomes an alert.

    tolerated: a row must be rarer than so many in all rows seen (`least_rows` to `rows` of them), so that a longer
    past asks for more. margin, set_aside_ratio: rows so many powers of ten beyond that limit do not count as normal
    later, at most this share of the past. silence_s: after an alert; what is `worse` by so many powers of ten than all
    since breaks it after `again_s`. habit, habit_s: after so many alerts within this time only what is rarer than the
    median of them is told. young_margin: so many powers of ten are added to the limit for the first `young_s`, or
    `young_rows` where that is less, since the first morning of a series looks like an anomaly.
    """

    tolerated: float = 5.0
    rows: int = 6000
    least_rows: int = 150
    young_margin: float = 2.0
    young_s: float = 3 * DAY_S
    young_rows: int = 600
    margin: float = 0.3
    set_aside_ratio: float = 0.1
    silence_s: float = 9 * HOUR_S
    worse: float = 0.5
    again_s: float = 3 * HOUR_S
    habit: int = 10
    habit_s: float = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a series: the distance of the newest rows from something expected, upwards or downwards.

    Falls count a little less than rises: most of what is watched (load, latency, errors) is harmless when it is low.
    """

    name: str
    sign: float
    weight: float


VIEWS = (
    View("sudden", 1.0, 1.0),
    View("sudden", -1.0, 0.85),
    View("level", 1.0, 1.0),
    View("level", -1.0, 0.85),
    View("season", 1.0, 0.85),
    View("season", -1.0, 0.85),
    View("record", -1.0, 0.85),
)
