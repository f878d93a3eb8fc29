"""What a cloud says of one machine, whichever cloud it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Notices:
    """interruptions: kind -> when it happens, Unix seconds. rebalance_at: when the advice to move was given, 0 = it was
    not. instance: the cloud's own id of the machine."""

    instance: str
    interruptions: Mapping[str, float] = field(default_factory=dict)
    rebalance_at: float = 0.0


def instant(text: object) -> float | None:
    """Unix seconds of an ISO or an RFC 7231 date; None for anything else."""
    if not isinstance(text, str) or not 0 < len(text) <= 64:
        return None
    for reader in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = reader(text)
        except (ValueError, TypeError, OverflowError):
            continue
        at = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
        return at if 0 < at < 32503680000.0 else None
    return None
