"""choose(): instances of which offers cover a need, and why these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autoscaler.choice.candidates import Candidate, Chosen, Limits, Method, Wanted
from autoscaler.choice.costs import SPREAD, Costs, costs_of
from autoscaler.choice.explaining import left_of, taken_of
from autoscaler.choice.greedy import filled, greedy, least
from autoscaler.choice.programme import CENT, GAP, Counts, Problem, allowed, solve, value

MOST_UNITS = 100_000
"""Instances of one offer that a choice is made among."""


def choose(wanted: Wanted, offers: Sequence[Candidate], limits: Limits) -> Chosen:
    """The counts of least expected cost that cover what is wanted, as far as the limits let them.

    One candidate, or a need that any single instance covers, needs no solver. Equal inputs give equal counts, as long
    as the solver ends in time; what stands in for it then costs at most twice as much where only units are bounded.
    """
    usable = [n for n, c in enumerate(offers) if _usable(c, limits)]
    if wanted.replicas <= 0 or not usable:
        return _chosen(wanted, offers, limits, [0] * len(offers), "only")
    some = [offers[n] for n in usable]
    costs = costs_of(some, wanted)
    found, method = _counts(_problem(wanted, some, limits, costs), limits.solver_s)
    counts = [0] * len(offers)
    for n, count in zip(usable, found.tolist(), strict=True):
        counts[n] = count
    return _chosen(wanted, offers, limits, counts, method, costs, usable)


def listed(wanted: Wanted, offers: Sequence[Candidate], limits: Limits) -> Chosen:
    """As many of the first offer as can be had, then of the next: the order that people wrote decides, not the cost."""
    usable = [n for n, c in enumerate(offers) if _usable(c, limits)]
    counts = [0] * len(offers)
    if wanted.replicas > 0 and usable:
        some = [offers[n] for n in usable]
        problem = _problem(wanted, some, limits, costs_of(some, wanted))
        for n, count in zip(usable, filled(problem, range(len(some))).tolist(), strict=True):
            counts[n] = count
    return _chosen(wanted, offers, limits, counts, "listed")


def _usable(candidate: Candidate, limits: Limits) -> bool:
    affordable = candidate.usd_per_hour <= limits.usd_per_hour + CENT
    return not candidate.excluded and candidate.units != 0 and affordable


def _problem(wanted: Wanted, some: Sequence[Candidate], limits: Limits, costs: Costs) -> Problem:
    most = MOST_UNITS if limits.launches is None else limits.launches
    replicas = np.array([c.replicas for c in some], dtype=np.int64)
    enough = -(-wanted.replicas // replicas)
    own = np.array([MOST_UNITS if c.units is None else c.units for c in some], dtype=np.int64)
    # Only places of an area that has several can have more or less than their share.
    areas = {c.place: c.area for c in some if c.place}
    places = sorted(p for p, area in areas.items() if sum(other == area for other in areas.values()) > 1)
    names = sorted({areas[p] for p in places})
    there = np.array([wanted.there.get(p, 0) for p in places], dtype=np.int64)
    index = {p: n for n, p in enumerate(places)}
    groups = sorted({c.group for c in some if c.group and c.units is not None})
    together = [max(int(own[n]) for n, c in enumerate(some) if c.group == g) for g in groups]
    price = np.array([c.usd_per_hour for c in some])
    units = np.minimum(np.minimum(own, enough), most)
    return Problem(
        # What no number of instances could cover is not asked of the solver; it would only blur what is left.
        need=min(wanted.replicas, int(units @ replicas)),
        replicas=replicas,
        units=units,
        price=price,
        cost=costs.ordered,
        launches=min(most, int(units.sum())),
        # Money that pays for everything is no limit, and a smaller number is kinder to the solver.
        money=min(limits.usd_per_hour, float(price @ units) + 1.0),
        place=np.array([index.get(c.place, -1) for c in some], dtype=np.int64),
        there=there,
        area=np.array([names.index(areas[p]) for p in places], dtype=np.int64),
        spread=SPREAD * costs.lowest,
        group=np.array([groups.index(c.group) if c.group in groups else -1 for c in some], dtype=np.int64),
        together=np.array(together, dtype=np.int64),
    )


def _counts(problem: Problem, solver_s: float) -> tuple[Counts, Method]:
    offers = len(problem.cost)
    if offers == 1:
        return greedy(problem), "only"
    if problem.need <= int(problem.replicas.min()):
        singles = [one for one in np.eye(offers, dtype=np.int64) if allowed(problem, one)]
        none = np.zeros(offers, dtype=np.int64)
        return min(singles, key=lambda counts: value(problem, counts), default=none), "one"
    stand_in = greedy(problem)
    if value(problem, stand_in) <= least(problem) * (1 + GAP):
        return stand_in, "proved"
    solved = solve(problem, solver_s)
    if solved is None:
        return stand_in, "greedy"
    # Within the solver's gap the other may be a hair better; then it is as good a proof.
    return (solved, "programme") if value(problem, solved) <= value(problem, stand_in) else (stand_in, "programme")


def _chosen(
    wanted: Wanted,
    offers: Sequence[Candidate],
    limits: Limits,
    counts: Sequence[int],
    method: Method,
    costs: Costs | None = None,
    usable: Sequence[int] = (),
) -> Chosen:
    covered = sum(count * c.replicas for count, c in zip(counts, offers, strict=True))
    price = sum(count * c.usd_per_hour for count, c in zip(counts, offers, strict=True))
    expected = price
    if costs is not None:
        expected = sum(float(costs.expected[k]) * counts[n] for k, n in enumerate(usable))
    made = Chosen(tuple(counts), covered, max(0, wanted.replicas - covered), price, expected, method)
    index = {n: k for k, n in enumerate(usable)}
    return replace(made, taken=taken_of(offers, made), left=left_of(wanted, offers, limits, made, costs, index))
