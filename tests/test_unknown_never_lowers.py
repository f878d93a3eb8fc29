"""From the bytes of a page to the decision: what is absent, old, blank, broken or paused never lowers a replica count.

Every replica is loaded so that the pool is just right. Then some pages go wrong in some way while the load stays; the
truth is never less than the size in force, so whatever the damage, a lower count would be a lie of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.engine import decide
from autoscaler.memory import remember
from autoscaler.movement import Bounds, ScaleIn
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.store import Store
from autoscaler.types import Batch, Memory, Plan, World
from collectors.pages.reader import PageReader
from tests.worlds import NOW, fleet, settled
from tests.worlds import rules as small

REPLICAS = 4
SCRAPE_S, TICK_S = 5.0, 15.0
WRONG_AT_S, END_S = 150.0, 540.0
"""Longer than a value may be held (300 s): after that nobody may take what is absent for what is gone."""
RULES: RuleSet = small(
    bounds=Bounds(0, 20),
    signals=(
        Signal("load", metric="requests_arrived_total", rate_s=60.0),
        Signal("queue", metric="requests_waiting"),
        Signal("running", metric="requests_running"),
        Signal("sm", metric="gpu_sm_active_ratio", aggregate="mean"),
        Signal("watts", metric="gpu_power_watts"),
        Signal("saturation", metric="gpu_saturation_ratio"),
    ),
    rules=(
        Rule("running", Target("running", 8.0)),
        Rule("watts", Target("watts", 400.0)),
    ),
    # As eager to shrink as a rule file allows.
    scale_in=ScaleIn(stabilization_s=0.0, cool_off_s=0.0, rate_replicas=100, rate_ratio=1.0, to_zero_after_s=15.0),
)


RULES_BY_NAME = {
    "together": RULES,
    # Rules that have no other to fall back on.
    "running": replace(RULES, rules=RULES.rules[:1]),
    "watts": replace(RULES, rules=RULES.rules[1:]),
    "saturation": replace(RULES, rules=(Rule("saturation", Target("saturation", 0.82)),)),
    "load": replace(RULES, rules=(Rule("load", Target("load", 2.0)),)),
}


def page(replica: int, at: float, share: float = 1.0) -> bytes:
    """One replica's engine and GPU under a `share` of the load that it is made for."""
    n = int(at)
    # Over all replicas always the same sum, so that the need never wobbles itself.
    wobble = (n // 5 + replica) % REPLICAS
    labels = f'{{gpu="0",UUID="GPU-{replica}",Hostname="n{replica}"}}'
    lines = [
        f"vllm:num_requests_running {round((7 + wobble) * share)}",
        f"vllm:num_requests_waiting {round(wobble * share)}",
        f"vllm:generation_tokens_total {round(n * 500 * share)}",
        f'vllm:request_success_total{{finished_reason="stop"}} {round(n * 2 * share)}',
        f"DCGM_FI_DEV_POWER_USAGE{labels} {(398 + wobble) * share:.3f}",
        f"DCGM_FI_DEV_ENFORCED_POWER_LIMIT{labels} 700",
        f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{labels} {n * 410_000}",
        f"DCGM_FI_DEV_GPU_UTIL{labels} {round((90 + wobble) * share)}",
        f"DCGM_FI_PROF_SM_ACTIVE{labels} {(0.8 + wobble / 100) * share:.6f}",
        f"DCGM_FI_PROF_DRAM_ACTIVE{labels} {(0.7 + wobble / 100) * share:.6f}",
    ]
    return ("\n".join(lines) + "\n").encode()


Damage = Callable[[int, float], bytes | None]
"""(replica, time) -> the page that is answered instead; None = the target does not answer."""


def _changed(replica: int, at: float, change: Callable[[str], str]) -> bytes:
    lines = page(replica, at).decode().splitlines()
    return ("\n".join(filter(None, map(change, lines))) + "\n").encode()


def _value(line: str, value: str, *names: str) -> str:
    return f"{line.rpartition(' ')[0]} {value}" if any(name in line for name in names) else line


def _without(*names: str) -> Damage:
    return lambda r, at: _changed(r, at, lambda line: "" if any(name in line for name in names) else line)


def _with(value: str, *names: str) -> Damage:
    return lambda r, at: _changed(r, at, lambda line: _value(line, value, *names))


DAMAGES: dict[str, Damage] = {
    "the target does not answer": lambda r, at: None,
    "the page is empty": lambda r, at: b"",
    "the page has comments only": lambda r, at: b"# HELP x y\n",
    "the page is frozen": lambda r, at: page(r, NOW + WRONG_AT_S),
    "the page breaks off": lambda r, at: page(r, at)[:180],
    "every line is malformed": lambda r, at: page(r, at).replace(b" ", b" x"),
    "the engine's families are absent": _without("vllm:"),
    "one engine family is absent": _without("num_requests_running"),
    "the GPU's families are absent": _without("DCGM"),
    "the power is absent": _without("POWER_USAGE"),
    "values are NaN": _with("NaN", "vllm:", "DCGM"),
    "values are infinite": _with("+Inf", "num_requests", "POWER"),
    "the power is a blank": _with("140737488355328.0", "POWER", "PROF"),
    "the power is an integer blank": _with("9223372036854775794", "POWER", "GPU_UTIL", "ENERGY"),
    "the profiler is paused": _with("140737488355330.0", "PROF"),
    "profiling stands still": _with("0.800000", "PROF"),
}


def run(
    damaged: dict[int, tuple[str, float, float]], share: Callable[[float], float] = lambda _: 1.0
) -> dict[str, list[int]]:
    """What each of RULES_BY_NAME wants at each tick of the damage. damaged: replica -> (damage, from, until)."""
    store = Store(None)
    labels = [(("instance", f"10.0.0.{r}:8000"), ("pool", "chat")) for r in range(REPLICAS)]
    readers = [PageReader(f"r{r}", labels[r], SCRAPE_S) for r in range(REPLICAS)]
    memories: dict[str, Memory] = dict.fromkeys(RULES_BY_NAME, settled(REPLICAS))
    wants: dict[str, list[int]] = {name: [] for name in RULES_BY_NAME}
    for step in range(int(END_S / SCRAPE_S)):
        at = NOW + step * SCRAPE_S
        for r in range(REPLICAS):
            what, since, until = damaged.get(r, ("", 0.0, 0.0))
            broken = since <= at - NOW < until
            answer = DAMAGES[what](r, at) if broken else page(r, at, share(at - NOW))
            batch = Batch(f"r{r}", at, SCRAPE_S, (), np.empty(0), labels[r], "down")
            if answer is not None:
                read = readers[r].read(answer, at)
                # As the scraper has it: a page without one sample is no page.
                batch = batch if readers[r].lines and readers[r].rejected == readers[r].lines else read
            store.add(batch)
        if step % int(TICK_S / SCRAPE_S):
            continue
        world = World(at, store.read(RULES, at), fleet(REPLICAS, at=at))
        for name, rules in RULES_BY_NAME.items():
            decision = decide(rules, world, memories[name])
            memories[name] = remember(rules, memories[name], decision, Plan("chat", decision.number))
            if at - NOW >= WRONG_AT_S:
                wants[name].append(decision.want)
    return wants


def least(wants: dict[str, list[int]]) -> dict[str, int]:
    return {name: min(some) for name, some in wants.items()}


def test_with_whole_pages_the_pool_is_just_right_and_a_true_calm_lowers_it() -> None:
    """What the rest of this file relies on: the rules can shrink the pool, and nothing but data holds them."""
    assert all(set(some) == {REPLICAS} for some in run({}).values())
    assert max(least(run({}, share=lambda s: 1.0 if s < WRONG_AT_S else 0.2)).values()) < REPLICAS


@pytest.mark.parametrize("what", DAMAGES)
@pytest.mark.parametrize("replicas", [1, REPLICAS], ids=["on one page", "on every page"])
def test_damage_never_lowers_the_count(what: str, replicas: int) -> None:
    found = least(run(dict.fromkeys(range(replicas), (what, WRONG_AT_S, END_S))))
    assert {name: few for name, few in found.items() if few < REPLICAS} == {}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.integers(0, REPLICAS - 1),
        st.tuples(
            st.sampled_from(sorted(DAMAGES)),
            st.floats(WRONG_AT_S, WRONG_AT_S + 60),
            st.floats(WRONG_AT_S + 65, END_S),
        ),
    )
)
def test_any_mix_of_damage_that_comes_and_goes_never_lowers_the_count(
    damaged: dict[int, tuple[str, float, float]],
) -> None:
    assert min(least(run(damaged)).values()) >= REPLICAS
