"""A back-test as files: a row for each tick, and a summary whose keys stay what they are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoscaler import __version__
from autoscaler.backtest.run import Tested, Timeline
from autoscaler.ruleset import RuleSet
from autoscaler.trace import Trace

FORMAT = 1
"""Rises when a key of the summary changes its meaning or goes; new keys do not raise it."""

HEADER = "at_s,demand,wanted,ready,pending,queue"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a back-test came from. policy: the baseline that decided in place of the rules, None = the rules."""

    trace_name: str
    column: str
    trace: Trace
    rules: RuleSet
    policy: str | None = None


def timeline_csv(timeline: Timeline) -> str:
    """One row a tick, times of the trace in seconds; numbers as short as they are exact to 12 digits."""
    columns = (timeline.at_s, timeline.demand, timeline.wanted, timeline.ready, timeline.pending, timeline.queue)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines = [f"{at:.12g},{demand:.12g},{want},{up},{boot},{queue:.12g}" for at, demand, want, up, boot, queue in rows]
    return "\n".join([HEADER, *lines, ""])


def summary(tested: Tested, source: Source, notes: Sequence[str]) -> dict[str, object]:
    """The whole result as JSON's own types; what cannot be told is null."""
    s, setting, trace = tested.score, tested.setting, source.trace
    return {
        "format": FORMAT,
        "pool": tested.pool,
        "policy": source.policy,
        "violated_share": _number(s.violated),
        "cost_over_clairvoyant": _number(s.cost),
        "replica_hours": s.replica_hours,
        "clairvoyant_replica_hours": s.clairvoyant_hours,
        "usd": tested.usd,
        "launches": tested.launches,
        "changes": tested.changes,
        "peak_replicas": tested.peak,
        "demand_work": tested.demand_work,
        "unmet_work": s.unmet,
        "worst_wait_s": s.worst_wait_s,
        "wait_p50_s": _number(s.wait_p50_s),
        "wait_p99_s": _number(s.wait_p99_s),
        "recommended_most": tested.recommended,
        "short_ticks": tested.short_ticks,
        "scored": {
            "from_s": tested.count_from_s,
            "to_s": tested.end_s,
            "ticks": int((tested.timeline.at_s >= tested.count_from_s).sum()),
        },
        "settings": {
            "capacity": setting.capacity,
            "boot_s": setting.boot_s,
            "start": setting.start,
            "min": setting.low,
            "max": setting.high,
            "tick_s": setting.tick_s,
            "warmup_s": setting.warmup_s,
        },
        "trace": {
            "name": source.trace_name,
            "column": source.column,
            "buckets": len(trace.amount),
            "bucket_s": trace.step_s,
            "gaps": int(trace.missing.sum()),
        },
        "rules": {"file": Path(source.rules.file).name, "hash": source.rules.hash},
        "never_known": dict(tested.never_known),
        "notes": list(notes),
        "versions": {"sigmascale": __version__, **tested.versions},
    }


def to_json(found: Mapping[str, object]) -> str:
    """The summary as text."""
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
