"""What the slow lane of each GPU asks: everything that changes rarely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from collectors.nvml import links, mig, processes, slow, topology
from collectors.nvml.call import Call
from collectors.nvml.faults import FaultBook
from collectors.nvml.health import Health, Watched
from collectors.nvml.mig import Watch
from collectors.nvml.processes import Owners
from collectors.nvml.topology import Scores, Topology


class Identified(Protocol):
    """A GPU: its UUID, how it is cut into MIG instances, and how often calls failed, by name and code."""

    @property
    def uuid(self) -> str: ...

    @property
    def mig(self) -> Watch: ...

    @property
    def errors(self) -> Mapping[tuple[str, str], int]: ...

    def now(self) -> float:
        """Unix seconds."""
        ...


@dataclass(eq=False)
class Rare:
    """The slow lanes of all GPUs of a machine. `calls` is built anew for each new handle.

    topology: how the GPUs are connected, None = not read (topology_nvml.read asks about every pair, which may hang with
    any GPU of them). health: of each GPU, as its slow lane last found it, by UUID.
    """

    book: FaultBook = field(default_factory=FaultBook)
    owners: Owners = field(default_factory=Owners)
    topology: Topology | None = None
    scores: Scores = field(default_factory=Scores)
    health: dict[str, Health] = field(default_factory=dict)

    def calls(self, _nvml: Any, device: Identified) -> tuple[Call, ...]:
        """The calls of one GPU's slow lane."""
        uuid = device.uuid

        def profile(gi_id: int) -> str:
            instance = device.mig.instance(gi_id)
            return "" if instance is None else instance.profile

        def judged(health: Health) -> None:
            self.health[uuid] = health

        known = self.topology
        scored = topology.calls(known, uuid, self.scores) if known and uuid in known.gpus else ()
        watched = Watched(lambda: self.book.latest(uuid), device.errors, device.now, judged)
        return (
            *mig.calls(device.mig),
            *watched.calls(slow.CALLS),
            *links.CALLS,
            *processes.calls(self.owners, profile, device.now),
            *scored,
        )
