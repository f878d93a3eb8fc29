"""A plan while it is being made: its actions, each with an id of its own, and the reasons of all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Decision, Instance, InstanceState, Launch, Offer, Operate, Reason

OPERATE_LIMIT_S = 60.0


@dataclass(slots=True)
class Draft:
    """A plan while it is being made; numbers its actions so that each has an id of its own.

    silent: providers that cannot be asked now; what they host counts and is left alone. resting: instances whose
    provider refused to act on them, and until when they are not asked for again. late: providers whose
    last report is older than a tick, by when what they called pending may serve. berths: replicas that may still go
    into the warm pool instead of leaving for good; outgoing: instances that may not, since they are to be replaced.
    """

    rules: RuleSet
    decision: Decision
    silent: frozenset[str] = frozenset()
    resting: Mapping[str, float] = field(default_factory=dict)
    late: frozenset[str] = frozenset()
    berths: int = 0
    outgoing: frozenset[str] = frozenset()
    actions: list[Action] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)

    def operate(
        self, kind: Literal["start", "drain", "resume", "stop", "terminate"], instance: Instance, why: str
    ) -> bool:
        """Plans it and returns True, unless the instance rests after a refusal."""
        at = self.decision.at
        rest_s = self.resting.get(instance.id, at) - at
        if rest_s > 0:
            self.note("refused", f"{kind} {instance.id}: its provider refused, asked again in {rest_s:.0f} s")
            return False
        provider = provider_of(instance)
        id_ = action_id(self.decision, len(self.actions), instance.id)
        self.actions.append(
            Operate(id_, instance.pool, at, at + OPERATE_LIMIT_S, kind, instance.id, provider, instance.replicas)
        )
        self.reasons.append(Reason(kind, self.decision.want, f"{kind} {instance.id}: {why}"))
        return True

    def launch(self, offer: Offer, attempt: int, into: Literal["serving", "warm"] = "serving") -> None:
        at = self.decision.at
        id_ = action_id(self.decision, len(self.actions), offer.key, attempt)
        until = at + self.rules.launch.limit_s
        self.actions.append(Launch(id_, self.decision.pool, at, until, offer, attempt, into))
        where = " into the warm pool" if into == "warm" else ""
        self.reasons.append(Reason("launch", self.decision.want, f"launch {offer.key}{where}"))

    def within_reach(self, instances: Iterable[Instance], state: InstanceState) -> list[Instance]:
        """Listed instances in one state whose provider can be asked to do something with them."""
        return [
            i
            for i in instances
            if i.state == state and not i.id.startswith("ordered:") and provider_of(i) not in self.silent
        ]

    def note(self, source: str, text: str) -> None:
        self.reasons.append(Reason(source, self.decision.want, text))


def action_id(decision: Decision, ordinal: int, subject: str, attempt: int = 1) -> str:
    """The idempotency token: the same decision always makes the same ids, two decisions never share one."""
    text = "|".join((decision.pool, str(decision.number), str(ordinal), subject, str(attempt), f"{decision.at:.6f}"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def provider_of(instance: Instance) -> str:
    """Who hosts it."""
    return instance.offer.split("/", 1)[0]
