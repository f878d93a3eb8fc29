"""The shadow provider looks and never touches."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from autoscaler.errors import UnreachableError
from autoscaler.ports import Provider
from autoscaler.types import Action, Fleet, Instance, Launch, Offer, Operate, Outcome
from providers.shadow import ShadowProvider

FLEET = Fleet(5.0, (Instance("i-1", "chat", "local/tiny", "ready", 1.0),))


@dataclass
class Tripwire:
    """A provider that must never be asked to act."""

    fleet: Fleet | None

    def observe(self) -> Fleet:
        if self.fleet is None:
            raise UnreachableError("no answer")
        return self.fleet

    def apply(self, action: Action) -> Outcome:
        raise AssertionError(f"{action.id} reached the real provider")


@pytest.mark.parametrize(
    ("action", "instance"),
    [
        pytest.param(Launch("a1", "chat", 7.0, 9.0, Offer("local", "tiny")), None, id="a launch"),
        pytest.param(Operate("a2", "chat", 7.0, 9.0, "start", "i-1", "local"), "i-1", id="a start"),
        pytest.param(Operate("a2", "chat", 7.0, 9.0, "drain", "i-1", "local"), "i-1", id="a drain"),
        pytest.param(Operate("a2", "chat", 7.0, 9.0, "resume", "i-1", "local"), "i-1", id="a resume"),
        pytest.param(Operate("a2", "chat", 7.0, 9.0, "stop", "i-1", "local"), "i-1", id="a stop"),
        pytest.param(Operate("a3", "chat", 7.0, 9.0, "terminate", "i-1", "local"), "i-1", id="a termination"),
    ],
)
def test_every_action_is_withheld(action: Action, instance: str | None) -> None:
    outcome = ShadowProvider(Tripwire(FLEET)).apply(action)
    assert (outcome.action, outcome.pool, outcome.at, outcome.instance) == (action.id, "chat", 7.0, instance)
    assert outcome.status == "withheld"
    assert outcome.final
    assert action.kind in outcome.text


def test_it_observes_for_real() -> None:
    assert ShadowProvider(Tripwire(FLEET)).observe() is FLEET


def test_what_the_real_one_cannot_see_it_cannot_see() -> None:
    with pytest.raises(UnreachableError, match="no answer"):
        ShadowProvider(Tripwire(None)).observe()


def test_it_is_a_provider() -> None:
    assert isinstance(ShadowProvider(Tripwire(FLEET)), Provider)
