"""The loop: collect, read, decide, plan, record, apply, for every pool that is due.

Live control, shadow, replay and simulation run this same code; they differ in what is plugged in. A tick's only I/O
is one journal transaction. What breaks inside one pool stays inside it.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from autoscaler import alerts, intents
from autoscaler.answers import Answers
from autoscaler.board import Board, PoolView
from autoscaler.clock import monotonic
from autoscaler.commit import Commit, Considered, Stats, provider_of
from autoscaler.custody import Custody, explained
from autoscaler.dispatch import Dispatch
from autoscaler.engine import decide
from autoscaler.foresight.seen import Seen
from autoscaler.guards import guarded
from autoscaler.ledger import Ledger
from autoscaler.memory import learn
from autoscaler.onboard import advised, with_flight, with_notices
from autoscaler.operations.rolling import follow
from autoscaler.ownerless import Unattended
from autoscaler.ownership import Followed
from autoscaler.planner import plan
from autoscaler.planner.canary import prove
from autoscaler.ports import Clock, Collector
from autoscaler.reports import Reports
from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.sight import moments_suffice
from autoscaler.store import Store
from autoscaler.timetable import Timetable
from autoscaler.types import (
    Action,
    Alert,
    Decision,
    Fleet,
    Frame,
    Learned,
    Memory,
    Newest,
    Past,
    World,
)

log = structlog.get_logger()

NOTHING = Learned()

__all__ = ["Loop", "Stats"]


@dataclass(slots=True)
class Loop:
    """Everything that a running service, a shadow, a replay or a simulation plugs together.

    `rules` gives the rule sets in force, by pool; `hands` the provider dispatches, by provider name; `notify` is told
    about alerts whose receivers must hear of them and returns at once; `lost` says which signals of a pool are gone,
    as `alerts.follow` takes it; `decide` is the engine, or a peer's law in its place. `learned` is what the worker
    knows of a pool; `saw` is told what there is to learn from; `work` is called after every pass, for a worker that has
    no thread of its own. max_launches, launches_of: in one pass over all pools, and of one provider.
    by_hand: whether to look for changes that nobody here ordered; no, where others act.
    """

    clock: Clock
    rules: Callable[[], Mapping[str, RuleSet]]
    collectors: Sequence[Collector]
    store: Store
    journal: Ledger
    hands: Mapping[str, Dispatch]
    board: Board = field(default_factory=Board)
    notify: Callable[[Sequence[Alert]], None] = lambda _: None
    lost: Callable[[str], Mapping[str, str]] = lambda _: {}
    learned: Callable[[str], Learned] = lambda _: NOTHING
    saw: Callable[[Seen], None] = lambda _: None
    work: Callable[[float], object] = lambda _: None
    decide: Callable[[RuleSet, World, Memory], Decision] = decide
    max_launches: int = 50
    launches_of: Mapping[str, int] = field(default_factory=dict)
    by_hand: bool = True
    stats: Stats = field(default_factory=Stats)
    _timetable: Timetable = field(default_factory=Timetable)
    _answers: Answers = field(default_factory=Answers)
    _broken: dict[str, str] = field(default_factory=dict)
    _news: set[str] = field(default_factory=set)
    _reports: Reports = field(init=False)
    _commit: Commit = field(init=False)
    custody: Custody = field(init=False)
    _unattended: Unattended = field(init=False)

    def __post_init__(self) -> None:
        self._reports = Reports(self.hands)
        self.custody = Custody(self.journal, self.stats.by_hand)
        self._unattended = Unattended(self.journal, self.board, self.notify)
        self._commit = Commit(self.journal, self.hands, self.board, self._answers, self.stats, self._broke)

    def start(self) -> None:
        """Loads what the journal remembers and applies every open intent again, before anything is planned."""
        # What was withheld is forgotten: this process may be the one that is no shadow any more.
        memories = {pool: replace(memory, withheld=None) for pool, memory in self.journal.load().items()}
        self._commit.memory = memories
        rules = self.rules()
        for pool, memory in memories.items():
            # A restart goes on with the rhythm of before: it neither repeats a tick nor skips one.
            if memory.last_at is not None and pool in rules:
                self._timetable.ticked(pool, rules[pool].tick_s, min(memory.last_at, self.clock.now()))
        self._commit.submit(self.journal.open_intents())

    def run(self, until: float | None = None, stop: threading.Event | None = None) -> None:
        """Ticks until the time or the event; a set `board.wake` starts a pass early."""
        self.start()
        woken = False
        while (stop is None or not stop.is_set()) and (until is None or self.clock.now() < until):
            now = self.stats.pass_began_at = self.clock.now()
            # A pass that nobody woke may find samples just before their waker calls; they are news when it does.
            self._news |= self._collect(now)
            due = self._due(now, self._news if woken else set(), self._reports.risen() if woken else set())
            self._news = set() if woken else self._news - {r.pool for r in due}
            if due:
                self.tick(now, due)
            self.work(now)
            self.stats.pass_began_at = None
            ahead = self._timetable.next_at(now)
            woken = self.clock.wait(ahead if until is None else min(ahead, until), self.board.wake)

    def tick(self, now: float, due: Iterable[RuleSet]) -> None:
        """One pass over some pools. A journal that cannot be written means that nothing is done, and said."""
        began = monotonic()
        open_by_pool: dict[str, list[Action]] = defaultdict(list)
        for action in self.journal.open_intents():
            open_by_pool[action.pool].append(action)
        considered: list[Considered] = []
        for rules in sorted(due, key=lambda r: (-r.priority, r.pool)):
            self._timetable.ticked(rules.pool, rules.tick_s, now)
            try:
                considered.append(self._consider(rules, now, open_by_pool[rules.pool]))
            except Exception as error:  # noqa: BLE001 - the border of one pool; `_broke` logs the traceback
                self._broke(rules, now, error)
        tell, seen = self._commit(considered, now, open_by_pool, self.max_launches, self.launches_of)
        if tell:
            self.notify(tell)
        for one in seen:
            self.saw(one)
        for c in considered:
            self.store.note(c.rules.pool, now, _sizes(c.decision))
        self.stats.ticks += len(considered)
        self.stats.last_pass_s = monotonic() - began
        self.stats.slowest_pass_s = max(self.stats.slowest_pass_s, self.stats.last_pass_s)

    def _broke(self, rules: RuleSet, now: float, error: Exception) -> None:
        self.stats.failures += 1
        text = f"the tick broke, the pool stays as it is: {type(error).__name__}: {error}"
        before = self.board.pools().get(rules.pool) or PoolView(rules, now)
        if before.error != text:  # once, not at every tick
            log.exception("tick broke, the pool stays as it is", pool=rules.pool)
        self.board.publish(replace(before, rules=rules, at=now, error=text))

    # --- collect ------------------------------------------------------------------------------------------------

    def _collect(self, now: float) -> set[str]:
        """Drains the collectors and the providers' answers; returns the pools that something new concerns."""
        touched: set[str] = set()
        for collector in self.collectors:
            try:
                for found in collector.collect(now):
                    if isinstance(found, Past):
                        self.store.fill(found)
                        touched.add(found.pool)
                    else:
                        self.store.add(found)
                        touched.update(value for name, value in found.labels if name == "pool")
            except Exception as error:
                self.stats.failures += 1
                name, text = type(collector).__name__, f"{type(error).__name__}: {error}"
                if self._broken.get(name) != text:  # once, not at every pass
                    log.exception("collector broke", collector=name)
                self._broken[name] = text
        return touched | self._answers.collect(self.hands.values()) | self._reports.changed()

    def _due(self, now: float, touched: set[str], urgent: set[str]) -> list[RuleSet]:
        # Read once a pass: another thread may put new rules in force at any time.
        rules = self._in_force(now)
        self._answers.forget_all_but(rules.keys())
        for gone in self._timetable.forget_all_but(rules.keys()):
            self.board.remove(gone)
        # What concerns a pool concerns its candidate: both are judged on the same news.
        both = touched | {p for p, r in rules.items() if r.shadow_of in touched}
        due = self._timetable.due(now, rules, both, urgent)
        self.stats.late_s = self._timetable.late_s
        return [rules[pool] for pool in due]

    def _in_force(self, now: float) -> Mapping[str, RuleSet]:
        """The rules that people wrote, and those under which released pools are led to nothing."""
        ruled = self.rules()
        if not self.by_hand:
            return ruled
        told = self._reports.heard() >= self.hands.keys() - {SHADOW}
        return self._unattended.rules(ruled, self._reports.ownerless(ruled.keys()), told, now)

    # --- read, decide, plan -------------------------------------------------------------------------------------

    def _consider(self, rules: RuleSet, now: float, open_intents: Sequence[Action]) -> Considered:
        memory = self._commit.memory.get(rules.pool, Memory())
        learned = self.learned(rules.pool)
        reported = self._reports.of(rules, now)
        heard = self._answers.of(rules.pool)
        ended = {o.action for o in heard if o.final}
        live = [a for a in open_intents if a.id not in ended]
        # A fleet without the intent's provider, as of rules without offers, proves nothing about it.
        heard_of = [a for a in live if provider_of(a) in self.hands]
        settled = intents.settle(heard_of, reported, now) if reported is not None else ()
        ended |= {o.action for o in settled}
        live = [a for a in live if a.id not in ended]
        fleet, notices = None, self.store.announced(rules.pool)
        if reported is not None:
            fleet = with_flight(intents.unite(reported, live), self.store.in_flight(rules.pool, now))
            fleet = with_notices(fleet, notices, now)
            fleet = intents.expect(fleet, learned.lead_times, now)
        outcomes = (*heard, *settled)
        by_id = {a.id: a for a in open_intents}
        finished = [(by_id[o.action], o) for o in outcomes if o.final and o.action in by_id]
        memory = learn(rules, memory, finished, fleet, now)
        followed = self._followed(rules, memory, reported, open_intents, now)
        memory = memory if followed.owned is memory.owned else replace(memory, owned=followed.owned)
        world = World(
            now=now,
            signals=self.store.read(rules, now),
            fleet=fleet,
            series=self._series(rules, now),
            outlooks=learned.outlooks,
            capacity=learned.capacity,
            lead_times=learned.lead_times,
            overrides=followed.overrides,
            # What a person says of an instance goes before its cloud's advice.
            marks=advised(rules, fleet, notices, now)
            | {m.instance: m for m in self.journal.operations.marks(now, rules.pool)},
            roll=self.journal.operations.roll(rules.pool),
        )
        memory = follow(rules, prove(rules, memory, fleet, now), world)
        decision = explained(self.decide(rules, world, memory), followed)
        planned = plan(rules, decision, world, memory)
        if not rules.shadow_of:  # a candidate tells nobody anything
            lost = self.lost(rules.pool)
            told = alerts.follow(
                rules,
                decision.verdicts,
                world.series,
                memory.alerts,
                now,
                lost,
                moved=learned.moved,
                notices=memory.owned.notices,
                guards=guarded(rules, memory, fleet, now),
            )
            memory = replace(memory, alerts=told)
        return Considered(rules, fleet, decision, planned, outcomes, memory)

    def _followed(
        self, rules: RuleSet, memory: Memory, reported: Fleet | None, intents: Sequence[Action], now: float
    ) -> Followed:
        """Whose the pool's instances are. An imagined fleet is nobody's, and of an old report nothing new is known."""
        unseen = reported is None or reported.observed_at < now - rules.patience_s
        if unseen or reported is None or rules.shadow_of or not self.by_hand:
            overrides = tuple(o for o in self.journal.overrides(now) if o.pool == rules.pool)
            return Followed(memory.owned, overrides)
        before = self.board.pools().get(rules.pool)
        heard = self._reports.heard()
        last = before.decision if before is not None else None
        return self.custody.follow(rules, memory, reported, intents, last, heard, now)

    def _series(self, rules: RuleSet, now: float) -> dict[str, Frame | Newest]:
        found: dict[str, Frame | Newest] = {}
        for a in () if rules.shadow_of else rules.alerts:
            read = self.store.newest if moments_suffice(a.threshold) else self.store.raw
            found[a.name] = read(rules.pool, a.metric, a.where, now, a.lookback_s)
        return found


def _sizes(decision: Decision) -> dict[str, float]:
    """What is kept of every tick, for charts: replicas, NaN = not known."""
    known = not decision.blind
    return {
        "want": float(decision.want),
        "ready": float(decision.ready) if known else math.nan,
        "pending": float(decision.pending) if known else math.nan,
    }
