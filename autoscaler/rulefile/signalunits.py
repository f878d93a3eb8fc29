"""The unit of a signal, and whether a value that people wrote can be compared with it (a 50 on a 0-1 gauge cannot)."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler import signals
from autoscaler.rulefile.signals import SignalSection
from autoscaler.units import Quantity


def unit_of_metric(metric: str) -> str | None:
    """Base unit of a canonical metric, None when the metric is not ours and anything is possible."""
    known = signals.metric(metric)
    return None if known is None else known.unit


def unit_of(name: str, known: Mapping[str, SignalSection]) -> str | None:
    """Base unit of a signal, None = not known. A forecast has its source's unit; a sum of ratios is no ratio."""
    section = known[name]
    source = known.get(section.forecast) if section.forecast is not None else section
    if source is None or source.metric is None:
        return None
    section = source
    unit = unit_of_metric(source.metric)
    if unit is None:
        return None
    if section.aggregate == "count":
        return "series"
    if section.rate is not None:
        # Seconds per second are a share of the time, and a sum of such shares is a bare number.
        return None if unit == "seconds" else f"{unit}/s"
    if unit == "ratio" and section.aggregate == "sum":
        return None
    return unit


def unit_fault(amount: Quantity, name: str, unit: str | None) -> str | None:
    """Why `amount` cannot be compared with a signal in `unit`, as a sentence with the next step; None if it can."""
    if unit is None:
        return None
    if unit == "ratio":
        return _share_fault(amount, name)
    if amount.unit == "ratio":
        return f"{name} is in {unit}, of which {amount.value * 100:g}% is no amount; write a number in {unit}"
    if amount.unit not in ("", unit):
        return f"{name} is in {unit}, not {amount.unit}; write a number in {unit}"
    return None


def _share_fault(amount: Quantity, name: str) -> str | None:
    if amount.unit not in ("", "ratio"):
        return f"{name} is a share from 0 to 1, not {amount.unit}; write a share such as 85%"
    if amount.value > 1:
        percent = amount.value * 100 if amount.unit == "ratio" else amount.value
        return f"{name} is a share from 0 to 1 and never reaches {amount.value:g}; write {min(percent, 99):g}%"
    return None
