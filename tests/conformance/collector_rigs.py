"""The collectors that are installed, each with its source: what `test_collector.py` tries. A new one adds one rig."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from autoscaler.clock import SimClock, SystemClock
from autoscaler.ports import Collector
from autoscaler.sim import Fault, SimCluster, Workload
from autoscaler.types import Launch, Offer, Operate, Post, Query
from collectors.alertmanager import Alertmanager
from collectors.dcgm.collector import Dcgm
from collectors.host import Host
from collectors.nvml import Nvml
from collectors.prometheus import Prometheus
from collectors.push import Push
from collectors.replay import Replay
from collectors.scraping.scraper import Scraper, Target
from collectors.sim import SimCollector
from tests.peers.nvml import models
from tests.peers.pages import Answer, Pages, answer, hang, until

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


class NvmlRig(Timed):
    """Two GPUs behind a stand-in for the driver's library, read twenty times a second."""

    lacks: Mapping[str, str] = {
        "silence": "a GPU that does not answer is told with gpu_up 0 and values that are unknown",
        "end": "a GPU that was once there is told as lost, and not forgotten",
    }

    def __init__(self, folder: Path) -> None:
        del folder
        self.clock = Turned()
        self.driver = ExitStack()
        fleet = self.driver.enter_context(models.hgx_h100())
        fleet.list_gpus(fleet.gpus[:2])
        self.driver.enter_context(fleet.loaded())
        self.collector = Nvml(self.clock, (("pool", "chat"),), interval_s=0.05, gpm=False, slow_s=0.1, kernel_log=False)
        self.collector.start()
        # What the driver refuses is counted when it is first asked: until every lane ran, layouts still change.
        seen: list[str] = []

        def settled() -> bool:
            seen.extend(batch.source for batch in self.collector.collect(0.0))
            slow = [source for source in seen if source.endswith("/slow")]
            return len(slow) >= 4 and not set(seen[-1:]) <= set(slow)

        until(settled, "batches of every lane")

    def silence(self) -> None:
        raise NotImplementedError

    def speak(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.collector.stop()
        self.driver.close()


class HostRig(Timed):
    """This machine."""

    lacks: Mapping[str, str] = {
        "silence": "the machine that runs the test always answers",
        "end": "the machine that runs the test stays",
    }

    def __init__(self, folder: Path) -> None:
        del folder
        self.clock = Turned()
        self.collector = Host(self.clock, (("pool", "chat"),), interval_s=0.05)
        self.collector.start()

    def silence(self) -> None:
        raise NotImplementedError

    def speak(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.collector.stop()


class PushRig(Simulated):
    """A sender that pushes at each step."""

    lacks: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        del folder
        self.clock = SimClock(START)
        self.collector = Push(self.clock)
        self.speaks = True

    def pass_time(self) -> None:
        super().pass_time()
        if self.speaks:
            samples = [{"metric": "jobs", "value": 3}, {"metric": "jobs_done_total", "value": 41}]
            body = {"source": "a", "interval_s": 5, "labels": dict(LABELS), "samples": samples}
            self.collector.receive(Post("json", json.dumps(body).encode()))

    def silence(self) -> None:
        self.speaks = False

    def speak(self) -> None:
        self.speaks = True

    def end(self) -> None:
        self.speaks = False


class AlertmanagerRig(Timed):
    """An Alertmanager with one alert that fires."""

    lacks: Mapping[str, str] = {"end": "an Alertmanager is asked for as long as it is configured"}

    def __init__(self, folder: Path) -> None:
        del folder
        self.clock = Turned()
        self.said = answer(b'[{"labels": {"alertname": "Slow", "instance": "a:1"}}]')
        self.pages = Pages(AnswersEverything({"/": self.said})).__enter__()
        self.collector = Alertmanager(
            self.clock, self.pages.url(""), ("Slow", "Full"), (("pool", "chat"),), interval_s=0.05, timeout_s=0.2
        )
        self.collector.start()

    def silence(self) -> None:
        self.pages.answers["/"] = hang

    def speak(self) -> None:
        self.pages.answers["/"] = self.said

    def end(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.collector.stop()
        self.pages.__exit__()


class DcgmRig(Timed):
    """A program that prints what `dcgmi dmon` would; tests of the host engine's bindings have their own file."""

    lacks: Mapping[str, str] = {"end": "a machine's GPUs are its own for good"}

    def __init__(self, folder: Path) -> None:
        self.clock = Turned()
        self.file = folder / "told.json"
        self.speak()
        program = Path(__file__).parent.parent / "peers" / "dmon_program.py"
        command = f"{sys.executable} -S -E {program} {self.file}"
        self.collector = Dcgm(self.clock, LABELS, interval_s=0.1, address="", through="dmon", dcgmi=command)
        self.collector.start()

    def silence(self) -> None:
        self._tell('{"rows": [], "hush": true}')

    def speak(self) -> None:
        self._tell('{"rows": [["GPU 0", {"54": "GPU-1", "203": "91", "156": "4742776"}]]}')

    def end(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.collector.stop()

    def _tell(self, text: str) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.file)


RIGS: dict[str, Callable[[Path], Rig]] = {
    "dcgm": DcgmRig,
    "alertmanager": AlertmanagerRig,
    "push": PushRig,
    "nvml": NvmlRig,
    "host": HostRig,
    "prometheus": PrometheusRig,
    "replay": ReplayRig,
    "scrape": ScrapeRig,
    "sim": SimRig,
}
