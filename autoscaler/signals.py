"""Look-ups in the table of canonical metrics; rule checks and collectors read the same one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal

from autoscaler.signal_table import AGGREGATES, ALIASES, METRICS, Kind, Metric

__all__ = [
    "DERIVED",
    "PASSED_ON",
    "SECOND_HAND",
    "Kind",
    "Metric",
    "aggregated",
    "all_metrics",
    "answer",
    "canonical",
    "is_counter",
    "metric",
    "suggest",
]

DERIVED = "derived"
"""Label of a series that was computed from others; its value says from which."""
PASSED_ON = "passed_on"
"""Label of a series that something in front of its engine passed on; its value says what."""
SECOND_HAND = (DERIVED, PASSED_ON)
"""Series with one of these labels count for a pool only while it has none without: both would count one thing twice."""

_BY_NAME = {m.name: m for m in METRICS}
_PARTS = ("_bucket", "_sum", "_count")
"""The series that make up a histogram; each of them only rises."""


def all_metrics() -> tuple[Metric, ...]:
    """Every canonical metric, in the order of the table."""
    return METRICS


def answer(signal: str, bound: Literal["", "low", "up"] = "") -> str:
    """The name of the series that holds a store's answers to a pool's signal: already one number, in its own unit.

    bound: the series of the least or the most that the number can be; NaN while it is exact.
    """
    return f"signal:{signal}:{bound}" if bound else f"signal:{signal}"


def is_answer(metric: str) -> bool:
    """Whether series of this name are a store's answers, and no metric that some page prints."""
    return metric.startswith("signal:")


def canonical(name: str) -> str:
    """The canonical name behind an alias of the short dialects; any other name as it is."""
    return ALIASES.get(name, name)


def metric(name: str) -> Metric | None:
    """The metric of that name or alias; of a histogram's series (`..._bucket`) the histogram. None: not canonical.

    What several values of a gauge amount to (`gpu_power_watts_max`) is a gauge in the same unit.
    """
    found = _BY_NAME.get(canonical(name))
    if found is None:
        for part in _PARTS:
            whole = _BY_NAME.get(name.removesuffix(part)) if name.endswith(part) else None
            if whole is not None and whole.kind == "histogram":
                return whole
        return _aggregate(name)
    return found


def aggregated(name: str) -> tuple[str, str] | None:
    """The gauge and the aggregate that a name such as `gpu_power_watts_max` is made of; None for any other name."""
    base, _, aggregate = name.rpartition("_")
    known = _BY_NAME.get(base)
    return (base, aggregate) if aggregate in AGGREGATES and known is not None and known.kind == "gauge" else None


def _aggregate(name: str) -> Metric | None:
    parts = aggregated(name)
    if parts is None:
        return None
    base, aggregate = _BY_NAME[parts[0]], parts[1]
    text = f"{AGGREGATES[aggregate]} of {base.name} within one interval"
    if aggregate == "count":
        return Metric(name, "samples", "gauge", text)
    return Metric(name, base.unit, "gauge", text, base.saturating, base.scale_out_only)


def suggest(name: str) -> str | None:
    """The canonical name or alias that a person may have meant by an unknown one; None if nothing is near."""
    near = get_close_matches(name.lower(), [*_BY_NAME, *ALIASES], n=1, cutoff=0.6)
    return near[0] if near else None


def is_counter(sample_name: str, type_hint: str = "") -> bool:
    """Whether the values of a series only rise and mean something by their increase.

    The table decides for canonical names. For others the page's own TYPE does where it has one, and else the name:
    `_total` and `_bucket` are safe signs, `_sum` and `_count` are not without a declared histogram or summary.
    """
    known = metric(sample_name)
    if known is not None:
        return known.kind == "counter" or (known.kind == "histogram" and sample_name != known.name)
    match type_hint:
        case "counter":
            return True
        case "histogram" | "summary":
            return sample_name.endswith(_PARTS)
        case "" | "untyped" | "unknown":
            return sample_name.endswith(("_total", "_bucket"))
        case _:
            return False
