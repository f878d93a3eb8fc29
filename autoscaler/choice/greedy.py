"""A need covered by what is cheapest per replica: at most twice the optimum where only units bound it, and at once.

The heuristic and its bound of 2 for the minimisation knapsack problem: Csirik, Frenk, Labbe and Zhang, Heuristics for
the 0-1 min-knapsack problem, Acta Cybernetica 10, 1991; here each instance is an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.choice.programme import CENT, Counts, Problem, value


def greedy(problem: Problem) -> Counts:
    """(offer,) counts that keep every limit; short of the need only where following either order is."""
    per_replica = problem.cost / problem.replicas
    order = np.argsort(per_replica, kind="stable").tolist()
    found = _covers(problem, order)
    if not found:
        # A limit on launches or money ends it: the cheapest first, or the largest first, whichever covers more.
        largest = np.lexsort((per_replica, -problem.replicas)).tolist()
        found = [filled(problem, order), filled(problem, largest)]
    return min(found, key=lambda counts: value(problem, counts))


def least(problem: Problem) -> float:
    """No counts have a lower value: the need is covered by fractions of instances, whatever else limits them."""
    per_replica = problem.cost / problem.replicas
    covered, cost = 0.0, 0.0
    for i in np.argsort(per_replica, kind="stable").tolist():
        taken = min(float(problem.units[i] * problem.replicas[i]), problem.need - covered)
        covered, cost = covered + taken, cost + taken * float(per_replica[i])
        if covered >= problem.need:
            break
    return cost


@dataclass(slots=True)
class _Left:
    """What the limits leave, while instances are taken one offer after the other."""

    problem: Problem
    missing: int
    launches: int
    money: float
    together: list[int]

    @classmethod
    def of(cls, problem: Problem) -> _Left:
        return cls(problem, problem.need, problem.launches, problem.money, problem.together.tolist())

    def able(self, offer: int) -> int:
        """Instances of one offer that may be taken."""
        able = min(int(self.problem.units[offer]), self.launches)
        group = int(self.problem.group[offer])
        if group >= 0:
            able = min(able, self.together[group])
        price = float(self.problem.price[offer])
        return min(able, max(0, int((self.money + CENT) // price))) if price > 0 else able

    def take(self, offer: int, count: int) -> None:
        self.missing -= count * int(self.problem.replicas[offer])
        self.launches -= count
        self.money -= count * float(self.problem.price[offer])
        group = int(self.problem.group[offer])
        if group >= 0:
            self.together[group] -= count


def _covers(problem: Problem, order: Sequence[int]) -> list[Counts]:
    """For each offer on the way: all that comes before, and one instance of it that completes the need."""
    found = []
    partial = np.zeros(len(order), dtype=np.int64)
    left = _Left.of(problem)
    for i in order:
        replicas, able = int(problem.replicas[i]), left.able(i)
        whole = min(able, (left.missing - 1) // replicas)
        if able > whole and (whole + 1) * replicas >= left.missing:
            complete = partial.copy()
            complete[i] += whole + 1
            found.append(complete)
        partial[i] += whole
        left.take(i, whole)
    return found


def filled(problem: Problem, order: Sequence[int]) -> Counts:
    """(offer,) counts: as many of each offer as are missing and can be had, in this order."""
    counts = np.zeros(len(order), dtype=np.int64)
    left = _Left.of(problem)
    for i in order:
        counts[i] = min(left.able(i), max(0, -(-left.missing // int(problem.replicas[i]))))
        left.take(i, int(counts[i]))
    return counts
