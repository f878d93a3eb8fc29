"""What is legal in a warm pool's section and keeps it empty, or makes it another than the section says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoscaler.rulefile.findings import Finding
from autoscaler.rulefile.model import PoolFile
from autoscaler.rulefile.warm import warm_pool
from autoscaler.types import Offer

STOPPING = ("aws", "azure")
"""Providers whose warm machines are stopped; those of `local` go on running and only take no requests."""

HIBERNATING = ("aws",)


def warm_pool_warnings(model: PoolFile, offers: Sequence[Offer]) -> Iterator[Finding]:
    """What makes a warm pool stay empty, or be another than its rules say."""
    section = model.warm_pool
    if not warm_pool(section).given:
        return
    if section.size == "forecast" and not any(s.forecast is not None for s in model.signals.values()):
        text = f"no signal is a forecast, so the pool stays at min {section.min}"
        yield ("warm_pool", "size"), f"{text}; add one, such as 'ahead: {{forecast: load, quantile: 0.95}}'"
    if section.max == 0 or not offers:
        return
    if all(o.purchase == "spot" for o in offers):
        text = "every offer is spot, and spot machines cannot be stopped, so nothing is ever warm"
        yield ("warm_pool",), f"{text}; add an on_demand offer, or remove the section"
        return
    rest = [o for o in offers if o.purchase != "spot"]
    stopping = sorted({o.provider for o in rest if o.provider in STOPPING})
    if section.state == "running" and stopping:
        text = f"{' and '.join(stopping)} stop what is warm, only local machines wait running"
        yield ("warm_pool", "state"), f"{text}; write stopped, or raise limits.min"
    if section.state != "running" and any(o.provider == "local" for o in rest):
        text = f"local machines go on running while they are warm and cannot be {section.state}"
        yield ("warm_pool", "state"), f"{text}; write running"
    if section.state == "hibernated":
        yield from _hibernation(rest)


def _hibernation(offers: Sequence[Offer]) -> Iterator[Finding]:
    way = ("warm_pool", "state")
    for name in sorted({o.provider for o in offers if o.provider in STOPPING and o.provider not in HIBERNATING}):
        yield way, f"{name} machines are stopped, they do not hibernate; write stopped"
    plain = sorted({o.key for o in offers if o.provider in HIBERNATING and dict(o.settings).get("hibernate") != "true"})
    if plain:
        yield way, f"{plain[0]} is only stopped: its image must allow more; add 'hibernate: true' to the offer"
