"""What is chosen from, what is wanted, and what came out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Why = Literal[
    "excluded", "no_room", "budget", "dearer", "late", "risk", "too_big", "slower_tie", "bigger_tie", "spread", "order"
]
Method = Literal["listed", "only", "one", "proved", "programme", "greedy"]

SOLVER_S = 0.05


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer as the choice sees it.

    replicas, gpus: of one instance; gpus 0 = not known. units: how many may be ordered now, None = no bound of its own;
    bound: what bounds them, in words. group: candidates that share their units, as those of one quota do; empty = none.
    p50_s, p90_s: request to serving. interruptions_per_hour: how often the provider
    is expected to take one back. place: the zone or region that it would be in, empty = none; the
    places of one `area` ought to have the same number of replicas. note: what is to be
    known of the price. excluded: why it cannot be taken at all, empty = it can.
    """

    key: str
    replicas: int
    usd_per_hour: float
    p90_s: float
    p50_s: float = 0.0
    units: int | None = None
    bound: str = ""
    group: str = ""
    gpus: int = 0
    interruptions_per_hour: float = 0.0
    place: str = ""
    area: str = ""
    note: str = ""
    excluded: str = ""

    @property
    def usd_per_replica_hour(self) -> float:
        """Its price, shared by its replicas."""
        return self.usd_per_hour / self.replicas


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many replicas, now. there: replicas that each place has already. in_time_s: what serves by then is in time;
    None = the fastest candidate sets it."""

    replicas: int
    gpus_per_replica: int = 1
    there: Mapping[str, int] = field(default_factory=dict)
    in_time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """launches: instances that may be ordered now. usd_per_hour: what they may cost together; money: that in words.
    solver_s: how long the programme may be solved for."""

    launches: int | None = None
    usd_per_hour: float = math.inf
    money: str = ""
    solver_s: float = SOLVER_S


@dataclass(frozen=True, slots=True)
class Left:
    """An offer that was not taken, and why."""

    key: str
    why: Why
    text: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """counts: instances of each candidate, in their order. short: replicas that could not be covered.

    usd_per_hour: what the instances cost. expected_usd_per_hour: with what coming late and being interrupted is worth.
    method: how it was found. `proved`: covering by the cheapest first cannot be beaten; `greedy`: it stands in where
    the programme had no answer in time. taken, left: in words.
    """

    counts: tuple[int, ...]
    replicas: int
    short: int
    usd_per_hour: float
    expected_usd_per_hour: float
    method: Method
    taken: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()

    @property
    def units(self) -> int:
        """Instances in all."""
        return sum(self.counts)
