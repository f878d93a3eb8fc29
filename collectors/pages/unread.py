"""Series of a page for which there was no room, by the metrics that they would have been of.

What they say is unknown, not nothing. So is what would have been computed from them: a saturation without three of
eight GPUs looks as whole as any other.
"""

from __future__ import annotations

from collections import Counter

from autoscaler.types import Labels
from collectors.pages.arrivals import ARRIVED, FINISHED, RUNNING, WAITING
from collectors.pages.identity import Resolve
from collectors.pages.resolve import COMBINATIONS

_NAMES_LIMIT = 1000
_GPU = "gpu_"
_MEMORY = ("gpu_memory_total_bytes", "gpu_memory_used_ratio")
_DERIVED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("gpu_sm_active_ratio", "gpu_dram_active_ratio", "gpu_power_watts", "gpu_power_limit_watts"),
        ("gpu_saturation_ratio",),
    ),
    **dict.fromkeys(("gpu_memory_used_bytes", "gpu_memory_free_bytes", "gpu_memory_reserved_bytes"), _MEMORY),
    "gpu_memory_total_bytes": _MEMORY[1:],
    **dict.fromkeys(
        ("gpu_nvlink_tx_bytes_per_second", "gpu_nvlink_rx_bytes_per_second"), ("gpu_nvlink_bytes_per_second",)
    ),
    **dict.fromkeys(
        ("gpu_last_xid", "DCGM_EXP_XID_ERRORS_COUNT", "nvidia_smi_xid_errors_total"),
        ("gpu_xid_events_total", "gpu_last_xid_timestamp_seconds"),
    ),
    **dict.fromkeys((*FINISHED, RUNNING, WAITING), (ARRIVED,)),
}
"""What is computed from a metric, beside `gpu_up` from every metric of a GPU."""

Counts = tuple[tuple[str, int], ...]
"""Metric and number of series, by name."""


class Unread:
    """Counts them anew for each page; `start` it before."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._metrics: dict[str, tuple[str, ...]] = {}
        self._now: Counter[str] = Counter()

    def start(self) -> None:
        """Go on with another page."""
        if self._now:
            self._now = Counter()

    def note(self, name: str, labels: Labels, hint: str) -> None:
        """One series more. What others of that name mean counts for it: a page may have many thousands of them."""
        metrics = self._metrics.get(name)
        if metrics is None:
            if len(self._metrics) >= _NAMES_LIMIT:
                self._metrics.clear()
            metrics = tuple({identity.metric for identity in self._resolve(name, labels, hint)})
            self._metrics[name] = metrics
        self._now.update(metrics)

    def counts(self) -> Counts:
        """By metric, those that are computed from what is missing included: at least so many series are unknown."""
        if not self._now:
            return ()
        found = dict(self._now)
        for metric, count in self._now.items():
            for derived in _computed_from(metric):
                found[derived] = max(found.get(derived, 0), count)
        return tuple(sorted(found.items()))


def _computed_from(metric: str) -> list[str]:
    combined = [rule.metric for rule in COMBINATIONS if metric in (rule.left, rule.right)]
    presence = ["gpu_up"] if metric.startswith(_GPU) else []
    return [*_DERIVED.get(metric, ()), *combined, *presence]
