"""The collectors that are installed, each with its source: what `test_collector.py` tries. A new one adds one rig."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from autoscaler.clock import SimClock, SystemClock
from autoscaler.ports import Collector
from autoscaler.sim import Fault, SimCluster, Workload
from autoscaler.types import Launch, Offer, Operate, Query
from collectors.gpus import Gpus
from collectors.prometheus import Prometheus
from collectors.replay import Replay
from collectors.scrape import Scraper, Target
from collectors.sim import SimCollector
from tests.peers.pages import Answer, Pages, answer, hang

START = 1_000_000.0
LABELS = (("instance", "a:1"), ("pool", "chat"))
ONE_NUMBER = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"3"]}]}}'
PAGE = b"# TYPE jobs gauge\njobs 3\n# TYPE jobs_done counter\njobs_done_total 41\n"


class Rig(Protocol):
    """A collector under test and its source. `lacks` names what the source cannot do, with the reason."""

    lacks: Mapping[str, str]

    @property
    def collector(self) -> Collector: ...
    def now(self) -> float: ...
    def pass_time(self) -> None:
        """A little of it, enough for the source to say something new."""
        ...

    def turn_back(self, seconds: float) -> None:
        """The clock goes back."""
        ...

    def silence(self) -> None:
        """The source does not answer any more."""
        ...

    def speak(self) -> None:
        """It answers again."""
        ...

    def end(self) -> None:
        """It will not be asked again."""
        ...

    def close(self) -> None: ...


class Simulated:
    """What the rigs on a simulated clock share: time that passes when it is told to."""

    clock: SimClock

    def now(self) -> float:
        return self.clock.now()

    def pass_time(self) -> None:
        self.clock.at += 5.0

    def turn_back(self, seconds: float) -> None:
        self.clock.at -= seconds

    def close(self) -> None:
        """Nothing to clean up."""


class ReplayRig(Simulated):
    """A trace of ten minutes whose second minute is missing."""

    lacks: Mapping[str, str] = {"silence": "a recorded trace always answers"}

    def __init__(self, folder: Path) -> None:
        path = folder / "trace.csv"
        path.write_text("t_s,requests,missing\n" + "".join(f"{60 * n},60,{int(n == 1)}\n" for n in range(10)))
        self.clock = SimClock(START)
        self.collector = Replay(path, "chat")

    def silence(self) -> None:
        raise NotImplementedError

    def speak(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        self.clock.at += 600.0


class SimRig(Simulated):
    """A cluster with one machine."""

    lacks: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        del folder
        self.clock = SimClock(START)
        self.cluster = SimCluster({"chat": Workload(lambda at: 4.0)}, start=START, boot_s=0.0)
        self.cluster.launch(Launch("first", "chat", START, START + 60, Offer("sim", "tiny")))
        self.collector = SimCollector(self.cluster)

    def silence(self) -> None:
        self.cluster.faults = [Fault("dead_collector", self.now())]

    def speak(self) -> None:
        self.cluster.faults = [replace(f, until=self.now()) for f in self.cluster.faults]

    def end(self) -> None:
        self.cluster.operate(Operate("last", "chat", self.now(), self.now() + 60, "terminate", "chat-1", "sim"))


class Turned(SystemClock):
    """The system's time, plus what a test adds."""

    offset_s = 0.0

    def now(self) -> float:
        return super().now() + self.offset_s


class Timed:
    """What the rigs of real sources share: time that passes by itself."""

    clock: Turned

    def now(self) -> float:
        return self.clock.now()

    def pass_time(self) -> None:
        self.clock.wait(self.clock.now() - self.clock.offset_s + 0.02)

    def turn_back(self, seconds: float) -> None:
        self.clock.offset_s -= seconds


class ScrapeRig(Timed):
    """A real server that is asked twenty times a second."""

    lacks: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        del folder
        self.clock = Turned()
        self.pages = Pages({"/metrics": answer(PAGE)}).__enter__()
        self.targets = [Target(self.pages.url("/metrics"), LABELS, 0.05, 0.05)]
        self.collector = Scraper(lambda: tuple(self.targets), self.clock, refresh_s=0.05)
        self.collector.start()

    def silence(self) -> None:
        self.pages.answers["/metrics"] = hang

    def speak(self) -> None:
        self.pages.answers["/metrics"] = answer(PAGE)

    def end(self) -> None:
        self.targets.clear()

    def close(self) -> None:
        self.collector.stop()
        self.pages.__exit__()


class AnswersEverything(dict[str, Answer]):
    """Whatever the query is, the answer is `/`'s."""

    def __missing__(self, path: str) -> Answer:
        return self["/"]


class PrometheusRig(Timed):
    """Something that answers every query with one number; the real servers have tests of their own."""

    lacks: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        del folder
        self.clock = Turned()
        self.pages = Pages(AnswersEverything({"/": answer(ONE_NUMBER)})).__enter__()
        self.queries = [Query("chat", "orders", 5.0, 0.0, promql="sum(orders)")]
        self.collector = Prometheus(
            self.clock, self.pages.url(""), lambda: tuple(self.queries), interval_s=0.05, timeout_s=0.2, backfill_s=0
        )
        self.collector.start()

    def silence(self) -> None:
        self.pages.answers["/"] = hang

    def speak(self) -> None:
        self.pages.answers["/"] = answer(ONE_NUMBER)

    def end(self) -> None:
        self.queries.clear()

    def close(self) -> None:
        self.collector.stop()
        self.pages.__exit__()


class GpusRig(Timed):
    """Whatever GPUs this machine has; on most machines that run tests that is none."""

    def __init__(self, folder: Path) -> None:
        del folder
        self.clock = Turned()
        self.collector = Gpus(self.clock, (("pool", "chat"),), interval_s=0.05)
        self.collector.start()
        unplug = "a GPU cannot be unplugged for a test"
        self.lacks: Mapping[str, str] = {"silence": unplug, "end": unplug}
        if not self.collector.describe():
            self.lacks = {**self.lacks, "data": "this machine has no GPU"}

    def silence(self) -> None:
        raise NotImplementedError

    def speak(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.collector.stop()


RIGS: dict[str, Callable[[Path], Rig]] = {
    "gpus": GpusRig,
    "prometheus": PrometheusRig,
    "replay": ReplayRig,
    "scrape": ScrapeRig,
    "sim": SimRig,
}
