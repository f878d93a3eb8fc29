"""Every candidate beside its pool: when it begins, what its fleet is, and how both compare since then."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import structlog

from autoscaler.board import Board, PoolView
from autoscaler.dispatch import Dispatch, Inline
from autoscaler.errors import StorageError
from autoscaler.ports import Clock
from autoscaler.queries import definition
from autoscaler.rulefile.watch import Change, RuleBook
from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.shadow.account import Account, Look, Side, Size, borrowed, demand_of, demand_signal
from autoscaler.shadow.candidates import Candidates
from autoscaler.shadow.imagined import Imagined
from autoscaler.shadow.kept import Kept, Shelf
from autoscaler.shadow.running import Running, known_of, made_of
from autoscaler.store import Store
from autoscaler.types import Instance, Launch, Learned, Offer, Past

log = structlog.get_logger()

KEEP_EVERY_S = 60.0
"""A changed fleet is kept at the next poll; sums may lose a minute in a crash."""

PAST_S, PAST_TO_LEARN_S = 86_400.0, 7 * 86_400.0
"""How much of the pool's past a candidate begins with: its lookbacks need hours, a forecast of its own a week."""

NOTHING = Learned()


@dataclass(frozen=True, slots=True)
class ShadowView:
    """A pool and its candidate side by side.

    candidate None: it was not judged yet, or cannot run. account None: nothing was compared yet. demand: the signal
    that tells what comes, empty = none does. borrowed: the candidate's signals that are measured on the active pool's
    fleet. problem: why the candidate, or its newest version, does not run.
    """

    pool: str
    file: str
    active: PoolView | None
    candidate: PoolView | None
    account: Account | None
    demand: str
    borrowed: tuple[str, ...]
    problem: str


@dataclass
class Shadows:
    """The rules in force with those of candidates.

    `poll` and `close` are for one thread, `note` for the loop's; the rest may be called from any. learned_of: what is
    known of a pool. directory: where candidates' states are kept; None = nowhere. hands: of the provider that imagines.
    """

    book: RuleBook
    board: Board
    store: Store
    clock: Clock
    directory: Path | None = None
    learned_of: Callable[[str], Learned] = lambda _: NOTHING
    provider: Imagined = field(init=False)
    hands: dict[str, Dispatch] = field(init=False)
    _candidates: Candidates = field(init=False)
    _shelf: Shelf = field(init=False)
    _running: dict[str, Running] = field(default_factory=dict)
    _current: Mapping[str, RuleSet] = field(default_factory=dict)
    _to_learn: Mapping[str, RuleSet] = field(default_factory=dict)
    _accounts: dict[str, Account] = field(default_factory=dict)
    _looks: dict[str, Look] = field(default_factory=dict)
    _counted: dict[str, int] = field(default_factory=dict)
    _kept: dict[str, tuple[tuple[Instance, ...], float]] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.provider = Imagined(self.clock, self._lead_time_s)
        self.hands = {SHADOW: Inline(self.provider, self.clock)}
        self._candidates = Candidates(self.book.defaults)
        self._shelf = Shelf(self.directory)
        self.poll()
        # A candidate that was given up while no service ran begins afresh, should it come back.
        for pool in self._shelf.pools() - {p for p, r in self.book.current().items() if r.shadow}:
            self._drop(pool)

    # --- what others read ---------------------------------------------------------------------------------------

    def current(self) -> Mapping[str, RuleSet]:
        """The rules in force by pool, candidates as pools of their own; the mapping never changes."""
        return self._current

    def to_learn(self) -> Mapping[str, RuleSet]:
        """The rules that something is to be learned for: those in force, and candidates with forecasts of their own."""
        return self._to_learn

    def learned(self, pool: str) -> Learned:
        """What is known of a pool; of a candidate, what is known of the pool that it shadows."""
        running = self._running.get(pool.removesuffix(SHADOW)) if pool.endswith(SHADOW) else None
        if running is None:
            return self.learned_of(pool)
        return known_of(running, self.learned_of(pool), self.learned_of(running.active.pool))

    def views(self) -> Mapping[str, ShadowView]:
        """Every pool that names a candidate, with it, by pool."""
        boards, faults, found = self.board.pools(), self._candidates.faults(), {}
        for pool, rules in self._current.items():
            if not rules.shadow or rules.shadow_of:
                continue
            signal = demand_signal(rules)
            problem = "; ".join(str(fault) for fault in faults.get(pool, ()))
            if not problem and pool not in self._running:
                problem = "it begins when the pool's fleet is known"
            found[pool] = ShadowView(
                pool=pool,
                file=self._candidates.file(pool),
                active=boards.get(pool),
                candidate=boards.get(pool + SHADOW),
                account=self._accounts.get(pool),
                demand=signal.name if signal is not None else "",
                borrowed=borrowed(self._running[pool].rules) if pool in self._running else (),
                problem=problem,
            )
        return found

    def problems(self) -> tuple[str, ...]:
        """What keeps candidates from running or from being judged, and what of them cannot be kept."""
        faults = self._candidates.faults()
        broken = [f"candidate of pool {pool}: {fault}" for pool, some in sorted(faults.items()) for fault in some]
        views = self.board.pools()
        ticks = [(r.rules.pool, view.error) for r in list(self._running.values()) if (view := views.get(r.rules.pool))]
        return (*broken, *self._told.values(), *(f"pool {pool}: {error}" for pool, error in ticks if error))

    # --- chores -------------------------------------------------------------------------------------------------

    def poll(self) -> tuple[Change, ...]:
        """Follow the candidates' files, begin and end candidates, keep their states; what changed in the files."""
        active = self.book.current()
        changes = self._candidates.poll(active)
        found = self._candidates.current()
        for pool in self._running.keys() - found.keys():
            self._end(pool)
        for pool, source in found.items():
            before = self._running.get(pool)
            if before is not None and before.active is active[pool] and before.source is source:
                continue
            made = made_of(active[pool], source)
            if before is None and not self._begin(made):
                continue
            self._running[pool] = made
        self._publish(active)
        self._keep(self.clock.now())
        return changes

    def close(self) -> None:
        """Keep every state."""
        for pool in self._running:
            self._write(pool, self.clock.now())

    def note(self, now: float) -> None:
        """Add up what happened since the last pass of the loop."""
        views = self.board.pools()
        for pool, running in list(self._running.items()):
            a, c = views.get(pool), views.get(running.rules.pool)
            if a is None or c is None or a.fleet is None or c.fleet is None:
                continue
            try:
                self._add(pool, a, c, now)
            except Exception as error:
                # The loop's own thread: sums that break must not end what scales real pools.
                text = f"pool {pool}: the comparison with its candidate broke: {type(error).__name__}: {error}"
                if self._told.get(f"sums of {pool}") != text:
                    log.exception("the comparison with a candidate broke", pool=pool)
                self._told[f"sums of {pool}"] = text

    def _add(self, pool: str, a: PoolView, c: PoolView, now: float) -> None:
        """What happened to one pool and its candidate since the last pass."""
        assert a.fleet is not None
        assert c.fleet is not None
        hashes = a.rules.hash, c.rules.hash
        account, look = self._accounts.get(pool), self._looks.get(pool)
        if account is None or account.hashes != hashes:
            # Sums over two versions of either side would compare neither.
            account, look = Account(now, hashes), None
            self._counted |= {view.rules.pool: view.decision.number for view in (a, c) if view.decision is not None}
        if look is not None:
            account = account.after(look, now, a.rules.patience_s)
        active, candidate = self._decided(account.active, a), self._decided(account.candidate, c)
        demand, capacity = demand_of(a.rules, a.decision) if a.decision is not None else (None, None)
        self._accounts[pool] = replace(account, active=active, candidate=candidate)
        self._looks[pool] = Look(now, Size.of(a.fleet), Size.of(c.fleet), demand, capacity)

    def _decided(self, side: Side, view: PoolView) -> Side:
        """The side after the view's decision, if that was not counted yet."""
        pool, decision = view.rules.pool, view.decision
        if decision is None or view.plan is None or decision.number <= self._counted.get(pool, -1):
            return side
        self._counted[pool] = decision.number
        return side.decided(decision, sum(isinstance(action, Launch) for action in view.plan.actions))

    # --- parts --------------------------------------------------------------------------------------------------

    def _begin(self, made: Running) -> bool:
        """Begin where the last process stopped, else with the active pool's size; False while that is not known."""
        pool, now = made.active.pool, self.clock.now()
        kept = self._read(pool)
        if kept is not None:
            self.provider.resume(made.rules.pool, kept.instances)
            if kept.account is not None:
                gone_s = max(0.0, now - kept.at)
                self._accounts[pool] = replace(kept.account, unwatched_s=kept.account.unwatched_s + gone_s)
        else:
            view = self.board.pools().get(pool)
            if view is None or view.fleet is None:
                return False
            self.provider.begin(made.rules, view.fleet)
            self._accounts.pop(pool, None)
            self._looks.pop(pool, None)
        self._remember(made, now)
        log.info("candidate begins", pool=pool, file=made.source.file, resumed=kept is not None)
        return True

    def _remember(self, made: Running, now: float) -> None:
        """Give a candidate the past of signals that the active rules read too."""
        known = {definition(s): s for s in made.active.signals if s.forecast is None}
        span_s = PAST_S if made.learning is None else PAST_TO_LEARN_S
        for signal in made.rules.signals:
            same = known.get(definition(signal)) if signal.forecast is None else None
            if same is not None:
                at, values = self.store.history(made.active.pool, same.name, now - span_s, now)
                if at.size:
                    self.store.fill(Past(made.rules.pool, signal.name, at, values, definition(signal)))

    def _end(self, pool: str) -> None:
        """A candidate that nobody names any more leaves nothing."""
        self._running.pop(pool)
        self.provider.end(pool + SHADOW)
        for known in (self._accounts, self._looks, self._kept):
            known.pop(pool, None)
        self._counted = {name: n for name, n in self._counted.items() if name not in (pool, pool + SHADOW)}
        self._drop(pool)

    def _drop(self, pool: str) -> None:
        try:
            self._shelf.drop(pool)
        except StorageError as error:
            self._tell(pool, str(error))

    def _publish(self, active: Mapping[str, RuleSet]) -> None:
        merged = dict(active) | {r.rules.pool: r.rules for r in self._running.values()}
        learning = [r.learning for r in self._running.values() if r.learning is not None]
        if merged != self._current:
            self._current = MappingProxyType(merged)
        if (to_learn := dict(active) | {r.pool: r for r in learning}) != self._to_learn:
            self._to_learn = MappingProxyType(to_learn)

    def _keep(self, now: float) -> None:
        """Write the states whose fleet changed, and all of them once a minute."""
        for pool, running in self._running.items():
            fleet, at = self._kept.get(pool, ((), -math.inf))
            if fleet != self.provider.instances(running.rules.pool) or not 0.0 <= now - at < KEEP_EVERY_S:
                self._write(pool, now)

    def _write(self, pool: str, now: float) -> None:
        instances = self.provider.instances(pool + SHADOW)
        try:
            self._shelf.write(pool, Kept(1, now, pool, instances, self._accounts.get(pool)))
        except StorageError as error:
            self._tell(pool, str(error))
            return
        self._kept[pool] = instances, now
        self._told.pop(pool, None)

    def _read(self, pool: str) -> Kept | None:
        try:
            return self._shelf.read(pool)
        except StorageError as error:
            self._tell(pool, str(error))
            return None

    def _tell(self, pool: str, text: str) -> None:
        if self._told.get(pool) != text:  # once, not every second
            log.error("state of a candidate", pool=pool, problem=text)
        self._told[pool] = text

    def _lead_time_s(self, pool: str, offer: Offer) -> float:
        """The median that is learned for the real offer, else what the rule file says."""
        known = self.learned_of(pool.removesuffix(SHADOW)).lead_times.get(offer.key.removeprefix(f"{SHADOW}/"))
        return known.p50_s if known is not None else offer.lead_time_s
