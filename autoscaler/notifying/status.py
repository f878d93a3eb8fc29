"""How one address of a receiver does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """Counts of messages to one address since the start, and what went wrong last.

    host: scheme, host and port, all of the URL that may be shown. failed_attempts: tries that will be repeated.
    refused: the receiver said that it never wants the message. expired: given up after trying for long. dropped: pushed
    out of a full queue by newer ones.
    """

    receiver: str
    kind: str = "webhook"
    host: str = ""
    queued: int = 0
    delivered: int = 0
    failed_attempts: int = 0
    refused: int = 0
    expired: int = 0
    dropped: int = 0
    last_delivered_at: float | None = None
    last_error: str = ""
