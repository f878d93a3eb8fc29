"""A person's hands in the closed loop: what is done without an order of ours is told, and taken for a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler import sim_demand as shape
from autoscaler.journal import Journal
from autoscaler.movement import Bounds, Ownership
from autoscaler.ownerless import with_release
from autoscaler.ownership import AUTHOR, OVERRIDE
from autoscaler.ruleset import RuleSet
from autoscaler.sim import Fault
from autoscaler.sim_hands import ByHand
from autoscaler.simulation import START, Simulation
from autoscaler.types import Override
from tests.scenarios.pools import OFFER, pool, simulate

DEMAND = pool(rules=pool().rules[:1])
"""A pool without the queue rule: a target alone sizes it."""


def settled(demand: float = 12.0, ruled: RuleSet = DEMAND, seconds: float = 1200, **changes: object) -> Simulation:
    """A pool of 4 that has been at rest for a while."""
    sim = simulate(shape.constant(demand), ruled=ruled, **changes)  # type: ignore[arg-type]
    sim.run(seconds)
    return sim


def hands(sim: Simulation) -> ByHand:
    return ByHand(sim.cluster)


def ids(sim: Simulation, *states: str) -> list[str]:
    return sorted(i.id for i in sim.cluster.report().instances if i.state in (states or ("ready",)))


def override(sim: Simulation) -> Override | None:
    return next((o for o in sim.journal.overrides(sim.clock.at) if o.id == OVERRIDE), None)


def told(sim: Simulation, since: float = START) -> list[str]:
    """Every reason of a person's hand that decisions gave, oldest first."""
    found = sim.journal.decisions("chat", since=since, limit=1000)
    return [r.text for d in reversed(found) for r in d.reasons if r.source.startswith("manual:")]


def alerted(sim: Simulation) -> set[str]:
    return {dict(a.labels)["change"] for a in sim.alerts if a.name == "manual change"}


def test_a_pool_that_nobody_touches_hears_of_no_hand() -> None:
    sim = simulate(shape.step(6.0, 30.0, START + 600))
    sim.run(3600)
    assert told(sim) == []
    assert sim.loop.custody.counts == {}


def test_machines_that_a_person_adds_stay_as_a_floor_until_its_end() -> None:
    sim = settled()
    size = len(ids(sim))
    made = hands(sim).adds("chat", OFFER, 2)
    sim.run(60)
    found = override(sim)
    assert found is not None
    assert (found.kind, found.replicas, found.author) == ("floor", size + 2, AUTHOR)
    assert found.until == pytest.approx(sim.clock.at + 3600, abs=60)
    assert told(sim)[0] == "adopted chat-hand-1, chat-hand-2, tagged by hand"
    assert alerted(sim) == {"added"}
    sim.run(3000)
    assert set(made) <= set(ids(sim))
    sim.run(2400)
    assert override(sim) is None
    assert len(ids(sim)) == size


def test_a_machine_that_is_ended_by_hand_under_load_is_replaced_and_told_once() -> None:
    sim = settled()
    size = len(ids(sim))
    gone = hands(sim).ends("chat")
    sim.run(300)
    assert len(ids(sim)) == size
    assert override(sim) is None
    assert len(told(sim)) == 1
    assert gone[0] in told(sim)[0]
    assert "tag it again or end it" in told(sim)[0]
    assert alerted(sim) == {"removed"}
    assert sim.loop.custody.counts["chat", "removed"] == 1


def test_a_removal_that_the_demand_allows_becomes_a_ceiling_which_demand_ends() -> None:
    quiet = shape.step(2.0, 24.0, START + 3000)
    floor = Override("more", "chat", "floor", START + 1500, "ada", "warm-up", 6, created_at=START)
    sim = simulate(quiet, ruled=DEMAND)
    sim.journal.put_override(floor)
    sim.run(1520)
    assert len(ids(sim)) >= 5, "scale-in has not gone further yet"
    hands(sim).ends("chat", len(ids(sim)) - 2)
    sim.run(60)
    found = override(sim)
    assert found is not None
    assert (found.kind, found.replicas) == ("ceiling", 2)
    launched = sim.score("chat").launches
    sim.run(1200)
    assert sim.score("chat").launches == launched, "nothing is bought back"
    sim.run(700)
    assert override(sim) is None
    assert any("is over" in text for text in told(sim))
    assert len(ids(sim)) >= 7


def test_a_machine_that_a_person_stopped_is_left_alone_and_another_one_takes_its_place() -> None:
    sim = settled()
    size = len(ids(sim))
    (stopped,) = hands(sim).stops("chat")
    sim.run(600)
    assert stopped in ids(sim, "warm")
    assert len(ids(sim)) == size
    assert alerted(sim) == {"stopped"}
    hands(sim).starts([stopped])
    sim.run(60)
    found = override(sim)
    assert found is not None
    assert (found.kind, found.replicas) == ("floor", size + 1)


def test_with_manual_ignore_a_change_is_told_and_undone() -> None:
    sim = settled(ruled=replace(DEMAND, ownership=Ownership(adopt_for_s=None)))
    size = len(ids(sim))
    hands(sim).adds("chat", OFFER, 2)
    sim.run(600)
    assert override(sim) is None
    assert len(ids(sim)) == size
    assert alerted(sim) == {"added"}


def test_a_persons_own_pin_is_stronger_than_what_a_hand_seems_to_say() -> None:
    sim = settled()
    sim.journal.put_override(Override("p", "chat", "pin", START + 9000, "ada", "launch", 6, created_at=sim.clock.at))
    sim.run(300)
    hands(sim).ends("chat", 2)
    sim.run(300)
    assert override(sim) is None
    assert len(ids(sim)) == 6


def test_a_machine_without_its_tags_is_replaced_and_its_id_is_told() -> None:
    sim = settled()
    size = len(ids(sim))
    (lost,) = hands(sim).removes_tags("chat")
    sim.run(300)
    assert len(ids(sim)) == size
    assert lost in sim.cluster.machines, "it runs on, and nobody touches it"
    assert any(lost in text and "look for its id" in text for text in told(sim))


# --- orphans --------------------------------------------------------------------------------------------------------


def test_an_unknown_launch_counts_until_its_grace_is_over_and_is_ended_then() -> None:
    sim = settled()
    before = ids(sim)
    (orphan,) = hands(sim).adds("chat", OFFER, action="of-nobody")
    sim.run(890)
    assert set(ids(sim)) == {*before, orphan}, "nobody leaves because of it, and it stays"
    sim.run(300)
    assert ids(sim) == before
    assert sim.score("chat").requests_aborted == 0
    assert any(orphan in text and "orphan" in text for text in told(sim))
    assert "orphans" in alerted(sim)


def test_an_unknown_launch_that_the_pool_needs_is_adopted() -> None:
    ruled = replace(DEMAND, bounds=Bounds(1, 40))
    sim = simulate(shape.step(12.0, 15.0, START + 1300), ruled=ruled)
    sim.run(1200)
    (unknown,) = hands(sim).adds("chat", OFFER, action="of-nobody")
    launched = sim.score("chat").launches
    sim.run(2400)
    assert unknown in ids(sim)
    assert sim.score("chat").launches == launched, "it was counted, so nothing was ordered in its place"
    assert any(f"adopted {unknown}" in text for text in told(sim))


def test_nothing_is_swept_in_the_first_minutes_after_a_start() -> None:
    sim = settled()
    (orphan,) = hands(sim).adds("chat", OFFER, action="of-nobody")
    sim.run(895)
    sim.restart()
    sim.run(280)
    assert orphan in ids(sim)
    sim.run(400)
    assert orphan not in ids(sim)


def test_orphans_keep_keeps_them() -> None:
    sim = settled(ruled=replace(DEMAND, ownership=Ownership(orphan_after_s=None)))
    before = ids(sim)
    (unknown,) = hands(sim).adds("chat", OFFER, action="of-nobody")
    sim.run(60)
    sim.run(1800)
    assert any(f"adopted {unknown}" in text for text in told(sim))
    assert len(ids(sim)) == len(before), "it is one of the pool's now, so one of them is surplus"


def test_after_the_journal_was_lost_everything_tagged_is_adopted_and_nothing_ends() -> None:
    sim = settled()
    before = ids(sim)
    sim.journal = Journal()
    sim.restart()
    sim.run(1800)
    assert ids(sim) == before
    assert told(sim) == [t for t in told(sim) if t.startswith("adopted")]
    assert override(sim) is None


def test_a_service_that_was_down_adopts_no_ceiling_from_what_it_did_not_see() -> None:
    sim = settled()
    size = len(ids(sim))
    hands(sim).ends("chat", 2)
    sim.clock.at += 600
    sim.restart()
    sim.run(300)
    assert override(sim) is None
    assert len(ids(sim)) == size
    assert len(told(sim)) == 1


# --- pools without rules --------------------------------------------------------------------------------------------


def unattended(seconds: float = 1800) -> Simulation:
    """A pool at rest whose rule file was taken away."""
    sim = settled()
    sim.rules = {}
    sim.run(seconds)
    return sim


def test_a_fleet_whose_rule_file_is_gone_stays_and_people_are_told() -> None:
    sim = settled()
    before = ids(sim)
    sim.rules = {}
    sim.run(1800)
    assert ids(sim) == before
    found = sim.loop.board.ownerless["chat"]
    assert "sigmascale release chat" in found.text
    assert f"{len(before)} instances of pool chat, {2 * len(before)} USD/h" in found.text
    (alert,) = [a for a in sim.alerts if a.name == "instances without rules"]
    assert (alert.pool, alert.state) == ("chat", "firing")


def test_a_released_pool_is_drained_by_journalled_intents_and_the_release_ends_by_itself() -> None:
    sim = unattended()
    count = len(ids(sim))
    sim.journal.put_override(with_release("chat", "ada", "moved to another region", sim.clock.at))
    sim.run(5)
    assert len(ids(sim, "draining")) == count
    sim.run(900)
    assert sim.cluster.report().instances == ()
    assert sim.score("chat").requests_aborted == 0
    assert sim.journal.overrides(sim.clock.at) == ()
    assert sim.loop.board.ownerless == {}
    assert "chat" not in sim.loop.board.pools()
    (end,) = [a for a in sim.alerts if a.name == "instances without rules" and a.state == "resolved"]
    assert end.pool == "chat"


def test_rules_that_come_back_end_a_release() -> None:
    sim = unattended()
    count = len(ids(sim))
    sim.journal.put_override(with_release("chat", "ada", "by mistake", sim.clock.at))
    sim.rules = {"chat": DEMAND}
    sim.run(600)
    assert len(ids(sim)) == count
    assert sim.journal.overrides(sim.clock.at) == ()


def test_a_release_goes_on_after_a_restart() -> None:
    sim = unattended()
    sim.journal.put_override(with_release("chat", "ada", "moved", sim.clock.at))
    sim.run(30)
    sim.restart()
    sim.run(900)
    assert sim.cluster.report().instances == ()


# --- late arrivals --------------------------------------------------------------------------------------------------


def test_a_launch_that_was_given_up_and_arrives_after_all_is_no_orphan_and_what_is_surplus_goes() -> None:
    hidden = Fault("invisible", 600, 1200)
    sim = simulate(shape.step(6.0, 12.0, START + 600), [hidden], ruled=DEMAND)
    sim.run(1150)
    assert sim.score("chat").launches > 2, "the first order was given up, and ordered anew"
    sim.run(2400)
    assert len(ids(sim)) == 4
    assert told(sim) == []
