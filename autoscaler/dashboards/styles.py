"""How a query looks in its panel: Grafana's field overrides, as (property, value) pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from autoscaler.dashboards.panels import NEUTRAL, Panel, Query, Steps, Style

Properties = tuple[tuple[str, object], ...]

_STYLES: Mapping[Style, Properties] = {
    "line": (),
    "dashed": (("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}), ("custom.fillOpacity", 0)),
    "steps": (("custom.lineInterpolation", "stepAfter"), ("custom.lineWidth", 2)),
    "bars": (("custom.drawStyle", "bars"), ("custom.fillOpacity", 60), ("custom.lineWidth", 0)),
    "area": (("custom.fillOpacity", 25), ("custom.lineWidth", 1)),
    "points": (("custom.drawStyle", "points"), ("custom.pointSize", 7)),
    "band_top": (("custom.lineWidth", 0), ("custom.fillOpacity", 15)),
    "band_bottom": (("custom.lineWidth", 0), ("custom.fillOpacity", 0)),
}


def ref(position: int) -> str:
    """Grafana's name of a panel's query: A to Z, then AA, AB, ..."""
    letters = ""
    position += 1
    while position:
        position, letter = divmod(position - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def query_properties(panel: Panel, query: Query) -> Properties:
    """Style, colour and axis of a query's lines."""
    found = list(_STYLES[query.style])
    if query.style == "band_top":
        bottom = next(q.legend for q in panel.queries if q.style == "band_bottom")
        found.append(("custom.fillBelowTo", bottom))
    if query.color:
        found.append(("color", {"mode": "fixed", "fixedColor": query.color}))
    if query.right:
        found += [("unit", query.right), ("custom.axisPlacement", "right")]
    return tuple(found)


def column_properties(query: Query) -> Properties:
    """Unit and colours of a table's column."""
    found: list[tuple[str, object]] = []
    if query.unit:
        found.append(("unit", query.unit))
    if query.steps:
        found.append(("thresholds", {"mode": "absolute", "steps": _steps(query.steps)}))
        found.append(("custom.cellOptions", {"type": "color-text"}))
    return tuple(found)


def _steps(steps: Steps) -> list[dict[str, object]]:
    listed = steps if math.isinf(steps[0][0]) else ((float("-inf"), NEUTRAL), *steps)
    return [{"value": None if math.isinf(at) else at, "color": color} for at, color in listed]


def renamed(panel: Panel) -> dict[str, str]:
    """The titles of a table's value columns, which Grafana calls by the queries' names."""
    if len(panel.queries) == 1:
        return {"Value": panel.queries[0].legend, "Value #A": panel.queries[0].legend}
    return {f"Value #{ref(position)}": query.legend for position, query in enumerate(panel.queries)}


def hidden_columns(panel: Panel) -> dict[str, bool]:
    """Columns that say nothing: the time of an instant query, and what the panel names."""
    return {"Time": True, **dict.fromkeys(panel.hidden, True)}
