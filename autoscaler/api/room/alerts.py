"""The alerts page: what fires, what is silenced by whom, and whether those who should know have been told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError

from autoscaler.api import silences
from autoscaler.api.alerts import list_alerts
from autoscaler.api.alerts_models import AlertView, Deliveries, SilenceIn, SilenceView
from autoscaler.api.auth import require
from autoscaler.api.crosssite import refuse_cross_site
from autoscaler.api.deliveries import list_deliveries
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.problems import Problem
from autoscaler.api.room.pages import Looking, Visitor, back, render
from autoscaler.api.room.signin import fields
from autoscaler.errors import InputError, StorageError
from autoscaler.tokens import Token
from autoscaler.types import Matcher, MessageState
from autoscaler.words import counted, instant

SHOWN = 200
"""Alerts on one page: more are read by nobody, and named by a filter."""
ENDED_SHOWN = 5
DELIVERIES = 25
SEVERITIES = ("critical", "warning", "info")
STATES = ("firing", "pending", "resolved")
_MOST = 5000

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Query(max_length=200)]
Fields = Annotated[Mapping[str, str], Depends(fields)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reader chose. sent: state of deliveries; before: of which page of them."""

    text: str = ""
    severity: str = ""
    state: str = ""
    silenced: str = ""
    sent: str = ""
    before: int | None = None

    def query(self, **changes: object) -> str:
        """The address's query with changes."""
        said = {
            "q": self.text,
            "severity": self.severity,
            "state": self.state,
            "silenced": self.silenced,
            "sent": self.sent,
            "before": self.before,
        } | changes
        return urlencode({name: value for name, value in said.items() if value not in ("", None)})


@dataclass(frozen=True, slots=True)
class Tried:
    """A form as it was sent, and what is wrong with it. deed: silence or end."""

    said: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    deed: str = ""


@dataclass(frozen=True, slots=True)
class Alarms:
    """Everything that the page shows. counts: title, number, weight. more: alerts that match and are not shown."""

    alerts: tuple[AlertView, ...]
    more: int
    counts: tuple[tuple[str, int, str], ...]
    silences: tuple[SilenceView, ...]
    ended: tuple[SilenceView, ...]
    sent: Deliveries


def _asked(
    q: Text = "", severity: Text = "", state: Text = "", silenced: Text = "", sent: Text = "", before: Text = ""
) -> Asked:
    """What the address says; what is not known is as if it were not there."""
    return Asked(
        q.strip(),
        severity if severity in SEVERITIES else "",
        state if state in STATES else "",
        silenced if silenced in ("yes", "no") else "",
        sent if sent in get_args(MessageState) else "",
        int(before) if before.isdigit() and 0 < int(before) < 2**62 else None,
    )


Filter = Annotated[Asked, Depends(_asked)]


async def _operator(request: Request, deps: Deps) -> Token | Problem:
    """Whose form it is, or why it is not carried out; said on the page, so nothing is raised here."""
    try:
        return await require("operator")(request, deps)
    except Problem as problem:
        return problem


MayChange = Annotated[Token | Problem, Depends(_operator)]


@router.get("/alerts")
def page(
    request: Request, deps: Deps, who: Looking, asked: Filter, silence: Text = "", about: Text = "", notice: Text = ""
) -> Response:
    """The page. silence, about: name and pool of an alert that is to be silenced, to fill the form in."""
    said = {}
    if silence or about:
        matchers = [Matcher("alertname", "=", silence)] if silence else []
        matchers += [Matcher("pool", "=", about)] if about else []
        said = {"matchers": "\n".join(map(str, matchers))}
    return _page(request, deps, who, asked, Tried(said, deed="silence" if said else ""), notice)


@router.get("/ui/alerts")
def fragment(request: Request, deps: Deps, who: Looking, asked: Filter) -> Response:
    """The part that follows the service."""
    return render(request, deps, who, "alerts_parts.html", asked=asked, found=_found(deps, asked))


@router.get("/ui/deliveries")
def told(request: Request, deps: Deps, who: Looking, asked: Filter) -> Response:
    """What became of messages, anew."""
    found = _found(deps, asked)
    return render(request, deps, who, "alerts_sent.html", asked=asked, found=found, kinds=get_args(MessageState))


@router.get("/alerts/silences")
@router.get("/alerts/silences/{name}/end")
def look() -> Response:
    """Whoever comes back here from signing in is shown the page."""
    return back("/alerts")


@router.post("/alerts/silences")
def add(request: Request, deps: Deps, who: Looking, said: Fields, token: MayChange) -> Response:
    """Adds a silence, by the rules of the REST interface."""
    refuse_cross_site(request)
    if isinstance(token, Problem):
        return _again(request, deps, who, said, "silence", token)
    try:
        made = silences.add_silence(deps=deps, caller=token, body=_body(said))
    except (Problem, InputError, StorageError) as problem:
        return _again(request, deps, who, said, "silence", problem)
    muted = f"it mutes {counted(made.alerts, 'alert')} now" if made.alerts else "it matches no alert now"
    return back("/alerts", f"Silenced until {instant(made.ends_at)}; {muted}.")


@router.post("/alerts/silences/{name}/end")
def end(request: Request, deps: Deps, who: Looking, name: str, said: Fields, token: MayChange) -> Response:
    """Ends a silence before its time, in the name of whoever is signed in."""
    refuse_cross_site(request)
    if isinstance(token, Problem):
        return _again(request, deps, who, said, "end", token)
    author = said.get("author", "").strip()[:100] or token.name
    try:
        silences.end_silence(deps=deps, caller=token, silence_id=name[:40], author=author)
    except (Problem, StorageError) as problem:
        return _again(request, deps, who, said, "end", problem)
    return back("/alerts", "The silence has ended; what still fires is sent again.")


def _again(
    request: Request, deps: ApiDeps, who: Visitor, said: Mapping[str, str], deed: str, problem: Exception
) -> Response:
    status = problem.status_code if isinstance(problem, Problem) else 503 if isinstance(problem, StorageError) else 422
    text = str(problem.detail) if isinstance(problem, Problem) else str(problem)
    return _page(request, deps, who, Asked(), Tried(said, text, deed), "", status)


def _page(
    request: Request, deps: ApiDeps, who: Visitor, asked: Asked, tried: Tried, notice: str, status: int = 200
) -> Response:
    return render(
        request,
        deps,
        who,
        "alerts.html",
        status,
        asked=asked,
        tried=tried,
        notice=notice,
        found=_found(deps, asked),
        severities=SEVERITIES,
        states=STATES,
        kinds=get_args(MessageState),
    )


def _body(said: Mapping[str, str]) -> SilenceIn:
    """The silence that a form asks for; a matcher a line. Raises Problem with every rule that it breaks."""
    lines = [line.strip() for line in said.get("matchers", "").splitlines() if line.strip()]
    lasts, until = said.get("for", "").strip(), said.get("until", "").strip()
    if until and "T" in until and not until.endswith("Z") and "+" not in until:
        until += "Z"  # times of forms are UTC
    given = {"matchers": lines, "author": said.get("author", ""), "comment": said.get("comment", "")}
    given |= {"until": until} if until else {}
    given |= {"for": lasts} if lasts and not until else {}
    try:
        return SilenceIn.model_validate(given)
    except ValidationError as error:
        faults = [(".".join(map(str, e["loc"])), _rule(e["type"], e["msg"])) for e in error.errors()]
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults), faults) from None


def _rule(kind: str, text: str) -> str:
    if kind in ("missing", "string_too_short", "string_pattern_mismatch", "too_short"):
        return "is empty; fill it in"
    return text.removeprefix("Value error, ").replace("Input should", "should")


def _found(deps: ApiDeps, asked: Asked) -> Alarms:
    known = list_alerts(deps=deps, limit=_MOST).alerts
    rank = {name: n for n, name in enumerate(SEVERITIES)}
    state = {name: n for n, name in enumerate(STATES)}
    kept = [a for a in known if _kept(a, asked)]
    kept.sort(key=lambda a: (state.get(a.state, 9), bool(a.silenced_by), rank.get(a.severity, 9), -a.since))
    firing = [a for a in known if a.state == "firing"]
    quiet = sum(bool(a.silenced_by) for a in firing)
    all_silences = silences.list_silences(deps=deps).silences
    chosen: MessageState | None = next((s for s in get_args(MessageState) if s == asked.sent), None)
    sent = list_deliveries(deps=deps, state=chosen, before=asked.before, limit=DELIVERIES)
    waiting = sum(r.queued for r in sent.receivers)
    lost = sum(r.expired + r.dropped + r.refused for r in sent.receivers)
    counts = (
        ("critical and firing", sum(a.severity == "critical" for a in firing), "bad"),
        ("firing in all", len(firing), "warn"),
        ("pending", sum(a.state == "pending" for a in known), ""),
        ("of the firing are silenced", quiet, ""),
        ("messages wait to be delivered", waiting, "warn"),
        ("messages were never delivered", lost, "bad"),
    )
    live = tuple(s for s in all_silences if s.state != "ended")
    over = sorted((s for s in all_silences if s.state == "ended"), key=lambda s: -s.ends_at)[:ENDED_SHOWN]
    return Alarms(tuple(kept[:SHOWN]), max(0, len(kept) - SHOWN), counts, live, tuple(over), sent)


def _kept(alert: AlertView, asked: Asked) -> bool:
    if asked.severity not in ("", alert.severity) or asked.state not in ("", alert.state):
        return False
    if asked.silenced and (asked.silenced == "yes") is not bool(alert.silenced_by):
        return False
    about = " ".join((alert.pool, alert.name, alert.text, *(f"{k}={v}" for k, v in alert.labels))).lower()
    return all(word in about for word in asked.text.lower().split())
