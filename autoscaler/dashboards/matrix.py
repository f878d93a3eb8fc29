"""The matrix: every pool in three dimensions, resource, performance and business, each metric with its limits.

Each metric appears three times: as a column of its dimension's table (all pools at once), as a number (worst pool), and
as a course (who, since when).
"""

from __future__ import annotations

from autoscaler.dashboards.cells import MATRIX, Cell, Dimension
from autoscaler.dashboards.choices import NOTES, POOLS
from autoscaler.dashboards.gpus import TO_POOL
from autoscaler.dashboards.panels import Dashboard, Panel, Query, Row, lines, stat

UID = "sigmascale-matrix"


def dashboard() -> Dashboard:
    """Where does a pool stand in each dimension, at a glance?"""
    rows: list[Row] = []
    for dimension, cells in MATRIX.items():
        rows.append(Row(dimension, (_table(dimension, cells), *map(_number, cells))))
        rows.append(Row(f"{dimension}: courses", tuple(map(_course, cells)), folded=True))
    return Dashboard(
        UID,
        "sigmascale / Matrix",
        f"{sum(map(len, MATRIX.values()))} metrics of every pool in three dimensions: what it uses, what its users "
        "notice, what it costs.",
        tuple(rows),
        (POOLS,),
        NOTES,
    )


def _table(dimension: Dimension, cells: tuple[Cell, ...]) -> Panel:
    return Panel(
        f"{dimension} by pool",
        "One line a pool, one column a metric, coloured by its limits. A click on a pool opens its page.",
        "table",
        tuple(Query(cell.expr, cell.name, unit=cell.unit, steps=cell.steps) for cell in cells),
        width=24,
        height=8,
        links=(TO_POOL,),
    )


def _number(cell: Cell) -> Panel:
    whose = {"max": "The highest of the pools.", "min": "The lowest of the pools.", "sum": "All pools together."}
    text = f"{cell.text} {whose[cell.worst]}"
    return stat(cell.name, text, f"{cell.worst}({cell.expr})", cell.unit, cell.steps, width=3, empty=cell.empty)


def _course(cell: Cell) -> Panel:
    limits = tuple((at, color) for at, color in cell.steps if at != float("-inf"))
    return lines(
        cell.name,
        cell.text,
        Query(cell.expr, "{{pool}}"),
        unit=cell.unit,
        steps=limits,
        width=6,
        height=7,
        empty=cell.empty,
    )
