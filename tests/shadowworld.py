"""A pool of fluid under a rule file that names a candidate, through the ordinary loop on a simulated clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoscaler.backtest.fluid import FluidPool, demand_of
from autoscaler.backtest.world import FluidWorld
from autoscaler.board import Board, PoolView
from autoscaler.clock import SimClock
from autoscaler.dispatch import Inline
from autoscaler.journal import Journal
from autoscaler.loop import Loop
from autoscaler.rulefile.reader import Defaults
from autoscaler.rulefile.watch import RuleBook
from autoscaler.shadow import Shadows
from autoscaler.store import Store
from autoscaler.trace import Trace
from autoscaler.types import Alert, Decision, Fleet

START = 1_790_000_000.0
TICK_S = 15.0
BOOT_S = 120.0

RULES = """\
pool: chat
tick: 15s
replica: {{capacity: 4 requests/s}}
limits: {{min: 1, max: 20}}
offers:
  from:
    - sim: {{type: small, price: 2 USD/h, lead_time: 2m}}
signals:
  load:  {{metric: requests_arrived_total, rate: 1m}}
  queue: {{metric: requests_waiting}}
rules:
  - {{name: enough, target: {{signal: load, per_replica: {each} requests/s}}}}
  - {{name: long, when: {{queue: {{above: 50}}}}, alert: critical}}
scale_in: {{stabilization: {hold}, cool_off: 1m}}
{more}
"""
CANDIDATE = "shadow: {file: candidates/next.yaml}"


def rule_text(each: float = 3.0, hold: str = "2m", more: str = "") -> str:
    """A pool that plans so many requests per second for each replica."""
    return RULES.format(each=f"{each:g}", hold=hold, more=more)


def demand(minutes: int = 120, seed: int = 1) -> Trace:
    """(minute,) requests of a load that walks between 4/s and 40/s."""
    rng = np.random.default_rng(seed)
    rate = np.clip(12.0 + np.cumsum(rng.normal(0.0, 2.0, minutes)), 4.0, 40.0)
    return Trace(60.0 * np.arange(minutes, dtype=np.float64), 60.0 * rate, 60.0, np.zeros(minutes, bool))


@dataclass
class ShadowWorld:
    """What a restart keeps is made once: folder, clock, pool, journal, store. `loop` and `shadows` are one process."""

    folder: Path
    trace: Trace = field(default_factory=demand)
    ready: int = 3
    journal: Journal = field(default_factory=Journal)
    alerts: list[Alert] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock, self.store = SimClock(START), Store(None)
        self.fluid = FluidPool(demand_of(self.trace), 4.0, BOOT_S, self.ready)
        (self.folder / "rules" / "candidates").mkdir(parents=True, exist_ok=True)

    @property
    def rules(self) -> Path:
        return self.folder / "rules" / "chat.yaml"

    @property
    def candidate(self) -> Path:
        return self.folder / "rules" / "candidates" / "next.yaml"

    def begin(self, at_once: bool = False) -> None:
        """A new process. at_once: the candidate is there at the first tick, and not only when the fleet is known."""
        self.book = RuleBook(self.folder / "rules", Defaults())
        self.board = Board()
        rules = self.book.current()["chat"]
        if not hasattr(self, "world"):
            self.world = FluidWorld("chat", self.fluid, self.clock, START, TICK_S, rules.offers[0])
        if at_once:
            self.board.publish(PoolView(rules, START, fleet=self.world.observe()))
        self.shadows = Shadows(self.book, self.board, self.store, self.clock, self.folder / "data")
        self.loop = Loop(
            clock=self.clock,
            rules=self.shadows.current,
            collectors=(self.world,),
            store=self.store,
            journal=self.journal,
            hands={"sim": Inline(self.world, self.clock)} | self.shadows.hands,
            board=self.board,
            notify=self.alerts.extend,
            learned=self.shadows.learned,
            work=self._work,
            by_hand=False,  # its machines were there before, and that is told of real pools only
        )

    def run(self, seconds: float) -> None:
        """Let the process and its world run."""
        self.loop.run(until=self.clock.now() + seconds)

    def stop(self) -> None:
        """The process ends as it should."""
        self.shadows.close()

    def decisions(self, pool: str) -> list[Decision]:
        """Journalled decisions, oldest first."""
        return self.journal.decisions(pool, limit=100_000)[::-1]

    def fleet(self, pool: str) -> Fleet:
        """As the last tick left it."""
        found = self.board.pools()[pool].fleet
        assert found is not None
        return found

    def _work(self, now: float) -> None:
        self.shadows.note(now)
        self.book.poll()
        self.shadows.poll()
