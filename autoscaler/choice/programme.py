"""The integer programme: the cheapest instances that cover a need within what can be had, solved by HiGHS.

    minimise    sum cost_i x_i + worth s + spread sum e_z       x_i whole, 0 <= x_i <= units_i;  s, e_z >= 0
    subject to  sum replicas_i x_i + s >= need
                sum x_i <= launches
                sum price_i x_i <= money
                sum over i in g of x_i <= together_g                for every group g that shares a quota
                load_z - mean of load over the area of z <= e_z     for every place z

with load_z = there_z + sum over i in z of replicas_i x_i. A replica more is always worth its cost: `s`, what is left
uncovered, weighs twice the dearest instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

GAP = 1e-6
"""Relative distance from the optimum at which the solver may stop."""
CENT = 1e-9
"""USD/h that rounding may add to a sum of prices."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One need. (offer,) arrays: replicas, units, price in USD/h, cost = expected USD/h with what decides ties.

    place: (offer,) index of the place, -1 = none. there: (place,) replicas that it has; area: (place,) index
    of the area, whose places ought to have the same. spread: USD/h for each replica beyond that. group: (offer,) index
    of the group, -1 = none. together: (group,) units that its offers have in all.
    """

    need: int
    replicas: Counts
    units: Counts
    price: Floats
    cost: Floats
    launches: int
    money: float
    place: Counts
    there: Counts
    area: Counts
    spread: float
    group: Counts
    together: Counts

    @property
    def worth(self) -> float:
        """USD/h that one replica more may cost at most; twice what any instance costs."""
        return 2.0 * float(np.max(self.cost, initial=0.0)) + 1.0


def value(problem: Problem, counts: Counts) -> float:
    """What the programme minimises, in USD/h, for these counts."""
    covered = int(problem.replicas @ counts)
    short = max(0, problem.need - covered)
    return float(problem.cost @ counts) + problem.worth * short + problem.spread * float(excess(problem, counts).sum())


def excess(problem: Problem, counts: Counts) -> Floats:
    """(place,) replicas of each place beyond the mean of its area."""
    load = problem.there.astype(np.float64)
    placed = problem.place >= 0
    np.add.at(load, problem.place[placed], (problem.replicas * counts)[placed])
    beyond: Floats = np.maximum(0.0, load - _mean(problem, load))
    return beyond


def allowed(problem: Problem, counts: Counts) -> bool:
    """Whether counts keep every limit."""
    inside = bool(np.all(counts >= 0) and np.all(counts <= problem.units))
    shared = np.all(grouped(problem, counts) <= problem.together)
    affordable = float(problem.price @ counts) <= problem.money + CENT
    return bool(inside and shared and affordable and int(counts.sum()) <= problem.launches)


def grouped(problem: Problem, counts: Counts) -> Counts:
    """(group,) instances of each group."""
    found = np.zeros(len(problem.together), dtype=np.int64)
    shared = problem.group >= 0
    np.add.at(found, problem.group[shared], counts[shared])
    return found


def solve(problem: Problem, limit_s: float) -> Counts | None:
    """(offer,) counts within GAP of the least value; None when there is no proof of that within `limit_s` seconds.

    What a solver has found when its time is over depends on the machine, so it is not taken: equal inputs give equal
    counts, but for the choice between this answer and the one that stands in for it.
    """
    if limit_s <= 0:
        return None
    from scipy.optimize import Bounds, LinearConstraint, milp

    offers, places = len(problem.cost), len(problem.there)
    weights = np.concatenate([problem.cost, [problem.worth], np.full(places, problem.spread)])
    rows, low, high = _rows(problem)
    upper = np.concatenate([problem.units, [problem.need], np.full(places, np.inf)])
    found: Any = milp(
        weights,
        integrality=np.concatenate([np.ones(offers), np.zeros(1 + places)]),
        bounds=Bounds(0, upper),
        constraints=LinearConstraint(rows, low, high),
        options={"time_limit": limit_s, "mip_rel_gap": GAP},
    )
    if found.status != 0 or found.x is None:
        return None
    counts: Counts = np.rint(found.x[:offers]).astype(np.int64)
    return counts if allowed(problem, counts) else None


def prepare() -> None:
    """Loads the solver, which takes up to a second, so that no tick waits for it."""
    one = np.ones(1, dtype=np.int64)
    none = np.zeros(0, dtype=np.int64)
    solve(Problem(1, one, one, np.ones(1), np.ones(1), 1, 1.0, -one, none, none, 0.0, -one, none), 1.0)


def _rows(problem: Problem) -> tuple[Floats, Floats, Floats]:
    """The constraints as (row, variable) with lower and upper bounds: cover, launches, money, places, groups."""
    offers, places, groups = len(problem.cost), len(problem.there), len(problem.together)
    rows = np.zeros((3 + places + groups, offers + 1 + places))
    rows[0, :offers], rows[0, offers] = problem.replicas, 1.0
    rows[1, :offers] = 1.0
    rows[2, :offers] = problem.price
    loads = np.where(problem.place == np.arange(places)[:, None], problem.replicas, 0).astype(np.float64)
    for z in range(places):
        rows[3 + z, :offers] = loads[z] - loads[problem.area == problem.area[z]].mean(axis=0)
        rows[3 + z, offers + 1 + z] = -1.0
    for g in range(groups):
        rows[3 + places + g, :offers] = problem.group == g
    low = np.full(len(rows), -np.inf)
    low[0] = problem.need
    there = problem.there.astype(np.float64)
    beyond = _mean(problem, there) - there
    return rows, low, np.concatenate([[np.inf, problem.launches, problem.money], beyond, problem.together])


def _mean(problem: Problem, load: Floats) -> Floats:
    """(place,) the mean of a load over the area of each place."""
    areas = len(load)
    sums = np.bincount(problem.area, load, areas)
    means: Floats = (sums / np.maximum(1, np.bincount(problem.area, minlength=areas)))[problem.area]
    return means
