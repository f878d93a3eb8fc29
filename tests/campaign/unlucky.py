"""A provider whose calls go wrong as a schedule says, and who keeps a ledger of what may never happen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autoscaler.errors import CapacityError, ProviderError, QuotaError, ThrottledError, UnreachableError
from autoscaler.ports import Clock, Provider
from autoscaler.sim import SimCluster
from autoscaler.types import Action, Fleet, Outcome
from tests.campaign.schedules import Mishap, Schedule, Trouble

LATE_S = 20.0
"""How long a call is on its way whose caller has given up; shorter than any limit of an intent."""

LOST: tuple[Mishap, ...] = ("cut", "before", "late")
REFUSED: dict[Mishap, ProviderError] = {
    "shortage": CapacityError("no capacity; try another offer"),
    "quota": QuotaError("the quota is used up; ask for more"),
    "throttled": ThrottledError("too many calls; wait", 7.0),
    "unreadable": ProviderError("an answer that makes no sense"),
}


@dataclass(slots=True)
class Fate:
    """What outlives a service that dies: calls on their way, the list that was told last, and what was seen."""

    schedule: Schedule
    start: float
    drain_s: float
    rng: np.random.Generator = field(init=False)
    on_their_way: list[tuple[float, Action]] = field(default_factory=list)
    told: Fleet | None = None
    wrong: list[str] = field(default_factory=list)
    happened: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([0xFA7E, self.schedule.seed])

    def draws(self, now: float, *kinds: Mishap) -> Mishap | None:
        """What goes wrong now, if anything."""
        for trouble in self.schedule.troubles:
            if trouble.kind in kinds and _on(trouble, now - self.start) and self.rng.random() < trouble.chance:
                self.happened[trouble.kind] = self.happened.get(trouble.kind, 0) + 1
                return trouble.kind
        return None


def _on(trouble: Trouble, second: float) -> bool:
    return trouble.since <= second < trouble.until


@dataclass(slots=True)
class Unlucky:
    """The provider as the service sees it. Launches and all else go wrong alike; lists in ways of their own."""

    provider: Provider
    cluster: SimCluster
    clock: Clock
    fate: Fate

    def observe(self) -> Fleet:
        now = self.clock.now()
        self._arrive(now)
        if self.fate.draws(now, "dies"):
            self._dies(now)
        mishap = self.fate.draws(now, "no list", "old list")
        if mishap == "no list":
            raise UnreachableError("the list did not come")
        if mishap == "old list" and self.fate.told is not None:
            # A cache on the way: it is as old as it is, and says so.
            return self.fate.told
        self.fate.told = self.provider.observe()
        return self.fate.told

    def apply(self, action: Action) -> Outcome:
        now = self.clock.now()
        self._arrive(now)
        mishap = self.fate.draws(now, *LOST, "twice", *REFUSED)
        if mishap in REFUSED:
            if mishap in ("shortage", "quota") and action.kind not in ("launch", "start"):
                return self._carry_out(action)
            raise REFUSED[mishap]
        if mishap == "late":
            self.fate.on_their_way.append((now + LATE_S, action))
        if mishap == "cut":
            self._carry_out(action)
        if mishap in LOST:
            raise UnreachableError("no answer")
        if mishap == "twice":
            self._carry_out(action)
        return self._carry_out(action)

    def _carry_out(self, action: Action) -> Outcome:
        self._look_at(action)
        return self.provider.apply(action)

    def _arrive(self, now: float) -> None:
        due = [action for at, action in self.fate.on_their_way if at <= now]
        self.fate.on_their_way = [(at, action) for at, action in self.fate.on_their_way if at > now]
        for action in due:
            self._carry_out(action)

    def _dies(self, now: float) -> None:
        ready = sorted(m.id for m in self.cluster.machines.values() if m.state(now) == "ready")
        if ready:
            del self.cluster.machines[ready[int(self.fate.rng.integers(len(ready)))]]

    def _look_at(self, action: Action) -> None:
        """Nobody's work is ended before the deadline of its drain."""
        if action.kind not in ("terminate", "stop"):
            return
        self.cluster.advance(self.clock.now())
        machine = self.cluster.machines.get(action.instance)
        if machine is None or not machine.in_flight:
            return
        # What still booted when a report of the last tick was made may serve when its end arrives: nobody can know.
        if machine.ready_at > action.at - self.fate.schedule.tick_s:
            return
        waited_s = self.clock.now() - machine.since if machine.role == "draining" else 0.0
        if waited_s < self.fate.drain_s:
            told = f"{action.kind} of {machine.id} with {machine.in_flight} requests in flight"
            self.fate.wrong.append(f"{told}, {waited_s:.0f} of {self.fate.drain_s:.0f} s into its drain")
