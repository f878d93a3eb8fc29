"""Messages about alerts: what was sent to whom, what waits, and what went wrong."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from autoscaler.api.alerts_models import Deliveries, DeliveryView, ReceiverView
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.problems import documented
from autoscaler.types import Message, MessageState

router = APIRouter(tags=["alerts"], responses=documented(401, 403, 422, 503))


@router.get("/deliveries")
def list_deliveries(
    deps: Deps,
    receiver: Annotated[str, Query(max_length=200, description="only of this receiver")] = "",
    state: MessageState | None = None,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="`next_before` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Deliveries:
    """Messages to receivers, newest first, and how each receiver does."""
    found = deps.journal.notified.messages(receiver, state, before, limit + 1)
    shown = [_shown(deps, number, message) for number, message in found[:limit]]
    receivers = [
        ReceiverView(**{name: getattr(s, name) for name in ReceiverView.model_fields})
        for s in deps.notices.status()
        if receiver in ("", s.receiver)
    ]
    more = found[limit - 1][0] if len(found) > limit else None
    return Deliveries(deliveries=shown, receivers=receivers, next_before=more, problem=deps.notices.problem())


def _shown(deps: ApiDeps, number: int, m: Message) -> DeliveryView:
    kind, host = deps.notices.address_of(m)
    return DeliveryView(
        number=number,
        id=m.id,
        receiver=m.receiver,
        kind=kind,
        host=host,
        group=m.group,
        summary=m.summary,
        firing=m.firing,
        resolved=m.resolved,
        state=m.state,
        attempts=m.attempts,
        last_error=m.last_error,
        made_at=m.made_at,
        next_at=m.next_at if m.state == "waiting" else None,
        ended_at=m.ended_at,
        expires_at=m.expires_at,
    )
