"""What an instance is expected to cost an hour: its price, what comes late, what is taken back, and what decides ties.

worth    = SHORTAGE_WORTH x the lowest price of a replica that can be had    USD per replica-hour that is missing
used_i   = its replicas, at most the need
late_i   = used_i x worth x max(0, p90_i - in_time) / kept                   once, shared by the hours it is kept
risk_i   = used_i x worth x interruptions_i x p90_i                          each time, until another one serves
cost_i   = price_i + late_i + risk_i + ties_i
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.choice.candidates import Candidate, Wanted
from autoscaler.choice.programme import Floats

HOUR_S = 3600.0

SHORTAGE_WORTH = 3.0
"""A replica-hour that is missing is worth so many that are paid for. An assumption of ours: users wait meanwhile."""

KEPT_S = 4 * HOUR_S
"""How long an instance is expected to stay, which shares out what happens once. An assumption: part of a daily peak."""

SPREAD = 1e-2
"""Of the lowest price of a replica, for each replica that a place has beyond the mean: so much a spread may cost."""

SLOWER, BIGGER, LATER_LISTED = 1e-3, 1e-4, 1e-5
"""Of the lowest price of a replica: what decides between offers of one cost, in this order."""


@dataclass(frozen=True, slots=True)
class Costs:
    """(offer,) USD/h of one instance: late and risk apart, `expected` with price, `ordered` with ties as well.

    lowest: price of the cheapest replica, 1 where all are free. in_time_s: what is in time.
    """

    lowest: float
    in_time_s: float
    late: Floats
    risk: Floats
    expected: Floats
    ordered: Floats


def costs_of(candidates: Sequence[Candidate], wanted: Wanted) -> Costs:
    """The costs of candidates that can be had, at least one."""
    replicas = np.array([c.replicas for c in candidates], dtype=np.float64)
    price = np.array([c.usd_per_hour for c in candidates])
    p90_s = np.array([c.p90_s for c in candidates])
    lowest = min((c.usd_per_replica_hour for c in candidates if c.usd_per_hour > 0), default=1.0)
    in_time_s = float(p90_s.min()) if wanted.in_time_s is None else wanted.in_time_s
    worth = SHORTAGE_WORTH * lowest
    used = np.minimum(replicas, wanted.replicas)
    late = used * worth * np.maximum(0.0, p90_s - in_time_s) / KEPT_S
    rate = np.array([c.interruptions_per_hour for c in candidates])
    risk = used * worth * rate * p90_s / HOUR_S
    expected = price + late + risk
    gpus = np.array([c.gpus / max(1, wanted.gpus_per_replica) if c.gpus else c.replicas for c in candidates])
    listed = np.arange(len(candidates)) / len(candidates)
    slowest = max(float(p90_s.max()), 1.0)
    ties = lowest * (SLOWER * replicas * p90_s / slowest + BIGGER * gpus + LATER_LISTED * replicas * listed)
    return Costs(lowest, in_time_s, late, risk, expected, expected + ties)
