"""What the loop tells the rest of the process after every tick: one value per pool, swapped in whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event, Lock
from types import MappingProxyType

from autoscaler.ruleset import RuleSet
from autoscaler.types import Alert, Decision, Fleet, Instance, Memory, Override, Plan, Rolling


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool as its last tick left it.

    at: when that tick ran. fleet: united with the open intents, so that an instance being drained is `draining` here
    before its provider says so; None = the provider has never been heard. error: why the tick could not decide,
    empty when it did. rolling: how far the pool's last roll is. memory: as that tick left it.
    """

    rules: RuleSet
    at: float
    decision: Decision | None = None
    plan: Plan | None = None
    fleet: Fleet | None = None
    alerts: tuple[Alert, ...] = ()
    error: str = ""
    rolling: Rolling | None = None
    memory: Memory | None = None

    @property
    def routable(self) -> tuple[Instance, ...]:
        """Instances that new requests may go to: ready, and with an address."""
        instances = self.fleet.instances if self.fleet is not None else ()
        return tuple(i for i in instances if i.state == "ready" and i.address)


@dataclass(frozen=True, slots=True)
class Ownerless:
    """Instances of a pool that no rule file in force is about. release: the override that lets it go, None = nobody
    did."""

    pool: str
    instances: tuple[Instance, ...]
    text: str
    release: Override | None = None
    alert: Alert | None = None


class Board:
    """The last view of every pool. Readers take no lock: they get a mapping that is never changed afterwards.

    Setting `wake` asks the loop for a tick now, so that an override does not wait for the next one. ownerless: pools
    without rules that have instances, a mapping that is replaced whole.
    """

    def __init__(self) -> None:
        self.wake = Event()
        self.ownerless: Mapping[str, Ownerless] = MappingProxyType({})
        self._views: Mapping[str, PoolView] = MappingProxyType({})
        # Only writers queue here; a reader's single attribute load is atomic.
        self._writing = Lock()

    def publish(self, view: PoolView) -> None:
        """Replace the view of the pool that `view.rules` names."""
        with self._writing:
            self._views = MappingProxyType({**self._views, view.rules.pool: view})

    def remove(self, pool: str) -> None:
        """Forget a pool whose rule file is gone; unknown names are ignored."""
        with self._writing:
            self._views = MappingProxyType({name: view for name, view in self._views.items() if name != pool})

    def pools(self) -> Mapping[str, PoolView]:
        """Every pool's last view, by name; a snapshot that does not change any more."""
        return self._views
