"""One simulated machine as those see it who scrape it: GPUs, host and engine on one page."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.sim_machines import Machine
from autoscaler.simfleet.engines import Engine
from autoscaler.simfleet.gpus import Gpus, Work
from autoscaler.simfleet.hosts import Host
from autoscaler.simfleet.series import Layout, Series
from autoscaler.types import Labels

SMOOTH_S = 4.0
"""Utilisation is a mean over some seconds, not a count of the moment."""


@dataclass(slots=True)
class Rack:
    """A machine and everything that it tells. slots: requests that one of its replicas serves at a time.

    gpus_of_replica: what one replica occupies. target: labels that a list of targets gives its page.
    """

    machine: Machine
    gpus: Gpus
    host: Host
    engine: Engine
    slots: int
    gpus_of_replica: int
    target: Labels = ()
    share: float = 0.0
    at: float | None = None
    _layouts: dict[tuple[bool, bool], Layout] = field(default_factory=dict)

    def page(self, now: float) -> str:
        """Its own page; labels of the target are not on it."""
        layout, values = self.told(now, whole=False)
        return layout.page(values)

    def told(self, now: float, *, whole: bool) -> tuple[Layout, list[float]]:
        """Its page as a layout and the values for it. whole: with the target's labels on every line."""
        machine = self.machine
        serving = machine.state(now) in ("ready", "draining")
        load = machine.in_flight / (self.slots * machine.replicas) if serving else 0.0
        passed = 0.0 if self.at is None else now - self.at
        self.share = load if self.at is None else self.share + (load - self.share) * min(1.0, passed / SMOOTH_S)
        self.at = now
        loaded = machine.replicas * self.gpus_of_replica if serving else 0
        work = Work(self.share, min(0.99, 0.04 + 0.9 * self.share) if serving else 0.0, loaded)
        values = self.gpus.look(now, work) + self.host.look(now, self.share)
        if serving:
            slots = self.slots * machine.replicas
            values += self.engine.look(now, machine.in_flight, slots, machine.served)
        return self._layout(serving, whole), values

    def _layout(self, serving: bool, whole: bool) -> Layout:
        found = self._layouts.get((serving, whole))
        if found is None:
            series: tuple[Series, ...] = (*self.gpus.series, *self.host.series)
            series = (*series, *self.engine.series) if serving else series
            found = self._layouts[serving, whole] = Layout.of(series, self.target if whole else ())
        return found
