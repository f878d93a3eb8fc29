"""A simulated fleet under the ordinary service, from start to end."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from autoscaler.agent.server import Limits, Server
from autoscaler.clock import SystemClock
from autoscaler.config import Config, is_loopback
from autoscaler.configparts import Discovery
from autoscaler.errors import InputError, SigmascaleError
from autoscaler.rulefile.reader import Defaults, check_folder
from autoscaler.simfleet.clouds import SimCloud
from autoscaler.simfleet.generated import Size, write_rules
from autoscaler.simfleet.opening import entry
from autoscaler.simfleet.pages import Pages
from autoscaler.simfleet.remembered import remembered
from autoscaler.simfleet.world import World
from autoscaler.tokens import LOCAL_TOKEN_FILE

if TYPE_CHECKING:
    from autoscaler.service import Service

BRIEF_FROM_GPUS = 256
"""So many GPUs and more tell only what a heat map and alerts need."""
CONNECTIONS = 8192
SERIES_OF_GPU = 40
SELDOM_S = 15.0
"""Between two looks at the gateways of a generated fleet, whose pools are decided as often."""
SPEEDS = (0.1, 20.0)


@dataclass(frozen=True, slots=True)
class Options:
    """rules: files and folders; none = the fleet that comes with sigmascale, or one of `size`. listen, pages: host and
    port of the service and of the simulated machines, port 0 = any free one. data_dir: None = a temporary one, which
    the end removes. speed: of the fleet's own time. max_replicas: of pools whose file names no bound."""

    rules: tuple[Path, ...] = ()
    listen: tuple[str, int] = ("127.0.0.1", 9377)
    pages: tuple[str, int] = ("127.0.0.1", 9378)
    data_dir: Path | None = None
    seed: int = 1
    speed: float = 1.0
    size: Size | None = None
    max_replicas: int | None = None
    troubled: bool = True

    def check(self) -> None:
        """Raise InputError with every option that breaks a rule."""
        faults = []
        if self.rules and self.size is not None:
            faults.append("--pools and --gpus make rule files of their own; leave them out, or the rule files")
        if not SPEEDS[0] <= self.speed <= SPEEDS[1]:
            faults.append(f"--speed: {self.speed:g} is not between {SPEEDS[0]:g} and {SPEEDS[1]:g}; 1 is the usual one")
        for flag, (host, _) in (("--listen", self.listen), ("--pages", self.pages)):
            if not is_loopback(host):
                faults.append(f"{flag}: {host} can be reached from other machines; a simulation stays on 127.0.0.1")
        if self.listen[1] == self.pages[1] != 0:
            faults.append(f"--pages: port {self.pages[1]} is that of --listen; name another, or 0 for any free one")
        if faults:
            raise InputError(*faults)


def fleet_folder() -> Path:
    """`rules/fleet`: of the installed package, or of the checkout. Raises InputError when there is none."""
    package = Path(str(files("autoscaler")))
    places = (package / "share" / "rules" / "fleet", package.parent / "rules" / "fleet")
    for place in places:
        if place.is_dir():
            return place
    raise InputError(f"{places[1]}: the rule files of the simulated fleet are missing; install sigmascale again")


@dataclass(slots=True)
class SimFleet:
    """Between `start` and `stop` the machines' pages and the service can be asked."""

    options: Options
    world: World = field(init=False)
    _ends: ExitStack = field(default_factory=ExitStack)
    _service: Service | None = None

    def __post_init__(self) -> None:
        self.options.check()
        size = self.options.size
        brief = size is not None and size.gpus >= BRIEF_FROM_GPUS
        options = self.options
        self.world = World(SystemClock(), options.seed, options.speed, brief)

    @property
    def service(self) -> Service:
        """The service, once started."""
        assert self._service is not None, "started before used"
        return self._service

    @property
    def told(self) -> dict[str, str]:
        """Where everything is, for people and programs."""
        folder = self.service.config.data_dir.absolute()
        return {
            "api": f"http://{self.service.address}",
            "pages": f"http://{self.world.pages}",
            "data": str(folder),
            "token_file": str(folder / LOCAL_TOKEN_FILE),
        }

    def start(self) -> None:
        """Machines first, then the service that looks after them. Raises InputError and SigmascaleError; then nothing
        is left running."""
        try:
            folder = self._folder()
            rules = self._rules(folder)
            # Only now: it takes a second, and a person's mistake is told at once.
            from autoscaler.service import Service

            host, port = self.options.pages
            server = Server(host, port, Pages(self.world), limits=Limits(connections=CONNECTIONS))
            _listen(server)
            self._ends.callback(server.stop)
            self.world.pages = f"{host}:{server.port}"
            service = Service(
                self._config(folder, rules), play=lambda name, inforce: SimCloud(name, self.world, inforce)
            )
            self._remember(service)
            service.start()
            self._ends.callback(service.stop)
            self._service = service
            # Only now: nobody would see what goes wrong before.
            if self.options.troubled:
                self.world.trouble()
        except BaseException:
            self._ends.close()
            raise

    def stop(self) -> None:
        """Ends the service, then the machines; a temporary folder goes with them."""
        self._ends.close()

    def _folder(self) -> Path:
        if self.options.data_dir is not None:
            if (self.options.data_dir / "journal.db").exists():
                # Its machines ended with the process that played them; another fleet would look like their loss.
                raise InputError(
                    f"--data {self.options.data_dir}: holds a journal already, of machines that are gone; name a new "
                    "folder"
                )
            return self.options.data_dir
        folder = mkdtemp(prefix="sigmascale-sim-")
        self._ends.callback(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _remember(self, service: Service) -> None:
        """Tells a service that has not started yet what it would know if it had ordered the first machines, and what
        was asked for until now unless the fleet is there to try its size."""
        world = self.world
        with world.lock:
            rules = service.rulebook.current()
            world.follow(rules)
            service.journal.record([entry(ruled, world.opening[pool], world.start) for pool, ruled in rules.items()])
            if self.options.size is not None:
                return
            for pool, ruled in rules.items():
                demand = world.cluster.pools[pool].load.demand
                for past in remembered(ruled, demand, world.start, self.options.seed):
                    service.store.fill(past)

    def _rules(self, folder: Path) -> tuple[Path, ...]:
        """The rule files, each of which must be right: a fleet without rules shows nothing."""
        size = self.options.size
        if size is not None:
            write_rules(folder / "rules", size)
            return (folder / "rules",)
        given = self.options.rules or (fleet_folder(),)
        defaults = Defaults(self.options.max_replicas, None, True)
        faults = [fault for path in given for checked in check_folder(path, defaults) for fault in checked.errors]
        if faults:
            raise InputError(*faults)
        return given

    def _config(self, folder: Path, rules: tuple[Path, ...]) -> Config:
        size = self.options.size
        often_s = 2.0 if size is None else SELDOM_S
        gateways = Discovery(
            url=f"http://{self.world.pages}/sd/gateways", refresh_s=often_s, interval_s=often_s, timeout_s=often_s
        )
        return Config(
            data_dir=folder,
            rules=rules,
            host=self.options.listen[0],
            port=self.options.listen[1],
            discovery=(gateways,),
            max_replicas=self.options.max_replicas,
            max_series=max(200_000, SERIES_OF_GPU * (size.gpus if size is not None else 0)),
        )


def _listen(server: Server) -> None:
    try:
        server.start()
    except SigmascaleError as error:
        raise InputError(str(error).replace("--listen", "--pages")) from None
