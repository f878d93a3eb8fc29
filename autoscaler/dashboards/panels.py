"""What a dashboard is made of, as values that know nothing of Grafana's JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["timeseries", "stat", "table", "bargauge", "state-timeline", "heatmap"]
Style = Literal["line", "dashed", "steps", "bars", "area", "band_top", "band_bottom", "points"]

Steps = tuple[tuple[float, str], ...]
"""From which value on which colour; below the first one the colour is neutral."""

COLUMNS = 24
"""Grafana's grid."""

# Names of Grafana's palette, which it shades for the light and for the dark theme.
GOOD, CAREFUL, BAD, NEUTRAL = "green", "orange", "red", "text"


def above(careful: float, bad: float) -> Steps:
    """Well below `careful`, to be looked at from there on, wrong from `bad` on."""
    return ((float("-inf"), GOOD), (careful, CAREFUL), (bad, BAD))


def below(bad: float, careful: float) -> Steps:
    """Wrong below `bad`, to be looked at below `careful`, well above."""
    return ((float("-inf"), BAD), (bad, CAREFUL), (careful, GOOD))


PRESENT: Steps = ((float("-inf"), GOOD), (1.0, BAD))
"""For what should never happen: anything from 1 on is wrong."""
SEEN: Steps = ((float("-inf"), GOOD), (1.0, CAREFUL))
"""For what may happen and is worth a look."""


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query of a panel.

    legend: of the series, or the title of a table's column. style: how a line is drawn. right: a unit of its own, on an
    axis of its own. unit, steps: of a table's column.
    """

    expr: str
    legend: str = ""
    style: Style = "line"
    right: str = ""
    unit: str = ""
    steps: Steps = ()
    color: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. unit: Grafana's name of it. states: value -> (text, colour). empty: what it says without a value.

    least, most: bounds of the axis. stacked: series are put on each other.
    """

    title: str
    description: str
    kind: Kind
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    height: int = 8
    steps: Steps = ()
    states: tuple[tuple[str, str, str], ...] = ()
    least: float | None = None
    most: float | None = None
    decimals: int | None = None
    stacked: bool = False
    empty: str = ""
    links: tuple[tuple[str, str, str], ...] = ()
    """Of a table: (column, title, address)."""
    hidden: tuple[str, ...] = ()
    """Columns of a table that say nothing further."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a title, in the order of reading; `folded` ones open on a click and ask nothing before."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard, filled by the labels of a series."""

    name: str
    label: str
    description: str
    query: str
    multi: bool = True


@dataclass(frozen=True, slots=True)
class Note:
    """An annotation: a mark on every graph wherever the expression has a value."""

    name: str
    expr: str
    color: str
    title: str
    text: str
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `uid` is in links of people and never changes."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    notes: tuple[Note, ...] = ()
    since: str = "now-6h"
    refresh: str = "30s"
    tags: tuple[str, ...] = field(default=("sigmascale",))

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels in the order of reading."""
        return tuple(panel for row in self.rows for panel in row.panels)


def stat(
    title: str, description: str, expr: str, unit: str = "short", steps: Steps = (), *, width: int = 4, empty: str = ""
) -> Panel:
    """One number with its recent course."""
    return Panel(title, description, "stat", (Query(expr, title),), unit, width, 4, steps, empty=empty)


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    steps: Steps = (),
    width: int = 8,
    height: int = 8,
    least: float | None = 0.0,
    most: float | None = None,
    stacked: bool = False,
    empty: str = "",
) -> Panel:
    """Courses over time; least: where the axis begins, None = where the values do."""
    return Panel(
        title,
        description,
        "timeseries",
        queries,
        unit,
        width,
        height,
        steps,
        least=least,
        most=most,
        stacked=stacked,
        empty=empty,
    )
