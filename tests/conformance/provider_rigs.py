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


class AwsRig:
    """An account of strict moto, asked by the real SDK over the wire; readiness is that of EC2's status checks."""

    lacks: Mapping[str, str] = {}

    def __init__(self, directory: Path) -> None:
        del directory
        # Here, since moto takes seconds to import.
        from tests import awsworld

        self._provider = awsworld.provider
        self._account = awsworld.account()
        self.world = self._account.__enter__()
        self.world.boot_s, self.world.checks_s, self.world.stop_s = 2.0, 2.0, 1.0
        settings = (awsworld.IMAGE, ("ready", "checks"))
        self.offer = Offer(
            "aws", "g5.xlarge", "us-east-1", "us-east-1a", replicas=2, usd_per_hour=0.5, settings=settings
        )
        self.provider = self._make()

    def _make(self) -> Provider:
        return self._provider(self.world, warm_up_s=1.0)

    def now(self) -> float:
        return self.world.clock.now()

    def pass_time(self) -> None:
        self.world.clock.wait(self.world.clock.now() + 1.0)

    def restart(self) -> None:
        self.provider = self._make()

    def close(self) -> None:
        self._account.__exit__(None, None, None)


class AzureRig:
    """A scale set of our stand-in for Azure Resource Manager, asked by the real SDK over the wire."""

    lacks: Mapping[str, str] = {}

    def __init__(self, directory: Path) -> None:
        # Here, since the SDK takes a second to import.
        from tests.azureworld import AzureWorld

        self.world = AzureWorld(directory, boot_s=3.0)
        self.offer = self.world.offer(replicas=2, usd_per_hour=0.5)
        self.provider: Provider = self.world.provider

    def now(self) -> float:
        return self.world.clock.now()

    def pass_time(self) -> None:
        self.world.pass_s(1.0)

    def restart(self) -> None:
        self.world.restart()
        self.provider = self.world.provider

    def close(self) -> None:
        self.world.close()


RIGS: dict[str, Callable[[Path], Rig]] = {"aws": AwsRig, "azure": AzureRig, "local": LocalRig, "sim": SimRig}
ACTS_FOR_NOBODY = {"shadow"}
"""Providers that only look, so that nothing of this applies to them."""
