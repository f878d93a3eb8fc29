"""The worker: learns beside the ticks, writes what it learned to the journal, and then lets the ticks read it.

Simulations call `work` in the loop's own passes, a service from a thread of its own. What is known of a pool is one
value that is swapped in whole, so that a tick reads it without a lock; only what is in the journal is made known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ParamSpec, TypeVar

import structlog

from autoscaler.errors import StorageError
from autoscaler.foresight.capacities import Capacities
from autoscaler.foresight.forecasts import ASK_S, Counts, Forecasts
from autoscaler.foresight.leads import Leads
from autoscaler.foresight.modeller import Bench, Modeller
from autoscaler.foresight.rows import outlook_of
from autoscaler.foresight.seen import Seen
from autoscaler.foresight.wishes import Wish, wishes
from autoscaler.journal_learned import Lesson, Notebook
from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.store import Store
from autoscaler.types import Fleet, LeadTime, Learned, Outlook

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

SEEN_AT_MOST = 20_000
"""Ticks that wait to be learned from; a worker that is stuck must not take all memory."""

UNWRITTEN_AT_MOST = 5000


@dataclass
class Foresight:
    """What is known of every pool besides its signals, and who keeps it up to date. Models are asked every `ask_s`.

    `learned`, `saw` and `counts` may be called from any thread, `work` from one.
    """

    rules: Callable[[], Mapping[str, RuleSet]]
    store: Store
    journal: Notebook
    modeller: Modeller = field(default_factory=Bench)
    ask_s: float = ASK_S
    _seen: deque[Seen] = field(default_factory=lambda: deque(maxlen=SEEN_AT_MOST))
    _fleets: dict[str, Fleet | None] = field(default_factory=dict)
    _wishes: dict[str, tuple[RuleSet, dict[str, LeadTime], tuple[Wish, ...]]] = field(default_factory=dict)
    _outlooks: dict[str, dict[str, Outlook]] = field(default_factory=dict)
    _learned: Mapping[str, Learned] = field(default_factory=dict)
    _in_force: Mapping[str, RuleSet] = field(default_factory=dict)
    _unwritten: list[Lesson] = field(default_factory=list)
    _told: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._forecasts = Forecasts(self.store, self.modeller, self.ask_s)
        self._capacities = Capacities(self.store)
        self._leads = Leads()
        for lesson in self.journal.lessons():
            match lesson.kind:
                case "model":
                    self._forecasts.resume(lesson)
                case "capacity":
                    self._capacities.resume(lesson)
                case "lead_time" | "launches":
                    self._leads.resume(lesson)
                case "outlook":
                    found = outlook_of(lesson)
                    if found is not None:
                        self._outlooks.setdefault(lesson.pool, {})[lesson.key] = found
        self._publish(self.rules(), ())

    def learned(self, pool: str) -> Learned:
        """What is known of a pool."""
        return self._learned.get(pool, NOTHING)

    def saw(self, seen: Seen) -> None:
        """Takes note of a tick; learned from at the next `work`."""
        self._seen.append(seen)

    def counts(self) -> Counts:
        """What was made and what failed since the start."""
        return self._forecasts.counts

    def success(self, pool: str, now: float) -> Mapping[str, float]:
        """Share of launches that come to serve, by offer."""
        rules = self.rules().get(pool)
        return self._leads.success(rules, now) if rules is not None else {}

    def work(self, now: float) -> bool:
        """Does what is due, at most one fit; whether more is due already. Raises nothing: what fails is told once."""
        rules = self.rules()
        news = self._hear()
        lessons, self._unwritten = self._unwritten, []
        wanted: list[Wish] = []
        for pool, ruled in rules.items():
            fleet = self._fleets.get(pool)
            if ruled.shadow_of:  # a fleet that is imagined teaches nothing
                wanted += self._guarded(f"forecasts of {pool}", self._wanted, ruled) or ()
                continue
            lessons += self._guarded(f"lead times of {pool}", self._leads.work, ruled, now) or ()
            lessons += self._guarded(f"capacity of {pool}", self._capacities.work, ruled, fleet, now) or ()
            wanted += self._guarded(f"forecasts of {pool}", self._wanted, ruled) or ()
        lessons += self._leads.launches(now)
        self._forget(rules)
        said, told, more = self._guarded("forecasts", self._forecasts.work, wanted, now) or ([], [], False)
        lessons += told
        if lessons:
            try:
                self.journal.teach(lessons)
            except StorageError as error:
                # What was known before stays known; a forecast that cannot be written ages.
                self._unwritten = lessons[-UNWRITTEN_AT_MOST:]
                self._tell("journal", f"what was learned is not written: {error}")
                return False
            self._told.pop("journal", None)
        for wish, name, outlook in said:
            self._outlooks.setdefault(wish.pool, {})[name] = outlook
        self._publish(rules, news | {lesson.pool for lesson in lessons})
        return more

    def _hear(self) -> set[str]:
        """Learns from the ticks since the last time; returns their pools."""
        heard = set()
        while self._seen:
            seen = self._seen.popleft()
            heard.add(seen.rules.pool)
            self._fleets[seen.rules.pool] = seen.fleet
            self._guarded(f"launches of {seen.rules.pool}", self._leads.see, seen)
        return heard

    def _wanted(self, ruled: RuleSet) -> tuple[Wish, ...]:
        lead_times = self._leads.of(ruled.workload)
        if ruled.shadow_of:
            lead_times = {f"{SHADOW}/{key}": known for key, known in lead_times.items()}
        before = self._wishes.get(ruled.pool)
        if before is None or before[0] is not ruled or before[1] != lead_times:
            self._wishes[ruled.pool] = before = ruled, lead_times, wishes(ruled, lead_times)
        return before[2]

    def _forget(self, rules: Mapping[str, RuleSet]) -> None:
        """What is known of pools and signals that nobody rules any more."""
        self._leads.forget_all_but(rules)
        self._capacities.forget_all_but(rules)
        for gone in self._wishes.keys() - rules.keys():
            del self._wishes[gone]
        for gone in self._fleets.keys() - rules.keys():
            del self._fleets[gone]

    def _publish(self, rules: Mapping[str, RuleSet], news: Collection[str]) -> None:
        """Lets the ticks read what is known of pools with news, and of those that are new or have other rules."""
        found = dict(self._learned)
        for pool, ruled in rules.items():
            known = found.get(pool)
            if pool in news or self._in_force.get(pool) is not ruled or known is None or known.moved is None:
                ahead = {s.name for s in ruled.signals if s.forecast is not None}
                outlooks = self._outlooks.get(pool, {})
                leads_moved = self._leads.moved(pool)
                found[pool] = Learned(
                    outlooks={name: o for name, o in sorted(outlooks.items()) if name.partition(":")[0] in ahead},
                    capacity=self._capacities.of(ruled, self._fleets.get(pool)),
                    lead_times=self._leads.of(pool),
                    moved=None if leads_moved is None else self._capacities.drifting(pool) | leads_moved,
                )
        self._outlooks = {pool: some for pool, some in self._outlooks.items() if pool in rules}
        self._in_force = dict(rules)
        self._learned = MappingProxyType({pool: known for pool, known in found.items() if pool in rules})

    def _guarded(self, what: str, action: Callable[P, T], *given: P.args, **named: P.kwargs) -> T | None:
        """The border of one pool: what breaks in it must not keep the others from learning."""
        try:
            return action(*given, **named)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if self._told.get(what) != text:  # once, not every second
                log.exception("learning broke, the last values stay", what=what)
            self._told[what] = text
            return None

    def _tell(self, what: str, text: str) -> None:
        if self._told.get(what) != text:
            log.error(text)
        self._told[what] = text


NOTHING = Learned()
