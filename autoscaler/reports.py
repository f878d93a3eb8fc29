"""The providers' reports, split by pool once per report, and which pools a new report concerns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Set

from autoscaler.dispatch import Dispatch
from autoscaler.intents import merge
from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.types import Fleet, Instance

Split = Mapping[str, tuple[Instance, ...]]


class Reports:
    """Remembers the split of the last report of each provider; a report is a value, so identity tells a new one."""

    def __init__(self, hands: Mapping[str, Dispatch]) -> None:
        self._hands = hands
        self._last: dict[str, tuple[Fleet, Split]] = {}
        self._risen: set[str] = set()

    def risen(self) -> set[str]:
        """Pools that `changed` found more to route to in, since this was asked last: each instance rises once, so that
        nobody has to wait for the tick that shows it to routers."""
        found, self._risen = self._risen, set()
        return found

    def of(self, rules: RuleSet, now: float) -> Fleet | None:
        """One pool's fleet over the providers of its offers; None as long as one of them has not reported.

        A provider that the rules name no more counts for as long as it still lists instances of the pool. Rules without
        offers name none, and any may have instances from before: all of them are asked, and where there is none at all
        the fleet is known to be empty. A candidate's fleet is imagined, and counts for nobody else.
        """
        if rules.shadow_of:
            return merge({SHADOW: self._part(SHADOW, rules.pool)})
        names = {offer.provider for offer in rules.offers} or self._hands.keys() - {SHADOW}
        if not names:
            return Fleet(now)
        names |= {name for name, (_, pools) in self._last.items() if rules.pool in pools}
        return merge({name: self._part(name, rules.pool) for name in sorted(names)})

    def heard(self) -> Set[str]:
        """Providers that have reported."""
        return self._last.keys()

    def ownerless(self, ruled: Collection[str]) -> dict[str, tuple[Instance, ...]]:
        """Instances of pools that none of these rules is about, by pool, as last reported."""
        found: dict[str, tuple[Instance, ...]] = {}
        for name, (_, pools) in self._last.items():
            if name != SHADOW:
                found |= {p: (*found.get(p, ()), *some) for p, some in pools.items() if p not in ruled}
        return found

    def changed(self) -> set[str]:
        """Pools whose instances differ from the report before."""
        found: set[str] = set()
        for name in self._hands:
            before = self._last.get(name)
            after = self._refresh(name)
            if after is None or (before is not None and before[0] is after[0]):
                continue
            old: Split = before[1] if before is not None else {}
            differ = {pool for pool in old.keys() | after[1].keys() if old.get(pool) != after[1].get(pool)}
            self._risen |= {pool for pool in differ if _routable(after[1].get(pool, ())) - _routable(old.get(pool, ()))}
            found |= differ
        return found

    def _part(self, name: str, pool: str) -> Fleet | None:
        known = self._last.get(name) or self._refresh(name)
        if known is None:
            return None
        standings = tuple(s for s in known[0].standings if s.pool == pool)
        return Fleet(known[0].observed_at, known[1].get(pool, ()), standings=standings)

    def _refresh(self, name: str) -> tuple[Fleet, Split] | None:
        hand = self._hands.get(name)
        fleet = hand.fleet() if hand is not None else None
        if fleet is None:
            return self._last.get(name)
        known = self._last.get(name)
        if known is None or known[0] is not fleet:
            pools: dict[str, list[Instance]] = defaultdict(list)
            for instance in fleet.instances:
                pools[instance.pool].append(instance)
            known = self._last[name] = (fleet, {pool: tuple(some) for pool, some in pools.items()})
        return known


def _routable(some: tuple[Instance, ...]) -> set[str]:
    return {i.id for i in some if i.state == "ready" and i.address}
