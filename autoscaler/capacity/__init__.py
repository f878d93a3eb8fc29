"""What one replica serves at its objective: from first principles, then learned from what it does.

`learn` and `capacity` treat engines that generate tokens and others alike. Everything here is pure.
"""

from __future__ import annotations

from autoscaler.capacity.curve import CurveState, Point, curve_capacity, learn_curve
from autoscaler.capacity.learning import Observation, ReplicaState, begin, learn_replica, replica_capacity
from autoscaler.capacity.prior import Prior, prior_of
from autoscaler.capacity.replica import UTILISATION_TARGET, Limits, Objective, Replica, Workload
from autoscaler.types import Capacity

State = ReplicaState | CurveState


def learn(state: State, seen: Observation | Point) -> State:
    """The state after one more observation; one of the other kind of engine is a bug of the caller."""
    match state, seen:
        case ReplicaState(), Observation():
            return learn_replica(state, seen)
        case CurveState(), Point():
            return learn_curve(state, seen)
    raise TypeError(f"{type(state).__name__} cannot learn from {type(seen).__name__}")


def capacity(state: State, objective: Objective, unit: str = "requests/s") -> Capacity:
    """Work per second of one replica at the objective, as a low (20th percentile) and a median estimate."""
    if isinstance(state, ReplicaState):
        return replica_capacity(state, objective, unit)
    return curve_capacity(state, objective, unit)


__all__ = [
    "UTILISATION_TARGET",
    "CurveState",
    "Limits",
    "Objective",
    "Observation",
    "Point",
    "Prior",
    "Replica",
    "ReplicaState",
    "State",
    "Workload",
    "begin",
    "capacity",
    "learn",
    "prior_of",
]
