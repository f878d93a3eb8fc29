"""What it costs to scrape and store a fleet: the whole service beside Prometheus and VictoriaMetrics, in one run.

    python -m benchmarks.ingest [--nodes 400] [--window 60] [--repeats 1] [--gzip] [--pod-life 300]

One server shows 40 fields of 8 GPUs on each node's page; all three stores ask for every page every 5 s. Ours is a real
`sigmascale run`: pools with rules that are judged all the time, journal, day files, API. CPU is user and system of each
process with its children, from /proc, over one window that is the same for all. Samples are those that each store says
it has taken in. Afterwards values are read back from every store and compared with what the pages showed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from autoscaler.clock import SystemClock, monotonic
from benchmarks import exposition, prometheus
from benchmarks.processes import cost
from benchmarks.stores import AS_THEY_ARE, PROBED, READY_S, Peer, Probe, pages, pool_of, sigmascale, theirs
from benchmarks.table import Row, show

GPUS, FIELDS = exposition.GPUS, len(exposition.FIELDS)
INTERVAL_S = exposition.STEP_S


# --- one run --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """What one store did in the window: samples, CPU seconds, memory at its end and at its worst; values compared."""

    name: str
    samples: float
    cpu_s: float
    rss_bytes: int
    peak_bytes: int
    compared: int
    wrong: int

    @property
    def per_million(self) -> float:
        return self.cpu_s / self.samples * 1e6


def measure(
    nodes: int, pools: int, window_s: float, warm_s: float, programs: Sequence[str], manner: exposition.Manner
) -> list[Result]:
    """All stores side by side; the last result is the exposition server's, whose samples are what all stores took."""
    probes = _probes(nodes, pools)
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as name, ExitStack() as ends:
        folder = Path(name)
        port, server = ends.enter_context(pages(nodes, manner))
        stores = [ends.enter_context(theirs(p, port, nodes, pools, folder / p)) for p in programs]
        stores.append(ends.enter_context(sigmascale(port, nodes, pools, probes, folder / "ours")))
        _warm_up(stores, nodes, clock)
        clock.wait(clock.now() + warm_s)
        began = clock.now()
        before = [(store.stored(), store.cost().cpu_s) for store in stores]
        served = cost(server)
        # A minute's wait is cut into pieces: a clock waits for at most a minute at once.
        while clock.now() < began + window_s:
            clock.wait(min(clock.now() + 10.0, began + window_s))
        after = [(store.stored(), store.cost()) for store in stores]
        found = []
        fleet = exposition.Fleet(nodes, manner)
        expected = nodes * GPUS * FIELDS * window_s / INTERVAL_S
        for store, (samples, cpu_s), (later, spent) in zip(stores, before, after, strict=True):
            taken = (later - samples) * store.printed(nodes * GPUS * FIELDS)
            if manner.pod_life_s and store.name == "sigmascale":
                # Series of pods that are gone stay in our store for a while, so that what was printed cannot be told
                # from the series that there are: this is the expected number, at most what was stored.
                taken = min(later - samples, expected)
            compared, wrong = _compare(store, probes, fleet, began, clock.now())
            found.append(
                Result(
                    store.name,
                    taken,
                    spent.cpu_s - cpu_s,
                    spent.rss_bytes,
                    spent.peak_bytes,
                    compared,
                    wrong,
                )
            )
        end = cost(server)
        total = sum(result.samples for result in found)
        found.append(Result("pages", total, end.cpu_s - served.cpu_s, end.rss_bytes, end.peak_bytes, 0, 0))
        return found


def _warm_up(stores: Sequence[Peer], nodes: int, clock: SystemClock) -> None:
    """Wait until every store has taken in three scrapes of everything."""
    deadline = monotonic() + READY_S
    while any(store.stored() < 3 * nodes * GPUS * FIELDS for store in stores):
        if monotonic() > deadline:
            raise SystemExit(f"not every page was read: { {store.name: store.stored() for store in stores} }")
        clock.wait(clock.now() + 1.0)


def _probes(nodes: int, pools: int, per_pool: int = 4) -> list[Probe]:
    chance = random.Random(11)
    found = []
    for pool in range(pools):
        own = [node for node in range(nodes) if pool_of(node, nodes, pools) == pool]
        for n in range(per_pool):
            field = chance.choice(sorted(PROBED))
            found.append(Probe(pool, f"probe{n}", chance.choice(own), chance.randrange(GPUS), field))
    return found


def _compare(
    store: Peer, probes: Sequence[Probe], fleet: exposition.Fleet, since: float, until: float
) -> tuple[int, int]:
    """How many points of the probed series were compared with what the pages showed, and how many differ."""
    compared = wrong = 0
    for probe in probes:
        line = exposition.FIELDS.index(probe.field) * GPUS + probe.gpu
        points = _points(store, probe, since, until)
        for at, value in points:
            # The page was made after the scrape began, by up to the time that the request took.
            told = {float(fleet.values(probe.node, exposition.step_of(at + late))[line]) for late in (0.0, 0.05, 1.0)}
            compared += 1
            wrong += not any(abs(value - one) <= 1e-9 * abs(one) for one in told)
        if len(points) < (until - since) / INTERVAL_S / 2:
            wrong += 1
    return compared, wrong


def _points(store: Peer, probe: Probe, since: float, until: float) -> list[tuple[float, float]]:
    base = f"http://{store.address}"
    if store.name == "sigmascale":
        url = f"{base}/api/v1/pools/pool-{probe.pool}/signals/{probe.name}"
        asked, token = {"since": since, "until": until}, {"Authorization": f"Bearer {store.token}"}
        answer = httpx.get(url, params=asked, headers=token, timeout=30.0, trust_env=False)
        if answer.status_code != 200:
            raise SystemExit(f"{url} answered {answer.status_code}: {answer.text}")
        told = answer.json()
        return [(at, value) for at, value in zip(told["at"], told["values"], strict=True) if value is not None]
    query = {"query": f"{probe.selector}[{int(until - since)}s]", "time": f"{until:.3f}"}
    told = httpx.get(f"{base}/api/v1/query", params=query, timeout=30.0, trust_env=False).json()
    return [(float(at), float(value)) for one in told["data"]["result"] for at, value in one["values"]]


# --- rows -----------------------------------------------------------------------------------------------------------


def rows(found: Sequence[Result], nodes: int, window_s: float) -> list[Row]:
    """Ours against each peer of the same run; targets are what the named peer reached."""
    by_name = {result.name: result for result in found}
    ours = by_name["sigmascale"]
    what = f"{nodes * GPUS * FIELDS:,} series every {INTERVAL_S:g} s"
    expected = nodes * GPUS * FIELDS * window_s / INTERVAL_S
    made = []
    for name in ("prometheus", "victoria-metrics"):
        peer = by_name.get(name)
        if peer is not None:
            held = name == "prometheus"
            made += [
                Row(
                    f"CPU s / million samples, {what}; peer {name}",
                    ours.per_million,
                    "s",
                    peer.per_million if held else None,
                    peer.per_million,
                    lower_is_better=True,
                ),
                Row(
                    f"memory now; peer {name}",
                    ours.rss_bytes / 1e6,
                    "MB",
                    peer.rss_bytes / 1e6 if held else None,
                    peer.rss_bytes / 1e6,
                    lower_is_better=True,
                ),
                Row(
                    f"memory at its peak; peer {name}",
                    ours.peak_bytes / 1e6,
                    "MB",
                    peer.peak_bytes / 1e6 if held else None,
                    peer.peak_bytes / 1e6,
                    lower_is_better=True,
                ),
            ]
    if len(made) == 0:
        made.append(Row(f"CPU s / million samples, {what}", ours.per_million, "s", lower_is_better=True))
        made.append(Row("memory now", ours.rss_bytes / 1e6, "MB", lower_is_better=True))
    for result in found:
        if result.name == "pages":
            made.append(Row("beside all: the exposition server", 100 * result.cpu_s / window_s, "% of a core"))
        else:
            made += [
                Row(f"{result.name}: samples stored of {expected:,.0f}", 100 * result.samples / expected, "%", 95.0),
                Row(
                    f"{result.name}: wrong of {result.compared} values read back",
                    result.wrong,
                    "values",
                    0.0,
                    None,
                    True,
                ),
                Row(f"{result.name}: share of a core", 100 * result.cpu_s / window_s, "%", lower_is_better=True),
            ]
    return made


def run(
    nodes: int = 400,
    pools: int = 8,
    window_s: float = 60.0,
    warm_s: float = 20.0,
    repeats: int = 1,
    alone: bool = False,
    manner: exposition.Manner = AS_THEY_ARE,
) -> list[Row]:
    """All rows of all repeats."""
    programs = [] if alone else [p for p in ("prometheus", "victoria-metrics") if shutil.which(p)]
    made: list[Row] = []
    for _ in range(repeats):
        found = rows(measure(nodes, pools, window_s, warm_s, programs, manner), nodes, window_s)
        if repeats > 1:
            show(found)
        made += found
    return made


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--nodes", type=int, default=400)
    arguments.add_argument("--pools", type=int, default=8)
    arguments.add_argument("--window", type=float, default=60.0, help="seconds measured")
    arguments.add_argument("--warm", type=float, default=20.0, help="seconds after every page was read three times")
    arguments.add_argument("--repeats", type=int, default=1)
    arguments.add_argument("--alone", action="store_true", help="without the peers: for profiles, not for figures")
    arguments.add_argument("--gzip", action="store_true", help="compressed pages")
    arguments.add_argument("--pod-life", type=float, default=0.0, help="seconds after which a node's pods are others")
    given = arguments.parse_args()
    manner = exposition.Manner(given.gzip, given.pod_life)
    found = run(given.nodes, given.pools, given.window, given.warm, given.repeats, given.alone, manner)
    show(found, f"ingest; peers: {prometheus.versions()}; raw series in memory: ours 20 min")
