"""Every generated file of dashboards/, by its path in there."""

from __future__ import annotations

from autoscaler.dashboards import cost, decisions, fleet, matrix, pool, recording, service
from autoscaler.dashboards.panels import Dashboard


def boards() -> tuple[Dashboard, ...]:
    """All dashboards, the one to start with first."""
    return tuple(page.dashboard() for page in (fleet, pool, decisions, cost, matrix, service))


def files() -> dict[str, str]:
    """Path below dashboards/ -> text."""
    from autoscaler.dashboards.drawing import drawn

    every = boards()
    made = {f"grafana/{board.uid}.json": drawn(board, every) for board in every}
    return made | {"prometheus/rules/recording.yml": recording.rule_file()}
