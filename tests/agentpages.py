"""Series, batches and pages for tests of what the agent shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autoscaler.agent import canonical, dcgm_names, otel_names
from autoscaler.agent.current import Snapshot
from autoscaler.agent.families import render
from autoscaler.signals import is_counter
from autoscaler.types import Batch, Labels, SeriesKey
from collectors.pages import grammar

UUID = "GPU-11111111-2222-3333-4444-555555555555"
BOARD: Labels = (("gpu", "3"), ("gpu_model", "NVIDIA H100 80GB HBM3"), ("host", "node-1"), ("uuid", UUID))


def key(name: str, labels: Labels = BOARD, /, **more: str) -> SeriesKey:
    return SeriesKey(name, tuple(sorted({**dict(labels), **more}.items())), is_counter(name))


def batch(
    pairs: dict[SeriesKey, float] | Sequence[tuple[SeriesKey, float]],
    at: float = 100.0,
    interval_s: float = 1.0,
    source: str = "nvml:1",
    keys: tuple[SeriesKey, ...] | None = None,
) -> Batch:
    both = dict(pairs)
    return Batch(source, at, interval_s, keys or tuple(both), np.array(list(both.values()), dtype=np.float64))


def page(values: dict[SeriesKey, float], names: str = "canonical") -> str:
    """What a page says about these values, without what the agent says about itself."""
    families = {"canonical": canonical.families, "dcgm": dcgm_names.families, "otel": otel_names.families}[names]
    return render(families(tuple(values)), list(values.values()))


def samples(text: str) -> dict[tuple[str, Labels], float]:
    return {(s.name, tuple(sorted(s.labels))): s.value for s in grammar.samples(text)}


def shown(now: Snapshot) -> dict[str, float]:
    """Metrics that have a value."""
    pairs = zip(now.keys, now.values.tolist(), strict=True)
    return {key.metric: value for key, value in pairs if not math.isnan(value)}
