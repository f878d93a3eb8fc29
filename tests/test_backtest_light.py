"""The light back-test: the same timeline as in the ordinary loop, and the known response to a step."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from autoscaler.backtest.fluid import Demand, demand_of
from autoscaler.backtest.light import play
from autoscaler.backtest.run import Setting, Timeline, backtest
from autoscaler.baselines import BY_NAME
from autoscaler.baselines.adapter import Peer, peer_rules
from autoscaler.baselines.aws import AwsTracking
from autoscaler.baselines.hpa import Hpa
from autoscaler.baselines.kpa import Kpa
from autoscaler.baselines.phpa import PhpaLinear
from autoscaler.baselines.seen import Policy
from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet
from autoscaler.trace import Trace

HOURS = 2


def bursts() -> Trace:
    """Two hours of minutes that climb, burst beyond what is there, fall and nearly stop."""
    at = np.arange(HOURS * 60.0)
    rng = np.random.default_rng(5)
    level = 8.0 + 6.0 * np.sin(2 * np.pi * at / 120.0) + 25.0 * ((at > 40) & (at < 52)) - 7.0 * (at > 95)
    amount = 60.0 * np.maximum(level + rng.normal(0.0, 0.5, len(at)), 0.01)
    return Trace(60.0 * at, amount, 60.0, np.zeros(len(at), dtype=bool))


SETTING = Setting(1.0, 480.0, 12, 1, 60, 15.0, 1800.0)


@pytest.mark.parametrize("name", ["hpa", "keda-queue", "kpa-concurrency", "phpa-linear", "wva-queueing"])
def test_a_peer_gets_the_same_timeline_in_the_ordinary_loop_and_without_it(name: str) -> None:
    trace = bursts()
    pool, light = play(BY_NAME[name].fresh(), demand_of(trace), SETTING)
    rules = peer_rules(RuleSet(pool="chat", bounds=Bounds(1, 60)))
    tested = backtest(trace, rules, SETTING, Peer(name, BY_NAME[name].fresh()))
    for column in dataclasses.fields(Timeline):
        ours, theirs = getattr(tested.timeline, column.name), getattr(light, column.name)
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-6), f"{column.name} differs"
    assert tested.score.violated == pytest.approx(pool.violated / pool.arrived, abs=1e-9)
    assert tested.score.replica_hours == pytest.approx(pool.paid_s / 3600.0)
    assert len(set(light.wanted.tolist())) > 2, "a pool that never moves proves nothing"


def test_a_peer_keeps_the_bounds_of_its_pool() -> None:
    trace = bursts()
    rules = peer_rules(RuleSet(pool="chat", bounds=Bounds(1, 60)))
    narrow = dataclasses.replace(SETTING, low=10, high=14)
    wanted = backtest(trace, rules, narrow, Peer("hpa", BY_NAME["hpa-demand"].fresh())).timeline.wanted
    assert (wanted.min(), wanted.max()) == (10, 14)


def enough_after(policy: Policy, boot_s: float) -> tuple[float, int]:
    """Seconds from a step from 10 to 40 replicas' worth until 0.9 of the ready ones suffice, and the largest size."""
    step = Demand((0.0, 7200.0, 14_400.0), (10.0, 40.0))
    _, timeline = play(policy, step, Setting(1.0, boot_s, 15, 1, 1000, 15.0, 0.0))
    after = timeline.at_s >= 7200.0
    able = np.flatnonzero(after & (0.9 * timeline.ready >= 40.0))
    size = (timeline.ready + timeline.pending)[after]
    return (float(timeline.at_s[able[0]]) - 7200.0 if able.size else math.inf), int(size.max())


@pytest.mark.parametrize(
    ("policy", "expected_s"),
    [
        # A law that looks at a tick sees what came before it, so that everything is one tick of 15 s later than in a
        # simulation where the step is seen at once.
        pytest.param(Hpa(), 1800.0 + 15, id="HPA on clipped utilisation: three boots"),
        pytest.param(Hpa(on="demand", window_s=15.0), 615.0 + 15, id="HPA on true demand: one boot, doubling"),
        pytest.param(Hpa(on="demand"), 615.0 + 30, id="the same over a minute: one look later"),
        pytest.param(Kpa(), 600.0 + 15, id="KPA: one boot, all at once"),
        pytest.param(PhpaLinear(window_s=15.0), 615.0 + 15, id="PHPA linear: as HPA on demand"),
        pytest.param(AwsTracking(), 1965.0 + 15, id="AWS tracking: three minutes and three boots"),
    ],
)
def test_a_step_to_four_times_the_load_is_met_when_it_is_known_to_be(policy: Policy, expected_s: float) -> None:
    assert enough_after(policy, 600.0)[0] == expected_s


def test_phpa_overshoots_a_step() -> None:
    """Known from a simulation of its own: 137 replicas where 58 suffice."""
    _, most = enough_after(PhpaLinear(window_s=15.0), 600.0)
    assert most == pytest.approx(137, abs=3)


def test_clipped_utilisation_takes_three_times_as_long_with_short_boots_too() -> None:
    assert enough_after(Hpa(), 120.0)[0] == 360.0 + 15
    assert enough_after(Hpa(on="demand", window_s=15.0), 120.0)[0] == 135.0 + 15
