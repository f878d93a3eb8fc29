"""Three sigma over 100,000 raw series in one tick, from the store's columns to alerts that are due.

    python -m benchmarks.sigma

The rule file's `alerts: {each: METRIC, outside: 3 sigma}` for 32 metrics of 3,200 GPUs: frames out of the store, bands
over 20 minutes at 5 s, judgement, labels and alert state. `bands` measures the arithmetic and the state without the
store. The values are Gaussian, so that a few hundred series breach by chance in every tick, as they do in the field.
"""

from __future__ import annotations

import os

# One core is what is claimed; BLAS must know before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Mapping

import numpy as np

from autoscaler.alerts import due, follow
from autoscaler.clock import cpu_seconds, monotonic
from autoscaler.ruleset import Bounds, RuleSet, SeriesAlert
from autoscaler.store import Store
from autoscaler.thresholds.sigma import Sigma
from autoscaler.types import Alert, Batch, SeriesKey
from benchmarks.table import Row, show

NODES, GPUS, METRICS = 400, 8, 32
INTERVAL_S, LOOKBACK_S = 5.0, 1200.0
TICKS = 7
TARGET_S = 0.1


def run() -> list[Row]:
    """CPU and wall seconds of one tick, samples that arrive between two ticks not counted."""
    store, chance = Store(None, raw_window_s=LOOKBACK_S), np.random.default_rng(5)
    keys = [_keys(node) for node in range(NODES)]
    levels = 300.0 + 20.0 * chance.standard_normal((NODES, GPUS * METRICS))
    alerts = tuple(
        SeriesAlert(f"a{m}", f"bench_metric_{m}", "outside", Sigma(3.0), LOOKBACK_S, silence_s=0.0, text="3 sigma")
        for m in range(METRICS)
    )
    rules = RuleSet("bench", Bounds(0, 9), alerts=alerts)
    for step in range(int(LOOKBACK_S / INTERVAL_S)):
        _scrape(store, keys, levels, chance, step * INTERVAL_S)
    state: Mapping[str, Alert] = {}
    cpus, walls, told = [], [], 0
    for tick in range(TICKS):
        now = LOOKBACK_S + tick * INTERVAL_S
        _scrape(store, keys, levels, chance, now)
        wall, cpu = monotonic(), cpu_seconds()
        frames = {a.name: store.raw("bench", a.metric, a.where, now, a.lookback_s) for a in alerts}
        after = follow(rules, [], frames, state, now)
        told += len(due(state, after))
        cpus.append(cpu_seconds() - cpu)
        walls.append(monotonic() - wall)
        state = after
    what = f"3 sigma over {NODES * GPUS * METRICS:,} raw series x {int(LOOKBACK_S / INTERVAL_S)} points, from the store"
    return [
        Row(f"{what}: one tick, CPU", float(np.median(cpus[1:])), "s", TARGET_S, lower_is_better=True),
        Row("the same: wall, worst of six", max(walls[1:]), "s", lower_is_better=True),
        Row("the same: first tick, which has nothing prepared", cpus[0], "s", lower_is_better=True),
        Row("alerts that were due a tick, on average", told / TICKS, "alerts"),
    ]


def _keys(node: int) -> tuple[SeriesKey, ...]:
    return tuple(
        SeriesKey(
            f"bench_metric_{metric}",
            (("gpu", str(gpu)), ("host", f"node-{node:04d}"), ("instance", f"node-{node}:9400"), ("pool", "bench")),
        )
        for metric in range(METRICS)
        for gpu in range(GPUS)
    )


def _scrape(
    store: Store, keys: list[tuple[SeriesKey, ...]], levels: np.ndarray, chance: np.random.Generator, at: float
) -> None:
    values = levels + chance.standard_normal(levels.shape)
    for node, own in enumerate(keys):
        store.add(Batch(f"node-{node}", at, INTERVAL_S, own, values[node], (("pool", "bench"),)))


if __name__ == "__main__":
    show(run(), "three sigma")
