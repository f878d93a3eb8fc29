"""A scale set of the ARM stand-in, the provider that uses it over the real SDK, and a clock for both."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from autoscaler.clock import SimClock
from autoscaler.types import Instance, Launch, Offer, Operate
from providers.azure import AzureProvider
from tests.peers.arm import ArmServer, Cloud, ScaleSet

START = 1_790_000_000.0
SIZE = "NC24ads_A100_v4"
_numbers = count(1)


@dataclass
class StaticCredential:
    """Gives one token to everybody."""

    token: str = "static-token"

    def get_token(self, *scopes: str, **how: object) -> object:
        from azure.core.credentials import AccessToken

        return AccessToken(self.token, 1 << 40)


@dataclass
class AzureWorld:
    """`provider` on a cloud with one scale set, `chat`."""

    directory: Path
    boot_s: float = 30.0
    timeout_s: float = 5.0
    adopt: bool = False
    spot: bool = False
    clock: SimClock = field(default_factory=lambda: SimClock(START))
    cloud: Cloud = field(init=False)
    arm: ArmServer = field(init=False)
    provider: AzureProvider = field(init=False)
    credential: StaticCredential = field(default_factory=StaticCredential)

    def __post_init__(self) -> None:
        self.cloud = Cloud(self.clock.now, boot_s=self.boot_s)
        self.cloud.add_set("chat", priority="Spot" if self.spot else "Regular")
        self.arm = ArmServer(self.cloud)
        self.provider = self.made(self.directory)

    @property
    def set(self) -> ScaleSet:
        return self.cloud.of("chat")

    def made(self, directory: Path) -> AzureProvider:
        """One more provider, with a data folder of its own."""
        return AzureProvider(
            directory,
            self.clock,
            "sub-1",
            "gpus",
            endpoint=self.arm.url,
            timeout_s=self.timeout_s,
            adopt=self.adopt,
            credential=self.credential,
        )

    def restart(self) -> None:
        """The service ends without a word and comes back on its data folder."""
        self.provider.close()
        self.provider = self.made(self.directory)

    def pass_s(self, seconds: float) -> None:
        self.clock.wait(self.clock.now() + seconds)

    def close(self) -> None:
        self.provider.close()
        self.arm.close()

    def offer(self, type: str = SIZE, purchase: Any = "on_demand", **more: Any) -> Offer:  # noqa: A002
        said = {"scale_set": "chat", "ready": "running"} | dict(more.pop("settings", {}))
        return Offer("azure", type, purchase=purchase, settings=tuple(sorted(said.items())), **more)

    def launch(self, into: Literal["serving", "warm"] = "serving", **more: Any) -> Launch:
        now = self.clock.now()
        purchase = "spot" if self.spot else "on_demand"
        offer = more.pop("offer", None) or self.offer(purchase=purchase)
        return Launch(f"launch-{next(_numbers)}", "chat", now, now + 300.0, offer, into=into, **more)

    def operate(self, kind: Literal["start", "drain", "resume", "stop", "terminate"], instance: str) -> Operate:
        now = self.clock.now()
        return Operate(f"{kind}-{next(_numbers)}", "chat", now, now + 60.0, kind, instance, "azure")

    def instances(self) -> tuple[Instance, ...]:
        return self.provider.observe().instances

    def states(self) -> list[str]:
        return [i.state for i in self.instances()]

    def serving(self, count: int = 1) -> tuple[Instance, ...]:
        """Instances that serve, freshly launched."""
        for _ in range(count):
            assert self.provider.apply(self.launch()).status == "accepted"
        self.provider.observe()
        self.pass_s(self.boot_s + 5.0)
        self.provider.observe()
        self.pass_s(5.0)
        found = self.instances()
        assert [i.state for i in found] == ["ready"] * count
        return found
