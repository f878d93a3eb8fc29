"""The league table: peers' laws and our own on recorded workloads, at boot times of 3, 8 and 10 minutes.

Every peer runs with each value of its sweep, our own rule file once, as it is shipped. `python -m benchmarks league`
plays all of it and writes the tables of docs/league.md. Run: python -m benchmarks.league
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from autoscaler.backtest.fluid import demand_of
from autoscaler.backtest.league import Row as Played
from autoscaler.backtest.league import league, names_of_league, row_of, runs_of
from autoscaler.backtest.run import Setting, backtest
from autoscaler.backtest.score import warmup_of
from autoscaler.trace import Trace, load_trace
from benchmarks.league_tables import OURS, Figures, figures, page
from benchmarks.table import Row, show

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
PAGE = ROOT / "docs" / "league.md"
RULES = ROOT / "rules" / "default.yaml"

SERIES = (
    ("azure2024_code_week_1min", "requests"),
    ("servegen_m_small_1min", "requests"),
    ("servegen_deepseek_r1_1min", "requests"),
    ("nasa_http_1995_1min", "requests"),
    ("mscloud_ingress_01_1min", "value"),
    ("mscloud_ingress_03_1min", "value"),
    ("mscloud_mongo_01_1min", "value"),
)
"""Those with buckets of a minute: an hourly one is constant for an hour and then another one, which can only be met by
luck."""

BOOTS_S = (180.0, 480.0, 600.0)
LONGEST_S = 14 * 86_400.0
MEAN_REPLICAS = 20.0
LOW, HIGH, TICK_S = 1, 200, 15.0


def load(name: str, column: str) -> Trace:
    """The first two weeks of a workload."""
    trace = load_trace(DATA / f"{name}.csv.gz", column)
    count = int(LONGEST_S / trace.step_s)
    return Trace(trace.at_s[:count], trace.amount[:count], trace.step_s, trace.missing[:count])


def setting(trace: Trace, boot_s: float) -> Setting:
    """The same world for all: the mean demand is 20 replicas' worth, and the start what its first minutes need."""
    demand = demand_of(trace)
    capacity = float(np.dot(demand.rate, np.diff(demand.edges_s))) / (trace.end_s - demand.edges_s[0]) / MEAN_REPLICAS
    start = min(max(math.ceil(demand.rate[0] / (0.8 * capacity)), LOW), HIGH)
    return Setting(capacity, boot_s, start, LOW, HIGH, TICK_S, warmup_of(trace))


def peers(
    series: Sequence[tuple[str, str]],
    boots_s: Sequence[float],
    jobs: int | None = None,
    names: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Played]:
    """Every peer with every setting over every workload."""
    found: list[Played] = []
    each = sum(runs_of(name) for name in names_of_league(names)) * len(boots_s)
    of = each * len(series)
    for n, (name, column) in enumerate(series):
        trace = load(name, column)
        settings = [setting(trace, boot_s) for boot_s in boots_s]

        def told(done: int, _: int, before: int = n * each) -> None:
            progress(before + done, of)

        found += league(trace, settings, names, name, jobs, told)
    return found


def own(name: str, column: str, boot_s: float) -> Played:
    """The shipped rule file over one workload, in the ordinary loop."""
    from autoscaler.rulefile.reader import read_rules

    trace = load(name, column)
    rules = read_rules(RULES)
    return row_of(name, OURS, backtest(trace, rules, setting(trace, boot_s)))


def owns(series: Sequence[tuple[str, str]], boots_s: Sequence[float], jobs: int | None = None) -> list[Played]:
    """The shipped rule file over every workload at every boot time."""
    from joblib import Parallel, delayed

    tasks = [(name, column, boot_s) for boot_s in boots_s for name, column in series]
    found: list[Played] = Parallel(n_jobs=jobs)(delayed(own)(*task) for task in tasks)
    return found


def everything() -> list[Played]:
    """All of it, in as many processes as there are cores, with a bar."""
    from rich.progress import Progress

    jobs = len(os.sched_getaffinity(0))
    with Progress(transient=True) as bar:
        task = bar.add_task("playing the peers", total=None)
        rows = peers(SERIES, BOOTS_S, jobs, (), lambda done, of: bar.update(task, completed=done, total=of))
        bar.update(task, description="playing our own rules", total=None)
        return rows + owns(SERIES, BOOTS_S, jobs)


def write(rows: Sequence[Played]) -> None:
    """Put the tables between the markers of docs/league.md."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


def claims(found: Figures) -> list[Row]:
    """What is claimed of our own rules at one boot time."""
    at = f"boot {found.boot_s / 60:g} min: "
    return [
        Row(at + "worst violation of all workloads", found.own_worst * 100, "%", 0.5, lower_is_better=True),
        Row(at + "mean cost", found.own_cost, "x", 1.30, found.cheapest_cost(0.005), lower_is_better=True),
        Row(at + "excess over that of peers tuned in hindsight", found.excess_ratio, "x", 0.7, lower_is_better=True),
    ]


def run() -> list[Row]:
    """The claims; the tables go to docs/league.md on the way."""
    rows = everything()
    write(rows)
    return [row for boot_s in BOOTS_S for row in claims(figures(rows, boot_s))]


if __name__ == "__main__":
    show(run(), "league")
