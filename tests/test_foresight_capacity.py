"""What a replica serves, learned by the worker from the counters of the pool's engines in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from autoscaler.capacity import Objective, Observation, Replica, Workload
from autoscaler.engine import decide
from autoscaler.foresight.replicas import observations
from autoscaler.foresight.seen import Seen
from autoscaler.foresight.worker import Foresight
from autoscaler.journal import Journal
from autoscaler.measure import measure
from autoscaler.policies.target import CAPACITY, Target
from autoscaler.ruleset import Hosted, Rule, RuleSet, Signal
from autoscaler.store import Store
from autoscaler.types import Batch, Capacity, Fleet, SeriesKey
from tests.batching_engine import Engine
from tests.worlds import NOW, fleet, instance, rules, settled, world

CHAT = Workload(512, 128)
SEVENTY = Replica(29.9e-3, 0.206e-3, 1.7e-7, 9.1e-5)
LLAMA = Hosted("llama-3.1-70b", "fp16", "H100", 8, input_tokens=512, output_tokens=128)
INTERVAL_S = 15.0
COUNTED = (
    "generation_tokens_total",
    "prompt_tokens_total",
    "request_success_total",
    "time_per_output_token_seconds_sum",
    "time_per_output_token_seconds_count",
)


def auto(hosted: Hosted = Hosted(), metric: str = "requests_arrived_total") -> RuleSet:  # noqa: B008 - a value
    """A pool that is sized by what its replicas were seen to serve."""
    load = Signal("load", metric=metric, rate_s=60)
    return rules(signals=(load,), rules=(Rule("load", Target("load")),), hosted=hosted, gpus_per_replica=8)


@dataclass
class Pages:
    """The counters of one engine, as a collector would bring them."""

    address: str
    totals: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0.0))

    def batch(self, seen: Observation, at: float) -> Batch:
        grown = (
            seen.generated_tokens,
            seen.prompt_tokens,
            seen.finished,
            seen.itl_s * seen.generated_tokens,
            seen.generated_tokens,
        )
        for name, more in zip(COUNTED, grown, strict=True):
            self.totals[name] += more
        labels = (("instance", self.address), ("pool", "chat"))
        keys = (*(SeriesKey(name, labels, True) for name in COUNTED), SeriesKey("requests_running", labels))
        values = np.array([*self.totals.values(), seen.running])
        return Batch(f"engine/{self.address}", at, 5.0, keys, values, labels)


@dataclass
class Watched:
    """A pool of one engine in a store, and its worker."""

    ruled: RuleSet
    engine: Engine
    at: float = NOW
    address: str = "10.0.0.1:8000"
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        self.store = Store(None)
        self.pages = Pages(self.address)
        self.foresight = Foresight(lambda: {"chat": self.ruled}, self.store, self.journal)
        self.there = Fleet(self.at, (instance(1),))

    def serve(self, rates: list[float], workload: Workload = CHAT) -> Capacity | None:
        """So many intervals, and what is known after them."""
        for rate in rates:
            self.at += INTERVAL_S
            self.store.add(self.pages.batch(self.engine.run(rate, workload, INTERVAL_S), self.at))
            self.foresight.saw(Seen(self.at, self.ruled, (), (), self.there))
            self.foresight.work(self.at)
        self.foresight.work(self.at + 60.0)
        return self.foresight.learned("chat").capacity


LOADS = [1.0, 2.0, 3.0, 1.5, 2.5, 3.5] * 8


def test_what_is_learned_from_counters_at_half_load_is_what_the_engine_serves() -> None:
    watched = Watched(auto(LLAMA), Engine(SEVENTY, slots=64))
    first = watched.foresight
    first.work(NOW)
    cold = first.learned("chat").capacity
    assert cold is not None
    assert cold.version == "prior"
    known = watched.serve(LOADS)
    assert known is not None
    true = SEVENTY.highest_rate(CHAT, 64.0, Objective())
    assert known.version.startswith("learned:")
    assert 0.75 * true < known.low <= known.median < 1.25 * true
    assert known.median - known.low < 0.5 * (cold.median - cold.low)


def test_without_a_model_nothing_is_known_until_enough_was_seen_and_unknown_never_shrinks() -> None:
    watched = Watched(auto(), Engine(SEVENTY, slots=64))
    assert watched.serve(LOADS[:6]) is None
    ruled = watched.ruled
    decision = decide(ruled, world(load=0.1, there=fleet(4)), settled(4))
    assert decision.want == 4
    assert "capacity of one replica is not known" in decision.proposals[0].text
    known = watched.serve(LOADS)
    assert known is not None
    assert known.low > 0.4 * SEVENTY.highest_rate(CHAT, 64.0, Objective())


def test_only_instances_of_the_fleet_are_replicas_a_gateway_is_none() -> None:
    watched = Watched(auto(), Engine(SEVENTY, slots=64), address="gateway")
    assert watched.serve(LOADS) is None


def test_an_engine_that_becomes_slower_is_drift_which_is_told_and_blocks_scale_in() -> None:
    watched = Watched(auto(LLAMA), Engine(SEVENTY, slots=64))
    before = watched.serve(LOADS)
    watched.engine.replica = replace(SEVENTY, alpha_s=1.35 * SEVENTY.alpha_s)
    drifted = None
    for rate in LOADS:
        drifted = watched.serve([rate])
        if drifted is not None and drifted.drifting:
            break
    assert before is not None
    assert drifted is not None
    assert drifted.drifting
    assert drifted.low < before.low
    assert list(watched.foresight.learned("chat").moved or ()) == ["capacity sim/small"]
    there = world(load=0.1, there=fleet(4), capacity=drifted)
    assert measure(watched.ruled, there)[CAPACITY].quality == "partial"
    assert decide(watched.ruled, there, settled(4)).want == 4
    assert decide(watched.ruled, replace(there, capacity=before), settled(4)).want < 4


def test_a_restart_goes_on_with_the_last_capacity() -> None:
    watched = Watched(auto(LLAMA), Engine(SEVENTY, slots=64))
    known = watched.serve(LOADS[:12])
    again = Foresight(lambda: {"chat": watched.ruled}, watched.store, watched.journal)
    assert again.learned("chat").capacity == known
    again.work(watched.at + 61.0)
    assert again.learned("chat").capacity == known


def test_a_stated_capacity_is_not_learned_and_a_pool_sized_by_a_queue_needs_none() -> None:
    for ruled in (replace(auto(LLAMA), capacity=5.0), auto(LLAMA, "requests_waiting")):
        signals = tuple(replace(s, rate_s=None) for s in ruled.signals) if ruled.capacity is None else ruled.signals
        watched = Watched(replace(ruled, signals=signals), Engine(SEVENTY, slots=64))
        assert watched.serve(LOADS[:4]) is None


def test_capacity_comes_in_tokens_where_the_pool_is_sized_by_tokens() -> None:
    watched = Watched(auto(LLAMA, "generation_tokens_total"), Engine(SEVENTY, slots=64))
    known = watched.serve(LOADS)
    assert known is not None
    assert known.unit == "tokens/s"
    assert known.low > 100.0


def test_engines_without_tokens_are_known_by_the_highest_rate_that_kept_its_latency() -> None:
    ruled = auto(Hosted(latency_s=1.0))
    store, address = Store(None), "10.0.0.1:8000"
    foresight = Foresight(lambda: {"chat": ruled}, store, Journal())
    labels = (("instance", address), ("pool", "chat"))
    edges = ("0.25", "0.5", "1", "2.5", "+Inf")
    name = "e2e_request_latency_seconds"
    keys = (
        *(SeriesKey(f"{name}_bucket", tuple(sorted((*labels, ("le", e)))), True) for e in edges),
        SeriesKey(f"{name}_count", labels, True),
    )
    counts = np.zeros(len(edges))
    for n in range(40):
        rate = 10.0 + n % 8
        # Up to 14/s all answers take half a second; above, two.
        counts += rate * INTERVAL_S * (np.array([0, 1, 1, 1, 1]) if rate <= 14 else np.array([0, 0, 0, 1, 1]))
        at = NOW + n * INTERVAL_S
        store.add(Batch(f"engine/{address}", at, 5.0, keys, np.array([*counts, counts[-1]]), labels))
        foresight.saw(Seen(at, ruled, (), (), Fleet(at, (instance(1),))))
        foresight.work(at)
    known = foresight.learned("chat").capacity
    assert known is not None
    assert 12.0 < known.low <= known.median <= 15.0


Totals = Mapping[str, Mapping[tuple[str, str], tuple[float, float]]]


def looked(at: float, **totals: float) -> Totals:
    """One look at the engine `a`."""
    return {name: {("a", ""): (value, at)} for name, value in totals.items()}


FIRST = {
    "generation_tokens_total": 1000.0,
    "prompt_tokens_total": 2000.0,
    "request_success_total": 10.0,
    "requests_running": 4.0,
    "time_per_output_token_seconds_sum": 20.0,
    "time_per_output_token_seconds_count": 1000.0,
    "prefix_cache_hits_total": 500.0,
    "kv_cache_used_ratio": 0.2,
    "kv_cache_capacity_tokens": 10_000.0,
}
SECOND = FIRST | {
    "generation_tokens_total": 1600.0,
    "prompt_tokens_total": 3000.0,
    "request_success_total": 15.0,
    "requests_running": 6.0,
    "time_per_output_token_seconds_sum": 38.0,
    "time_per_output_token_seconds_count": 1600.0,
    "prefix_cache_hits_total": 800.0,
    "kv_cache_used_ratio": 0.4,
}


def test_two_looks_at_counters_make_an_observation() -> None:
    (seen,) = observations(looked(NOW, **FIRST), looked(NOW + 15, **SECOND)).values()
    expected = Observation(NOW + 15, 15.0, 5.0, 700.0, 600.0, 5.0, 0.03, 300.0, 3000.0)
    assert seen == replace(expected, itl_s=seen.itl_s, kv_tokens=seen.kv_tokens)
    assert (seen.itl_s, seen.kv_tokens) == pytest.approx((0.03, 3000.0))


@pytest.mark.parametrize(
    ("changes", "after_s"),
    [
        pytest.param({"generation_tokens_total": 10.0}, 15.0, id="a counter that began anew"),
        pytest.param({}, 0.0, id="nothing new since"),
        pytest.param({}, 900.0, id="a look that was missed for long"),
        pytest.param({"time_per_output_token_seconds_count": 1000.0}, 15.0, id="no tokens in between"),
    ],
)
def test_what_two_looks_cannot_tell_teaches_nothing(changes: dict[str, float], after_s: float) -> None:
    assert observations(looked(NOW, **FIRST), looked(NOW + after_s, **(SECOND | changes))) == {}
