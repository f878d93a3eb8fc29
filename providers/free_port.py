"""A port that nobody listens on."""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import dataclass, field

from autoscaler.errors import CapacityError


@dataclass
class Ports:
    """Ports first to last of a host, given out in turn.

    In turn, because a port that was just given up still has clients that remember it, and series in its name.
    """

    host: str
    first: int
    last: int
    _next: int = field(default=0, init=False)

    def take(self, held: Collection[int]) -> int:
        """A port that is not held and can be bound now. Raises CapacityError that says why there is none."""
        count = self.last - self.first + 1
        why = "all are given out"
        for step in range(count):
            port = self.first + (self._next + step) % count
            if port in held:
                continue
            refusal = _refusal(self.host, port)
            if refusal is None:
                self._next = port - self.first + 1
                return port
            why = f"last refusal: {refusal}"
        raise CapacityError(
            f"no free port on {self.host} from {self.first} to {self.last} ({why}); widen the range of ports"
        )


def _refusal(host: str, port: int) -> str | None:
    """Why the port cannot be bound; None if it can. Connections that are only winding down do not count."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None
