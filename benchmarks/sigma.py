"""Three sigma over 100,000 raw series in one tick, from the store's columns to alerts that are due.

    python -m benchmarks.sigma

The rule file's `alerts: {each: METRIC, outside: 3 sigma}` for 32 metrics of 3,200 GPUs: newest values and moments out
of the store, bands over 20 minutes at 5 s, judgement, labels and alert state, as the loop asks for them. `bands`
measures the same from all values. The values are Gaussian, so that a few hundred series breach by chance in every tick,
as they do in the field.
"""

from __future__ import annotations

import os

# One core is what is claimed; BLAS must know before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Mapping

import numpy as np

from autoscaler.alerts import due, follow
from autoscaler.clock import cpu_seconds, monotonic
from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet, SeriesAlert
from autoscaler.store import Store
from autoscaler.thresholds.sigma import Sigma
from autoscaler.types import Alert, Batch, SeriesKey
from benchmarks.table import Row, show
from collectors.scraping.scraper import SLOTS

NODES, GPUS, METRICS = 400, 8, 32
INTERVAL_S, LOOKBACK_S = 5.0, 1200.0
TICKS = 15
TARGET_S = 0.1


def run() -> list[Row]:
    """Sources that all answer at once, and sources in twenty bursts an interval, as the scraper asks them."""
    return [*_measured("in step", 1), *_measured("in 20 bursts", SLOTS)]


def _measured(manner: str, bursts: int) -> list[Row]:
    """CPU and wall seconds of one tick, samples that arrive between two ticks not counted."""
    store, chance = Store(None, raw_window_s=LOOKBACK_S), np.random.default_rng(5)
    keys = [_keys(node) for node in range(NODES + 1)]
    levels = 300.0 + 20.0 * chance.standard_normal((NODES + 1, GPUS * METRICS))
    alerts = tuple(
        SeriesAlert(f"a{m}", f"gpu_bench_metric_{m}", "outside", Sigma(3.0), LOOKBACK_S, silence_s=0.0, text="3 sigma")
        for m in range(METRICS)
    )
    rules = RuleSet("bench", Bounds(0, 9), alerts=alerts)
    fleet = _Fleet(store, keys, levels, chance, bursts)
    while fleet.now < LOOKBACK_S - INTERVAL_S / 2:
        fleet.burst(NODES)
    state: Mapping[str, Alert] = {}
    cpus, walls, told = [], [], 0
    for tick in range(TICKS + 1):
        # The service judges anew when a burst has come; a tick a second is five an interval.
        for _ in range(max(1, bursts // 5)):
            fleet.burst(NODES + (tick == TICKS))
        wall, cpu = monotonic(), cpu_seconds()
        series = {a.name: store.newest("bench", a.metric, a.where, fleet.now, a.lookback_s) for a in alerts}
        after = follow(rules, [], series, state, fleet.now)
        told += len(due(state, after))
        cpus.append(cpu_seconds() - cpu)
        walls.append(monotonic() - wall)
        state = after
    what = f"3 sigma over {NODES * GPUS * METRICS:,} raw series x {int(LOOKBACK_S / INTERVAL_S)} points, {manner}"
    return [
        Row(f"{what}: one tick, CPU", float(np.median(cpus[1:TICKS])), "s", TARGET_S, lower_is_better=True),
        Row("the same: wall, worst", max(walls[1:TICKS]), "s", TARGET_S, lower_is_better=True),
        Row("the same: CPU of a tick at which a node has joined", cpus[TICKS], "s", TARGET_S, lower_is_better=True),
        Row("the same: CPU of a first tick that finds 20 minutes of everything", cpus[0], "s", lower_is_better=True),
        Row("alerts that were due a tick, on average", told / len(cpus), "alerts"),
    ]


class _Fleet:
    """Nodes that say something new in bursts."""

    def __init__(
        self,
        store: Store,
        keys: list[tuple[SeriesKey, ...]],
        levels: np.ndarray,
        chance: np.random.Generator,
        bursts: int,
    ) -> None:
        self.store, self.keys, self.levels, self.chance, self.bursts = store, keys, levels, chance, bursts
        self.turn = 0

    @property
    def now(self) -> float:
        """When the last burst was."""
        return (self.turn - 1) * INTERVAL_S / self.bursts

    def burst(self, nodes: int) -> None:
        """The pages of those nodes whose turn it is; a node that has joined comes with the first that follows."""
        at = self.turn * INTERVAL_S / self.bursts
        own = [n for n in range(nodes) if n % self.bursts == self.turn % self.bursts or n == NODES]
        values = self.levels[own] + self.chance.standard_normal((len(own), self.levels.shape[1]))
        for place, node in enumerate(own):
            said = values[place]
            self.store.add(Batch(f"node-{node}", at, INTERVAL_S, self.keys[node], said, (("pool", "bench"),)))
        self.turn += 1


def _keys(node: int) -> tuple[SeriesKey, ...]:
    return tuple(
        SeriesKey(
            f"gpu_bench_metric_{metric}",
            (("gpu", str(gpu)), ("host", f"node-{node:04d}"), ("instance", f"node-{node}:9400"), ("pool", "bench")),
        )
        for metric in range(METRICS)
        for gpu in range(GPUS)
    )


if __name__ == "__main__":
    show(run(), "three sigma")
