"""Where panels stand: rows from top to bottom, panels from left to right, as wide as they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autoscaler.dashboards.panels import COLUMNS, Panel, Row


@dataclass(frozen=True, slots=True)
class Place:
    """A panel's place on the grid, in its units."""

    x: int
    y: int
    width: int
    height: int


def placed(row: Row, top: int) -> Iterator[tuple[Panel, Place]]:
    """The panels of a row whose first line is `top`; a line is as high as its highest panel."""
    x, y, line = 0, top, 0
    for panel in row.panels:
        if x + panel.width > COLUMNS:
            x, y, line = 0, y + line, 0
        yield panel, Place(x, y, panel.width, panel.height)
        x += panel.width
        line = max(line, panel.height)


def below_row(row: Row, top: int) -> int:
    """The first free line below these panels."""
    return max((place.y + place.height for _, place in placed(row, top)), default=top)
