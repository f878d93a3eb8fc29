"""Numbers that cannot be, and data that prove nothing: the pool stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.conditions import Condition, Test
from autoscaler.engine import decide
from autoscaler.journal import DECISION
from autoscaler.memory import remember
from autoscaler.policies.step import Step
from autoscaler.ruleset import Rule, Signal
from autoscaler.thresholds.static import Static
from autoscaler.types import Capacity, Outlook, Plan
from tests.test_engine import wanted
from tests.worlds import NOW, condition, fleet, frame, queue_step, rules, settled, world


@pytest.mark.parametrize("low", [float("nan"), float("inf"), 0.0, -3.0])
def test_a_capacity_that_cannot_be_holds_and_breaks_nothing(low: float) -> None:
    auto = rules(rules=(Rule("load", replace(rules().rules[0].policy, per_replica=None)),))  # type: ignore[type-var]
    assert wanted(auto, world(80.0, capacity=Capacity(low, low, "requests/s"))) == 4


@pytest.mark.parametrize("load", [1e300, 1e12, float("nan"), -5.0])
def test_a_demand_beyond_any_pool_is_no_burst(load: float) -> None:
    decision = decide(rules(), world(frame(10.0, load)), settled(4))
    assert (decision.want, decision.burst) == (4, None)


@pytest.mark.parametrize("growth", [float("nan"), float("inf"), -1.0])
def test_a_forecast_that_cannot_be_is_missing_and_judges_nothing(growth: float) -> None:
    ahead = Signal("ahead", forecast="load", ahead_s=60.0)
    r = rules(signals=(*rules().signals, ahead), rules=(*rules().rules, Rule("peak", Step(1), condition("ahead", 50))))
    outlook = Outlook(NOW, "v1", "mean", (60.0,), (0.5,), ((growth,),))
    decision = decide(r, world(12.0, outlooks={"ahead": outlook}), settled(4))
    assert decision.want == 4, "unknown is not calm"
    assert decision.verdicts[0].met is None


def test_a_signal_that_is_known_to_be_nothing_needs_no_fallback() -> None:
    """A latency without requests is known; what stands in for missing data would hold the pool all night."""
    latency = Signal("queue", metric="requests_waiting", fallback=("load",))
    r = rules(signals=(rules().signals[0], latency), rules=(*rules().rules, queue_step()))
    assert wanted(r, world(12.0, frame(float("nan")))) == 2


def test_a_decision_on_nothing_to_measure_survives_the_journal() -> None:
    empty = replace(frame(float("nan")), last_at=np.array([np.nan]), upper=np.array([np.inf]))
    decision = decide(rules(rules=(*rules().rules, queue_step())), world(frame(12.0), empty), settled(4))
    assert DECISION.validate_json(DECISION.dump_json(decision)) == decision


def test_scale_in_by_its_own_condition_starts_afresh_after_data_that_could_not_be_judged() -> None:
    calm = Condition(Test("load", "below", Static(5.0, np.inf), text="5"), 60.0)
    r = rules(rules=(queue_step(),), scale_in=replace(rules().scale_in, when=calm, stabilization_s=0.0))
    memory = replace(settled(4), met_since={"scale_in": NOW - 600})
    unknown = decide(r, world(None, 0.0), memory)
    memory = remember(r, memory, unknown, Plan("chat", unknown.number))
    later = replace(world(1.0, 0.0, fleet(4, at=NOW + 15)), now=NOW + 15)
    assert decide(r, later, memory).want == 4, "one sample after ten minutes of nothing"
    assert wanted(r, world(1.0, 0.0), replace(settled(4), met_since={"scale_in": NOW - 60})) == 3


@pytest.mark.parametrize(
    ("busy", "have", "expected"),
    [
        pytest.param(0.3, 4, 3, id="three at 40 % stay below the mark"),
        pytest.param(0.45, 2, 2, id="one at 90 % would be above it, and be joined again at once"),
        pytest.param(0.45, 4, 3, id="three at 60 % stay below it"),
    ],
)
def test_scale_in_by_its_own_condition_leaves_enough_survivors(busy: float, have: int, expected: int) -> None:
    gpu = Signal("load", metric="gpu_busy_ratio", aggregate="mean")
    calm = Condition(Test("load", "below", Static(0.5, np.inf), text="50%"))
    r = rules(
        signals=(gpu,),
        rules=(Rule("hot", Step(1), condition("load", 0.85)),),
        scale_in=replace(rules().scale_in, when=calm),
    )
    decision = decide(r, world(busy, there=fleet(have)), settled(have))
    assert decision.want == expected
    if expected == have:
        assert "on 1 replicas load would be 0.9, above 0.85" in decision.reasons[-1].text
