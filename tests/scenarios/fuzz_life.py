"""The life of a drawn world, and what must be true in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from autoscaler.errors import StorageError
from autoscaler.journal import Entry, Journal
from autoscaler.ruleset import RuleSet
from autoscaler.sim import SimCluster, Workload
from autoscaler.simulation import START, Simulation
from autoscaler.types import Decision, Override
from collectors.sim import SimCollector
from providers.sim import SimProvider
from tests.scenarios.fuzz_scenario import CHAOS_S, RULES, Scenario

SETTLE_S = 7200.0
"""The longest that a world may take to come to rest."""

GRACE_S = 300.0
"""What waited before the fleet came to rest is served or lost by then."""

ORDER_VALID_S = 360.0
"""The longest limit of a launch, and some ticks."""

CALM_S = 600.0
"""How long it must then stay at rest."""

PLANNED = 3.2
"""Requests per second that the rules plan for one replica: 80 % of the 4 that it can do."""


class Killed(BaseException):
    """The process is gone."""


class Mortal(Journal):
    """A journal whose disk may be full, and whose process may die right after a write."""

    full_until = 0.0
    dies = False
    cluster: SimCluster | None = None
    there = 0
    surplus = 0
    wanted: tuple[tuple[float, int], ...] = ()

    def record(self, entries: Sequence[Entry]) -> None:
        if any(e.decision.at < self.full_until for e in entries):
            raise StorageError("journal: no space left; make some")
        super().record(entries)
        machines = self.cluster.machines.values() if self.cluster is not None else ()
        there = sum(m.replicas for m in machines if m.role == "serving" and not m.silent)
        for e in entries:
            # An order may be carried out for as long as it is valid, whatever is wanted by then.
            known = [w for w in self.wanted if w[0] > e.decision.at - ORDER_VALID_S]
            self.wanted = (*known, (e.decision.at, e.decision.want))
        if there > self.there:
            self.surplus = max(self.surplus, there - max(w for _, w in self.wanted))
        self.there = there
        if self.dies:
            self.dies = False
            raise Killed


def build(s: Scenario) -> Simulation:
    """The simulation of a scenario, not started yet."""
    cluster = SimCluster(
        {"chat": Workload(s.demand, slots=40, service_s=10.0)},  # long enough for a hasty drain to hurt
        seed=s.seed,
        start=START,
        boot_s=s.boot_s,
        boot_sigma=s.boot_sigma,
        faults=[replace(f, since=START + f.since, until=START + f.until) for f in s.faults],
    )
    journal = Mortal()
    journal.cluster = cluster
    return Simulation({"chat": s.ruled}, cluster, SimProvider, SimCollector, journal=journal)


def live(s: Scenario) -> list[str]:
    """Runs the world of a scenario to its end; returns what was wrong with it, in words."""
    sim = build(s)
    for at, event in sorted(_events(s), key=lambda e: e[0]):
        _run_until(sim, START + at)
        event(sim)
    _run_until(sim, START + CHAOS_S)
    wrong = _settles(s, sim)
    decisions = sim.journal.decisions("chat", limit=100_000)[::-1]
    wrong += _lawful(s, decisions)
    score = sim.score("chat")
    if not any(f.kind == "crash" for f in s.faults) and score.requests_aborted:
        wrong.append(f"{score.requests_aborted} requests were aborted and nothing crashed")
    assert isinstance(sim.journal, Mortal)
    # Only a launch that stays invisible for longer than its limit may be ordered again.
    hidden_s = sum(f.until - f.since for f in s.faults if f.kind == "invisible")
    given_up = hidden_s >= s.ruled.launch.limit_s or any(f.kind == "silent" for f in s.faults)
    if not given_up and sim.journal.surplus > _granule(s):
        wrong.append(f"the fleet grew by {sim.journal.surplus} replicas beyond what anybody wanted")
    if sim.loop.stats.failures:
        wrong.append(f"{sim.loop.stats.failures} ticks broke: {sim.loop.board.pools()['chat'].error}")
    made = [m.action for m in sim.cluster.machines.values()]
    if len(made) != len(set(made)):
        wrong.append("a launch was carried out twice")
    return wrong


Event = Callable[[Simulation], None]


def _events(s: Scenario) -> list[tuple[float, Event]]:
    """What happens to the service, and when."""
    found: list[tuple[float, Event]] = [(at, _kill if killed else Simulation.restart) for at, killed in s.restarts]
    found += [(o.created_at - START, partial(_put, o)) for o in s.overrides]
    return found + [(since, partial(_fill, until)) for since, until in s.full]


def _put(override: Override, sim: Simulation) -> None:
    sim.journal.put_override(override)


def _fill(until: float, sim: Simulation) -> None:
    assert isinstance(sim.journal, Mortal)
    sim.journal.full_until = START + until


def _kill(sim: Simulation) -> None:
    assert isinstance(sim.journal, Mortal)
    sim.journal.dies = True


def _run_until(sim: Simulation, end: float) -> None:
    while sim.clock.now() < end:
        try:
            sim.run(end - sim.clock.now())
        except Killed:
            sim.restart()


def _settles(s: Scenario, sim: Simulation) -> list[str]:
    end = START + CHAOS_S + SETTLE_S
    fault = "it never ran"
    while sim.clock.now() < end:
        _run_until(sim, sim.clock.now() + 150.0)
        fault = _unrest(s, sim)
        if not fault:
            break
    if fault:
        return [f"{SETTLE_S:.0f} s after the last fault: {fault}"]
    sim.run(GRACE_S)
    before = sim.score("chat")
    since = sim.clock.now()
    sim.run(CALM_S)
    after = sim.score("chat")
    wrong = []
    lost = after.requests_lost - before.requests_lost
    if (
        s.steady
        and s.ruled.bounds.max * PLANNED > s.steady
        and s.ruled.rules != RULES["queue only"]
        and lost > 0.01 * CALM_S * s.steady
    ):
        wrong.append(f"{lost} requests of a steady demand were lost")
    moves = sum(d.want != d.current for d in sim.journal.decisions("chat", since=since, limit=10_000))
    if moves > (4 if s.ruled.scale_in.stabilization_s >= 60 else 20):
        wrong.append(f"{moves} changes of size in {CALM_S:.0f} s of steady demand")
    return wrong


def _unrest(s: Scenario, sim: Simulation) -> str:
    """What is not at rest yet; empty when everything is."""
    decision = sim.loop.board.pools()["chat"].decision
    if decision is None or decision.blind:
        return "no decision"
    there = sim.cluster.report()
    states = {state: there.count(state) for state in ("ready", "pending", "draining", "warm", "stopping", "failed")}
    if any(n for state, n in states.items() if state != "ready"):
        return f"instances are {states}; {decision.reasons[-1].text}"
    if not decision.want <= there.ready <= decision.want + _granule(s):
        return f"{there.ready} ready, {decision.want} wanted; {decision.reasons[-1].text}"
    open_ = sim.journal.open_intents()
    if open_:
        return f"intents are open: {open_}"
    if s.ruled.rules == RULES["queue only"]:
        # Nothing sizes this pool; it must only find its way down when nobody comes.
        idle = s.steady == 0 and decision.want > s.ruled.bounds.min
        return f"{decision.want} are left without any demand; {decision.reasons[-1].text}" if idle else ""
    need = s.steady / PLANNED
    most, least = s.ruled.bounds.max, s.ruled.bounds.min
    if decision.want < min(most, math.floor(need / 1.15)):
        return f"{decision.want} wanted are too few for {need:.1f}; {decision.reasons[-1].text}"
    if decision.want > max(least, math.ceil(need * 1.25) + 1):
        return f"{decision.want} wanted are too many for {need:.1f}; {decision.reasons[-1].text}"
    return ""


def _granule(s: Scenario) -> int:
    """How many replicas more than wanted the size of the instances may bring."""
    return max(o.replicas for o in s.ruled.offers) - 1


def _lawful(s: Scenario, decisions: Sequence[Decision]) -> list[str]:
    """What single decisions, and each with those before it, did wrong."""
    r = s.ruled
    wrong = []
    moves: list[tuple[float, int, int]] = []
    watched_since = START
    for before, d in zip([None, *decisions], decisions, strict=False):
        where = f"decision {d.number} at {d.at - START:.0f} s: "
        if d.reasons[-1].replicas != d.want:
            wrong.append(where + "the last reason has another count")
        if d.blind:
            wrong += [where + "a blind decision moved"] if d.want != d.current else []
            continue
        if before is not None and before.blind:
            watched_since = d.at - r.tick_s
        if not r.bounds.min <= d.want <= r.bounds.max:
            wrong.append(where + f"{d.want} is out of {r.bounds}")
        if d.next_change_at is not None and d.next_change_at < d.at:
            wrong.append(where + f"the next change was {d.at - d.next_change_at:.0f} s ago")
        if d.want != d.current and not _told(s, d):
            wrong += [where + text for text in _hasty(r, d, moves, watched_since)]
        if d.want != d.current:
            moves.append((d.at, d.current, d.want))
    return wrong


def _told(s: Scenario, d: Decision) -> bool:
    """Whether a person or the bounds of the file set the number, which no limit on movement slows down."""
    in_force = {o.kind for o in s.overrides if o.created_at <= d.at < o.until}
    bound = {"floor"} if d.want > d.current else {"ceiling"}
    return bool(in_force & ({"pin", "freeze"} | bound)) or d.reasons[-1].source == "bounds"


def _hasty(r: RuleSet, d: Decision, moves: Sequence[tuple[float, int, int]], watched_since: float) -> list[str]:
    """The limits on movement that a decision broke."""
    out = d.want > d.current
    rule = r.scale_out if out else r.scale_in
    unit = 1 if out else max(o.replicas for o in r.offers)
    inside = [m for m in moves if m[0] > d.at - rule.rate_per_s]
    start = inside[0][1] if inside else d.current
    moved = sum(max(0, b - a if out else a - b) for _, a, b in inside) + abs(d.want - d.current)
    allowed = max(rule.rate_replicas * unit, math.floor(rule.rate_ratio * start))
    wrong = []
    if moved > allowed:
        wrong.append(f"{moved} {'more' if out else 'fewer'} in {rule.rate_per_s:.0f} s, {allowed} are allowed")
    if out:
        return [*wrong, "more than the largest move"] if d.want - d.current > r.scale_out.max_move else wrong
    if any(p.sense == "hold" for p in d.proposals):
        wrong.append(f"went from {d.current} to {d.want} on unknown data")
    if d.at - watched_since < r.scale_in.stabilization_s:
        wrong.append(f"fewer after a watch of {d.at - watched_since:.0f} of {r.scale_in.stabilization_s:.0f} s")
    return wrong
