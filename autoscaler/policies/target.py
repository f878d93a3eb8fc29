"""As many replicas as the demand needs: a signal divided by what one replica serves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autoscaler.errors import InputError
from autoscaler.types import Fleet, Proposal, Reading
from autoscaler.words import amount, replicas

CAPACITY = "capacity"
"""The reading that says what one replica can serve at its objective; no signal may take its name."""

ROUNDING = 1e-9
"""Relative error that a quotient may carry from floating point: 30.000000001 / 30 is one replica, not two."""

BEYOND_ANY_POOL = 1e9
"""A need above this is no demand but a broken number."""


@dataclass(frozen=True, slots=True)
class Target:
    """Size the pool to value / per_replica.

    per_replica None: the reading `capacity` times `utilisation_target`. tolerance_out, tolerance_in: the exact need
    may be this share above or below the size in force before it changes. unit: what follows numbers in texts ("/s").
    backlog: a signal of waiting work, which counts as demand on top: what waits is to be cleared within `clear_s`
    seconds (law 5: demand is measured at arrival, plus the hidden queue).
    """

    signal: str
    per_replica: float | None = None
    tolerance_out: float = 0.10
    tolerance_in: float = 0.10
    utilisation_target: float = 0.80
    unit: str = ""
    backlog: str | None = None
    clear_s: float = 120.0

    def __post_init__(self) -> None:
        faults = []
        if self.per_replica is not None and not (math.isfinite(self.per_replica) and self.per_replica > 0):
            faults.append(
                f"target: per_replica is {self.per_replica}, but must be above 0; write what one replica serves"
            )
        for key, value in (("tolerance_out", self.tolerance_out), ("tolerance_in", self.tolerance_in)):
            if not 0 <= value < 1:
                faults.append(f"target: {key} is {value}, but must be from 0 to below 1; write a share like 0.1")
        if not (math.isfinite(self.clear_s) and self.clear_s > 0):
            faults.append(
                f"target: clear_s is {self.clear_s}, but must be above 0; write the seconds to clear a queue in"
            )
        if not 0 < self.utilisation_target <= 1:
            faults.append(f"target: utilisation_target is {self.utilisation_target}, but must be above 0 and at most 1")
        if faults:
            raise InputError(*faults)

    def propose(self, now: float, readings: Mapping[str, Reading], fleet: Fleet, current: int) -> tuple[Proposal, ...]:
        """One proposal: `size` from fresh readings, `raise` or `hold` from lesser ones (laws 1 to 3).

        A fresh zero is a true zero and needs no replica. Frozen, missing, negative and infinite readings hold.
        """
        unknown = _unusable(self.signal, readings)
        if unknown:
            return _hold(current, unknown)
        share, share_text = self.share(readings)
        if share is None:
            return _hold(current, share_text)
        demand = self._demand(readings)
        if not demand.work / share < BEYOND_ANY_POOL:
            return _hold(current, f"{demand.text} at {share_text} is beyond any pool")
        return (self._judge(demand, demand.work / share, share_text, current),)

    def _demand(self, readings: Mapping[str, Reading]) -> _Demand:
        """The signal, and what waits on top of it. A backlog that is not known may be more, so nothing shrinks."""
        work = readings[self.signal].value or 0.0
        text = f"{self.signal} {amount(work)}{self.unit}"
        lesser = [_lesser(self.signal, readings[self.signal])]
        if self.per_replica is None:
            lesser.append(_lesser("the capacity of a replica", readings[CAPACITY]))
        if self.backlog is not None:
            waiting = readings.get(self.backlog)
            known = waiting.value if waiting is not None else None
            if known is not None and math.isfinite(known) and known > 0:
                work += known / self.clear_s
                text += f" and {amount(known)} waiting"
            unknown = _unusable(self.backlog, readings) if known is not None or not _idle(waiting) else ""
            lesser.append(unknown or (_lesser(self.backlog, waiting) if waiting is not None else ""))
        return _Demand(work, text, "; ".join(filter(None, lesser)))

    def share(self, readings: Mapping[str, Reading]) -> tuple[float | None, str]:
        """Work per replica and its text; without one None and why."""
        if self.per_replica is not None:
            return self.per_replica, f"{amount(self.per_replica)}{self.unit} each"
        capacity = readings.get(CAPACITY)
        if capacity is None or capacity.value is None:
            return None, "the capacity of one replica is not known" + (_detail(capacity) if capacity else "")
        if not (math.isfinite(capacity.value) and capacity.value > 0):
            return None, f"the capacity of one replica reads {capacity.value}, which cannot be"
        share = capacity.value * self.utilisation_target
        planned = f"{self.utilisation_target:.0%} of its capacity {amount(capacity.value)}{self.unit}"
        return share, f"{amount(share)}{self.unit} each ({planned})"

    def _judge(self, demand: _Demand, exact: float, share_text: str, current: int) -> Proposal:
        need = math.ceil(exact * (1 - ROUNDING))
        needs = f"{demand.text} needs {replicas(need)} at {share_text}"
        dead_band = self._inside_dead_band(exact, current)
        if not demand.lesser:
            if dead_band:
                return Proposal("", "size", current, f"{needs}; inside the dead band around {current}")
            return Proposal("", "size", need, needs)
        # What is not whole or not of now is a lower bound: it may raise and never lowers.
        lesser = f"{needs}; {demand.lesser}, so it may only raise"
        if need > current and not dead_band:
            return Proposal("", "raise", need, lesser)
        return Proposal("", "hold", current, lesser)

    def _inside_dead_band(self, exact: float, current: int) -> bool:
        if current == 0 or exact == 0:
            return False
        off = exact / current - 1
        return -self.tolerance_in - ROUNDING <= off <= self.tolerance_out + ROUNDING


@dataclass(frozen=True, slots=True)
class _Demand:
    """Work per second, how it came about, and which readings in it are less than fresh (empty: none)."""

    work: float
    text: str
    lesser: str


def _unusable(name: str, readings: Mapping[str, Reading]) -> str:
    """Why a reading tells no amount of work; empty if it does."""
    reading = readings.get(name)
    if reading is None:
        return f"{name} has no reading"
    if reading.value is None or reading.quality in ("frozen", "missing"):
        return f"{name} is {reading.quality}{_detail(reading)}"
    if not (math.isfinite(reading.value) and reading.value >= 0):
        return f"{name} reads {reading.value}, which no demand can be"
    return ""


def _idle(reading: Reading | None) -> bool:
    """Known to be nothing: the sources answered and there was nothing to measure."""
    return reading is not None and reading.quality == "fresh" and reading.value is None


def _lesser(name: str, reading: Reading) -> str:
    return "" if reading.quality == "fresh" else f"{name} is {reading.quality}{_detail(reading)}"


def _hold(current: int, text: str) -> tuple[Proposal, ...]:
    return (Proposal("", "hold", current, text),)


def _detail(reading: Reading) -> str:
    return f" ({reading.detail})" if reading.detail else ""
