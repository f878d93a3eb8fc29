"""The demo from start to end: the ordinary service over real worker processes, under a recorded load."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console

from autoscaler.clock import SystemClock
from autoscaler.config import Config
from autoscaler.configparts import PlugInConfig, Target
from autoscaler.demo.load import WINDOW_S, compress, read_trace
from autoscaler.demo.summary import Summary, Usage, summarise
from autoscaler.demo.traffic import Traffic
from autoscaler.demo.view import Scene, View
from autoscaler.ending import asked_to_end
from autoscaler.errors import InputError, SigmascaleError
from autoscaler.types import Decision
from autoscaler.words import seconds

if TYPE_CHECKING:
    from autoscaler.demo.driver import Score
    from autoscaler.service import Service

POOL = "chat"
FIRST_REPLICA_S = 90.0
"""How long the first replica may take: 8 s of boot, and what a slow machine needs to start a process."""
LOOK_EVERY_S = 0.25
MIN_DURATION_S, MAX_DURATION_S = 30.0, 3600.0
MIN_SPEED, MAX_SPEED = 0.25, 20.0
MAX_DECISIONS = 10_000
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A closed terminal ends the demo as Ctrl-C does, so that nothing stays behind."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """duration_s: how long the load lasts; start and end add some 20 s. speed: of the trace, 1 = its window once.

    headless: plain lines instead of a screen. json_path: the summary is written there too. seed: of the thinning.
    """

    duration_s: float = 300.0
    speed: float = 1.0
    headless: bool = False
    json_path: Path | None = None
    seed: int = 1

    def check(self) -> None:
        """Raise InputError with every option that is out of its range."""
        faults = []
        if not MIN_DURATION_S <= self.duration_s <= MAX_DURATION_S:
            faults.append(
                f"--duration: {self.duration_s:g} s is not between {MIN_DURATION_S:g} s and {MAX_DURATION_S:g} s; "
                "90s is a short demo, 5m the usual one"
            )
        if not MIN_SPEED <= self.speed <= MAX_SPEED:
            faults.append(f"--speed: {self.speed:g} is not between {MIN_SPEED} and {MAX_SPEED:g}; 1 is the usual one")
        if self.json_path is not None and not self.json_path.absolute().parent.is_dir():
            faults.append(f"--json: the folder of {self.json_path} does not exist; make it or name another file")
        if faults:
            raise InputError(*faults)


def rule_file() -> Path:
    """`rules/demo.yaml`: of the installed package, or of the checkout. Raises InputError when there is none."""
    package = Path(str(files("autoscaler")))
    places = (package / "share" / "rules" / "demo.yaml", package.parent / "rules" / "demo.yaml")
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"{places[1]}: the demo's rule file is missing; install sigmascale again")


def about(options: DemoOptions) -> tuple[str, ...]:
    """What there is to be seen, for somebody who sees it for the first time."""
    recorded = seconds(WINDOW_S * options.speed)
    return (
        f"Chat requests as an LLM service recorded them (Azure, 2023), {recorded} of them in "
        f"{seconds(options.duration_s)}, go through a gateway to replicas: real processes of this machine, 8 s to "
        "boot, about 5 requests/s each, no GPU.",
        "The ordinary sigmascale service measures them, and orders, drains and ends them by rules/demo.yaml.",
    )


def run_demo(options: DemoOptions, console: Console | None = None) -> Summary:
    """Play the demo and return its numbers; whatever happens, every process that it started is gone afterwards.

    Raises InputError for wrong options, SigmascaleError when the first replica does not come, KeyboardInterrupt on
    Ctrl-C, SIGTERM and SIGHUP.
    """
    options.check()
    shown = console or Console()
    requests = compress(read_trace(), options.duration_s, options.speed, options.seed)
    with ExitStack() as ends:
        # Once asked is enough, so that nothing breaks into the taking down.
        asked = ends.enter_context(asked_to_end(ENDING, second_kills=False))
        gpus = gpu_lines(ends)
        _go_on(asked)
        folder = Path(ends.enter_context(TemporaryDirectory(prefix="sigmascale-demo-")))
        traffic = Traffic()
        ends.callback(traffic.stop)
        traffic.start()
        _go_on(asked)
        service = ends.enter_context(_service(folder, traffic.address))
        traffic.follow(f"http://{service.address}/api/v1/pools/{POOL}/endpoints", service.token)
        view = ends.enter_context(View(shown, shown.is_terminal and not options.headless, about(options)))
        # Above the screen, so that it can still be read when the screen is full, or gone.
        view.say(service.room)
        stage = _Stage(service, traffic, view, SystemClock(), gpus, asked)
        stage.wait_for_first_replica()
        since = stage.clock.now()
        score = stage.watch(traffic.play(requests, options.duration_s))
        decisions = service.journal.decisions(POOL, limit=MAX_DECISIONS)
        summary = summarise(score, stage.usage, decisions, since, options.duration_s, options.seed)
    if options.json_path is not None:
        options.json_path.write_text(summary.to_json())
    return summary


class _Stage:
    """Looks at the running demo a few times a second, and shows it."""

    def __init__(
        self,
        service: Service,
        traffic: Traffic,
        view: View,
        clock: SystemClock,
        gpus: tuple[str, ...],
        asked: threading.Event,
    ) -> None:
        self.service, self.traffic, self.view, self.clock, self.gpus = service, traffic, view, clock, gpus
        self._asked = asked
        self.usage = Usage()
        self._seen = 0

    def wait_for_first_replica(self) -> None:
        """Return when a replica serves; raise SigmascaleError when none does in time."""
        until = self.clock.now() + FIRST_REPLICA_S
        while not (fleet := self.look().fleet) or not fleet.ready:
            if self.clock.now() > until:
                said = self.look().error or "see the log above"
                raise SigmascaleError(f"no replica served within {FIRST_REPLICA_S:g} s: {said}")
            self._pause()

    def watch(self, score: Future[Score]) -> Score:
        """Return the score when every request has its end."""
        while not score.done():
            self.look()
            self._pause()
        self.look()
        return score.result()

    def _pause(self) -> None:
        self._asked.wait(LOOK_EVERY_S)
        _go_on(self._asked)

    def look(self) -> Scene:
        """What is to be seen now, shown and counted."""
        pool = self.service.board.pools().get(POOL)
        scene = Scene(
            progress=self.traffic.progress(),
            fleet=pool.fleet if pool else None,
            decision=pool.decision if pool else None,
            news=self._news(),
            error=pool.error if pool else "",
            gpus=self.gpus,
        )
        if scene.fleet is not None:
            self.usage.see(self.clock.now(), scene.fleet)
        self.view.show(scene)
        return scene

    def _news(self) -> tuple[Decision, ...]:
        """Decisions that were journalled since the last look, oldest first: the board has only the last one."""
        rows = self.service.journal.decisions(POOL, limit=20)
        news = tuple(row for row in reversed(rows) if row.number > self._seen)
        self._seen = max([self._seen, *(row.number for row in news)])
        return news


def _go_on(asked: threading.Event) -> None:
    """Raise KeyboardInterrupt if somebody asked for the end."""
    if asked.is_set():
        raise KeyboardInterrupt


def demo_config(folder: Path, gateway: str) -> Config:
    """The service's configuration: any free port on loopback, the gateway's page each second, state in `folder`."""
    return Config(
        data_dir=folder / "data",
        rules=(rule_file(),),
        port=0,
        targets=(Target(f"http://{gateway}/metrics", (("pool", POOL),), interval_s=1.0, timeout_s=0.9),),
        providers=(PlugInConfig("local", {"directory": str(folder / "local"), "grace_s": 30.0}),),
    )


@contextmanager
def _service(folder: Path, gateway: str) -> Iterator[Service]:
    """The ordinary service; when it is stopped, its workers are ended too, which the service itself never does."""
    from autoscaler.service import Service

    service = Service(demo_config(folder, gateway))
    try:
        service.start()
        yield service
    finally:
        try:
            service.stop()
        finally:
            _end_workers(folder)


def _end_workers(folder: Path) -> None:
    from providers.local import LocalProvider

    left_over = LocalProvider(folder / "local", grace_s=2.0)
    left_over.observe()
    left_over.close(kill=True)


def gpu_lines(ends: ExitStack) -> tuple[str, ...]:
    """The NVIDIA GPUs of this machine, one a line; empty without a driver. They are shown, the workers use none."""
    from collectors.nvml import Nvml

    gpus = Nvml(SystemClock(), slow=False, events=False, kernel_log=False)
    gpus.start()
    ends.callback(gpus.stop)
    return tuple(f"{gpu.name}  {gpu.memory_bytes / 2**30:.0f} GiB  {gpu.uuid}" for gpu in gpus.describe())
