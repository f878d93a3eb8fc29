"""Closed loops with the worker: what is known ahead is met ahead, and what breaks leaves the loop as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.forecasters.drift import Drift
from autoscaler.foresight.worker import Foresight
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.simulation import START, Simulation
from autoscaler.types import Past
from collectors.sim import SimCollector
from providers.shadow import ShadowProvider
from providers.sim import SimProvider
from tests.foresightworld import Breaking, Steady
from tests.scenarios.pools import pool, simulate

DAY_S = 86400.0
BOOT_S = 480.0
RISE_AT = 1500.0


def rise(at: float) -> float:
    """From 8 to 40 requests/s within ten minutes, at the same time of every day."""
    return 8.0 + 32.0 * min(1.0, max(0.0, ((at - START) % DAY_S - RISE_AT) / 600.0))


def ahead(forecaster: object) -> RuleSet:
    """The pool of the scenarios, sized by the forecast too."""
    base = pool()
    signal = Signal("ahead", forecast="load", quantile=0.95, forecaster=forecaster)  # type: ignore[arg-type]
    return replace(base, signals=(*base.signals, signal), rules=(*base.rules, Rule("ahead", Target("ahead"))))


def morning(ruled: RuleSet, seconds: float = 2700.0, seed: int = 1, days: float = 2.0) -> Simulation:
    """A pool that serves 8 requests/s well, with a worker that knows the days before, until after the rise."""
    sim = simulate(rise, seed=seed, boot_s=BOOT_S, ruled=ruled)
    sim.foreseeing = True
    sim.restart()
    sim.cluster.serve_from_start("chat", ruled.offers[0], 3)
    at = np.arange(START - days * DAY_S, START, 60.0)
    sim.store.fill(Past("chat", "load", at, np.array([rise(a) for a in at.tolist()])))
    sim.run(seconds)
    return sim


def test_a_rise_that_comes_every_day_is_met_when_it_comes_although_machines_take_eight_minutes() -> None:
    reactive, foreseeing = morning(pool()), morning(ahead(Drift()))
    lost, saved = reactive.score("chat"), foreseeing.score("chat")
    assert lost.requests_lost > 0.1 * lost.requests_sent
    assert saved.requests_lost < 0.2 * lost.requests_lost
    # Machines that boot are paid too, and they boot earlier.
    assert saved.replica_seconds < 1.6 * lost.replica_seconds
    assert saved.peak_replicas <= 16
    first = [d for d in reversed(foreseeing.journal.decisions("chat", limit=1000)) if d.want > d.current]
    assert first[0].at < START + RISE_AT
    assert first[0].reasons[1].source == "rule:ahead"


def test_lead_times_are_learned_from_launches_and_name_the_horizon() -> None:
    sim = morning(ahead(Drift()))
    assert sim.foresight is not None
    (known,) = sim.foresight.learned("chat").lead_times.values()
    assert known.version.startswith("learned:sim/small/chat") or known.version.startswith("prior:")
    assert known.p50_s == pytest.approx(BOOT_S, rel=0.05)
    last = sim.journal.decisions("chat", limit=1)[0]
    assert last.versions["lead_time:sim/small/on_demand"] in [
        lesson.version for lesson in sim.journal.versions("chat", "lead_time", "sim/small/on_demand")
    ]
    assert last.versions["outlook:ahead"] in [
        lesson.version for lesson in sim.journal.versions("chat", "outlook", "ahead")
    ]


def test_a_seed_gives_the_same_journal_with_what_was_learned_in_it() -> None:
    first, second = (list(morning(ahead(Drift()), 1800.0, seed=7).journal.dump()) for _ in range(2))
    assert first == second
    assert any(line.startswith("learned ") for line in first)


def test_a_restart_goes_on_with_what_was_known() -> None:
    sim = morning(ahead(Drift()), 1800.0)
    assert sim.foresight is not None
    before = sim.foresight.learned("chat")
    sim.restart()
    after = sim.foresight.learned("chat")
    assert (after.outlooks, after.lead_times) == (before.outlooks, before.lead_times)
    sim.run(900.0)
    assert sim.score("chat").requests_lost == morning(ahead(Drift())).score("chat").requests_lost


def test_a_process_that_is_killed_after_any_write_goes_on_with_the_last_values() -> None:
    sim = morning(ahead(Drift()), 900.0)
    worker, compared = sim.foresight, []
    assert worker is not None

    def work(now: float) -> bool:
        more = worker.work(now)
        again = Foresight(lambda: sim.rules, sim.store, sim.journal).learned("chat")
        known = worker.learned("chat")
        compared.append((again.outlooks, again.lead_times) == (known.outlooks, known.lead_times))
        return more

    sim.loop.work = work
    sim.run(1500.0)
    assert len(compared) > 90
    assert all(compared)


@pytest.mark.parametrize(
    "hurt",
    [
        pytest.param(lambda sim: None, id="the forecaster fails"),
        pytest.param(lambda sim: setattr(sim.loop, "work", lambda _: None), id="the worker never comes"),
    ],
)
def test_without_a_forecast_present_demand_is_served_as_ever_and_nothing_shrinks(
    hurt: Callable[[Simulation], object],
) -> None:
    sim = simulate(lambda at: 30.0 if at < START + 1200 else 8.0, ruled=ahead(Breaking()))
    sim.foreseeing = True
    sim.restart()
    hurt(sim)
    sim.run(1100.0)
    peak = sim.cluster.report().ready
    assert peak >= 9, "30 requests/s at 3.2 a replica"
    sim.run(1500.0)
    assert sim.cluster.report().ready == peak
    assert sim.loop.stats.failures == 0


def test_a_shadow_that_only_watches_learns_nothing_of_launches() -> None:
    live = simulate(lambda _: 30.0, ruled=ahead(Steady(1.0)))
    shadow = Simulation(
        live.rules,
        live.cluster,
        lambda c, k: ShadowProvider(SimProvider(c, k)),
        SimCollector,
        live.clock,
        foreseeing=True,
    )
    shadow.run(900.0)
    assert any(o.status == "withheld" for o in shadow.journal.outcomes("chat"))
    assert shadow.foresight is not None
    (known,) = shadow.foresight.learned("chat").lead_times.values()
    assert known.version == "prior"
    assert [lesson for lesson in shadow.journal.lessons() if lesson.kind == "launches"] == []
