"""When a machine that runs began to serve."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from threading import Lock

from providers.azure.machines import Label, MachineSeen, address_of
from providers.azure.orders import Terms
from providers.azure.settings import SetRef
from providers.readiness import Prober

_ASKED_AT_MOST = 2000


@dataclass
class Watch:
    """Asks machines that run and did not serve yet; what it hears is in their tags from the next look on."""

    timeout_s: float = 2.0
    _prober: Prober = field(init=False, repr=False)
    _ready: dict[tuple[SetRef, str], float] = field(default_factory=dict, init=False, repr=False)
    _says: dict[str, bool] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._prober = Prober(self.timeout_s)

    def ready_at(self, ref: SetRef, terms: Terms, machine: MachineSeen, label: Label, now: float) -> float:
        """When it first served in its present role, 0 = not yet. Returns at once."""
        key = (ref, machine.id)
        up = machine.power == "running" and machine.state not in ("Creating", "Deleting", "Failed")
        if label.role == "warm" or not up:
            with self._lock:
                self._ready.pop(key, None)
            return 0.0
        if label.ready_at:
            return label.ready_at
        with self._lock:
            if key not in self._ready and self._serves(ref, terms, machine):
                self._ready[key] = max(now, label.since)
            return self._ready.get(key, 0.0)

    def forget_all_but(self, machines: Set[tuple[SetRef, str]]) -> None:
        """Drops what is not there any more."""
        with self._lock:
            for key in self._ready.keys() - machines:
                del self._ready[key]
            for name in self._says.keys() - {_name(ref, machine) for ref, machine in machines}:
                del self._says[name]

    def close(self) -> None:
        """Waits for the probes under way, which their time-out bounds."""
        self._prober.close()

    def _serves(self, ref: SetRef, terms: Terms, machine: MachineSeen) -> bool:
        if terms.ready == "running":
            return True
        if terms.ready == "health":
            return machine.health == "healthy"
        name = _name(ref, machine.id)
        for answer in self._prober.answers():
            self._says[answer.action] = answer.says == "ready"
        if self._says.pop(name, False):
            return True
        if machine.host and len(self._says) < _ASKED_AT_MOST:
            self._prober.ask(name, f"http://{address_of(machine, terms)}{terms.ready}")
        return False


def _name(ref: SetRef, machine: str) -> str:
    return f"{ref.subscription}/{ref}/{machine}"
