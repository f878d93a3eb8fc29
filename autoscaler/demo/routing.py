"""Which endpoint gets the next request: the least busy one that is on the list. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Router:
    """Counts the requests at each endpoint and picks by least outstanding requests.

    `concurrency` bounds the requests at one endpoint: what is beyond waits at the gateway, where a replica that is
    new can take it, and not in the queue of one that may have to leave. An endpoint off the list gets nothing new;
    what it has already is still counted until it is back.
    """

    concurrency: int
    rest_s: float = 0.5
    routable: tuple[str, ...] = ()
    outstanding: dict[str, int] = field(default_factory=dict)
    _rests_until: dict[str, float] = field(default_factory=dict)
    _picked: dict[str, int] = field(default_factory=dict)
    _picks: int = 0

    def update(self, routable: Iterable[str]) -> None:
        """Route to these endpoints from now on, and to no other."""
        self.routable = tuple(dict.fromkeys(routable))
        known = set(self.routable) | {address for address, count in self.outstanding.items() if count}
        for memory in (self.outstanding, self._rests_until, self._picked):
            for address in memory.keys() - known:
                del memory[address]

    def take(self, now: float) -> str | None:
        """The endpoint for one request, which counts as outstanding until `give_back`; None = none has room."""
        free = [
            address
            for address in self.routable
            if self.outstanding.get(address, 0) < self.concurrency and self._rests_until.get(address, now) <= now
        ]
        if not free:
            return None
        # The one that was picked longest ago wins a tie, so that an idle fleet shares the work.
        chosen = min(free, key=lambda address: (self.outstanding.get(address, 0), self._picked.get(address, 0)))
        self._picks += 1
        self._picked[chosen] = self._picks
        self.outstanding[chosen] = self.outstanding.get(chosen, 0) + 1
        return chosen

    def give_back(self, address: str, now: float, failed: bool = False) -> None:
        """One request has left the endpoint; after a failure the endpoint gets nothing for `rest_s`."""
        self.outstanding[address] -= 1
        if failed:
            self._rests_until[address] = now + self.rest_s
