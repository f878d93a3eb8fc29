"""Which alerts nobody is told of now, and why: a silence that matches, or a critical alert of the same pool. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoscaler.notifying.identity import Identity, identity, labels
from autoscaler.notifying.matching import selects
from autoscaler.types import Alert, Silence


@dataclass(frozen=True, slots=True)
class Mute:
    """Why an alert is not sent: the ids of silences, or the name of the critical alert that says more."""

    silences: tuple[str, ...] = ()
    inhibited_by: str = ""


def mutes(alerts: Iterable[Alert], silences: Sequence[Silence], now: float, inhibit: bool) -> Mapping[Identity, Mute]:
    """The alerts that are muted now. inhibit: a firing critical alert mutes all others of its pool.

    A critical alert that is itself silenced still mutes: people know of it.
    """
    active = [s for s in silences if s.active(now)]
    known = list(alerts)
    critical = {a.pool: a.name for a in known if inhibit and a.severity == "critical" and a.state == "firing"}
    found: dict[Identity, Mute] = {}
    for alert in known if active or critical else ():
        by = silenced_by(alert, active) if active else ()
        above = critical.get(alert.pool, "") if alert.severity != "critical" else ""
        if by or above:
            found[identity(alert)] = Mute(by, above)
    return found


def silenced_by(alert: Alert, active: Iterable[Silence]) -> tuple[str, ...]:
    """The ids of the silences among these that match an alert."""
    named = labels(alert)
    return tuple(s.id for s in active if selects(s.matchers, named))
