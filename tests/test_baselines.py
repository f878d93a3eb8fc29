"""Peers on Kubernetes, KEDA and Knative: small situations with the size that their published law gives."""

from __future__ import annotations

import dataclasses
import math

import pytest

from autoscaler.baselines import BY_NAME, NOT_RUN
from autoscaler.baselines.behaviour import Behaviour
from autoscaler.baselines.hpa import Hpa, by_average_value, by_utilisation
from autoscaler.baselines.keda import Keda
from autoscaler.baselines.kpa import Kpa
from autoscaler.baselines.seed import Seed
from autoscaler.baselines.seen import Past
from tests.peerworld import Pool, seen

NAN = math.nan


# --- what they see --------------------------------------------------------------------------------------------------


def test_a_past_gives_means_of_windows_and_whole_steps() -> None:
    past = Past(15.0)
    assert math.isnan(past.mean(60.0))
    for rate in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        past.add(rate)
    assert past.mean(6.0) == pytest.approx(6.0)
    assert past.mean(30.0) == pytest.approx(5.5)
    assert past.mean(3600.0) == pytest.approx(3.5)
    first, means = past.steps(30.0, 2)
    assert (first, means.tolist()) == (1, pytest.approx([3.5, 5.5]))


def test_a_tick_that_is_not_known_counts_as_the_one_before() -> None:
    past = Past(15.0)
    past.add(4.0)
    past.add(NAN)
    assert past.mean(30.0) == pytest.approx(4.0)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_card_tries_about_ten_values_and_gives_policies_that_remember_nothing(name: str) -> None:
    card = BY_NAME[name]
    assert len(card.values) <= 12
    one, other = card.fresh(card.values[0]), card.fresh(card.values[-1])
    assert getattr(one, card.field) == card.values[0]
    assert getattr(other, card.field) == card.values[-1]
    states = [f.name for f in dataclasses.fields(card.policy) if not f.init and f.default is dataclasses.MISSING]
    assert all(getattr(one, state) is not getattr(card.policy, state) for state in states if _mutable(one, state))


def _mutable(policy: object, state: str) -> bool:
    return isinstance(getattr(policy, state), list | dict | Behaviour | Hpa)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_peer_that_measures_nothing_changes_nothing(name: str) -> None:
    """Missing data is zero to no peer of the league; Crane would go on with its forecast, of which there is none."""
    policy = BY_NAME[name].fresh()
    unknown = dataclasses.replace(seen(NAN, ready=7, pending=2, busy=NAN, waiting=NAN), past=Past(15.0))
    assert policy.want(unknown) == 9


def test_what_is_not_run_says_why() -> None:
    assert all(why for why in NOT_RUN.values())


# --- HPA ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("busy", "ready", "pending", "expected"),
    [
        pytest.param(0.75, 10, 0, 10, id="7 % above the target is within the tolerance"),
        pytest.param(1.0, 10, 0, 15, id="ratio 1.43 of 10 replicas is 15"),
        pytest.param(0.35, 10, 0, 5, id="half the target halves"),
        pytest.param(0.35, 10, 2, 5, id="on the way down only ready ones count"),
        pytest.param(1.0, 10, 1, 15, id="a pending one is idle when more is asked for"),
        pytest.param(1.0, 15, 7, 22, id="pending ones bring the mean within the tolerance"),
        pytest.param(1.0, 10, 10, 20, id="pending ones that turn the direction are no reason to shrink"),
    ],
)
def test_hpa_sizes_by_the_mean_of_ready_replicas(busy: float, ready: int, pending: int, expected: int) -> None:
    assert by_utilisation(busy / 0.7, ready, pending, 0.1) == expected
    assert Hpa().raw(seen(busy=busy, ready=ready, pending=pending)) == expected


@pytest.mark.parametrize(
    ("load", "size", "expected"),
    [
        pytest.param(10.0, 14, 14, id="2 % above the average is within the tolerance"),
        pytest.param(10.0, 10, 15, id="10 at 0.7 each take 15"),
        pytest.param(40.0, 15, 58, id="a total does not clip"),
        pytest.param(10.0, 0, 15, id="from nothing"),
    ],
)
def test_average_value_sizes_by_a_total(load: float, size: int, expected: int) -> None:
    assert by_average_value(load, 0.7, size, 0.1) == expected


def test_hpa_at_zero_is_switched_off() -> None:
    assert Hpa(on="demand").want(seen(5.0, ready=0)) == 0


@pytest.mark.parametrize(
    ("size", "raw", "expected"),
    [
        pytest.param(3, 20, 7, id="four more from three"),
        pytest.param(10, 50, 20, id="twice from ten"),
        pytest.param(10, 12, 12, id="less than the rate"),
        pytest.param(10, 1, 10, id="the first look counts the size as a result"),
    ],
)
def test_the_first_step_is_bounded(size: int, raw: int, expected: int) -> None:
    assert Behaviour().limit(0.0, size, raw) == expected


def test_scale_in_takes_the_largest_result_of_300_s() -> None:
    behaviour = Behaviour()
    raws = [5, 5, 8, *[5] * 40]
    sizes = [behaviour.limit(15.0 * n, 10, raw) for n, raw in enumerate(raws)]
    # The size counts until 300 s after the first look, the 8 of 30 s until 330 s.
    assert sizes[:20] == [10] * 20
    assert sizes[20:22] == [8, 8]
    assert sizes[22] == 5


def test_scale_out_takes_the_smallest_result_of_its_window() -> None:
    behaviour = Behaviour(out_window_s=60.0)
    assert [behaviour.limit(15.0 * n, 10, 12) for n in range(5)] == [10, 10, 10, 10, 12]


# --- KEDA -----------------------------------------------------------------------------------------------------------


def test_keda_goes_to_nothing_after_the_cooldown_and_back_to_one() -> None:
    pool = Pool(Keda(), ready=1)
    assert pool.look(0.5) == 1
    idle = pool.looks([0.0] * 30)
    # The rate's own window of 60 s has to run empty before 300 s are counted.
    assert idle.index(0) == 2 + 20
    pool = Pool(Keda(), ready=1)
    pool.ready = 0
    assert pool.policy.want(seen(0.4, ready=0)) == 1


def test_keda_falls_back_after_failures_in_a_row() -> None:
    policy = Keda(fallback=12)
    assert [policy.want(seen(NAN, ready=10, now=15.0 * n)) for n in range(4)] == [10, 10, 10, 12]
    assert policy.want(seen(7.0, ready=12, now=60.0)) == 12, "10 is asked for, 12 is the largest of 300 s"


def test_keda_on_a_queue_asks_for_a_fifth_of_it() -> None:
    policy = Keda(5.0, "waiting")
    assert policy.want(seen(ready=4, waiting=38.0)) == 8
    assert policy.want(seen(ready=4, waiting=21.0, now=15.0)) == 4, "5 % above 5 for each is within the tolerance"


# --- KPA ------------------------------------------------------------------------------------------------------------


def test_kpa_starts_in_panic_and_shrinks_when_it_ends() -> None:
    pool = Pool(Kpa(), ready=20)
    sizes = pool.looks([2.0] * 8)
    # 60 s of panic keep the 20; then half at a time.
    assert sizes == [20, 20, 20, 20, 20, 10, 5, 3]


def test_kpa_panics_on_the_short_window_and_keeps_what_it_asked_for() -> None:
    pool = Pool(Kpa(), ready=1)
    pool.looks([0.6] * 5)
    assert pool.ready == 1
    assert pool.look(14.0) == 20, "14 over 0.7, though the minute's mean asks for 6"
    assert set(pool.looks([0.6] * 4)) == {20}
    assert pool.looks([0.6] * 2)[-1] < 20


def test_kpa_leaves_the_last_replica_30_s_after_an_idle_minute() -> None:
    pool = Pool(Kpa(), ready=1)
    pool.look(0.5)
    assert pool.looks([0.0] * 6) == [1, 1, 1, 1, 0, 0]


def test_kpa_on_concurrency_counts_what_waits() -> None:
    policy = Kpa(on="concurrency")
    # Ten replicas in full use have 20 in flight, 8 more wait: 14 replicas' worth over 0.7.
    assert policy.want(seen(ready=10, busy=1.0, waiting=8.0)) == 20


# --- the seed rule --------------------------------------------------------------------------------------------------


def test_the_seed_rule_adds_two_for_use_and_one_for_a_queue_and_rests() -> None:
    policy = Seed()
    sizes = [policy.want(seen(ready=10, busy=0.9, waiting=60.0, now=at)) for at in (0.0, 15.0, 300.0, 600.0)]
    assert sizes == [13, 10, 12, 13]


def test_the_seed_rule_never_shrinks_unless_hpa_does_it() -> None:
    assert set(Pool(Seed(), ready=10).looks([1.0] * 60)) == {10}
    assert Pool(Seed(with_hpa_in=True), ready=10).looks([1.0] * 60)[-1] == 2
