"""Which offers cover a need: never dearer than trying everything, within every limit, and in words that say why."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.choice import Candidate, Chosen, Limits, Wanted, choose, listed, prepare
from autoscaler.choice import choosing as within
from autoscaler.choice.costs import KEPT_S, SHORTAGE_WORTH, costs_of
from autoscaler.choice.greedy import greedy, least
from autoscaler.choice.programme import GAP, Problem, allowed, solve, value

P4D = Candidate("aws/p4d.24xlarge/us-east-1/on_demand", 8, 21.958, 600.0, gpus=8)
NC24 = Candidate("azure/NC24ads_A100_v4/eastus/on_demand", 1, 3.673, 600.0, gpus=1)
PATIENT = Limits(solver_s=30.0)
"""No test depends on how fast the machine is."""


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    prepare()


def why(chosen: Chosen, key: str) -> tuple[str, str]:
    return next((left.why, left.text) for left in chosen.left if left.key == key)


# --- the worked example of docs/choice.md -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("need", "counts", "usd"),
    [
        pytest.param(5, (0, 5), 18.365, id="5 GPUs: five machines of 1 cost less than one of 8"),
        pytest.param(6, (1, 0), 21.958, id="from 6 on the machine of 8 is cheaper, with two GPUs idle"),
        pytest.param(9, (1, 1), 25.631, id="9 are one of each"),
        pytest.param(14, (2, 0), 43.916, id="14 are two of 8"),
    ],
)
def test_machines_of_8_gpus_and_of_1_are_weighed_over_the_whole_need(
    need: int, counts: tuple[int, int], usd: float
) -> None:
    chosen = choose(Wanted(need), [P4D, NC24], PATIENT)
    assert chosen.counts == counts
    assert chosen.usd_per_hour == pytest.approx(usd)
    assert chosen.short == 0


def test_what_was_taken_and_what_was_left_is_said_with_the_sums() -> None:
    chosen = choose(Wanted(5), [P4D, NC24], PATIENT)
    assert chosen.taken == (f"5 x {NC24.key} (18.37 USD/h, 3.67 USD per replica-hour)",)
    assert why(chosen, P4D.key) == ("too_big", "too big: 3 GPUs would stand idle, 21.96 USD/h against 18.37")
    other = choose(Wanted(6), [P4D, NC24], PATIENT)
    assert other.taken == (f"1 x {P4D.key} (21.96 USD/h, 8 replicas each, 2.74 USD per replica-hour)",)
    assert why(other, NC24.key) == ("dearer", "dearer: 6 would be 22.04 USD/h, 3.67 USD per replica-hour")


# --- each term by itself ----------------------------------------------------------------------------------------

PLAIN = Candidate("plain", 1, 4.0, 300.0, 155.0)


@pytest.mark.parametrize(
    ("other", "code", "words"),
    [
        pytest.param({"excluded": "model does not fit"}, "excluded", "model does not fit", id="what cannot run it"),
        pytest.param({"units": 0, "bound": "quota reached"}, "no_room", "quota reached", id="what cannot be had"),
        pytest.param({"usd_per_hour": 99.0}, "budget", "would pass 50 USD/h", id="what the budget does not pay"),
        pytest.param({"usd_per_hour": 5.0}, "dearer", "dearer: 2 would be 10.00 USD/h", id="what is dearer"),
        pytest.param({"usd_per_hour": 3.9, "p90_s": 900.0}, "late", "600 s too late", id="what comes too late"),
        pytest.param(
            {"usd_per_hour": 3.9, "interruptions_per_hour": 0.5},
            "risk",
            "0.5 interruptions an hour",
            id="what is taken back too often",
        ),
        pytest.param(
            {"usd_per_hour": 20.0, "replicas": 8, "gpus": 8}, "too_big", "6 GPUs would stand idle", id="what is too big"
        ),
        pytest.param(
            {"p90_s": 301.0}, "slower_tie", "the same and serves later", id="what is slower at the same price"
        ),
        pytest.param(
            {"usd_per_hour": 8.0, "replicas": 2, "gpus": 4}, "bigger_tie", "in steps of 4 GPUs", id="what strands GPUs"
        ),
        pytest.param({}, "order", "costs the same and is listed later", id="what is listed later"),
        pytest.param({"place": "b"}, "spread", "b has 2 replicas already", id="what is where the others are"),
    ],
)
def test_an_offer_is_left_for_one_reason_that_is_said(other: dict[str, object], code: str, words: str) -> None:
    plain = replace(PLAIN, place="a", gpus=1)
    some = [plain, replace(plain, key="other", **({"place": "a"} | other))]  # type: ignore[arg-type]
    chosen = choose(Wanted(2, there={"b": 2}), some, replace(PATIENT, usd_per_hour=50.0, money="50 USD/h"))
    assert chosen.counts == (2, 0)
    assert chosen.short == 0
    found, text = why(chosen, "other")
    assert found == code
    assert words in text


def test_coming_late_and_being_interrupted_cost_what_the_formulas_say() -> None:
    some = [PLAIN, replace(PLAIN, replicas=2, usd_per_hour=9.0, p90_s=1300.0, interruptions_per_hour=0.1)]
    costs = costs_of(some, Wanted(4))
    assert (costs.lowest, costs.in_time_s) == (4.0, 300.0)
    assert costs.late.tolist() == pytest.approx([0.0, 2 * SHORTAGE_WORTH * 4.0 * 1000.0 / KEPT_S])
    assert costs.risk.tolist() == pytest.approx([0.0, 2 * SHORTAGE_WORTH * 4.0 * 0.1 * 1300.0 / 3600.0])
    assert np.all(costs.ordered - costs.expected < 2e-3 * 4.0 * 2)
    assert costs_of(some, Wanted(4, in_time_s=1300.0)).late.tolist() == [0.0, 0.0], "what is early enough is in time"


def test_a_spot_machine_is_worth_its_risk_while_it_is_cheap_enough() -> None:
    spot = replace(PLAIN, key="spot", usd_per_hour=2.0, interruptions_per_hour=0.05)
    assert choose(Wanted(3), [PLAIN, spot], PATIENT).counts == (0, 3)
    often = replace(spot, interruptions_per_hour=5.0)
    assert choose(Wanted(3), [PLAIN, often], PATIENT).counts == (3, 0)


def test_offers_of_one_price_are_spread_over_their_places() -> None:
    zones = [replace(PLAIN, key=z, place=z) for z in "abc"]
    assert sorted(choose(Wanted(7), zones, PATIENT).counts) == [2, 2, 3]
    there = choose(Wanted(3), zones, PATIENT), choose(Wanted(3, there={"a": 2}), zones, PATIENT)
    assert there[0].counts == (1, 1, 1)
    assert there[1].counts[0] == 0
    dear = [zones[0], replace(zones[1], usd_per_hour=4.4), zones[2]]
    assert choose(Wanted(8), dear, PATIENT).counts[1] == 0, "a spread is not worth a tenth of the price"


def test_what_one_offer_cannot_give_the_next_one_gives() -> None:
    few = replace(PLAIN, key="few", usd_per_hour=1.0, units=2, bound="one at a time")
    chosen = choose(Wanted(5), [PLAIN, few], PATIENT)
    assert chosen.counts == (3, 2)
    assert chosen.taken[1].endswith("; one at a time)")


def test_offers_of_one_quota_share_its_room() -> None:
    zones = [replace(PLAIN, key=z, usd_per_hour=1.0, units=3, group="p4d") for z in "ab"]
    chosen = choose(Wanted(5), [*zones, PLAIN], PATIENT)
    assert sum(chosen.counts[:2]) == 3
    assert chosen.counts[2] == 2


@pytest.mark.parametrize("pick", [choose, listed])
def test_launches_and_money_end_what_is_bought(pick: object) -> None:
    assert callable(pick)
    big = replace(PLAIN, key="big", replicas=8, usd_per_hour=40.0)
    two = pick(Wanted(9), [PLAIN, big], replace(PATIENT, launches=2))
    assert two.units == 2
    assert two.replicas == (2 if pick is listed else 9)
    poor = pick(Wanted(9), [PLAIN, big], replace(PATIENT, usd_per_hour=11.0, money="50 USD/h"))
    assert (poor.counts, poor.short) == ((2, 0), 7)
    none = pick(Wanted(9), [PLAIN, big], replace(PATIENT, launches=0))
    assert (none.counts, none.short) == ((0, 0), 9)


def test_listed_takes_the_first_that_can_be_had_whatever_it_costs() -> None:
    dear = replace(PLAIN, key="dear", usd_per_hour=40.0, units=2, bound="room for 2")
    chosen = listed(Wanted(3), [replace(PLAIN, excluded="silent"), dear, replace(PLAIN, key="last")], PATIENT)
    assert chosen.counts == (0, 2, 1)
    assert chosen.method == "listed"


def test_nothing_wanted_and_nothing_to_choose_from_are_no_errors() -> None:
    assert choose(Wanted(0), [PLAIN], PATIENT).counts == (0,)
    assert choose(Wanted(3), [], PATIENT).short == 3
    left = choose(Wanted(3), [replace(PLAIN, units=0)], PATIENT)
    assert (left.counts, left.short, why(left, "plain")) == ((0,), 3, ("no_room", "cannot be had now"))


def test_free_machines_are_chosen_among_by_what_else_there_is() -> None:
    free = [replace(PLAIN, key=k, usd_per_hour=0.0, p90_s=p) for k, p in (("slow", 600.0), ("fast", 60.0))]
    assert choose(Wanted(2), free, PATIENT).counts == (0, 2)


# --- how it is found --------------------------------------------------------------------------------------------

MIXED = [
    replace(PLAIN, key=f"o{n}", replicas=r, usd_per_hour=p, units=u)
    for n, (r, p, u) in enumerate([(3, 7.0, 3), (5, 11.0, 2), (8, 19.5, 2), (1, 2.9, 4)])
]


def test_one_offer_or_one_replica_asks_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the solver was asked")

    monkeypatch.setattr(within, "solve", never)
    assert choose(Wanted(9), [PLAIN], PATIENT).method == "only"
    assert choose(Wanted(1), MIXED, PATIENT).method == "one"
    same = [replace(PLAIN, key=str(n), usd_per_hour=1.0 + n, units=5) for n in range(4)]
    assert choose(Wanted(12), same, PATIENT).method == "proved"
    with pytest.raises(AssertionError, match="was asked"):
        choose(Wanted(17), MIXED, PATIENT)


def test_without_an_answer_in_time_the_cheapest_first_stand_in() -> None:
    exact = choose(Wanted(17), MIXED, PATIENT)
    assert exact.method == "programme"
    timed_out = choose(Wanted(17), MIXED, replace(PATIENT, solver_s=0.0))
    assert timed_out.method == "greedy"
    assert timed_out.short == 0
    assert exact.usd_per_hour <= timed_out.usd_per_hour <= 2 * exact.usd_per_hour


def test_a_solver_whose_time_is_over_gives_nothing() -> None:
    rng = np.random.default_rng(3)
    some = [
        replace(PLAIN, key=str(n), replicas=int(r), usd_per_hour=float(p), units=int(u), place=str(n % 7))
        for n, (r, p, u) in enumerate(
            zip(rng.integers(1, 64, 300), rng.uniform(1, 90, 300), rng.integers(1, 9, 300), strict=True)
        )
    ]
    chosen = choose(Wanted(5003), some, Limits(solver_s=1e-5))
    assert chosen.method == "greedy"
    assert chosen.short == 0


def test_equal_inputs_give_equal_counts() -> None:
    rng = np.random.default_rng(7)
    some = [
        replace(PLAIN, key=str(n), replicas=int(r), usd_per_hour=float(2 * r), units=4, place=str(n % 3))
        for n, r in enumerate(rng.choice([1, 2, 4, 8], 40))
    ]
    first = choose(Wanted(61), some, PATIENT)
    assert all(choose(Wanted(61), some, PATIENT) == first for _ in range(3))


OFFER = st.tuples(st.sampled_from([1, 2, 3, 8]), st.integers(0, 40), st.integers(0, 3), st.sampled_from(["", "a", "b"]))


def problem_of(
    drawn: list[tuple[int, int, int, str]], need: int, launches: int | None, money: float
) -> tuple[list[Candidate], Limits, Wanted]:
    some = [
        Candidate(str(n), r, p / 2.0, 300.0 + 60 * n, units=u, place=z, group="q" if z == "a" else "")
        for n, (r, p, u, z) in enumerate(drawn)
    ]
    return some, replace(PATIENT, launches=launches, usd_per_hour=money), Wanted(need, there={"a": 1})


def brute(problem: Problem) -> float:
    every = itertools.product(*(range(int(u) + 1) for u in problem.units))
    counts = (np.array(one, dtype=np.int64) for one in every)
    return min(value(problem, one) for one in counts if allowed(problem, one))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(OFFER, min_size=1, max_size=4),
    st.integers(1, 20),
    st.none() | st.integers(0, 6),
    st.sampled_from([float("inf"), 5.0, 20.0, 60.0]),
)
def test_no_other_counts_cost_less_than_those_chosen(
    drawn: list[tuple[int, int, int, str]], need: int, launches: int | None, money: float
) -> None:
    some, limits, wanted = problem_of(drawn, need, launches, money)
    chosen = choose(wanted, some, limits)
    usable = [n for n, c in enumerate(some) if c.units and c.usd_per_hour <= money]
    if not usable:
        assert chosen.units == 0
        return
    mine = [some[n] for n in usable]
    problem = within._problem(wanted, mine, limits, costs_of(mine, wanted))
    counts = np.array([chosen.counts[n] for n in usable], dtype=np.int64)
    assert allowed(problem, counts)
    best = brute(problem)
    assert value(problem, counts) <= best * (1 + 2 * GAP) + 1e-9
    assert least(problem) <= best + 1e-9, "the bound is one"
    assert chosen.short == max(0, need - chosen.replicas)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(OFFER, min_size=1, max_size=4), st.integers(1, 20))
def test_the_stand_in_costs_at_most_twice_the_optimum(drawn: list[tuple[int, int, int, str]], need: int) -> None:
    """The bound of the heuristic, where only units limit it; places and groups are beside it."""
    some, limits, wanted = problem_of([(r, p, u + 1, "") for r, p, u, _ in drawn], need, None, float("inf"))
    problem = within._problem(wanted, some, limits, costs_of(some, wanted))
    counts = greedy(problem)
    assert allowed(problem, counts)
    assert value(problem, counts) <= 2 * brute(problem) + 1e-9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(OFFER, min_size=2, max_size=6),
    st.integers(1, 40),
    st.none() | st.integers(0, 6),
    st.sampled_from([float("inf"), 7.5, 31.0]),
)
def test_the_stand_in_keeps_every_limit_and_every_offer_left_has_its_reason(
    drawn: list[tuple[int, int, int, str]], need: int, launches: int | None, money: float
) -> None:
    some, limits, wanted = problem_of(drawn, need, launches, money)
    chosen = choose(wanted, some, replace(limits, solver_s=0.0))
    assert chosen.units <= (launches if launches is not None else 10**6)
    assert chosen.usd_per_hour <= money + 1e-6
    assert all(c.units is not None and k <= c.units for c, k in zip(some, chosen.counts, strict=True))
    assert sum(k for c, k in zip(some, chosen.counts, strict=True) if c.group) <= 3
    assert {left.key for left in chosen.left} == {c.key for c, k in zip(some, chosen.counts, strict=True) if not k}
    assert all(left.text for left in chosen.left)


def test_the_solver_says_nothing_without_time() -> None:
    problem = within._problem(Wanted(4), MIXED, PATIENT, costs_of(MIXED, Wanted(4)))
    assert solve(problem, 0.0) is None
    assert solve(problem, 30.0) is not None


# --- the page ---------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parent.parent / "docs" / "choice.md").read_text("utf-8")


@pytest.mark.parametrize("need", [1, 5, 6, 9, 13, 14])
def test_the_pages_first_example_is_what_the_code_computes(need: int) -> None:
    chosen = choose(Wanted(need), [P4D, NC24], PATIENT)
    names = [f"{k} x {name}" for k, name in zip(chosen.counts, ("p4d", "NC24ads"), strict=True) if k]
    alone = (need * NC24.usd_per_hour, -(-need // 8) * P4D.usd_per_hour)
    row = f"| {need} | {alone[0]:.2f} | {alone[1]:.2f} | {', '.join(names)} | {chosen.usd_per_hour:.2f} |"
    assert row in PAGE


def test_the_pages_second_example_is_what_the_code_computes() -> None:
    spot = replace(P4D, key="p4d spot", usd_per_hour=10.979, p90_s=700.0, interruptions_per_hour=0.05)
    some = [replace(P4D, key="p4d on demand", p90_s=700.0), spot, replace(NC24, key="NC24ads on demand", p90_s=300.0)]
    costs = costs_of(some, Wanted(8))
    for n, c in enumerate(some):
        row = (
            f"| {c.key} | {c.usd_per_hour:.2f} | {costs.late[n]:.2f} | {costs.risk[n]:.2f} | {costs.expected[n]:.2f} |"
        )
        assert row in PAGE
    assert f"{costs.lowest:.2f} USD/h, so `worth` is {SHORTAGE_WORTH * costs.lowest:.2f} USD/h" in PAGE
    assert choose(Wanted(3), some, PATIENT).counts == (0, 0, 3)
    assert choose(Wanted(4), some, PATIENT).counts == (0, 1, 0)
