"""What each form of a pool's page does: from fields that people typed to the function of the REST interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import Response
from pydantic import BaseModel, ValidationError

from autoscaler.api import operations, overrides, rollbacks, rolls
from autoscaler.api.decisions import MAX_NUMBER
from autoscaler.api.deps import ApiDeps
from autoscaler.api.ends import end_of
from autoscaler.api.models import OverrideIn
from autoscaler.api.operations_models import MarkIn, RollbackIn, RollIn, Said
from autoscaler.api.problems import Problem
from autoscaler.api.room.pool.missing import Found
from autoscaler.tokens import Token
from autoscaler.words import instant

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked:
    """One form that was sent."""

    pool: Found
    deps: ApiDeps
    token: Token
    fields: Mapping[str, str]

    def given(self, *names: str) -> dict[str, str]:
        """The fields of these names that were filled in."""
        return {name: text for name in names if (text := self.fields.get(name, "").strip())}

    def confirm(self, asks: str) -> None:
        """Ends the request with a question, unless the form says yes to exactly that one."""
        if self.fields.get("confirm") != asks:
            raise QuestionError(asks)


class QuestionError(Exception):
    """A form that has to be sent once more, by somebody who has read what it would do."""

    def __init__(self, asks: str) -> None:
        super().__init__(asks)
        self.asks = asks


def _body(model: type[M], values: Mapping[str, Any]) -> M:
    """The request that a form stands for. Raises Problem with every rule that it breaks."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [(".".join(map(str, e["loc"])), _rule(e["type"], e["msg"])) for e in error.errors()]
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults), faults) from None


def _rule(kind: str, text: str) -> str:
    if kind in ("missing", "string_too_short", "string_pattern_mismatch"):
        return "is empty; fill it in"
    return text.removeprefix("Value error, ").replace("Input should", "should").replace("Field required", "is empty")


def _asked(a: Asked, *more: str) -> dict[str, Any]:
    """Who, why and until when, and the fields of these names. Times of forms are UTC."""
    given: dict[str, Any] = a.given("author", "reason", "for", "until", *more)
    until = given.get("until", "")
    if until and "T" in until and not until.endswith("Z") and "+" not in until:
        given["until"] = f"{until}Z"
    return given


# --- overrides -----------------------------------------------------------------------------------------------------


def quick(said: Mapping[str, str]) -> Mapping[str, str]:
    """A quick button as the override that it stands for, so that the full form shows it where it needs another look."""
    match said.get("quick"):
        case "freeze":
            return {**said, "kind": "freeze"}
        case "in" | "out" as direction:
            return {**said, "kind": "pause", "direction": direction}
    return said


def _override(a: Asked) -> str:
    given = _asked(a, "kind", "replicas", "direction")
    if given.get("kind") != "pause":
        given.pop("direction", None)
    if given.get("kind") in ("freeze", "pause"):
        given.pop("replicas", None)
    body = _body(OverrideIn, given)
    danger = _danger(a, body)
    if danger:
        _check(a, body)
        a.confirm(danger)
    name = f"{body.kind}-{datetime.fromtimestamp(a.deps.clock.now(), UTC):%m%d-%H%M%S}"
    made = overrides.put_override(a.pool.view, a.deps, a.token, name, body, Response())
    return f"{_named(body)} is in force until {instant(made.until)}. A tick runs now."


def _check(a: Asked, body: OverrideIn) -> None:
    """Every fault is told before a person is asked to confirm."""
    faults: list[tuple[str, str]] = []
    end_of(body.until, body.for_, a.deps.clock.now(), faults)
    overrides.check_shape(body, a.pool.view.rules, faults)
    if faults:
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults), faults)


def _danger(a: Asked, body: OverrideIn) -> str:
    """What an override may do to users, empty when it cannot harm them."""
    fleet, d = a.pool.view.fleet, a.pool.view.decision
    ready = fleet.ready if fleet is not None else 0
    if body.kind == "freeze":
        return "While it is frozen the pool orders nothing, however many requests come."
    if body.kind == "pause" and body.direction != "in":
        return "While scale-out is paused the pool orders nothing, however many requests come."
    if body.kind in ("pin", "ceiling") and body.replicas is not None:
        wanted = d.recommended if d is not None else ready
        if body.replicas < ready:
            return f"{ready - body.replicas} of {ready} ready replicas drain and go: {body.kind} {body.replicas}."
        if body.replicas < wanted:
            return f"The rules ask for {wanted} replicas, and this allows {body.replicas}."
    return ""


def _named(body: OverrideIn) -> str:
    size = f" {body.replicas}" if body.replicas is not None else ""
    way = f" of scale-{body.direction}" if body.kind == "pause" and body.direction in ("out", "in") else ""
    return f"The {body.kind}{size}{way}"


def _end_override(a: Asked) -> str:
    name, said = a.fields.get("id", "")[:64], _body(Said, a.given("author", "reason"))
    overrides.end_override(a.pool.view, a.deps, a.token, name, said.author, said.reason)
    return f"The override {name} has ended. A tick runs now."


# --- rollbacks -----------------------------------------------------------------------------------------------------


def _rollback(a: Asked) -> str:
    given = _asked(a) | {"force": a.fields.get("force") == "yes"} | _right(a)
    would = rollbacks.roll_back(a.pool.view, a.deps, a.token, _body(RollbackIn, given | {"dry_run": True}))
    # Instants move from one look to the next, so what is confirmed is what would be done.
    u = would.undone
    wait = "" if given["force"] else " Where requests wait it is refused, unless that is said not to matter."
    a.confirm(
        f"Decision {u.decision} would be undone: back to the {u.replicas} replicas of decision {u.back_to}, "
        f"as a {u.kind} for as long as you say.{wait}" + (f" {would.rules_changed}" if would.rules_changed else "")
    )
    done = rollbacks.roll_back(a.pool.view, a.deps, a.token, _body(RollbackIn, given))
    return f"Rolled back: {done.text}."


def _right(a: Asked) -> dict[str, Any]:
    """The decision whose size was right: the one before that which is to be undone; empty = before the last change."""
    undone = a.fields.get("undo", "").strip()
    if not undone:
        return {}
    if not (undone.isascii() and undone.isdigit() and int(undone[:17]) <= MAX_NUMBER):
        raise Problem(422, f"undo: {undone[:40]!r} is no number of a decision; leave it empty to undo the last change")
    before = a.deps.journal.past.short(a.pool.name, before=int(undone), limit=1)
    if not before:
        raise Problem(404, f"undo: nothing is known from before decision {undone}; use an override")
    return {"to": before[0].number}


# --- instances -----------------------------------------------------------------------------------------------------


def _mark(a: Asked) -> dict[str, Any]:
    return _asked(a, "instance") | {"pool": a.pool.name, "force": a.fields.get("force") == "yes"}


def _cordon(a: Asked) -> str:
    body = _body(MarkIn, _mark(a))
    _, found = operations.find(a.deps, body.instance, body.pool)
    if found.state == "ready":
        a.confirm(f"{found.id} leaves routing, finishes what it holds and counts for nothing until the cordon ends.")
    made = operations.cordon(body, a.deps, a.token)
    return f"{made.instance} is cordoned until {instant(made.until)}: {made.text}."


def _replace(a: Asked) -> str:
    body = _body(MarkIn, _mark(a))
    _, found = operations.find(a.deps, body.instance, body.pool)
    a.confirm(f"A successor of {found.id} is ordered; when that serves, {found.id} drains and is ended for good.")
    made = operations.replace(body, a.deps, a.token)
    return f"{made.instance} is to be replaced: {made.text}."


def _uncordon(a: Asked) -> str:
    name, said = a.fields.get("instance", "")[:500], _body(Said, a.given("author", "reason"))
    operations.uncordon(a.deps, a.token, name, said.author, said.reason, a.pool.name)
    return f"The cordon of {name} has ended."


def _keep(a: Asked) -> str:
    name, said = a.fields.get("instance", "")[:500], _body(Said, a.given("author", "reason"))
    operations.keep(a.deps, a.token, name, said.author, said.reason, a.pool.name)
    return f"{name} stays."


# --- rolls ---------------------------------------------------------------------------------------------------------


def _roll(a: Asked) -> str:
    given = _asked(a, "max_unavailable", "max_surge", "per_hour", "canary")
    ticked = {name: a.fields.get(name) == "yes" for name in ("everything", "pause_on_failure")}
    body = _body(RollIn, given | ticked)
    what = "every instance" if body.everything else "every instance that is not of the rule file's present settings"
    a.confirm(f"{what} of {a.pool.name} is replaced, a few at a time.".capitalize())
    made = rolls.start_roll(a.pool.view, a.deps, a.token, body)
    return f"The roll begins: {made.text}."


def _resume(a: Asked) -> str:
    made = rolls.resume_roll(a.pool.view, a.deps, a.token, _body(Said, a.given("author", "reason")))
    return f"The roll goes on: {made.text}."


def _abort(a: Asked) -> str:
    said = _body(Said, a.given("author", "reason"))
    rolls.abort_roll(a.pool.view, a.deps, a.token, said.author, said.reason)
    return "The roll is taken back: what was replaced stays new, what is old stays."


DEEDS: Mapping[str, Callable[[Asked], str]] = {
    "override": _override,
    "end-override": _end_override,
    "rollback": _rollback,
    "cordon": _cordon,
    "replace": _replace,
    "uncordon": _uncordon,
    "keep": _keep,
    "roll": _roll,
    "resume-roll": _resume,
    "abort-roll": _abort,
}
"""The forms of the page. Each returns the sentence that the page shows next."""
