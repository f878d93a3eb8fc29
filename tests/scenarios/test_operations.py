"""Closed loops in which people replace instances, roll images and undo decisions: nobody is left unserved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from autoscaler import sim_demand as shape
from autoscaler.movement import Bounds, Disruption, LaunchLimits
from autoscaler.ports import Clock
from autoscaler.sim import SimCluster
from autoscaler.simulation import START, Simulation
from autoscaler.types import Action, Fleet, Mark, Offer, Outcome, Override, Roll, Rolling
from autoscaler.windows import open_until, window
from collectors.sim import SimCollector
from providers.sim import SimProvider
from tests.scenarios.pools import OFFER, pool, simulate

NEW = replace(OFFER, settings=(("image", "new"),))
BAD = replace(OFFER, settings=(("image", "bad"),))
STEADY = shape.constant(12.0)
STEP_S = 15.0
RULED = pool(disruption=Disruption(canary_s=120.0))
FIXED = replace(RULED, bounds=Bounds(4, 4))
"""Of one size, so that every launch and every removal is of the operation that a test is about."""


@dataclass
class Faulty:
    """A simulated provider whose machines of the bad image never serve, or die when they have served for a while."""

    inner: SimProvider
    serves_s: float = 0.0

    def observe(self) -> Fleet:
        cluster, now = self.inner.cluster, self.inner.clock.now()
        for machine in [m for m in cluster.machines.values() if m.made_of == BAD.made_of]:
            if self.serves_s == 0:
                machine.silent = True
            elif now > machine.ready_at + self.serves_s:
                del cluster.machines[machine.id]
        return self.inner.observe()

    def apply(self, action: Action) -> Outcome:
        return self.inner.apply(action)


def faulty(cluster: SimCluster, clock: Clock) -> Faulty:
    return Faulty(SimProvider(cluster, clock))


def serving(sim: Simulation) -> int:
    return sim.cluster.report().ready


def steps(sim: Simulation, seconds: float) -> Iterator[Fleet]:
    """The fleet after each tick."""
    for _ in range(int(seconds / STEP_S)):
        sim.run(STEP_S)
        yield sim.cluster.report()


def settled_pool() -> Simulation:
    sim = simulate(STEADY, ruled=FIXED)
    sim.run(1500)
    return sim


def rolled(sim: Simulation, offer: Offer = NEW, **changes: object) -> None:
    """The rule file gets another image, and a person rolls it."""
    now = sim.clock.now()
    sim.rules = {"chat": replace(sim.rules["chat"], offers=(offer,), hash=offer.made_of)}
    wish = Roll("r", "chat", now, now + 86400, "ada", "driver", canary_s=120.0, created_at=now)
    sim.journal.operations.put_roll(replace(wish, **changes))  # type: ignore[arg-type]


def progress(sim: Simulation) -> Rolling:
    found = sim.loop.board.pools()["chat"].rolling
    assert found is not None
    return found


def kinds(sim: Simulation) -> set[str]:
    return {i.made_of for i in sim.cluster.report().instances}


def test_a_replacement_never_leaves_fewer_than_are_needed_and_nothing_is_cut_off() -> None:
    sim = settled_pool()
    need, victim = serving(sim), sim.cluster.report().instances[0].id
    now = sim.clock.now()
    sim.journal.operations.put_mark(Mark(victim, "chat", "replace", now + 86400, "ada", "ECC errors", now))
    least = min(fleet.ready for fleet in steps(sim, 600))
    left = {i.id for i in sim.cluster.report().instances}
    assert least >= need
    assert victim not in left
    assert len(left) == need, "one came for the one that went, and the pool is as large as before"
    assert sim.score("chat").requests_aborted == 0


def test_a_cordoned_one_serves_nobody_and_is_kept_until_it_comes_back() -> None:
    sim = settled_pool()
    need, held = serving(sim), sim.cluster.report().instances[0].id
    now = sim.clock.now()
    sim.journal.operations.put_mark(Mark(held, "chat", "cordon", now + 900, "ada", "evidence", now))
    states = [next(i.state for i in fleet.instances if i.id == held) for fleet in steps(sim, 870)]
    assert set(states[1:]) == {"draining"}, "longer than any drain may take"
    assert sim.cluster.report().ready == need, "another serves in its place"
    sim.run(120)
    assert next(i.state for i in sim.cluster.report().instances if i.id == held) == "ready"
    sim.run(300)
    assert sim.cluster.report().ready == need
    assert sim.score("chat").requests_aborted == 0


def test_a_roll_replaces_all_and_the_pool_is_whole_at_every_tick() -> None:
    sim = settled_pool()
    need = serving(sim)
    rolled(sim)
    fleets = list(steps(sim, 1800))
    assert (progress(sim).state, progress(sim).text) == ("done", f"{need} instances replaced")
    assert kinds(sim) == {NEW.made_of}
    assert min(f.ready for f in fleets) >= need
    assert max(f.size for f in fleets) <= need + 1, "one besides those needed, as the budget says"
    assert sim.score("chat").requests_aborted == 0


@pytest.mark.parametrize("crash_s", [30.0, 75.0, 200.0, 260.0, 400.0])
def test_a_crash_in_the_middle_of_a_roll_goes_on_where_it_was(crash_s: float) -> None:
    sim = settled_pool()
    need, launches = serving(sim), sim.score("chat").launches
    rolled(sim)
    sim.run(crash_s)
    before = sim.journal.load()["chat"].rolling
    sim.restart()
    least = min(fleet.ready for fleet in steps(sim, 1800))
    assert before is not None
    assert progress(sim).state == "done"
    assert progress(sim).gone == need
    assert sim.score("chat").launches == launches + need, "not one more than there were to replace"
    assert least >= need


def test_a_bad_image_stops_the_roll_at_the_canary_with_the_pool_whole() -> None:
    quick = replace(FIXED, launch=LaunchLimits(register_s=180.0))
    base = simulate(STEADY, ruled=quick)
    sim = Simulation(base.rules, base.cluster, faulty, SimCollector)
    sim.run(1500)
    need, old = serving(sim), {i.id for i in sim.cluster.report().instances}
    launches = sim.score("chat").launches
    rolled(sim, BAD)
    least = min(fleet.ready for fleet in steps(sim, 1200))
    assert progress(sim).state == "failed"
    assert "does not serve" in progress(sim).text
    assert least == need
    assert {i.id for i in sim.cluster.report().instances} == old, "the canary was sent away, and nobody else"
    assert sim.score("chat").launches == launches + 1


def test_an_image_that_serves_for_a_minute_and_dies_takes_nobody_with_it() -> None:
    base = simulate(STEADY, ruled=FIXED)
    sim = Simulation(base.rules, base.cluster, lambda c, k: Faulty(SimProvider(c, k), 60.0), SimCollector)
    sim.run(1500)
    old = {i.id for i in sim.cluster.report().instances}
    rolled(sim, BAD)
    least = min(fleet.ready for fleet in steps(sim, 1200))
    assert progress(sim).state == "failed"
    assert "was gone before it had served for 2 min" in progress(sim).text
    assert (least, {i.id for i in sim.cluster.report().instances}) == (4, old), "the old ones stayed for the canary"


def test_after_a_pause_the_repaired_image_goes_on_with_what_is_left() -> None:
    quick = replace(FIXED, launch=LaunchLimits(register_s=180.0))
    base = simulate(STEADY, ruled=quick)
    sim = Simulation(base.rules, base.cluster, faulty, SimCollector)
    sim.run(1500)
    rolled(sim, BAD, pause_on_failure=True)
    sim.run(600)
    assert progress(sim).state == "paused"
    rolled(sim, NEW, id="again")
    sim.run(2400)
    assert progress(sim).state == "done"
    assert kinds(sim) == {NEW.made_of}


def test_a_roll_keeps_to_its_windows_over_the_clock() -> None:
    """The simulation begins at 14:13 UTC."""
    sim = settled_pool()
    need = serving(sim)
    windows = ("15:00-15:04", "16:00-16:04", "17:00-17:04")
    rolled(sim, windows=windows)
    drained = [i.since for fleet in steps(sim, 12000) for i in fleet.instances if i.state == "draining"]
    assert (progress(sim).state, progress(sim).gone) == ("done", need)
    assert len({at // 3600 for at in drained}) >= 2, "one window is too short for all"
    assert all(open_until([[window(text) for text in windows]], at) is not None for at in drained)


def test_demand_that_rises_in_the_middle_of_a_roll_is_served() -> None:
    sim = simulate(shape.step(12.0, 40.0, START + 1700), ruled=RULED)
    sim.run(1500)
    rolled(sim)
    sim.run(3600)
    assert progress(sim).state == "done"
    assert kinds(sim) == {NEW.made_of}
    assert sim.cluster.report().ready >= 13
    assert sim.score("chat").requests_aborted == 0


def test_a_floor_undoes_a_scale_in_and_lets_go_at_its_end() -> None:
    sim = simulate(shape.step(30.0, 6.0, START + 1500), ruled=RULED)
    sim.run(3600)
    assert serving(sim) < 9
    now = sim.clock.now()
    sim.journal.put_override(
        Override("rollback", "chat", "floor", now + 900, "ada", "it was wrong", 10, created_at=now)
    )
    sim.run(300)
    assert serving(sim) >= 10
    sim.run(3600)
    assert serving(sim) < 10
