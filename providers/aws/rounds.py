"""One list for all who want one now: after each of fifty launches the loop asks what there is, and EC2 throttles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from autoscaler.errors import ProviderError
from autoscaler.types import Fleet


@dataclass
class Rounds:
    """Looks, one at a time. Who comes during one waits for the next, which all of them share, and its error too."""

    _begun: int = field(default=0, init=False)
    _ended: tuple[int, Fleet | ProviderError | None] = field(default=(0, None), init=False)
    _turn: Lock = field(default_factory=Lock, init=False, repr=False)
    _count: Lock = field(default_factory=Lock, init=False, repr=False)

    def share(self, look: Callable[[], Fleet]) -> Fleet:
        """What a look that began after this call saw. Raises what it raised."""
        with self._count:
            mine = self._begun + 1
        with self._turn:
            number, seen = self._ended
            if number < mine or seen is None:
                seen = self._look(look)
        if isinstance(seen, ProviderError):
            raise seen
        return seen

    def _look(self, look: Callable[[], Fleet]) -> Fleet | ProviderError:
        with self._count:
            self._begun += 1
            number = self._begun
        seen: Fleet | ProviderError
        try:
            seen = look()
        except ProviderError as error:
            seen = error
        self._ended = (number, seen)
        return seen
