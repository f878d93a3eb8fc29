"""Makes the collectors of an agent; only here are they named."""

from __future__ import annotations

from autoscaler.agent.agent import Running
from autoscaler.agent.settings import AgentSettings
from autoscaler.ports import Clock

FAST_S = 0.05


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
    return made
