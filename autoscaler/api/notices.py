"""What the API needs of whoever tells people about alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autoscaler.notifying.status import ReceiverStatus
from autoscaler.types import Alert, Message


class Notices(Protocol):
    """Who is told of alerts. inhibit: a critical alert mutes the others of its pool."""

    @property
    def inhibit(self) -> bool: ...

    def receivers_of(self, alert: Alert) -> tuple[str, ...]:
        """The names of those that an alert is for."""
        ...

    def address_of(self, message: Message) -> tuple[str, str]:
        """Kind of its receiver, and scheme, host and port of where it goes; both empty = it is configured no more."""
        ...

    def status(self) -> Sequence[ReceiverStatus]:
        """How each address of each receiver does."""
        ...

    def problem(self) -> str:
        """Why messages are kept in memory only; empty = they are in the journal."""
        ...

    def wake(self) -> None:
        """Somebody changed what is to be told."""
        ...


class Nobody:
    """Nobody is told of anything."""

    inhibit = False

    def receivers_of(self, alert: Alert) -> tuple[str, ...]:
        return ()

    def address_of(self, message: Message) -> tuple[str, str]:
        return "", ""

    def status(self) -> Sequence[ReceiverStatus]:
        return ()

    def problem(self) -> str:
        return ""

    def wake(self) -> None:
        """There is nobody to wake."""
