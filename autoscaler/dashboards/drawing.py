"""Dashboards as Grafana's JSON, by grafana-foundation-sdk.

The SDK is imported inside functions, so that an installed sigmascale works without it.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from autoscaler.dashboards.grid import Place, below_row, placed
from autoscaler.dashboards.panels import COLUMNS, Dashboard, Note, Panel, Steps, Variable
from autoscaler.dashboards.styles import column_properties, hidden_columns, query_properties, ref, renamed

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard as dashboards
    from grafana_foundation_sdk.models import dashboard as models

SOURCE = "${datasource}"
"""Everywhere, so that an import asks for nothing and any Prometheus-compatible store will do."""
_IDS = uuid.UUID("7b0ad7c6-6d0b-4a52-9c6b-5c1c8f1f0c53")
"""Name space of the ids of variables, which must be stable and differ."""


def drawn(board: Dashboard, others: Sequence[Dashboard] = ()) -> str:
    """The dashboard as the text of a JSON file, with links to the others."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    built = build(board, others)
    tree: dict[str, Any] = json.loads(JSONEncoder().encode(built))
    for mark, note in zip(tree["annotations"]["list"], board.notes, strict=True):
        # The SDK does not know what the Prometheus data source reads of an annotation.
        mark.update(_marked(note))
    return json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _marked(note: Note) -> dict[str, object]:
    return {
        "target": {"expr": note.expr, "refId": "Anno"},
        "titleFormat": note.title,
        "textFormat": note.text,
        "step": "15s",
        "useValueForTime": "false",
    }


def build(board: Dashboard, others: Sequence[Dashboard] = ()) -> models.Dashboard:
    """The dashboard as the SDK's model of it."""
    from grafana_foundation_sdk.builders import dashboard as dashboards
    from grafana_foundation_sdk.models import dashboard as models

    made = (
        dashboards.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(list(board.tags))
        .time(board.since, "now")
        .refresh(board.refresh)
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
        .links([_link(board, other) for other in others if other.uid != board.uid])
        .variables([_datasource(), *(_variable(board, one) for one in board.variables)])
        .annotations([_annotation(note) for note in board.notes])
    )
    number, top = 0, 0
    for row in board.rows:
        number += 1
        header = dashboards.Row(row.title).id(number).collapsed(row.folded)
        header = header.grid_pos(models.GridPos(h=1, w=COLUMNS, x=0, y=top))
        panels = []
        for panel, place in placed(row, top + 1):
            number += 1
            panels.append(_panel(panel, number, place))
        if row.folded:
            for one in panels:
                header = header.with_panel(one)
            made = made.with_row(header)
        else:
            made = made.with_row(header)
            for one in panels:
                made = made.with_panel(one)
        top = top + 1 if row.folded else below_row(row, top + 1)
    return made.build()


def _link(here: Dashboard, there: Dashboard) -> dashboards.DashboardLink:
    """A button to another dashboard, which keeps the time, the data source, and the pools where both choose several.

    A menu that passes all choices on would ask the page of one pool for the pool "All".
    """
    from grafana_foundation_sdk.builders import dashboard as dashboards
    from grafana_foundation_sdk.models import dashboard as models

    several = any(one.name == "pool" and one.multi for one in there.variables)
    pools = "&${pool:queryparam}" if several and any(one.name == "pool" for one in here.variables) else ""
    link = dashboards.DashboardLink(there.title.removeprefix("sigmascale / ")).type(models.DashboardLinkType.LINK)
    link = link.url(f"/d/{there.uid}?${{datasource:queryparam}}{pools}").tooltip(there.description)
    return link.icon("dashboard").keep_time(True)


def _datasource() -> dashboards.DatasourceVariable:
    from grafana_foundation_sdk.builders import dashboard as dashboards

    made = dashboards.DatasourceVariable("datasource").id(str(uuid.uuid5(_IDS, "datasource"))).type("prometheus")
    return made.label("Data source").description("A Prometheus-compatible store that scrapes sigmascale.")


def _variable(board: Dashboard, one: Variable) -> dashboards.QueryVariable:
    from grafana_foundation_sdk.builders import dashboard as dashboards
    from grafana_foundation_sdk.models import dashboard as models

    made = (
        dashboards.QueryVariable(one.name)
        .id(str(uuid.uuid5(_IDS, f"{board.uid}/{one.name}")))
        .label(one.label)
        .description(one.description)
        .datasource(_source())
        .query({"query": one.query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(one.multi)
        .include_all(one.multi)
    )
    if one.multi:
        everything = models.VariableOption(text=["All"], value=["$__all"], selected=True)
        made = made.all_value(".*").current(everything)
    return made


def _annotation(note: Note) -> dashboards.AnnotationQuery:
    from grafana_foundation_sdk.builders import dashboard as dashboards

    made = dashboards.AnnotationQuery().name(note.name).datasource(_source()).enable(note.shown).hide(False)
    return made.icon_color(note.color).expr(note.expr)


def _source() -> models.DataSourceRef:
    from grafana_foundation_sdk.models import dashboard as models

    return models.DataSourceRef(type_val="prometheus", uid=SOURCE)


def _panel(panel: Panel, number: int, place: Place) -> Any:
    """The panel's builder, of the kind that it is; the SDK's kinds share methods and no type."""
    from grafana_foundation_sdk.builders import dashboard as dashboards
    from grafana_foundation_sdk.models import dashboard as models

    made = _kinds()[panel.kind](panel)
    made = made.id(number).title(panel.title).description(panel.description).datasource(_source())
    made = made.grid_pos(models.GridPos(h=place.height, w=place.width, x=place.x, y=place.y))
    made = made.targets([_target(panel, place_of) for place_of in range(len(panel.queries))])
    made = made.no_value(panel.empty or "no data")
    if panel.kind == "heatmap":
        return made
    made = made.unit(panel.unit).thresholds(_thresholds(panel.steps))
    if panel.states:
        mapped = {value: models.ValueMappingResult(text=text, color=color) for value, text, color in panel.states}
        made = made.mappings([models.ValueMap(options=mapped)])
    if panel.decimals is not None:
        made = made.decimals(panel.decimals)
    if panel.least is not None:
        made = made.min(panel.least)
    if panel.most is not None:
        made = made.max(panel.most)
    by_thresholds = panel.kind != "timeseries"
    colors = models.FieldColorModeId.THRESHOLDS if by_thresholds else models.FieldColorModeId.PALETTE_CLASSIC
    made = made.color_scheme(dashboards.FieldColor().mode(colors))
    return _overridden(panel, made)


def _overridden(panel: Panel, made: Any) -> Any:
    from grafana_foundation_sdk.models import dashboard as models

    def values(properties: tuple[tuple[str, object], ...]) -> list[models.DynamicConfigValue]:
        return [models.DynamicConfigValue(id_val=name, value=value) for name, value in properties]

    for position, query in enumerate(panel.queries):
        if panel.kind == "timeseries" and (properties := query_properties(panel, query)):
            made = made.override_by_query(ref(position), values(properties))
        if panel.kind == "table" and (properties := column_properties(query)):
            made = made.override_by_name(query.legend, values(properties))
    for column, title, address in panel.links:
        made = made.override_by_name(column, values((("links", [{"title": title, "url": address}]),)))
    if panel.kind == "table":
        made = made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        tidy = {"excludeByName": hidden_columns(panel), "renameByName": renamed(panel), "indexByName": {}}
        made = made.with_transformation(models.DataTransformerConfig(id_val="organize", options=tidy))
    return made


def _target(panel: Panel, position: int) -> Any:
    from grafana_foundation_sdk.builders import prometheus
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

    query = panel.queries[position]
    made = prometheus.Dataquery().ref_id(ref(position)).expr(query.expr).legend_format(query.legend or "__auto")
    made = made.datasource(_source()).editor_mode(QueryEditorMode.CODE)
    match panel.kind:
        case "table":
            return made.instant().format(PromQueryFormat.TABLE)
        case "bargauge":
            return made.instant().format(PromQueryFormat.TIME_SERIES)
        case "heatmap":
            return made.range().format(PromQueryFormat.HEATMAP)
        case _:
            return made.range().format(PromQueryFormat.TIME_SERIES)


def _thresholds(steps: Steps) -> dashboards.ThresholdsConfig:
    from grafana_foundation_sdk.builders import dashboard as dashboards
    from grafana_foundation_sdk.models import dashboard as models

    listed = steps if steps and math.isinf(steps[0][0]) else ((float("-inf"), "text"), *steps)
    made = [models.Threshold(value=None if math.isinf(at) else at, color=color) for at, color in listed]
    return dashboards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def _kinds() -> dict[str, Callable[[Panel], Any]]:
    from autoscaler.dashboards import kinds

    return {
        "timeseries": kinds.timeseries,
        "stat": kinds.stat,
        "table": kinds.table,
        "bargauge": kinds.bargauge,
        "state-timeline": kinds.statetimeline,
        "heatmap": kinds.heatmap,
    }
