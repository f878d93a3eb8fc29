"""What waits to be collected: bounded, since nobody promises to collect."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Event
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(eq=False)
class Outbox(Generic[Item]):
    """One or more threads put, another takes. At the limit the oldest are dropped. What is put sets `wake`."""

    limit: int
    wake: Event | None = None
    _waiting: deque[Item] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._waiting = deque(maxlen=self.limit)

    def put(self, *items: Item) -> None:
        """At the end."""
        self._waiting.extend(items)
        if self.wake is not None:
            self.wake.set()

    def take(self) -> tuple[Item, ...]:
        """Everything since the last call, oldest first."""
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return tuple(taken)
