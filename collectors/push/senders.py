"""Which process speaks under the name of a source: two that alternate would mix their rows, and neither would notice.

The process that began last is taken, so that one that was restarted is heard at once; another is refused for as long
as that one speaks. Who does not say which process it is, such as a script, is not judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import structlog

from collectors.push.refusal import RefusedError

log = structlog.get_logger(__name__)

SILENT_S, SILENT_INTERVALS = 10.0, 3.0
"""After so long, and so many of its intervals, without a word from the process that is taken, another one is."""
CONTESTED_S = 60.0
"""How long after a refusal two processes still count as pushing under one name; more than the pace of most."""
FORGOTTEN_S = 3600.0
NEXT_STEP = "give each a name of its own (an agent: --host) or stop one"


@dataclass(frozen=True, slots=True)
class Sender:
    """One run of one program. instance: what people find it by. started_at: when it began, Unix seconds."""

    instance: str
    started_at: float


@dataclass(slots=True)
class _Taken:
    """sender: whose pushes are taken. heard_at: when it last spoke. refused: who was refused last, and when."""

    sender: Sender
    heard_at: float
    refused: Sender | None = None
    refused_at: float = -math.inf


class Senders:
    """The process that is taken under each name, of at most `limit` names."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: dict[str, _Taken] = {}

    def admit(self, name: str, sender: Sender, interval_s: float, now: float) -> None:
        """Take a push under this name. Raises RefusedError while a process that began later speaks under it."""
        taken = self._taken.get(name)
        # Where a clock is ahead, a process begins when it is first heard of.
        sender = Sender(sender.instance, min(sender.started_at, now))
        if taken is None:
            self._make_room(now)
            self._taken[name] = _Taken(sender, now)
        elif (
            sender == taken.sender
            or sender.started_at > taken.sender.started_at
            or now - taken.heard_at > max(SILENT_S, SILENT_INTERVALS * interval_s)
        ):
            taken.sender, taken.heard_at = sender, now
        else:
            self._refuse(name, taken, sender, now)

    def contested(self, now: float) -> tuple[str, ...]:
        """In words, the names under which two processes push."""
        return tuple(
            f"two processes push under the name {name}: {one.sender.instance} is taken and {one.refused.instance}, "
            f"which began earlier, is refused; {NEXT_STEP}"
            for name, one in tuple(self._taken.items())
            if one.refused is not None and 0.0 <= now - one.refused_at < CONTESTED_S
        )

    def _refuse(self, name: str, taken: _Taken, sender: Sender, now: float) -> None:
        known = taken.refused == sender and 0.0 <= now - taken.refused_at < CONTESTED_S
        taken.refused, taken.refused_at = sender, now
        if not known:
            log.warning(
                "two processes push under one name",
                source=name,
                taken=taken.sender.instance,
                refused=sender.instance,
                next_step=NEXT_STEP,
            )
        text = f"{taken.sender.instance} began later and pushes under the name {name} too"
        told = f"{text}; only that one is taken; {NEXT_STEP}"
        raise RefusedError(409, "conflict", told, [("instance", told)])

    def _make_room(self, now: float) -> None:
        if len(self._taken) < self._limit:
            return
        for name in [name for name, one in self._taken.items() if not 0.0 <= now - one.heard_at < FORGOTTEN_S]:
            del self._taken[name]
        if len(self._taken) >= self._limit:
            raise RefusedError(422, "no_room", f"there are {self._limit:,} senders already, which is the limit")
