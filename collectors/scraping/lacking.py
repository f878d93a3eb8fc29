"""What targets lack without which their GPUs cannot be judged well: told by pool and metric, not by target."""

from __future__ import annotations

import math
from collections.abc import Iterable

import structlog

from collectors.dcgm.counters import Missing
from collectors.scraping.targets import Target

log = structlog.get_logger(__name__)

PATIENCE_S = 30.0
"""The longest that a line waits for targets that have not answered yet."""
NAMED = 3


class Lacking:
    """Collects what first pages lack, and tells it when all targets were asked. For one thread."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, Missing], list[str]] = {}
        self._since = math.inf

    def note(self, target: Target, missing: Iterable[Missing], now: float) -> None:
        """Take down what a target's first page lacks."""
        pool = dict(target.labels).get("pool", "")
        for one in missing:
            if one.essential:
                self._waiting.setdefault((pool, one), []).append(target.source)
                self._since = min(self._since, now)

    def tell(self, now: float, *, complete: bool) -> None:
        """Log what was taken down, if every target has answered or that takes too long."""
        if not self._waiting or not (complete or now - self._since >= PATIENCE_S):
            return
        for (pool, missing), sources in self._waiting.items():
            log.warning(
                "metrics missing",
                pool=pool,
                metric=missing.metric,
                targets=len(sources),
                first=", ".join(sources[:NAMED]),
                next_step=f"add to the exporter's counters file, unless the GPUs do not have it: {missing.line}",
            )
        self._waiting, self._since = {}, math.inf
