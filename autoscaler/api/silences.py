"""Silences: alerts that nobody is told of for a while, always with an end, an author and a comment."""

from __future__ import annotations

import hashlib
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query

from autoscaler.api.alerts import alerts_of
from autoscaler.api.alerts_models import MatcherView, SilenceIn, Silences, SilenceState, SilenceView
from autoscaler.api.auth import Operator
from autoscaler.api.deps import Deps
from autoscaler.api.ends import LONGEST_S, Faults, end_of, instant_of
from autoscaler.api.problems import Problem, documented
from autoscaler.explain import clock_text
from autoscaler.notifying.identity import labels
from autoscaler.notifying.matching import check, parsed, selects
from autoscaler.types import Alert, Matcher, Silence

log = structlog.get_logger(__name__)
router = APIRouter(tags=["alerts"], responses=documented(401, 403, 422, 503))

SilenceId = Annotated[str, Path(alias="id", pattern=r"^[a-z0-9]{1,40}$", description="as GET /silences lists it")]
EVERYTHING = 'matches every alert; name what is to be silent with a value, such as pool="chat"'


@router.get("/silences")
def list_silences(
    deps: Deps, state: SilenceState | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 1000
) -> Silences:
    """Silences in force and to come, oldest first, then those that are over."""
    now = deps.clock.now()
    known = alerts_of(deps)
    found = [s for s in deps.journal.notified.silences(now) if state in (None, state_of(s, now))]
    return Silences(silences=[_shown(s, now, known) for s in found[:limit]])


@router.post("/silences", status_code=201, responses=documented(400, 413))
def add_silence(deps: Deps, caller: Operator, body: SilenceIn) -> SilenceView:
    """Mute the alerts that match, from now or later on; what is already on its way is still delivered."""
    now = deps.clock.now()
    faults: Faults = []
    starts_at = _start(body, now, faults)
    ends_at = end_of(body.until, body.for_, starts_at, faults)
    matchers = _matchers(body, faults)
    if faults:
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults), faults)
    written = f"{now!r} {body.author} {[str(m) for m in matchers]} {len(deps.journal.notified.silences(now))}"
    silence = Silence(
        id=hashlib.sha256(written.encode(errors="replace")).hexdigest()[:12],
        matchers=matchers,
        starts_at=starts_at,
        ends_at=ends_at,
        author=body.author.strip(),
        comment=body.comment.strip(),
        created_at=now,
    )
    deps.journal.notified.put_silence(silence)
    about = {"id": silence.id, "matchers": _text(silence), "until": ends_at}
    log.info("silence added", **about, author=silence.author, comment=silence.comment, token=caller.name)
    deps.notices.wake()
    return _shown(silence, now, alerts_of(deps))


@router.delete("/silences/{id}", status_code=204, responses=documented(404))
def end_silence(
    deps: Deps,
    caller: Operator,
    silence_id: SilenceId,
    author: Annotated[str, Query(min_length=1, max_length=100, pattern=r"\S")],
) -> None:
    """End a silence before its time. What still fires and was muted by it alone is sent at once."""
    now = deps.clock.now()
    if deps.journal.notified.end_silence(silence_id, author.strip(), now) is None:
        live = [s.id for s in deps.journal.notified.silences(now) if s.ends_at > now]
        hint = f"in force or to come are {', '.join(live[:10])}" if live else "none is in force"
        raise Problem(404, f"there is no silence {silence_id!r} that is not over; {hint}")
    log.info("silence ended", id=silence_id, author=author, token=caller.name)
    deps.notices.wake()


def state_of(silence: Silence, now: float) -> SilenceState:
    """Whether it mutes now, will, or has."""
    if silence.ends_at <= now:
        return "ended"
    return "active" if silence.starts_at <= now else "pending"


def _start(body: SilenceIn, now: float, faults: Faults) -> float:
    if body.starts is None:
        return now
    try:
        found = instant_of(body.starts)
    except ValueError as error:
        faults.append(("starts", str(error)))
        return now
    if found > now + LONGEST_S:
        rule = f"the start {clock_text(found)} is more than 30 days away; add the silence when it is nearer"
        faults.append(("starts", rule))
    return max(now, found)


def _matchers(body: SilenceIn, faults: Faults) -> tuple[Matcher, ...]:
    found = []
    for number, given in enumerate(body.matchers):
        where = f"matchers[{number}]"
        try:
            if isinstance(given, str):
                found.append(parsed(given))
            else:
                found.append(Matcher(given.name, given.op, given.value))
                check(found[-1])
        except ValueError as error:
            faults.append((where, str(error)))
    if not faults and selects(found, {}):
        faults.append(("matchers", f"{' '.join(map(str, found))} {EVERYTHING}"))
    return tuple(found)


def _text(silence: Silence) -> str:
    return ", ".join(str(m) for m in silence.matchers)


def _shown(silence: Silence, now: float, alerts: list[Alert]) -> SilenceView:
    live = [a for a in alerts if a.state in ("pending", "firing")] if silence.active(now) else []
    return SilenceView(
        id=silence.id,
        matchers=[MatcherView(name=m.name, op=m.op, value=m.value) for m in silence.matchers],
        text=_text(silence),
        state=state_of(silence, now),
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        author=silence.author,
        comment=silence.comment,
        created_at=silence.created_at,
        ended_by=silence.ended_by,
        alerts=sum(selects(silence.matchers, labels(a)) for a in live),
    )
