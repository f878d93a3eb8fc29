"""What the loop needs of a journal, and one that forgets: for back-tests, which are over before anybody looks back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from autoscaler.journal import Entry
from autoscaler.journal_operations import Nothing, Standing
from autoscaler.types import Action, Launch, Memory, Override


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

    @property
    def operations(self) -> Standing:
        """What people have said of single instances and of whole pools."""
        ...

    def put_override(self, override: Override) -> None:
        """Write an override; one with the same pool and id is replaced."""
        ...

    def end_override(self, pool: str, name: str, author: str, reason: str, at: float) -> bool:
        """End an override before its time; False if there is none of that name."""
        ...

    def launches(self, actions: Collection[str]) -> Mapping[str, str]:
        """The pools that launches were ordered for, by action, of those that were ordered here."""
        ...


class Fleeting:
    """Keeps what the loop cannot do without: open intents, overrides, and which pool a launch was for. A tick costs a
    tenth of what it does with a database in memory."""

    def __init__(self) -> None:
        self._open: dict[str, Action] = {}
        self.operations: Standing = Nothing()
        self._overrides: dict[tuple[str, str], Override] = {}
        self._launched: dict[str, str] = {}

    def load(self) -> Mapping[str, Memory]:
        return {}

    def record(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._open |= {action.id: action for action in entry.plan.actions}
            self._launched |= {a.id: a.pool for a in entry.plan.actions if isinstance(a, Launch)}
            for outcome in entry.outcomes:
                if outcome.final:
                    self._open.pop(outcome.action, None)

    def open_intents(self) -> Sequence[Action]:
        return tuple(self._open.values())

    def overrides(self, now: float) -> Sequence[Override]:
        return tuple(o for o in self._overrides.values() if o.until > now)

    def put_override(self, override: Override) -> None:
        self._overrides[override.pool, override.id] = override

    def end_override(self, pool: str, name: str, author: str, reason: str, at: float) -> bool:
        return self._overrides.pop((pool, name), None) is not None

    def launches(self, actions: Collection[str]) -> Mapping[str, str]:
        return {action: self._launched[action] for action in actions if action in self._launched}
