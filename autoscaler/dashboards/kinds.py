"""The kinds of panels that we use, each set up in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoscaler.dashboards.panels import Panel

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge as bargauges
    from grafana_foundation_sdk.builders import common
    from grafana_foundation_sdk.builders import heatmap as heatmaps
    from grafana_foundation_sdk.builders import stat as stats
    from grafana_foundation_sdk.builders import statetimeline as timelines
    from grafana_foundation_sdk.builders import table as tables
    from grafana_foundation_sdk.builders import timeseries as courses


def timeseries(panel: Panel) -> courses.Panel:
    """Lines with a legend that says the last and the highest value; limits as dashed lines."""
    from grafana_foundation_sdk.builders import common
    from grafana_foundation_sdk.builders import timeseries as courses
    from grafana_foundation_sdk.models import common as looks

    legend = common.VizLegendOptions().show_legend(True).placement(looks.LegendPlacement.BOTTOM)
    wide = panel.width >= 12
    mode = looks.LegendDisplayMode.TABLE if wide else looks.LegendDisplayMode.LIST
    tooltip = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)
    limits = looks.GraphTresholdsStyleMode.DASHED if panel.steps else looks.GraphTresholdsStyleMode.OFF
    made = (
        courses.Panel()
        .line_width(1)
        .fill_opacity(8)
        .show_points(looks.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(legend.display_mode(mode).calcs(["lastNotNull", "max"] if wide else ["lastNotNull"]))
        .tooltip(tooltip)
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(limits))
    )
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL)).fill_opacity(35)
    return made


def stat(panel: Panel) -> stats.Panel:
    """The newest value, coloured by its limits, over its course."""
    from grafana_foundation_sdk.builders import stat as stats
    from grafana_foundation_sdk.models import common as looks

    made = stats.Panel().reduce_options(_last()).color_mode(looks.BigValueColorMode.VALUE)
    return made.graph_mode(looks.BigValueGraphMode.AREA).text_mode(looks.BigValueTextMode.AUTO)


def table(panel: Panel) -> tables.Panel:
    """One line a pool, instance or offer; every column can be sorted by and filtered."""
    from grafana_foundation_sdk.builders import table as tables
    from grafana_foundation_sdk.models import common as looks

    return tables.Panel().show_header(True).cell_height(looks.TableCellHeight.SM)


def bargauge(panel: Panel) -> bargauges.Panel:
    """Newest values beside each other."""
    from grafana_foundation_sdk.builders import bargauge as bargauges
    from grafana_foundation_sdk.models import common as looks

    made = bargauges.Panel().reduce_options(_last()).orientation(looks.VizOrientation.HORIZONTAL)
    return made.display_mode(looks.BarGaugeDisplayMode.BASIC).show_unfilled(True)


def statetimeline(panel: Panel) -> timelines.Panel:
    """States as coloured stretches."""
    from grafana_foundation_sdk.builders import statetimeline as timelines
    from grafana_foundation_sdk.models import common as looks

    made = timelines.Panel().merge_values(True).show_value(looks.VisibilityMode.AUTO).row_height(0.8)
    return made.fill_opacity(60).line_width(0)


def heatmap(panel: Panel) -> heatmaps.Panel:
    """Buckets of a histogram over time."""
    from grafana_foundation_sdk.builders import heatmap as heatmaps
    from grafana_foundation_sdk.models import heatmap as looks

    colors = heatmaps.HeatmapColorOptions().mode(looks.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    axis = heatmaps.YAxisConfig().unit(panel.unit)
    return heatmaps.Panel().calculate(False).color(colors).y_axis(axis).cell_gap(1).show_tooltip()


def _last() -> common.ReduceDataOptions:
    from grafana_foundation_sdk.builders import common

    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
