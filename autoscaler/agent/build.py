"""Makes the collectors of an agent, and what caps its GPUs; only here are they named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import structlog

from autoscaler.agent.agent import Running
from autoscaler.agent.settings import AgentSettings
from autoscaler.errors import InputError
from autoscaler.ports import Clock

if TYPE_CHECKING:
    from autoscaler.agent.caps import Caps

log = structlog.get_logger(__name__)

FAST_S = 0.05


def caps(settings: AgentSettings, clock: Clock, made: Mapping[str, Running]) -> Caps | None:
    """What holds the caps that the settings ask for, and gives back what an earlier agent left behind.

    None where there is neither. Raises InputError when there must be a record and it cannot be written.
    """
    gpus, file = made.get("nvml"), settings.controls_file
    if gpus is None or not (settings.wanted or _written(file)):
        return None
    from autoscaler.agent.actfile import ActFile
    from autoscaler.agent.caps import Caps, Gpus

    try:
        record = ActFile(file, clock)
    except InputError as error:
        if settings.wanted:
            raise
        log.warning("record of gpu settings not read", reason=str(error))
        return None
    return Caps(cast("Gpus", gpus), settings.wanted, record)


def _written(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def collectors(settings: AgentSettings, clock: Clock) -> dict[str, Running]:
    """Those that the settings ask for, by name; the libraries of others are not imported."""
    made: dict[str, Running] = {}
    if settings.with_gpus:
        from collectors.nvml import Nvml

        made["nvml"] = Nvml(
            clock,
            settings.labels,
            interval_s=settings.interval_s,
            buffer="buffers" in settings.lanes,
            gpm="gpm" in settings.lanes,
            slow="slow" in settings.lanes,
            fast=settings.fast_s is not None,
            fast_s=settings.fast_s or FAST_S,
            stats=settings.stats,
            host=settings.host,
        )
    if settings.with_host:
        from collectors.host import Host

        made["host"] = Host(
            clock, settings.all_labels, interval_s=settings.interval_s, whole_machine=settings.whole_machine
        )
    if settings.cloud is not None:
        from collectors.cloud import Cloud

        made["cloud"] = Cloud(clock, settings.all_labels, cloud=settings.cloud, base_url=settings.metadata_url)
    return made
