"""Peers that come with an inference engine or a serving system: AIBrix, Ray Serve, SkyServe, SageServe, llm-d."""

from __future__ import annotations

import pytest

from autoscaler.backtest.world import SERVICE_S as IN_THE_WORLD
from autoscaler.baselines.aibrix import AibrixApa, AibrixKpa
from autoscaler.baselines.llmd import WvaQueueing
from autoscaler.baselines.ray_serve import RayServe
from autoscaler.baselines.sageserve import Chiron, Reactive
from autoscaler.baselines.seen import SERVICE_S
from autoscaler.baselines.skyserve import SkyServe
from tests.peerworld import Pool, seen

# --- AIBrix ---------------------------------------------------------------------------------------------------------


def test_aibrix_kpa_as_coded_takes_the_mean_of_a_replica_for_the_sum() -> None:
    assert AibrixKpa(0.5, on="utilisation").want(seen(ready=4, busy=0.9)) == 2
    assert AibrixKpa(0.5, fixed=True, on="utilisation").want(seen(ready=4, busy=0.9)) == 8


def test_aibrix_kpa_grows_to_twice_the_size_at_most() -> None:
    assert AibrixKpa(fixed=True).want(seen(40.0, ready=10)) == 20


def test_aibrix_kpa_as_coded_shrinks_by_one_low_sample_where_fixed_keeps_the_most_of_300_s() -> None:
    coded, fixed = Pool(AibrixApa(0.5, on="demand"), 10), Pool(AibrixKpa(0.5, fixed=True), 10)
    for pool in (coded, fixed):
        pool.looks([5.0] * 30)
        assert pool.ready == 10
        pool.looks([0.0] * 6)
    assert coded.ready < 10
    assert fixed.ready == 10


@pytest.mark.parametrize(
    ("fixed", "ready", "pending", "expected"),
    [
        pytest.param(False, 4, 0, 8, id="as coded: 1.8 times four"),
        pytest.param(False, 4, 4, 15, id="as coded the pending ones are multiplied too"),
        pytest.param(True, 4, 4, 8, id="fixed: what the ready ones have to do is what eight are for"),
    ],
)
def test_aibrix_apa_multiplies_the_size_by_the_ratio(fixed: bool, ready: int, pending: int, expected: int) -> None:
    policy = AibrixApa(0.5, fixed=fixed, on="utilisation")
    assert policy.want(seen(ready=ready, pending=pending, busy=0.9)) == expected


def test_aibrix_apa_stays_within_a_tenth() -> None:
    assert AibrixApa(0.5).want(seen(ready=10, busy=0.54)) == 10


# --- Ray Serve ------------------------------------------------------------------------------------------------------


def test_ray_serve_grows_after_30_s_in_a_row_and_shrinks_after_600_s() -> None:
    policy = RayServe()
    assert SERVICE_S == IN_THE_WORLD
    sizes = [policy.want(seen(ready=10, busy=1.0, now=15.0 * n)) for n in range(2)]
    assert sizes == [10, 15]
    sizes = [policy.want(seen(ready=10, busy=0.35, now=100.0 + 15.0 * n)) for n in range(45)]
    # The look back of 30 s still holds one full look.
    assert sizes.index(5) == pytest.approx(600 / 15, abs=1)
    assert set(sizes[: sizes.index(5)]) == {10}


def test_one_look_the_other_way_starts_the_row_anew() -> None:
    policy = RayServe(out_delay_s=60.0, look_back_s=1.0)
    busy = [1.0, 1.0, 1.0, 0.3, 1.0, 1.0, 1.0, 1.0]
    assert [policy.want(seen(ready=10, busy=b, now=15.0 * n)) for n, b in enumerate(busy)] == [10] * 7 + [15]


def test_ray_serve_counts_what_waits_and_leaves_one_until_there_is_none_to_do() -> None:
    policy = RayServe(out_delay_s=0.0, in_delay_s=0.0)
    assert policy.want(seen(ready=10, busy=1.0, waiting=8.0)) == 20
    policy = RayServe(in_delay_s=0.0)
    assert policy.want(seen(ready=3)) == 1
    assert policy.want(seen(ready=1)) == 0


# --- SkyServe -------------------------------------------------------------------------------------------------------


def test_skyserve_counts_15_looks_up_and_60_down_pending_ones_included() -> None:
    policy = SkyServe()
    assert [policy.want(seen(14.0, ready=10, pending=4)) for _ in range(15)][-2:] == [14, 20]
    assert [policy.want(seen(7.0, ready=20)) for _ in range(60)][-2:] == [20, 10]
    looks = [14.0] * 14 + [7.0] + [14.0] * 14
    assert {policy.want(seen(load, ready=10)) for load in looks} == {10}


# --- SageServe ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("busy", "pending", "expected"),
    [
        pytest.param(0.6, 0, 11, id="above a half: one more"),
        pytest.param(0.6, 1, 11, id="one at a time"),
        pytest.param(0.2, 0, 9, id="below a quarter: one fewer"),
        pytest.param(0.3, 0, 10, id="between: as it is"),
    ],
)
def test_sageserve_moves_by_one(busy: float, pending: int, expected: int) -> None:
    assert Reactive().want(seen(ready=10, pending=pending, busy=busy)) == expected


@pytest.mark.parametrize(
    ("busy", "pending", "expected"),
    [
        pytest.param(0.7, 0, 11, id="7 of 10 busy: one more"),
        pytest.param(0.6, 0, 9, id="never as it is"),
        pytest.param(0.7, 5, 14, id="7 of 15: one fewer"),
    ],
)
def test_chiron_always_moves_by_one(busy: float, pending: int, expected: int) -> None:
    assert Chiron().want(seen(ready=10, pending=pending, busy=busy)) == expected


# --- llm-d ----------------------------------------------------------------------------------------------------------


def test_wva_sizes_for_what_was_finished_and_does_not_see_what_waits() -> None:
    assert WvaQueueing().want(seen(13.5, ready=10)) == 15
    pool = Pool(WvaQueueing(), ready=9, step_s=60.0, boots=False)
    pool.look(9.0)
    # 40 a second come and 10 are finished: the queue grows by 30 a second, and 12 is all that is asked for.
    assert pool.look(40.0, waiting=60.0 * 30.0) + 0 == 12
