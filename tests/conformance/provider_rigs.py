"""The providers that are installed, each with its world: what `test_provider.py` tries. A new one adds one rig."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from threading import Event
from typing import Protocol

from autoscaler.clock import SimClock, SystemClock
from autoscaler.ports import Provider
from autoscaler.sim import SimCluster, Workload
from autoscaler.types import Offer
from providers.local import LocalProvider
from providers.sim import SimProvider

WORKER = Path(__file__).parents[1] / "peers" / "tiny_worker.py"
POOL = "chat"
_numbers = count()


class Rig(Protocol):
    """A provider under test and the world around it. `lacks` names what it cannot do, with the reason."""

    lacks: Mapping[str, str]

    @property
    def provider(self) -> Provider: ...
    @property
    def offer(self) -> Offer: ...
    def now(self) -> float: ...
    def pass_time(self) -> None:
        """A little of it, enough for the world to move on."""
        ...

    def restart(self) -> None:
        """The service ends without a word and comes back; the world stays."""
        ...

    def close(self) -> None: ...


class LocalRig:
    """Real processes, on a loopback address of their own, so that test runs side by side share no ports."""

    lacks: Mapping[str, str] = {}

    def __init__(self, directory: Path) -> None:
        number = next(_numbers)
        self.directory = directory
        self.host = f"127.{40 + number % 200}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
        command = f"{{python}} {WORKER} --host {{host}} --port {{port}}"
        self.offer = Offer("local", "tiny", replicas=2, usd_per_hour=0.5, settings=(("command", command),))
        self.clock = SystemClock()
        self.provider = self._make()

    def _make(self) -> LocalProvider:
        return LocalProvider(self.directory, self.clock, host=self.host, grace_s=5.0)

    def now(self) -> float:
        return self.clock.now()

    def pass_time(self) -> None:
        Event().wait(0.02)

    def restart(self) -> None:
        self.provider.close(kill=False)
        self.provider = self._make()

    def close(self) -> None:
        self.provider.close(kill=True)


class SimRig:
    """A simulated cluster, which outlives the provider that looks at it."""

    lacks: Mapping[str, str] = {}

    def __init__(self, directory: Path) -> None:
        del directory
        self.offer = Offer("sim", "tiny", replicas=2, usd_per_hour=0.5)
        self.clock = SimClock(1000.0)
        self.cluster = SimCluster({POOL: Workload(lambda at: 0.0)}, start=1000.0, boot_s=3.0)
        self.provider = SimProvider(self.cluster, self.clock)

    def now(self) -> float:
        return self.clock.now()

    def pass_time(self) -> None:
        self.clock.wait(self.clock.now() + 1.0)

    def restart(self) -> None:
        self.provider = SimProvider(self.cluster, self.clock)

    def close(self) -> None:
        """Nothing to clean up."""


RIGS: dict[str, Callable[[Path], Rig]] = {"local": LocalRig, "sim": SimRig}
ACTS_FOR_NOBODY = {"shadow"}
"""Providers that only look, so that nothing of this applies to them."""
