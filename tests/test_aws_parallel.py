"""Fifty orders of one tick against strict moto: all begin at once, and each becomes one machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from autoscaler.dispatch import Threaded
from autoscaler.gate import Gate
from autoscaler.pacing import USUAL
from autoscaler.types import Action, Fleet, Outcome
from providers.aws import AwsProvider
from tests.awsworld import account, launch, provider
from tests.peers.pages import until

ORDERS = 50


@dataclass
class Together:
    """A provider whose calls go to AWS only when all of them are under way."""

    inner: AwsProvider
    gathered: threading.Barrier = field(default_factory=lambda: threading.Barrier(ORDERS))

    def observe(self) -> Fleet:
        return self.inner.observe()

    def apply(self, action: Action) -> Outcome:
        self.gathered.wait(60)
        return self.inner.apply(action)


def test_fifty_orders_of_one_tick_become_fifty_machines() -> None:
    with account() as world:
        aws = Together(provider(world))
        gate = Gate(USUAL, world.clock, "aws")
        hand = Threaded(aws, world.clock, 3600.0, threading.Event(), USUAL.parallel, gate)
        hand.start()
        done: list[Outcome] = []

        def ended() -> bool:
            done.extend(hand.outcomes())
            return len(done) == ORDERS

        try:
            hand.submit([launch(world, id_=f"order-{n}") for n in range(ORDERS)])
            until(ended, "every order has an answer", 60.0)
        finally:
            aws.gathered.abort()
            hand.stop()
        assert {o.status for o in done} == {"accepted"}, {o.text for o in done}
        assert len({o.instance for o in done}) == ORDERS
        assert len(aws.inner.observe().instances) == ORDERS
        assert sum(name == "RunInstances" for name, _ in world.wire.calls) == ORDERS
