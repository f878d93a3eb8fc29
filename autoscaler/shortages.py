"""What launches teach about offers: which cannot be had, which are at their quota, which came and never served. Pure.

A shortage is waited out: not at all, then twice as long after each miss in a row. When the wait is over one order
probes; each that comes allows one more on order, so that 1, 2, 4, ... are asked for at once, until as many came as the
pool ever asked for. A miss begins anew. (The growth is that of TCP's slow start, RFC 5681.) A quota is no shortage: to
wait does not help, a person does. What the account had when it refused may be had again, and beyond that one order in a
long while asks whether somebody helped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from autoscaler.errors import QuotaError
from autoscaler.planner import family, of_family, overdue
from autoscaler.planner.sickness import died_young
from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Fleet, Instance, Launch, Memory, Outcome, Quota, Shortage

QUOTA_RESET_S = 86400.0
"""A quota that nobody ran into for a day is forgotten."""


def learn_offers(
    rules: RuleSet, memory: Memory, finished: Sequence[tuple[Action, Outcome]], fleet: Fleet | None, now: float
) -> Memory:
    """The memory with what ended launches and the fleet teach about offers. None of it is learned from a fleet that is
    not known."""
    if not (finished or memory.shortages or memory.quotas or memory.taught or _troubled(fleet)):
        return memory
    lesson = _Lesson(rules, memory, now)
    launches = [(a, o) for a, o in finished if isinstance(a, Launch)]
    for action, outcome in launches:
        if outcome.status == "done":
            lesson.came(action)
    for action, outcome in launches:
        if outcome.status == "failed" and outcome.error == QuotaError.code:
            lesson.at_quota(action, outcome, fleet)
        elif outcome.status == "failed":
            lesson.shortages[action.offer.key] = lesson.missed(action.offer.key)
    if fleet is not None:
        lesson.look(fleet)
    return replace(memory, shortages=lesson.shortages, quotas=lesson.quotas, taught=lesson.taught)


def _troubled(fleet: Fleet | None) -> bool:
    """Whether there is anything that could be unwell: of most ticks there is nothing to learn."""
    return fleet is not None and any(i.state in ("pending", "failed") for i in fleet.instances)


@dataclass(slots=True)
class _Lesson:
    """The memory of offers while it is being changed."""

    rules: RuleSet
    memory: Memory
    now: float
    shortages: dict[str, Shortage] = field(init=False)
    quotas: dict[str, Quota] = field(init=False)
    taught: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        reset_s = self.rules.launch.shortage_reset_s
        self.shortages = {k: s for k, s in self.memory.shortages.items() if self.now - s.last_at <= reset_s}
        self.quotas = {k: q for k, q in self.memory.quotas.items() if self.now - q.last_at <= QUOTA_RESET_S}
        self.taught = self.memory.taught

    def came(self, launch: Launch) -> None:
        """One that was ordered before the last miss tells nothing about now."""
        known = self.shortages.get(launch.offer.key)
        if known is not None and not known.never_served and launch.at >= known.last_at:
            self.had(known, known.had + 1)

    def had(self, known: Shortage, count: int) -> None:
        if count >= min(known.asked, self.rules.launch.shortage_most):
            del self.shortages[known.offer]
        elif count > known.had:
            self.shortages[known.offer] = replace(known, had=count)

    def missed(self, key: str) -> Shortage:
        """The wait doubles with each miss in a row; several misses seen at one tick are one."""
        settings, now = self.rules.launch, self.now
        before = self.shortages.get(key)
        if before is None:
            misses = 1
        else:
            misses = before.misses if before.until > now or before.last_at == now else before.misses + 1
        wait = min(settings.shortage_max_s, settings.shortage_s * 2.0 ** (misses - 1))
        asked = max([1 if before is None else before.asked, *(n for _, n in self.memory.launches)])
        never_served = before is not None and before.never_served
        return Shortage(key, now + wait, misses, now, never_served, asked=asked)

    def at_quota(self, launch: Launch, outcome: Outcome, fleet: Fleet | None) -> None:
        name = family(launch.offer.key)
        before = self.quotas.get(name)
        if before is not None and launch.at < before.last_at:
            return  # of the same volley: it was refused for the same reason
        there = before.most if before is not None else 0
        there = there if fleet is None else len(_listed(fleet, name))
        until = self.now + self.rules.launch.quota_s
        text = outcome.text[:300]
        self.quotas[name] = Quota(name, launch.offer.key, there, there, until, self.now, text)

    def look(self, fleet: Fleet) -> None:
        """What the instances themselves tell: some came and do not serve, some are there beyond what was refused."""
        seen = [replace(q, most=max(q.most, len(_listed(fleet, k)))) for k, q in self.quotas.items()]
        self.quotas = {q.family: q for q in seen if q.most - q.had < self.rules.launch.shortage_most}
        sick = [i for i in fleet.instances if self.unwell(i)]
        for i in sick:
            if i.id not in self.taught:
                self.shortages[i.offer] = self.unserved(i)
        self.taught = tuple(i.id for i in sick)
        for known in [s for s in self.shortages.values() if s.never_served]:
            serve = [i for i in fleet.instances if i.state == "ready" and i.offer == known.offer]
            self.had(known, sum(i.requested_at >= known.last_at for i in serve))

    def unwell(self, instance: Instance) -> bool:
        return died_young(self.rules, instance) or overdue(self.rules, self.memory, instance, self.now)

    def unserved(self, instance: Instance) -> Shortage:
        missed = replace(self.missed(instance.offer), never_served=True)
        # One may die of anything; only the next one in a row has to wait.
        alone = missed.misses == 1 and instance.state == "failed"
        return replace(missed, until=self.now) if alone else missed


def _listed(fleet: Fleet, name: str) -> list[Instance]:
    return [i for i in of_family(fleet, name) if not i.id.startswith("ordered:")]
