"""Instances of pools that no rule file is about, and how a person lets such a pool go.

A rule file that was deleted, renamed or broken must not delete a fleet: its machines go on, unattended, and people are
told. Only a person's word releases them: an override of its own, with an author, a reason and an end, under which the
pool is led to nothing by the ordinary loop, two-phased and journalled. Rules that come back end it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from autoscaler.alerts import Terms, advance, due
from autoscaler.board import Board, Ownerless
from autoscaler.errors import StorageError
from autoscaler.ledger import Ledger
from autoscaler.movement import Bounds, Ownership
from autoscaler.ruleset import RuleSet
from autoscaler.sight import Sight
from autoscaler.types import Alert, Instance, Offer, Override

RELEASE = "release"
"""Name of the override under which a pool without rules is let go."""
RELEASE_S = 86400.0
"""How long a release lasts at most; machines that are there after it stay."""
ALERT = "instances without rules"
FOR_S = 60.0
"""A rule file that is replaced is gone for a moment."""
log = structlog.get_logger()


@dataclass(slots=True)
class Unattended:
    """Follows the pools without rules. notify: as the loop's."""

    journal: Ledger
    board: Board
    notify: Callable[[Sequence[Alert]], None]
    _alerts: dict[str, Alert] = field(default_factory=dict)

    def rules(
        self, ruled: Mapping[str, RuleSet], found: Mapping[str, tuple[Instance, ...]], told: bool, now: float
    ) -> Mapping[str, RuleSet]:
        """The rules in force, and rules that lead to nothing for pools that were released. found: instances of pools
        without rules. told: every provider has reported, so that what is not found is gone."""
        released = {o.pool: o for o in self.journal.overrides(now) if o.id == RELEASE}
        self._publish(found, released, now)
        if not released:
            return ruled
        busy = {a.pool for a in self.journal.open_intents()}
        extra = {}
        for pool, override in released.items():
            if pool in ruled:
                self._end(override, "its rules are back", now)
            elif told and pool not in found and pool not in busy:
                self._end(override, "all of it is gone", now)
            else:
                extra[pool] = leading_to_nothing(override, found.get(pool, ()))
        return {**ruled, **extra} if extra else ruled

    def _end(self, override: Override, why: str, now: float) -> None:
        try:
            self.journal.end_override(override.pool, RELEASE, "sigmascale", why, now)
            log.info("release ended", pool=override.pool, reason=why)
        except StorageError as error:
            log.error("a release could not be ended; it is tried again", pool=override.pool, problem=str(error))

    def _publish(self, found: Mapping[str, tuple[Instance, ...]], released: Mapping[str, Override], now: float) -> None:
        if not found and not self._alerts:
            if self.board.ownerless:
                self.board.ownerless = {}
            return
        before, after = self._alerts, dict[str, Alert]()
        for pool in {*found, *before}:
            labels = (("pool", pool),)
            alert = before.get(pool) or Alert(f"{ALERT}{labels}", pool, ALERT, "warning", "inactive", 0.0, "", labels)
            lost = pool in found and pool not in released
            over = f"released by {released[pool].author}" if pool in released else "it has rules again, or no instances"
            text = words(pool, found[pool]) if lost else over
            alert = advance(alert, Sight(lost, now, text), Terms(for_s=FOR_S, silence_s=3600.0), now)
            if alert.state != "inactive":
                after[pool] = alert
        news = due(before, after)
        for alert in news:
            log.warning(alert.name, pool=alert.pool, state=alert.state, text=alert.text)
        self._alerts = after
        self.board.ownerless = {
            pool: Ownerless(pool, some, words(pool, some), released.get(pool), after.get(pool))
            for pool, some in found.items()
        }
        if news:
            self.notify(news)


def leading_to_nothing(override: Override, instances: Collection[Instance]) -> RuleSet:
    """Rules under which a released pool goes to zero. They name the providers that have to be heard, and no more."""
    providers = sorted({i.offer.split("/", 1)[0] for i in instances})
    return RuleSet(
        pool=override.pool,
        bounds=Bounds(0, 0),
        offers=tuple(Offer(name, "released") for name in providers),
        ownership=Ownership(None, None),
        hash=RELEASE,
        file=f"released by {override.author}",
    )


def words(pool: str, instances: Sequence[Instance]) -> str:
    """What there is, what it costs, and what to do."""
    usd = sum(i.usd_per_hour for i in instances if i.state != "warm")
    some = "1 instance" if len(instances) == 1 else f"{len(instances)} instances"
    return (
        f"{some} of pool {pool}, {usd:g} USD/h, and no rule file in force is about it: left as it is. Put its rule "
        f"file back or mend it, or let the machines go with `sigmascale release {pool}`"
    )


def with_release(pool: str, author: str, reason: str, now: float) -> Override:
    """The override that lets a pool go."""
    return Override(RELEASE, pool, "pin", now + RELEASE_S, author, reason, 0, created_at=now)
