"""One pass over all pools: how much of what they plan may be done at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoscaler.types import Launch, Plan, Reason


def admit(plans: Sequence[Plan], max_launches: int, of_provider: Mapping[str, int] | None = None) -> tuple[Plan, ...]:
    """The plans of one pass, with at most `max_launches` launches over all pools, and for some providers fewer; earlier
    plans go first.

    What is cut off is not lost: the next tick plans it again.
    """
    left, left_of = max_launches, dict(of_provider or {})
    admitted = []
    for plan in plans:
        cut: dict[int, str] = {}
        for n, action in enumerate(plan.actions):
            if not isinstance(action, Launch):
                continue
            provider = action.offer.provider
            if left <= 0:
                cut[n] = f"at most {max_launches} in one pass over all pools"
            elif left_of.get(provider, 1) <= 0:
                cut[n] = f"at most {(of_provider or {})[provider]} of {provider} in one pass over all pools"
            else:
                left -= 1
                if provider in left_of:
                    left_of[provider] -= 1
        admitted.append(_without(plan, cut) if cut else plan)
    return tuple(admitted)


def _without(plan: Plan, cut: Mapping[int, str]) -> Plan:
    """The plan without some of its launches and without the reasons that tell of them; why is said instead."""
    launches = [n for n, a in enumerate(plan.actions) if isinstance(a, Launch)]
    told = [n for n, r in enumerate(plan.reasons) if r.source == "launch"]
    untold = {reason for launch, reason in zip(launches, told, strict=False) if launch in cut}
    texts = dict.fromkeys(cut.values())
    why = [
        Reason("launch_rate", plan.reasons[-1].replicas, f"{list(cut.values()).count(text)} launches wait: {text}")
        for text in texts
    ]
    return replace(
        plan,
        actions=tuple(a for n, a in enumerate(plan.actions) if n not in cut),
        reasons=(*(r for n, r in enumerate(plan.reasons) if n not in untold), *why),
    )
