"""What the banner says on every page: what keeps the service from its work, and which pools nobody watches over."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.api.deps import ApiDeps
from autoscaler.api.health import not_ready
from autoscaler.api.room.pools.standing import standing
from autoscaler.board import PoolView

NAMED = 5


def concerns(deps: ApiDeps) -> tuple[str, ...]:
    """Sentences, the service's own troubles first; empty = all is watched."""
    reasons, unseen = list(not_ready(deps)), blind(deps.board.pools(), deps.clock.now())
    found = reasons[:NAMED]
    if len(reasons) > NAMED:
        found.append(f"and {len(reasons) - NAMED} more of that kind")
    if unseen:
        more = f" and {len(unseen) - NAMED} more" if len(unseen) > NAMED else ""
        what = "1 pool is blind and stays" if len(unseen) == 1 else f"{len(unseen)} pools are blind and stay"
        found.append(f"{what} as found: {', '.join(unseen[:NAMED])}{more}")
    return tuple(found)


def blind(views: Mapping[str, PoolView], now: float) -> list[str]:
    """Pools whose fleet or signals are not known, or whose tick fails. The late ones are the service's trouble."""
    own = [(pool, view) for pool, view in sorted(views.items()) if not view.rules.shadow_of]
    return [pool for pool, view in own if standing(view, (), now).word in ("in error", "blind")]
