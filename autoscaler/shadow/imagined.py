"""The provider of candidates: machines that nobody ordered, which serve after the lead time that is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from autoscaler.ports import Clock
from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Fleet, Instance, Launch, Offer, Outcome

LeadTimeOf = Callable[[str, Offer], float]
"""Pool of a candidate, its offer -> seconds from an order to serving."""


@dataclass(slots=True)
class Imagined:
    """The imagined fleets of all candidates. Deterministic: nothing fails, drains end at once, nothing is ever called.

    `version` rises with every change of what there is. May be used from any thread.
    """

    clock: Clock
    lead_time_s: LeadTimeOf
    version: int = 0
    _fleets: dict[str, dict[str, Instance]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listed: tuple[Instance, ...] | None = None

    def begin(self, candidate: RuleSet, fleet: Fleet) -> None:
        """Imagine a fleet of the size of the active pool's: what serves there serves here, what boots boots."""
        offers = {offer.key: offer for offer in candidate.offers}
        first = next(iter(offers.values()), Offer(candidate.pool, "replica"))
        made: list[Instance] = []
        for state in ("ready", "pending"):
            replicas = fleet.count("ready") if state == "ready" else fleet.count("pending")
            came = [i for i in fleet.instances if i.state == state]
            at = max([i.requested_at for i in came], default=self.clock.now())
            for _ in range(-(-replicas // first.replicas)):
                name = f"{candidate.pool}-{len(made)}"
                made.append(self._instance(name, candidate.pool, first, at))
                if state == "ready":
                    made[-1] = replace(made[-1], state="ready", expected_at=None)
        self.resume(candidate.pool, made)

    def resume(self, pool: str, instances: Iterable[Instance]) -> None:
        """Go on with a fleet that was kept."""
        with self._lock:
            self._fleets[pool] = {i.id: i for i in instances}
            self._changed()

    def end(self, pool: str) -> None:
        """Forget the fleet of a candidate."""
        with self._lock:
            if self._fleets.pop(pool, None) is not None:
                self._changed()

    def instances(self, pool: str) -> tuple[Instance, ...]:
        """The imagined fleet of one candidate."""
        with self._lock:
            return tuple(self._fleets.get(pool, {}).values())

    # --- a provider ---------------------------------------------------------------------------------------------

    def observe(self) -> Fleet:
        """Every imagined instance of every candidate."""
        now = self.clock.now()
        with self._lock:
            for fleet in self._fleets.values():
                for name, i in fleet.items():
                    if i.state == "pending" and i.expected_at is not None and i.expected_at <= now:
                        fleet[name] = replace(i, state="ready", since=i.expected_at, expected_at=None)
                        self._changed()
            if self._listed is None:
                self._listed = tuple(i for fleet in self._fleets.values() for i in fleet.values())
            return Fleet(now, self._listed)

    def apply(self, action: Action) -> Outcome:
        """Carried out at once, in imagination; a repeated id changes nothing."""
        now = self.clock.now()
        with self._lock:
            fleet = self._fleets.get(action.pool)
            if fleet is None:
                text = f"{action.pool} is no candidate any more"
                return Outcome(action.id, action.pool, "failed", now, error="capacity", text=text)
            if isinstance(action, Launch):
                if action.into == "warm":
                    text = "there is no warm pool"
                    return Outcome(action.id, action.pool, "failed", now, error="capacity", text=text)
                if action.id not in fleet:
                    # As of the order, not of the call: a repetition after a restart makes the same machine.
                    fleet[action.id] = self._instance(action.id, action.pool, action.offer, action.at, action.id)
                    self._changed()
                return Outcome(action.id, action.pool, "accepted", now, action.id)
            if action.kind in ("start", "stop", "resume"):
                text = f"{action.kind} {action.instance}: nothing is warm and nothing drains here"
                return Outcome(action.id, action.pool, "failed", now, action.instance, "capacity", text)
            if fleet.pop(action.instance, None) is not None:
                self._changed()
            return Outcome(action.id, action.pool, "done", now, action.instance)

    def _instance(self, name: str, pool: str, offer: Offer, at: float, action: str | None = None) -> Instance:
        return Instance(
            name,
            pool,
            offer.key,
            "pending",
            at,
            offer.replicas,
            at,
            action=action,
            expected_at=at + self.lead_time_s(pool, offer),
            usd_per_hour=offer.usd_per_hour,
            detail="imagined for a candidate",
        )

    def _changed(self) -> None:
        self.version += 1
        self._listed = None
