"""Doing: actions, what became of them, and the plan that holds a tick's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.types.decision import Reason
from autoscaler.types.fleet import Offer
from autoscaler.types.moving import Moving


@dataclass(frozen=True, slots=True)
class Launch:
    """Order one instance of an offer. `id` is the provider's idempotency token."""

    id: str
    pool: str
    at: float
    valid_until: float
    offer: Offer
    attempt: int = 1
    into: Literal["serving", "warm"] = "serving"
    kind: Literal["launch"] = "launch"


@dataclass(frozen=True, slots=True)
class Operate:
    """Act on one instance. start: from the warm pool into service. drain: leave routing, keep serving what is in
    flight. resume: back into routing. stop: into the warm pool. terminate: gone for good."""

    id: str
    pool: str
    at: float
    valid_until: float
    kind: Literal["start", "drain", "resume", "stop", "terminate"]
    instance: str
    provider: str
    replicas: int = 1


Action = Launch | Operate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action.

    accepted: the provider took it, it is under way; with `retry_after_s` the same id asks later how it stands. done:
    carried out. failed: it will not happen (`error` is a code of `errors.py`, `text` the provider's words). unknown: no
    answer, ask again with the same id. withheld: a shadow kept it back, which teaches nothing.
    """

    action: str
    pool: str
    status: Literal["accepted", "done", "failed", "unknown", "withheld"]
    at: float
    instance: str | None = None
    error: str = ""
    text: str = ""
    retry_after_s: float | None = None
    continuation: str | None = None

    @property
    def final(self) -> bool:
        """Nothing more will be heard of the action."""
        return self.status in ("done", "failed", "withheld")


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions that lead from the fleet to what was decided, and the reasons of what was left undone.

    warm: replicas that the warm pool should hold, never fewer than it has where that is not known; None = nobody asked
    for one, or nothing could be planned. moving: the move to cheaper machines that is under way.
    """

    pool: str
    decision: int
    actions: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()
    warm: int | None = None
    moving: Moving | None = None
