"""Messages in the journal before they are sent, and in memory while its disk refuses them.

A full disk stops nobody: what cannot be written is kept, tried without the journal, and written when that works again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Protocol

import structlog

from autoscaler.errors import StorageError
from autoscaler.types import Message, Told

log = structlog.get_logger(__name__)

MAX_UNWRITTEN = 5000
TIDY_S = 3600.0

Key = tuple[str, str]


class Records(Protocol):
    """What is needed of the journal."""

    def tell(self, new: Sequence[Message], now_told: Sequence[Told], forgotten: Sequence[Key]) -> None: ...

    def waiting(self) -> tuple[Message, ...]: ...

    def told(self) -> tuple[Told, ...]: ...

    def forget(self, now: float) -> int: ...


class Outbox:
    """For any thread. `problem` says why the last write failed, empty = it did not."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = Lock()
        self._messages: OrderedDict[str, Message] = OrderedDict()
        self._told: dict[Key, Told | None] = {}
        self._tidy_at = 0.0
        self._closed = False
        self.problem = ""

    def load(self) -> tuple[tuple[Message, ...], tuple[Told, ...]]:
        """What waits, and what receivers were told, as the last service left it."""
        try:
            return self._records.waiting(), self._records.told()
        except StorageError as error:
            self._failed(error)
            return (), ()

    def write(self, messages: Sequence[Message], told: Mapping[Key, Told | None]) -> None:
        """Writes these and what could not be written before, in one transaction."""
        with self._lock:
            for message in messages:
                self._messages.pop(message.id, None)
                self._messages[message.id] = message
            self._told |= told
            if self._closed or (not self._messages and not self._told):
                return
            known = [t for t in self._told.values() if t is not None]
            forgotten = [key for key, t in self._told.items() if t is None]
            try:
                self._records.tell(tuple(self._messages.values()), known, forgotten)
            except StorageError as error:
                self._failed(error)
                while len(self._messages) > MAX_UNWRITTEN:
                    self._messages.popitem(last=False)
                return
            if self.problem:
                log.info("messages are in the journal again", messages=len(self._messages))
            self.problem = ""
            self._messages.clear()
            self._told.clear()

    def close(self) -> None:
        """Writes what is left. An attempt that hangs on writes nothing more, since the journal may be closed."""
        self.write((), {})
        with self._lock:
            self._closed = True

    def tidy(self, now: float) -> None:
        """Drops old messages, now and then, and tries again what could not be written."""
        if self.problem:
            self.write((), {})
        if not self._tidy_at <= now < self._tidy_at + TIDY_S:
            self._tidy_at = now
            try:
                self._records.forget(now)
            except StorageError as error:
                self._failed(error)

    def _failed(self, error: StorageError) -> None:
        if self.problem != str(error):  # once, not at every message
            log.error("messages are kept in memory; a restart would lose them", problem=str(error))
        self.problem = str(error)
