"""Alerts of every pool, as the last tick judged them, and who is told of them or why nobody is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from autoscaler.api.alerts_models import Alerts, AlertView
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.problems import documented
from autoscaler.notifying.identity import identity
from autoscaler.notifying.muting import Mute, mutes
from autoscaler.types import Alert, AlertState, Severity

MAX_PAGE = 5000
ORDER: dict[AlertState, int] = {"firing": 0, "pending": 1, "resolved": 2, "inactive": 3}

router = APIRouter(tags=["alerts"], responses=documented(401, 403, 422))


@router.get("/alerts")
def list_alerts(
    deps: Deps,
    pool: Annotated[str | None, Query(max_length=200)] = None,
    state: AlertState | None = None,
    severity: Severity | None = None,
    silenced: Annotated[bool | None, Query(description="only those that are silenced, or are not")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1000,
) -> Alerts:
    """Alerts that are not inactive, firing ones first, the newest first among equals."""
    known = alerts_of(deps)
    muted = mutes(known, deps.journal.notified.silences(deps.clock.now()), deps.clock.now(), deps.notices.inhibit)
    found = [a for a in known if pool in (None, a.pool) and severity in (None, a.severity)]
    found = [a for a in found if a.state == state or (state is None and a.state != "inactive")]
    if silenced is not None:
        found = [a for a in found if bool(muted.get(identity(a), NOT_MUTED).silences) is silenced]
    found.sort(key=lambda a: (ORDER[a.state], -a.since, a.pool, a.key))
    shown = [_shown(deps, a, muted.get(identity(a), NOT_MUTED)) for a in found[:limit]]
    return Alerts(alerts=shown, left_out=len(found) - len(shown))


def alerts_of(deps: ApiDeps) -> list[Alert]:
    """Every alert on the board, those of pools without rules too."""
    found = [alert for view in deps.board.pools().values() for alert in view.alerts]
    return found + [o.alert for o in deps.board.ownerless.values() if o.alert is not None]


NOT_MUTED = Mute()


def _shown(deps: ApiDeps, a: Alert, mute: Mute) -> AlertView:
    return AlertView(
        key=a.key,
        pool=a.pool,
        name=a.name,
        severity=a.severity,
        state=a.state,
        since=a.since,
        text=a.text,
        labels=list(a.labels),
        value=a.value,
        started_at=a.started_at,
        notified_at=a.notified_at,
        calm_since=a.calm_since,
        silenced_by=list(mute.silences),
        inhibited_by=mute.inhibited_by,
        receivers=list(deps.notices.receivers_of(a)),
    )
