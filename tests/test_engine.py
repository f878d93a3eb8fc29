"""decide(): tables of single situations and the invariants that hold in all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.conditions import Condition, Group, Test
from autoscaler.engine import decide
from autoscaler.memory import awake, learn, remember
from autoscaler.movement import Bounds, ScaleOut
from autoscaler.policies.step import Step
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.thresholds.sigma import Sigma
from autoscaler.types import Capacity, Launch, Memory, Outcome, Override, Plan, Quality, Shortage, World
from tests.worlds import NOW, OFFER, condition, fleet, frame, instance, queue_step, rules, settled, world


def wanted(r: RuleSet, w: World, m: Memory | None = None) -> int:
    return decide(r, w, m if m is not None else settled(4)).want


@pytest.mark.parametrize(
    ("load", "quality", "expected"),
    [
        pytest.param(85.0, "fresh", 9, id="demand over capacity sizes the pool"),
        pytest.param(42.0, "fresh", 4, id="inside the dead band nothing moves"),
        pytest.param(12.0, "fresh", 2, id="less demand shrinks the pool"),
        pytest.param(0.0, "fresh", 1, id="a true zero keeps the last replica for a while"),
        pytest.param(85.0, "partial", 9, id="partial data may raise"),
        pytest.param(12.0, "partial", 4, id="partial data never lowers"),
        pytest.param(85.0, "stale", 9, id="the last value known is a lower bound"),
        pytest.param(12.0, "stale", 4, id="stale data never lower"),
        pytest.param(12.0, "frozen", 4, id="a frozen series is no idleness"),
        pytest.param(12.0, "missing", 4, id="no data is not zero"),
        pytest.param(float("inf"), "fresh", 4, id="infinite demand is no demand"),
        pytest.param(float("nan"), "missing", 4, id="NaN is no demand"),
    ],
)
def test_a_target_follows_its_signal_as_far_as_its_quality_allows(load: float, quality: Quality, expected: int) -> None:
    assert wanted(rules(), world(frame(load, quality=quality))) == expected


def test_a_signal_that_nothing_provides_holds_and_says_so() -> None:
    decision = decide(rules(), world(None), settled(4))
    assert decision.want == 4
    assert "nothing provides requests_arrived_total" in decision.reasons[-1].text


def test_a_fleet_that_was_never_reported_decides_nothing_and_leaves_no_trace() -> None:
    unseen = replace(world(100.0), fleet=None)
    decision = decide(rules(bounds=Bounds(3, 20)), unseen, Memory())
    assert decision.blind
    assert remember(rules(), Memory(), decision, Plan("chat", 1)).want is None


def test_a_fleet_report_that_is_too_old_holds() -> None:
    assert wanted(rules(), world(200.0, there=fleet(4, at=NOW - 200))) == 4


def test_the_first_decision_after_a_cold_start_is_the_present_size() -> None:
    assert wanted(rules(), world(10.0, there=fleet(5)), Memory()) == 5
    assert wanted(rules(), world(200.0, there=fleet(5)), Memory()) == 5, "in both directions"
    assert wanted(rules(bounds=Bounds(7, 20)), world(200.0, there=fleet(5)), Memory()) == 7, "but the bounds hold"


def test_pending_replicas_are_not_ordered_again() -> None:
    r = rules(rules=(queue_step(by=2),))
    first = decide(r, world(queue=80.0, there=fleet(2)), settled(2))
    assert first.want == 4
    memory = remember(r, settled(2), first, Plan("chat", first.number))
    cooled = replace(memory, cooldown_until={})
    second = decide(r, world(queue=80.0, there=fleet(2, pending=2)), cooled)
    assert second.want == 6, "two more than the four that are ready or ordered"
    assert decide(r, world(queue=80.0, there=fleet(2, pending=2)), memory).want == 4, "and none while it cools down"


def test_of_a_target_and_a_step_the_larger_number_wins() -> None:
    r = rules(rules=(*rules().rules, queue_step(by=3)))
    assert wanted(r, world(45.0, 80.0)) == 7
    assert wanted(r, world(95.0, 80.0)) == 10


def test_a_rule_that_cannot_be_judged_keeps_a_target_from_shrinking() -> None:
    r = rules(rules=(*rules().rules, queue_step()))
    assert wanted(r, world(12.0, None)) == 4
    assert wanted(r, world(95.0, None)) == 10, "but it never blocks growth"


def test_step_rules_alone_never_shrink() -> None:
    assert wanted(rules(rules=(queue_step(),)), world(queue=0.0)) == 4


def test_scale_in_by_its_own_condition_takes_one_at_a_time() -> None:
    r = rules(rules=(queue_step(),), scale_in=replace(rules().scale_in, when=condition("load", -1.0), by=1))
    assert wanted(r, world(0.0, 0.0)) == 3


def test_hold_times_run_on_sample_times_not_on_ticks() -> None:
    r = rules(rules=(queue_step(for_s=30.0),))
    memory = settled(4)
    sample = frame(80.0, at=NOW - 5)
    for tick in range(10):
        later = replace(world(queue=sample), now=NOW + 5 * tick, fleet=fleet(4, at=NOW + 5 * tick))
        decision = decide(r, later, memory)
        assert decision.want == 4, "one sample, however often it is read, proves no duration"
        memory = remember(r, memory, decision, Plan("chat", decision.number))
    fresh = replace(world(queue=frame(80.0, 80.0, at=NOW + 50)), now=NOW + 50, fleet=fleet(4, at=NOW + 50))
    assert decide(r, fresh, memory).want == 6


def test_a_condition_that_breaks_starts_its_hold_time_afresh() -> None:
    r = rules(rules=(queue_step(for_s=30.0),))
    memory = replace(settled(4), met_since={"queue": NOW - 40})
    calm = decide(r, world(queue=10.0), memory)
    assert remember(r, memory, calm, Plan("chat", calm.number)).met_since == {}


def test_a_quorum_needs_that_many_and_unknown_ones_leave_it_open() -> None:
    two_of_three = Group(2, tuple(condition(s, 50).test for s in ("load", "queue", "absent")))
    r = rules(rules=(Rule("crowd", Step(1), Condition(two_of_three)),))
    assert wanted(r, world(80.0, 80.0)) == 5
    assert wanted(r, world(10.0, 10.0)) == 4
    assert "cannot be judged" in decide(r, world(80.0, 10.0), settled(4)).reasons[-1].text


def test_a_three_sigma_condition_judges_by_the_history_before_the_point() -> None:
    ruled = rules(rules=(Rule("odd", Step(1), sigma_condition()),))
    calm = [10.0 + 0.1 * (n % 5) for n in range(40)]
    assert wanted(ruled, world(queue=frame(*calm, 60.0))) == 5
    assert wanted(ruled, world(queue=frame(*calm, 10.2))) == 4
    few = decide(ruled, world(queue=frame(10.0, 10.1, 60.0)), settled(4))
    assert few.want == 4
    assert "warming" in few.judged[0].text


def sigma_condition() -> Condition:
    return Condition(Test("queue", "above", Sigma(3.0, min_points=10), lookback_s=1800.0, text="3 sigma"))


def test_a_latency_without_requests_is_known_to_be_nothing_and_blocks_no_scale_in() -> None:
    r = rules(rules=(*rules().rules, queue_step()))
    assert wanted(r, world(12.0, frame(float("nan")))) == 2


def test_auto_capacity_sizes_by_the_low_quantile_and_the_utilisation_target() -> None:
    auto = rules(rules=(Rule("load", replace(rules().rules[0].policy, per_replica=None)),))  # type: ignore[type-var]
    assert wanted(auto, world(80.0)) == 4, "nobody knows what a replica can do"
    assert wanted(auto, world(80.0, capacity=Capacity(10.0, 12.0, "requests/s"))) == 10
    assert wanted(replace(auto, capacity=20.0), world(80.0)) == 5


def test_a_fallback_may_only_raise() -> None:
    load = replace(rules().signals[0], fallback=("queue",))
    r = rules(signals=(load, rules().signals[1]))
    assert wanted(r, world(None, 85.0)) == 9
    assert wanted(r, world(None, 12.0)) == 4


@pytest.mark.parametrize(
    ("kind", "replicas", "load", "expected"),
    [
        pytest.param("pin", 9, 12.0, 9, id="a pin beats demand"),
        pytest.param("pin", 2, 95.0, 2, id="in both directions and at once"),
        pytest.param("floor", 6, 12.0, 6, id="a floor raises"),
        pytest.param("ceiling", 5, 95.0, 5, id="a ceiling caps"),
        pytest.param("freeze", None, 95.0, 4, id="a freeze keeps the size in force"),
        pytest.param("pause", None, 95.0, 4, id="a pause of both directions blocks growth"),
        pytest.param("pause", None, 12.0, 4, id="and shrinking"),
        pytest.param("pin", 99, 12.0, 20, id="the rule file's maximum holds even against a person"),
    ],
)
def test_a_persons_word(kind: str, replicas: int | None, load: float, expected: int) -> None:
    override = Override("o", "chat", kind, NOW + 60, "ada", "game day", replicas)  # type: ignore[arg-type]
    decision = decide(rules(), world(load, overrides=(override,)), settled(4))
    assert decision.want == expected
    assert any("ada: game day" in r.text for r in decision.reasons)


def test_a_person_may_shrink_on_missing_data() -> None:
    pin = Override("o", "chat", "pin", NOW + 60, "ada", "night", 1)
    assert wanted(rules(), world(None, overrides=(pin,))) == 1


def test_an_expired_override_has_no_say() -> None:
    pin = Override("o", "chat", "pin", NOW, "ada", "night", 1)
    assert wanted(rules(), world(42.0, overrides=(pin,))) == 4


def test_a_burst_keeps_its_high_water_mark_until_what_it_ordered_has_arrived() -> None:
    r = rules(scale_out=ScaleOut(max_move=50, rate_replicas=50))
    first = decide(r, world(180.0, there=fleet(4)), settled(4))
    assert first.burst is not None
    assert first.want == 18
    memory = remember(r, settled(4), first, Plan("chat", first.number))
    later = replace(world(10.0, there=fleet(4, pending=14, at=NOW + 300)), now=NOW + 300)
    over = decide(r, later, replace(memory, last_at=NOW + 299))
    assert over.want == 18, "the first order is still booting"
    arrived = replace(world(10.0, there=fleet(18, at=NOW + 300)), now=NOW + 300)
    assert decide(r, arrived, replace(memory, last_at=NOW + 299)).burst is None


def test_a_burst_ends_only_when_it_would_not_begin_again_at_the_size_that_the_rules_ask_for() -> None:
    r = rules(scale_in=replace(rules().scale_in, stabilization_s=0.0))
    size, memory, wants = 1, settled(1), []
    for tick in range(40):
        now = NOW + 15 * tick
        w = replace(world(frame(31.0, 10.0, at=now), there=fleet(size, at=now)), now=now)
        decision = decide(r, w, memory)
        memory = remember(r, memory, decision, Plan("chat", decision.number))
        size = decision.want
        wants.append(size)
    assert set(wants) == {3}


def test_after_a_gap_in_observation_windows_start_afresh() -> None:
    late = replace(settled(4), last_at=NOW - 4000, met_since={"queue": NOW - 5000})
    assert awake(rules(), NOW, late).watched_since == NOW
    assert wanted(rules(), world(12.0), late) == 4


def test_a_clock_that_went_back_leaves_no_instant_in_the_future() -> None:
    ahead = replace(settled(4), last_at=NOW + 9000, launched_at=NOW + 9000, cooldown_until={"queue": NOW + 9300})
    r = rules(rules=(queue_step(cooldown_s=300.0),))
    memory = awake(r, NOW, ahead)
    assert memory.launched_at == NOW
    assert memory.cooldown_until["queue"] <= NOW + 300


def test_a_failed_launch_is_a_shortage_whose_wait_doubles_and_a_success_forgets_it() -> None:
    launch = Launch("a1", "chat", NOW, NOW + 300, OFFER)
    failed = Outcome("a1", "chat", "failed", NOW, error="capacity")
    once = learn(rules(), Memory(), [(launch, failed), (launch, failed)], fleet(), NOW)
    assert once.shortages[OFFER.key].misses == 1, "several refusals of one tick are one miss"
    assert once.shortages[OFFER.key].until == NOW + 180
    twice = learn(rules(), once, [(launch, failed)], fleet(), NOW + 200)
    assert twice.shortages[OFFER.key].until == NOW + 200 + 360
    came = Outcome("a1", "chat", "done", NOW + 300)
    assert learn(rules(), twice, [(launch, came)], fleet(1), NOW + 300).shortages == twice.shortages, "ordered before"
    later = replace(launch, at=NOW + 210)
    assert learn(rules(), twice, [(later, came)], fleet(1), NOW + 300).shortages == {}


def test_what_never_became_ready_is_a_miss_that_only_a_serving_one_makes_forgotten() -> None:
    """That its successor is listed proves nothing: without a wait that doubles it would be replaced for ever."""
    r = rules()
    late = fleet(1)
    late = replace(
        late, instances=(*late.instances, instance(9, "pending", requested_at=NOW - r.launch.register_s - 1))
    )
    once = learn(r, settled(1), [], late, NOW)
    assert once.shortages[OFFER.key] == Shortage(OFFER.key, NOW + 180, 1, NOW, never_served=True)
    listed = (Launch("a1", "chat", NOW, NOW + 300, OFFER), Outcome("a1", "chat", "done", NOW))
    again = learn(r, once, [listed], fleet(1, 1), NOW + 200)
    assert again.shortages == once.shortages, "neither a new one in the list nor an old one that serves"
    later = replace(late, instances=(instance(9, "pending", requested_at=NOW + 200),))
    again = replace(again, last_at=NOW + 200 + r.launch.register_s)
    twice = learn(r, again, [], later, NOW + 201 + r.launch.register_s)
    assert twice.shortages[OFFER.key].misses == 2
    serving = replace(late, instances=(instance(10, "ready", requested_at=NOW + 5000),))
    assert learn(r, twice, [], serving, NOW + 5100).shortages == {}


def test_withheld_outcomes_teach_nothing_about_offers() -> None:
    launch = Launch("a1", "chat", NOW, NOW + 300, OFFER)
    after = learn(rules(), settled(4), [(launch, Outcome("a1", "chat", "withheld", NOW))], fleet(2), NOW)
    assert after.shortages == {}
    assert after.withheld == (4, 2)
