"""The second half of a pass: record, publish, apply. What the first half wants becomes a transaction, then deeds.

Nothing is done that is not in the journal, and what routers read is published before it is done.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from autoscaler import alerts, intents
from autoscaler.answers import Answers
from autoscaler.board import Board, PoolView
from autoscaler.clock import monotonic
from autoscaler.dispatch import Dispatch
from autoscaler.errors import StorageError
from autoscaler.foresight.seen import Seen
from autoscaler.journal import Entry
from autoscaler.ledger import Ledger
from autoscaler.memory import remember
from autoscaler.planner import admit
from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.types import Action, Alert, Decision, Fleet, Memory, Outcome, Plan

log = structlog.get_logger()


@dataclass(slots=True)
class Stats:
    """How the loop itself is doing, for the exposition and the watchdog. by_hand: instances that changed without an
    order of ours, by pool and kind of change. changes, sources: of the wanted size, by pool and direction (out, in),
    and by pool and who set the new one."""

    ticks: int = 0
    pass_began_at: float | None = None
    failures: int = 0
    journal_failures: int = 0
    last_pass_s: float = 0.0
    slowest_pass_s: float = 0.0
    late_s: float = 0.0
    journal_s: float = 0.0
    problem: str = ""
    by_hand: Counter[tuple[str, str]] = field(default_factory=Counter)
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    sources: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, decision: Decision) -> None:
        """Count a decision that is in force, if it changed the size."""
        if decision.want != decision.current:
            self.changes[decision.pool, "out" if decision.want > decision.current else "in"] += 1
            self.sources[decision.pool, _who(decision)] += 1


def _who(decision: Decision) -> str:
    """The source of the last step that moved the number."""
    before, who = decision.current, ""
    for reason in decision.reasons:
        if reason.replicas != before:
            before, who = reason.replicas, reason.source
    return who or decision.reasons[-1].source


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
class Commit:
    """What a pass needs to become true. broke: told of a pool whose turn ended by a defect.

    memory: of every pool, as the journal has it.
    """

    journal: Ledger
    hands: Mapping[str, Dispatch]
    board: Board
    answers: Answers
    stats: Stats
    broke: Callable[[RuleSet, float, Exception], None]
    memory: dict[str, Memory] = field(default_factory=dict)

    def __call__(
        self,
        considered: Sequence[Considered],
        now: float,
        open_by_pool: Mapping[str, list[Action]],
        max_launches: int,
        launches_of: Mapping[str, int],
    ) -> tuple[list[Alert], list[Seen]]:
        """One transaction for all pools of the pass, then what it holds is published and done.

        Returns the alerts that receivers must hear of, and what there is to learn from.
        """
        plans = _admitted(considered, max_launches, launches_of)
        made: list[tuple[Considered, Entry]] = []
        tell: list[Alert] = []
        for c, admitted in zip(considered, plans, strict=True):
            try:
                memory = remember(c.rules, c.memory, c.decision, admitted)
                due = alerts.due(self.memory.get(c.rules.pool, Memory()).alerts, memory.alerts)
            except Exception as error:  # noqa: BLE001 - the border of one pool; `broke` logs the traceback
                self.broke(c.rules, now, error)
                continue
            made.append((c, Entry(c.decision, admitted, c.outcomes, memory)))
            tell += due
        if not self._recorded(made, now):
            return [], []
        seen = []
        for c, entry in made:
            pool = c.rules.pool
            self.memory[pool] = entry.memory
            self.answers.recorded(pool, c.outcomes)
            # Published before it is applied: routers stop sending to an instance before its drain begins.
            fleet = intents.unite(c.fleet, entry.plan.actions) if c.fleet is not None else None
            firing = tuple(entry.memory.alerts.values())
            rolling, silence = entry.memory.rolling, self._silence(c)
            self.board.publish(
                PoolView(c.rules, now, c.decision, entry.plan, fleet, firing, silence, rolling, entry.memory)
            )
            again = self.answers.unanswered(open_by_pool[pool], c.outcomes, now, c.rules.tick_s)
            self.submit([*again, *entry.plan.actions])
            if not c.rules.shadow_of:  # an imagined launch teaches nothing
                self.stats.note(c.decision)
                seen.append(Seen(now, c.rules, (*open_by_pool[pool], *entry.plan.actions), c.outcomes, c.fleet))
        return tell, seen

    def _recorded(self, made: Sequence[tuple[Considered, Entry]], now: float) -> bool:
        """Whether the journal took it; if not, nothing is done, and every pool says so."""
        began = monotonic()
        try:
            self.journal.record([entry for _, entry in made])
        except StorageError as error:
            self.stats.journal_failures += 1
            if self.stats.problem != str(error):  # once, not at every tick
                log.error("journal refused, nothing is done", problem=str(error))
            self.stats.problem = str(error)
            for c, _ in made:
                known = tuple(self.memory.get(c.rules.pool, Memory()).alerts.values())
                self.board.publish(PoolView(c.rules, now, c.decision, None, c.fleet, known, str(error)))
            return False
        self.stats.problem = ""
        self.stats.journal_s = monotonic() - began
        return True

    def _silence(self, c: Considered) -> str:
        """Why the fleet is unknown, in the providers' own words."""
        if not c.decision.blind:
            return ""
        names = sorted({o.provider for o in c.rules.offers} or self.hands.keys() - {SHADOW})
        told = [f"{n}: {self.hands[n].calls().last_error}" for n in names if n in self.hands]
        missing = [f"{n}: no such provider is set up" for n in names if n not in self.hands]
        return "; ".join([c.decision.reasons[-1].text, *missing, *(t for t in told if not t.endswith(": "))])

    def submit(self, actions: Iterable[Action]) -> None:
        """Hands intents to their providers."""
        by_provider: dict[str, list[Action]] = defaultdict(list)
        for action in actions:
            by_provider[provider_of(action)].append(action)
        for name, some in by_provider.items():
            hand = self.hands.get(name)
            if hand is None:
                log.error("no such provider is configured, its intents wait", provider=name, actions=len(some))
                continue
            hand.submit(some)


def _admitted(considered: Sequence[Considered], max_launches: int, launches_of: Mapping[str, int]) -> list[Plan]:
    """The plans of one pass within its limit; what a candidate imagines takes nothing of it from the pools."""
    real = iter(admit([c.plan for c in considered if not c.rules.shadow_of], max_launches, launches_of))
    return [admit([c.plan], max_launches)[0] if c.rules.shadow_of else next(real) for c in considered]


def provider_of(action: Action) -> str:
    """Who is asked to carry it out."""
    return action.offer.provider if action.kind == "launch" else action.provider
