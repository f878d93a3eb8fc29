"""What the loop needs of a journal, and one that forgets: for back-tests, which are over before anybody looks back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from autoscaler.journal import Entry
from autoscaler.types import Action, Memory, Override


class Ledger(Protocol):
    """Where the loop writes what it is about to do, and finds what it had in hand."""

    def load(self) -> Mapping[str, Memory]:
        """The last memory of every pool."""
        ...

    def record(self, entries: Sequence[Entry]) -> None:
        """Keep all of a pass, or raise StorageError and keep nothing."""
        ...

    def open_intents(self) -> Sequence[Action]:
        """Actions whose end has not been seen, in the order in which they were recorded."""
        ...

    def overrides(self, now: float) -> Sequence[Override]:
        """Overrides in force, oldest first."""
        ...


class Fleeting:
    """Keeps the open intents, which the loop cannot do without, and nothing else. A tick costs a tenth of what it does
    with a database in memory."""

    def __init__(self) -> None:
        self._open: dict[str, Action] = {}

    def load(self) -> Mapping[str, Memory]:
        return {}

    def record(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._open |= {action.id: action for action in entry.plan.actions}
            for outcome in entry.outcomes:
                if outcome.final:
                    self._open.pop(outcome.action, None)

    def open_intents(self) -> Sequence[Action]:
        return tuple(self._open.values())

    def overrides(self, now: float) -> Sequence[Override]:
        return ()
