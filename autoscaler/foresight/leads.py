"""How long launches take, of every offer: learned from all pools together, made known for each pool's offers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from autoscaler.foresight.launches import Open, fold, offer_key, unfinished
from autoscaler.foresight.rows import launches_of, launches_row, lead_time_of, lead_time_row
from autoscaler.foresight.seen import Seen
from autoscaler.journal_learned import Lesson
from autoscaler.leadtime import LeadTimes, OfferKey, drift, drifted, lead_time, learn, success_ratio
from autoscaler.ruleset import RuleSet
from autoscaler.types import LeadTime, Offer

TELL_S = 600.0
"""Evidence fades over days; a launch that ended is told at once."""


@dataclass(slots=True)
class Told:
    """What is known of the offers of one pool, when it was told, and when it was last looked at what moved."""

    rules: RuleSet | None = None
    at: float = -math.inf
    looked_at: float = -math.inf
    taken: int = -1
    lead_times: dict[str, LeadTime] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Leads:
    """Used by one thread."""

    state: LeadTimes = field(default_factory=LeadTimes)
    _open: Open = field(default_factory=dict)
    _pools: dict[str, Told] = field(default_factory=dict)
    _changed: dict[OfferKey, None] = field(default_factory=dict)

    def resume(self, lesson: Lesson) -> None:
        """Goes on from what was learned before a restart; launches that were under way then are looked for."""
        if lesson.kind == "lead_time":
            known = lead_time_of(lesson)
            if known is not None:
                self._pools.setdefault(lesson.pool, Told()).lead_times[lesson.key] = known
            return
        found = launches_of(lesson)
        if found is not None:
            offer, attempts = found
            taken = sum(len(a.steps) for a in attempts.values())
            self.state = LeadTimes({**self.state.attempts, offer: attempts}, self.state.taken + taken)
            running = {name: unfinished(offer, a) for name, a in attempts.items() if a.steps and a.ended_at is None}
            self._open = {**self._open, **running}

    def see(self, seen: Seen) -> None:
        """Learns from one tick of one pool."""
        self._open, moments = fold(self._open, seen, self._known)
        for moment in moments:
            before = self.state
            self.state = learn(before, moment)
            if self.state is not before:
                self._changed[moment.offer] = None

    def work(self, rules: RuleSet, now: float) -> list[Lesson]:
        """What is known of the pool's offers now, as lessons where that is not what it was."""
        told = self._pools.setdefault(rules.pool, Told())
        if told.rules is rules and told.taken == self.state.taken and told.at <= now < told.at + TELL_S:
            return []
        first = told.rules is None and bool(told.lead_times)
        if told.rules is not rules or not told.looked_at <= now < told.looked_at + TELL_S:
            told.looked_at, told.moved = now, self._moved(rules, now)
        told.rules, told.at, told.taken = rules, now, self.state.taken
        if first and told.lead_times.keys() >= {o.key for o in rules.offers}:
            # After a restart the last ones count until something is learned, or some time has passed.
            return []
        lessons: list[Lesson] = []
        names: set[str] = set()
        for offer in rules.offers:
            for name, key, median_s in self._keys(offer, rules):
                names.add(name)
                found = lead_time(self.state, key, now, median_s)
                within = tuple((round(age, 1), round(total, 1)) for age, total in found.arrivals)
                found = LeadTime(round(found.p50_s, 1), round(found.p90_s, 1), found.version, within)
                if told.lead_times.get(name) != found:
                    told.lead_times[name] = found
                    lessons.append(lead_time_row(rules.pool, name, found, now))
        for gone in told.lead_times.keys() - names:
            del told.lead_times[gone]
        return lessons

    def launches(self, now: float) -> list[Lesson]:
        """The attempts of every offer that something was learned of since the last call."""
        changed, self._changed = self._changed, {}
        kept = ((key, self.state.attempts.get(key)) for key in changed)
        return [launches_row(_name(key), key, dict(some), now) for key, some in kept if some is not None]

    def of(self, pool: str) -> dict[str, LeadTime]:
        """By offer."""
        return dict(self._pools[pool].lead_times) if pool in self._pools else {}

    def moved(self, pool: str) -> dict[str, str] | None:
        """Offers whose lead time is not what it was a week ago, with words; None before that was looked at."""
        told = self._pools.get(pool)
        return None if told is None or told.rules is None else dict(told.moved)

    def success(self, rules: RuleSet, now: float) -> dict[str, float]:
        """Share of launches that come to serve, by offer."""
        return {o.key: success_ratio(self.state, offer_key(o, rules), now) for o in rules.offers}

    def forget_all_but(self, pools: Iterable[str]) -> None:
        """Drops pools that nobody rules any more; what their launches taught stays."""
        self._pools = {pool: self._pools[pool] for pool in pools if pool in self._pools}

    def _moved(self, rules: RuleSet, now: float) -> dict[str, str]:
        found = {}
        for offer in rules.offers:
            for name, key, median_s in self._keys(offer, rules):
                if drifted(self.state, key, now):
                    change = drift(self.state, key, now) or 0.0
                    than = f"{abs(change):.0%} {'longer' if change > 0 else 'shorter'} than before this week"
                    within = lead_time(self.state, key, now, median_s).p90_s
                    found[f"lead time {name}"] = f"launches take {than}: 90 % serve within {within:.0f} s"
        return found

    def _keys(self, offer: Offer, rules: RuleSet) -> Iterable[tuple[str, OfferKey, float | None]]:
        """Names, keys and medians to begin with: of a new machine, and of a warm one if any was ever started."""
        yield offer.key, offer_key(offer, rules), offer.lead_time_s
        warm = offer_key(offer, rules, warm=True)
        if warm in self.state.attempts:
            yield f"{offer.key}/warm", warm, None

    def _known(self, offer: OfferKey, attempt: str) -> bool:
        return attempt in self.state.attempts.get(offer, {})


def _name(key: OfferKey) -> str:
    return "/".join(part for part in (key.provider, key.type, key.zone, key.purchase, key.start, key.model) if part)
