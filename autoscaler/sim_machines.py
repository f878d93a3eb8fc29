"""The machines of a SimCluster: what each of them is kept for, and what may be done to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from autoscaler.errors import ProviderError
from autoscaler.types import Instance, InstanceState, Launch, Operate

Role = Literal["serving", "draining", "warm"]


@dataclass(slots=True)
class Machine:
    """One machine; for the warm pool it boots once before it rests.

    `since`: when it got its role; `ready_at`: when it has booted; `listed_at`: from when reports show it. `action`
    None: nobody here ordered it. A silent one never boots, a halted one was stopped by a person. `applied`: the ids of
    what was done to it, so that nothing is done twice. served: requests that it has answered.
    """

    id: str
    pool: str
    offer: str
    action: str | None
    requested_at: float
    ready_at: float
    replicas: int
    usd_per_hour: float
    listed_at: float
    since: float
    role: Role = "serving"
    in_flight: int = 0
    silent: bool = False
    halted: bool = False
    applied: set[str] = field(default_factory=set)
    made_of: str = ""
    served: int = 0

    def state(self, now: float) -> InstanceState:
        """How it is reported at a time."""
        if self.halted:
            return "warm"
        if self.role == "warm" and now < self.ready_at:
            return "stopping"
        if self.role != "serving":
            return self.role
        return "ready" if now >= self.ready_at and not self.silent else "pending"

    def operate(self, action: Operate, now: float, start_s: float) -> int:
        """Gives it the role that a drain, resume, start or stop asks for; returns the requests that this cut off.

        start_s: from the start of a warm one to serving. An action that was carried out before changes nothing. Raises
        ProviderError for what does not apply to its present role.
        """
        if action.id in self.applied:
            return 0
        role = self._role_after(action)
        aborted = 0
        if self.halted and action.kind == "start":
            self.halted, self.since, self.ready_at = False, now, now + start_s
        elif role != self.role:
            if self.role == "warm":
                self.ready_at = max(self.ready_at, now + start_s)
            if role == "warm":
                aborted, self.in_flight = self.in_flight, 0
            self.role, self.since = role, now
        self.applied.add(action.id)
        return aborted

    def _role_after(self, action: Operate) -> Role:
        match action.kind, self.role:
            case "drain", "serving" | "draining":
                return "draining"
            case ("resume", "draining" | "serving") | ("start", "warm" | "serving"):
                return "serving"
            case "stop", _:
                return "warm"
        raise ProviderError(f"{self.id} is {self.role}, which {action.kind} does not apply to; observe again")

    def instance(self, now: float) -> Instance:
        """How a provider lists it."""
        state = self.state(now)
        return Instance(
            id=self.id,
            pool=self.pool,
            offer=self.offer,
            state=state,
            since=max(self.since, self.ready_at) if state == "ready" else self.since,
            replicas=self.replicas,
            requested_at=self.requested_at,
            address=f"{self.id}:8000" if state in ("ready", "draining") else None,
            action=self.action,
            expected_at=self.ready_at,
            usd_per_hour=self.usd_per_hour,
            made_of=self.made_of,
            rests=self.role == "warm" and not self.halted,
        )


def ordered(action: Launch, name: str, now: float, boot_s: float, listed_at: float, silent: bool) -> Machine:
    """The machine that a launch makes."""
    return Machine(
        id=name,
        pool=action.pool,
        offer=action.offer.key,
        action=action.id,
        requested_at=now,
        ready_at=now + boot_s,
        replicas=action.offer.replicas,
        usd_per_hour=action.offer.usd_per_hour,
        listed_at=listed_at,
        since=now,
        role="warm" if action.into == "warm" else "serving",
        silent=silent,
        made_of=action.offer.made_of,
    )
