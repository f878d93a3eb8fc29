"""The loop: collect, read, decide, plan, record, apply, for every pool that is due.

Live control, shadow, replay and simulation run this same code; they differ in what is plugged in. A tick's only I/O
is one journal transaction. What breaks inside one pool stays inside it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from autoscaler import alerts, intents
from autoscaler.answers import Answers
from autoscaler.board import Board, PoolView
from autoscaler.clock import monotonic
from autoscaler.dispatch import Dispatch
from autoscaler.engine import decide
from autoscaler.errors import StorageError
from autoscaler.journal import Entry, Journal
from autoscaler.memory import learn, remember
from autoscaler.planner import admit, plan
from autoscaler.ports import Clock, Collector
from autoscaler.reports import Reports
from autoscaler.ruleset import RuleSet
from autoscaler.sight import moments_suffice
from autoscaler.store import Store
from autoscaler.timetable import Timetable
from autoscaler.types import (
    Action,
    Alert,
    Decision,
    Fleet,
    Frame,
    Instance,
    Learned,
    Memory,
    Newest,
    Outcome,
    Past,
    Plan,
    World,
)

log = structlog.get_logger()


@dataclass(slots=True)
class Stats:
    """How the loop itself is doing, for the exposition and the watchdog."""

    ticks: int = 0
    pass_began_at: float | None = None
    failures: int = 0
    journal_failures: int = 0
    last_pass_s: float = 0.0
    slowest_pass_s: float = 0.0
    late_s: float = 0.0
    journal_s: float = 0.0
    problem: str = ""


@dataclass(slots=True)
class Considered:
    """One pool on its way through a pass."""

    rules: RuleSet
    fleet: Fleet | None
    decision: Decision
    plan: Plan
    outcomes: tuple[Outcome, ...]
    memory: Memory


@dataclass(slots=True)
class Loop:
    """Everything that a running service, a shadow, a replay or a simulation plugs together.

    `rules` gives the rule sets in force, by pool; `hands` the provider dispatches, by provider name; `notify` is told
    about alerts whose receivers must hear of them and returns at once; `lost` says which signals of a pool are gone,
    as `alerts.follow` takes it; `learned` is what the worker knows of a pool; `decide` is the engine, or a peer's law
    in its place.
    """

    clock: Clock
    rules: Callable[[], Mapping[str, RuleSet]]
    collectors: Sequence[Collector]
    store: Store
    journal: Journal
    hands: Mapping[str, Dispatch]
    board: Board = field(default_factory=Board)
    notify: Callable[[Sequence[Alert]], None] = lambda _: None
    lost: Callable[[str], Mapping[str, str]] = lambda _: {}
    learned: Callable[[str], Learned] = lambda _: Learned()
    decide: Callable[[RuleSet, World, Memory], Decision] = decide
    max_launches: int = 50
    stats: Stats = field(default_factory=Stats)
    _memory: dict[str, Memory] = field(default_factory=dict)
    _timetable: Timetable = field(default_factory=Timetable)
    _answers: Answers = field(default_factory=Answers)
    _broken: dict[str, str] = field(default_factory=dict)
    _news: set[str] = field(default_factory=set)
    _reports: Reports = field(init=False)

    def __post_init__(self) -> None:
        self._reports = Reports(self.hands)

    def start(self) -> None:
        """Loads what the journal remembers and applies every open intent again, before anything is planned."""
        # What was withheld is forgotten: this process may be the one that is no shadow any more.
        self._memory = {pool: replace(memory, withheld=None) for pool, memory in self.journal.load().items()}
        rules = self.rules()
        for pool, memory in self._memory.items():
            # A restart goes on with the rhythm of before: it neither repeats a tick nor skips one.
            if memory.last_at is not None and pool in rules:
                self._timetable.ticked(pool, rules[pool].tick_s, min(memory.last_at, self.clock.now()))
        self._submit(self.journal.open_intents())
        # A message that was on its way when the last process ended is lost with it; a repetition is recognised.
        known = [a for memory in self._memory.values() for a in memory.alerts.values()]
        self.notify([a for a in known if a.state == "firing" and a.notified_at is not None])

    def run(self, until: float | None = None, stop: threading.Event | None = None) -> None:
        """Ticks until the time or the event; a set `board.wake` starts a pass early."""
        self.start()
        woken = False
        while (stop is None or not stop.is_set()) and (until is None or self.clock.now() < until):
            now = self.stats.pass_began_at = self.clock.now()
            # A pass that nobody woke may find samples just before their waker calls; they are news when it does.
            self._news |= self._collect(now)
            due = self._due(now, self._news if woken else set())
            self._news = set() if woken else self._news - {r.pool for r in due}
            if due:
                self.tick(now, due)
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
        self._commit(considered, now, open_by_pool)
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

    def _due(self, now: float, touched: set[str]) -> list[RuleSet]:
        # Read once a pass: another thread may put new rules in force at any time.
        rules = self.rules()
        self._answers.forget_all_but(rules.keys())
        for gone in self._timetable.forget_all_but(rules.keys()):
            self.board.remove(gone)
        due = self._timetable.due(now, rules, touched)
        self.stats.late_s = self._timetable.late_s
        return [rules[pool] for pool in due]

    # --- read, decide, plan -------------------------------------------------------------------------------------

    def _consider(self, rules: RuleSet, now: float, open_intents: Sequence[Action]) -> Considered:
        memory = self._memory.get(rules.pool, Memory())
        reported = self._reports.of(rules)
        heard = self._answers.of(rules.pool)
        ended = {o.action for o in heard if o.final}
        live = [a for a in open_intents if a.id not in ended]
        settled = intents.settle(live, reported, now) if reported is not None else ()
        ended |= {o.action for o in settled}
        live = [a for a in live if a.id not in ended]
        fleet = None
        if reported is not None:
            fleet = _with_flight(intents.unite(reported, live), self.store.in_flight(rules.pool, now))
        outcomes = (*heard, *settled)
        by_id = {a.id: a for a in open_intents}
        finished = [(by_id[o.action], o) for o in outcomes if o.final and o.action in by_id]
        memory = learn(rules, memory, finished, fleet, now)
        learned = self.learned(rules.pool)
        world = World(
            now=now,
            signals=self.store.read(rules, now),
            fleet=fleet,
            series=self._series(rules, now),
            outlooks=learned.outlooks,
            capacity=learned.capacity,
            lead_times=learned.lead_times,
            overrides=tuple(o for o in self.journal.overrides(now) if o.pool == rules.pool),
        )
        decision = self.decide(rules, world, memory)
        planned = plan(rules, decision, world, memory)
        lost = self.lost(rules.pool)
        told = alerts.follow(rules, decision.verdicts, world.series, memory.alerts, now, lost)
        memory = replace(memory, alerts=told)
        return Considered(rules, fleet, decision, planned, outcomes, memory)

    def _series(self, rules: RuleSet, now: float) -> dict[str, Frame | Newest]:
        found: dict[str, Frame | Newest] = {}
        for a in rules.alerts:
            read = self.store.newest if moments_suffice(a.threshold) else self.store.raw
            found[a.name] = read(rules.pool, a.metric, a.where, now, a.lookback_s)
        return found

    # --- record, apply ------------------------------------------------------------------------------------------

    def _commit(self, considered: Sequence[Considered], now: float, open_by_pool: Mapping[str, list[Action]]) -> None:
        plans = admit([c.plan for c in considered], self.max_launches)
        made: list[tuple[Considered, Entry]] = []
        tell: list[Alert] = []
        for c, admitted in zip(considered, plans, strict=True):
            try:
                memory = remember(c.rules, c.memory, c.decision, admitted)
                due = alerts.due(self._memory.get(c.rules.pool, Memory()).alerts, memory.alerts)
            except Exception as error:  # noqa: BLE001 - the border of one pool; `_broke` logs the traceback
                self._broke(c.rules, now, error)
                continue
            made.append((c, Entry(c.decision, admitted, c.outcomes, memory)))
            tell += due
        began = monotonic()
        try:
            self.journal.record([entry for _, entry in made])
        except StorageError as error:
            self.stats.journal_failures += 1
            if self.stats.problem != str(error):  # once, not at every tick
                log.error("journal refused, nothing is done", problem=str(error))
            self.stats.problem = str(error)
            for c, _ in made:
                known = tuple(self._memory.get(c.rules.pool, Memory()).alerts.values())
                self.board.publish(PoolView(c.rules, now, c.decision, None, c.fleet, known, str(error)))
            return
        self.stats.problem = ""
        self.stats.journal_s = monotonic() - began
        for c, entry in made:
            pool = c.rules.pool
            self._memory[pool] = entry.memory
            self._answers.recorded(pool, c.outcomes)
            # Published before it is applied: routers stop sending to an instance before its drain begins.
            fleet = intents.unite(c.fleet, entry.plan.actions) if c.fleet is not None else None
            firing = tuple(entry.memory.alerts.values())
            self.board.publish(PoolView(c.rules, now, c.decision, entry.plan, fleet, firing, self._silence(c)))
            again = self._answers.unanswered(open_by_pool[pool], c.outcomes, now, c.rules.tick_s)
            self._submit([*again, *entry.plan.actions])
        if tell:
            self.notify(tell)

    def _silence(self, c: Considered) -> str:
        """Why the fleet is unknown, in the providers' own words."""
        if not c.decision.blind:
            return ""
        names = sorted({o.provider for o in c.rules.offers})
        told = [f"{n}: {self.hands[n].calls().last_error}" for n in names if n in self.hands]
        missing = [f"{n}: no such provider is set up" for n in names if n not in self.hands]
        return "; ".join([c.decision.reasons[-1].text, *missing, *(t for t in told if not t.endswith(": "))])

    def _submit(self, actions: Iterable[Action]) -> None:
        by_provider: dict[str, list[Action]] = defaultdict(list)
        for action in actions:
            name = action.offer.provider if action.kind == "launch" else action.provider
            by_provider[name].append(action)
        for name, some in by_provider.items():
            hand = self.hands.get(name)
            if hand is None:
                log.error("no such provider is configured, its intents wait", provider=name, actions=len(some))
                continue
            hand.submit(some)


def _with_flight(fleet: Fleet, flights: Mapping[str, tuple[int, float]]) -> Fleet:
    """The fleet with the requests in flight that the instances' own metrics tell."""

    def seen(i: Instance) -> Instance:
        flight = flights.get(i.address) if i.address is not None else None
        return i if flight is None else replace(i, in_flight=flight[0], in_flight_at=flight[1])

    return replace(fleet, instances=tuple(map(seen, fleet.instances)))
