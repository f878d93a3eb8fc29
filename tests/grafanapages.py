"""The dashboards as Grafana would ask them: panels of the committed JSON, with variables and macros put in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "dashboards"
MACROS = {"__rate_interval": "5m", "__interval": "1m", "__range": "6h"}
"""Names that Grafana replaces by itself, with values that fit a day's zoom."""
_NAME = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a dashboard: where it stands, and what it says."""

    dashboard: str
    panel: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel}: {self.expr}"


def committed() -> dict[str, dict[str, Any]]:
    """Every dashboard's JSON by its uid."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "grafana").glob("*.json")))
    return {tree["uid"]: tree for tree in found}


def panels(tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows and panels, those inside folded rows too."""
    for panel in tree["panels"]:
        yield panel
        yield from panel.get("panels") or ()


def queries(tree: Mapping[str, Any]) -> Iterator[Asked]:
    """What the panels ask."""
    for panel in panels(tree):
        for target in panel.get("targets") or ():
            yield Asked(tree["uid"], panel["title"], target["expr"])


def notes(tree: Mapping[str, Any]) -> Iterator[Asked]:
    """What the annotations ask."""
    for note in tree["annotations"]["list"]:
        yield Asked(tree["uid"], note["name"], note["expr"])


def choices(tree: Mapping[str, Any]) -> Iterator[str]:
    """Series that fill the variables: of `label_values(SERIES, label)`."""
    for variable in tree["templating"]["list"]:
        if variable["type"] == "query":
            yield re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"]).group(1)  # type: ignore[union-attr]


def put_in(expr: str, values: Mapping[str, str]) -> str:
    """The expression with `$name` and `${name}` replaced; KeyError for a name that has no value."""
    return _NAME.sub(lambda found: values[found.group(1)], expr)
