"""Learned values as the journal's lessons, and back. What another release wrote and this cannot read is left out."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from autoscaler.capacity import CurveState, ReplicaState
from autoscaler.journal_learned import Lesson
from autoscaler.leadtime import Attempt, OfferKey
from autoscaler.types import Capacity, LeadTime, Outlook

T = TypeVar("T")

OUTLOOK: TypeAdapter[Outlook] = TypeAdapter(Outlook)
CAPACITY: TypeAdapter[Capacity] = TypeAdapter(Capacity)
LEAD_TIME: TypeAdapter[LeadTime] = TypeAdapter(LeadTime)
REPLICA: TypeAdapter[ReplicaState] = TypeAdapter(ReplicaState)
CURVE: TypeAdapter[CurveState] = TypeAdapter(CurveState)
OFFER: TypeAdapter[OfferKey] = TypeAdapter(OfferKey)
ATTEMPTS: TypeAdapter[dict[str, Attempt]] = TypeAdapter(dict[str, Attempt])


def outlook_row(pool: str, name: str, outlook: Outlook) -> Lesson:
    """One outlook; a cell without a forecast is null."""
    # Not through `asdict`, which copies: this is written once a minute for every pool.
    body = {each.name: getattr(outlook, each.name) for each in fields(outlook)}
    return Lesson(pool, "outlook", name, outlook.version, outlook.at, _text(body))


def outlook_of(lesson: Lesson) -> Outlook | None:
    """The outlook of a row."""
    given = _parsed(lesson)
    for row in given.get("growth", ()):
        row[:] = [math.nan if cell is None else cell for cell in row]
    return _value(OUTLOOK, {key: math.nan if value is None else value for key, value in given.items()})


def capacity_row(pool: str, kind: str, state: ReplicaState | CurveState, value: Capacity | None, at: float) -> Lesson:
    """What was learned of the replicas of one kind of machine, and what was made known of it."""
    family = "replica" if isinstance(state, ReplicaState) else "curve"
    body = {family: asdict(state), "value": None if value is None else asdict(value)}
    return Lesson(pool, "capacity", kind, state.version, at, _text(body))


def capacity_of(lesson: Lesson) -> tuple[ReplicaState | CurveState, Capacity | None] | None:
    """State and value of a row."""
    given = _parsed(lesson)
    state = _value(REPLICA, given["replica"]) if "replica" in given else _value(CURVE, given.get("curve"))
    if state is None:
        return None
    return state, _value(CAPACITY, given["value"]) if given.get("value") is not None else None


def lead_time_row(pool: str, name: str, known: LeadTime, at: float) -> Lesson:
    """The lead time of one offer; an arrival that is not expected any more is null."""
    return Lesson(pool, "lead_time", name, known.version, at, _text(asdict(known)))


def lead_time_of(lesson: Lesson) -> LeadTime | None:
    """The lead time of a row."""
    given = _parsed(lesson)
    arrivals = [(age, math.inf if total is None else total) for age, total in given.get("arrivals", ())]
    return _value(LEAD_TIME, given | {"arrivals": arrivals})


def launches_row(name: str, offer: OfferKey, attempts: dict[str, Attempt], at: float) -> Lesson:
    """The attempts of one offer, of all pools."""
    body = {"offer": asdict(offer), "attempts": ATTEMPTS.dump_python(attempts, mode="json")}
    return Lesson("", "launches", name, str(len(attempts)), at, _text(body))


def launches_of(lesson: Lesson) -> tuple[OfferKey, dict[str, Attempt]] | None:
    """Offer and attempts of a row."""
    given = _parsed(lesson)
    offer, attempts = _value(OFFER, given.get("offer")), _value(ATTEMPTS, given.get("attempts"))
    return None if offer is None or attempts is None else (offer, attempts)


def _text(body: Any) -> str:
    try:
        return json.dumps(body, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(body), separators=(",", ":"), allow_nan=False)


def _finite(body: Any) -> Any:
    """JSON has no word for NaN and the infinite."""
    if isinstance(body, float):
        return body if math.isfinite(body) else None
    if isinstance(body, dict):
        return {key: _finite(value) for key, value in body.items()}
    return [_finite(value) for value in body] if isinstance(body, (list, tuple)) else body


def _parsed(lesson: Lesson) -> dict[str, Any]:
    try:
        found = json.loads(lesson.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _value(adapter: TypeAdapter[T], given: object) -> T | None:
    try:
        return adapter.validate_python(given)
    except ValidationError:
        return None
