"""The metrics store: what taking in, reading and flushing cost. Run: python -m benchmarks.store"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autoscaler.clock import cpu_seconds, monotonic
from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store
from autoscaler.store.daystore import DayStore, Point
from autoscaler.types import Batch, Labels, SeriesKey
from benchmarks.table import Row, show

SOURCES, GPUS, METRICS, INTERVAL_S = 400, 8, 40, 5.0
DAY_S = 86_400.0


def page_keys(source: int, pool: str) -> tuple[SeriesKey, ...]:
    """The series of one node: 8 GPUs x 40 metrics, a fifth of them counters."""
    labels: Labels = (("instance", f"10.0.0.{source}:9400"), ("pool", pool))
    return tuple(
        SeriesKey(
            f"gpu_metric_{metric}_total" if metric % 5 == 0 else f"gpu_metric_{metric}",
            (("gpu", str(gpu)), *labels),
            counter=metric % 5 == 0,
        )
        for gpu in range(GPUS)
        for metric in range(METRICS)
    )


def ingest(sources: int = SOURCES, ticks: int = 60) -> list[Row]:
    """Scrapes of a whole fleet, one batch a node, and what the ring takes once it is full."""
    store, generator = Store(None), np.random.default_rng(1)
    keys = [page_keys(source, "fleet") for source in range(sources)]
    values = [generator.random(GPUS * METRICS) for _ in range(16)]
    started = monotonic()
    for source in range(sources):
        store.add(Batch(f"node-{source}", 0.0, INTERVAL_S, keys[source], values[0]))
    first_s = monotonic() - started
    before, cpu = store.stats().stored, cpu_seconds()
    for tick in range(1, ticks + 1):
        for source in range(sources):
            grown = values[(tick + source) % 16] + tick
            store.add(Batch(f"node-{source}", tick * INTERVAL_S, INTERVAL_S, keys[source], grown))
    cpu_s, stored = cpu_seconds() - cpu, store.stats().stored - before
    frame_ms = 1e3 * timed(lambda: store.raw("fleet", "gpu_metric_1", (), ticks * INTERVAL_S, 1200.0), 5)
    return [
        Row(f"store: first batches of {store.stats().series:,} series", first_s, "s"),
        Row("store: CPU per million samples", cpu_s / stored * 1e6, "s", 0.3, lower_is_better=True),
        Row("store: samples taken in", stored / cpu_s / 1e6, "million/s", 3.0),
        Row("store: memory of 20 minutes at 5 s", store.stats().memory_bytes / 1e6, "MB", 250, lower_is_better=True),
        Row(f"store: raw frame of {sources * GPUS} series", frame_ms, "ms", 10, lower_is_better=True),
    ]


def pool_rules(pool: str) -> RuleSet:
    """Three signals of the usual kinds."""
    return RuleSet(
        pool,
        Bounds(1, 10),
        signals=(
            Signal("queue", "requests_waiting"),
            Signal("load", "requests_arrived_total", rate_s=60.0),
            Signal("ttft99", "time_to_first_token_seconds", quantile=0.99, over_s=60.0),
        ),
    )


def engine_keys(pool: str, replica: int) -> tuple[SeriesKey, ...]:
    """One engine: a gauge, a counter and a histogram of twenty buckets."""
    labels: Labels = (("instance", f"{pool}-{replica}:8000"), ("pool", pool))
    bounds = [*(str(2.0**power) for power in range(-9, 10)), "+Inf"]
    return (
        SeriesKey("requests_waiting", labels),
        SeriesKey("requests_running", labels),
        SeriesKey("requests_arrived_total", labels, counter=True),
        *(SeriesKey("time_to_first_token_seconds_bucket", (*labels, ("le", b)), counter=True) for b in bounds),
    )


def feed(
    store: Store, pools: int, replicas: int, at: float, keys: dict[tuple[int, int], tuple[SeriesKey, ...]]
) -> None:
    for pool in range(pools):
        for replica in range(replicas):
            layout = keys.setdefault((pool, replica), engine_keys(f"pool-{pool}", replica))
            values = np.arange(len(layout)) * (1.0 + at)
            store.add(Batch(f"{pool}/{replica}", at, 15.0, layout, values))


def timed(act: Callable[[], object], repeats: int) -> float:
    """Median wall seconds of one call."""
    found = []
    for _ in range(repeats):
        started = monotonic()
        act()
        found.append(monotonic() - started)
    return float(np.median(found))


def read_long_history(days: float = 7.0) -> Row:
    """Three signals with a week of points at 15 s behind them."""
    store, rules = Store(None), pool_rules("pool-0")
    keys: dict[tuple[int, int], tuple[SeriesKey, ...]] = {}
    for tick in range(int(days * DAY_S / 15.0)):
        feed(store, 1, 1, tick * 15.0, keys)
        frames = store.read(rules, tick * 15.0)
    points, now = frames["queue"].at.size, days * DAY_S
    took_ms = 1e3 * timed(lambda: store.read(rules, now), 200)
    return Row(f"store: read 3 signals, {points:,} points each", took_ms, "ms", 0.3, lower_is_better=True)


def read_many_pools(pools: int = 1000, replicas: int = 2) -> list[Row]:
    """A tick of many pools, each read once, and its points on disk."""
    keys: dict[tuple[int, int], tuple[SeriesKey, ...]] = {}
    rules = [pool_rules(f"pool-{pool}") for pool in range(pools)]
    reads, flushes = [], []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for tick in range(12):
            feed(store, pools, replicas, tick * 15.0, keys)
            # CPU, not wall time: what counts is the share of a core, and a burst of 3,000 readings meets other work.
            cpu = cpu_seconds()
            for one in rules:
                store.read(one, tick * 15.0 + 1.0)
            reads.append(cpu_seconds() - cpu)
            started = monotonic()
            store.flush()
            flushes.append(monotonic() - started)
        store.close()
    return [
        Row(
            f"store: CPU of reading a signal, {pools:,} pools",
            1e6 * float(np.median(reads)) / pools / 3,
            "us",
            100,
            lower_is_better=True,
        ),
        Row(f"store: flush {3 * pools:,} points", 1e3 * float(np.median(flushes)), "ms", 50, lower_is_better=True),
        Row("store: worst flush of twelve", 1e3 * max(flushes), "ms"),
    ]


def restart(signals: int = 30, days: int = 7) -> Row:
    """A week of points of ten pools, read back into memory."""
    with tempfile.TemporaryDirectory() as folder:
        files = DayStore(Path(folder), 28)
        per_day = int(DAY_S / 15.0)
        for day in range(days):
            at = day * DAY_S + 15.0 * np.arange(per_day)
            files.append([Point("pool", f"s{s}", float(t), float(t % 97), 0) for t in at for s in range(signals)])
        files.close()
        started = monotonic()
        store = Store(Path(folder))
        took_s = monotonic() - started
        store.close()
    return Row(f"store: restart, {signals * days * per_day:,} points", took_s, "s", 5.0, lower_is_better=True)


def rows(quick: bool = False) -> list[Row]:
    """All measurements; `quick` on a smaller fleet and a shorter history, whose rows say so."""
    if quick:
        return [*ingest(40, 20), read_long_history(0.5), *read_many_pools(100), restart(10, 2)]
    return [*ingest(), read_long_history(), *read_many_pools(), restart()]


def run() -> list[Row]:
    """All rows at full size."""
    return rows()


if __name__ == "__main__":
    show(run(), "store")
