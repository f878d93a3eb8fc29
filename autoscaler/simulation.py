"""A simulation: the ordinary loop on a clock that only moves when it is waited for, against a SimCluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.clock import SimClock
from autoscaler.dispatch import Inline
from autoscaler.errors import UnreachableError
from autoscaler.foresight.worker import Foresight
from autoscaler.journal import Journal
from autoscaler.loop import Loop
from autoscaler.ports import Collector, Provider
from autoscaler.ruleset import RuleSet
from autoscaler.sim import Score, SimCluster
from autoscaler.store import Store
from autoscaler.types import Action, Alert, Fleet, Outcome

START = 1_790_000_000.0
"""A simulation begins on a fixed day (2026-09-21 14:13:20 UTC), so that equal seeds give equal journals."""


@dataclass(frozen=True, slots=True)
class _Share:
    """What one of the rules' providers has of the simulated one: without it every machine would be reported by each of
    them, and count that many times."""

    name: str
    whole: Provider
    cluster: SimCluster

    def observe(self) -> Fleet:
        fleet = self.whole.observe()
        self._answer()
        return replace(fleet, instances=tuple(i for i in fleet.instances if i.offer.split("/")[0] == self.name))

    def apply(self, action: Action) -> Outcome:
        self._answer()
        return self.whole.apply(action)

    def _answer(self) -> None:
        if self.cluster.faulty("provider_down", provider=self.name):
            raise UnreachableError(f"the simulated provider {self.name} does not answer")


@dataclass
class Simulation:
    """One cluster under control. What survives a crash of the service (cluster, clock, journal, store) is kept here;
    `loop` is what a crash destroys and `restart` makes anew.

    provider, collector: factories, so that this module needs no provider of its own; every provider that the rules
    name is played by the one simulated provider. foreseeing: with the worker that forecasts and learns, inline.
    by_hand: whether the service looks for changes that nobody here ordered.
    """

    rules: Mapping[str, RuleSet]
    cluster: SimCluster
    provider: Callable[[SimCluster, SimClock], Provider]
    collector: Callable[[SimCluster], Collector]
    clock: SimClock = field(default_factory=lambda: SimClock(START))
    journal: Journal = field(default_factory=Journal)
    store: Store = field(default_factory=lambda: Store(None))
    alerts: list[Alert] = field(default_factory=list)
    foreseeing: bool = False
    by_hand: bool = True
    foresight: Foresight | None = field(init=False, default=None)
    loop: Loop = field(init=False)

    def __post_init__(self) -> None:
        self._collectors: Sequence[Collector] = (self.collector(self.cluster),)
        self.restart()

    def restart(self) -> None:
        """A new service process: nothing is left of the old one but what it wrote."""
        whole = self.provider(self.cluster, self.clock)
        names = {o.provider for r in self.rules.values() for o in r.offers}
        self.loop = Loop(
            clock=self.clock,
            rules=lambda: self.rules,
            collectors=self._collectors,
            store=self.store,
            journal=self.journal,
            hands={name: Inline(_Share(name, whole, self.cluster), self.clock) for name in sorted(names)},
            notify=self.alerts.extend,
            by_hand=self.by_hand,
        )
        if self.foreseeing:
            self.foresight = Foresight(lambda: self.rules, self.store, self.journal)
            self.loop.learned, self.loop.saw = self.foresight.learned, self.foresight.saw
            self.loop.work = self.foresight.work

    def run(self, seconds: float) -> None:
        """Lets the service and its world run for a while."""
        self.loop.run(until=self.clock.now() + seconds)
        self.cluster.advance(self.clock.at)

    def score(self, pool: str) -> Score:
        """What the pool's users and the bill saw so far."""
        return replace(self.cluster.pools[pool].score)
