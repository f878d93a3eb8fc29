"""The pages of a simulated fleet by path: each machine's and gateway's, all in one, and lists of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from autoscaler.agent.server import Answer
from autoscaler.simfleet.gateways import SERIES
from autoscaler.simfleet.series import Layout, together
from autoscaler.simfleet.world import World

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_GATEWAY = Layout.of(SERIES)
HELP = """\
The pages of a simulated fleet:
  /metrics                   all in one; let Prometheus scrape it with honor_labels: true
  /sd                        the same, page by page, as a list for Prometheus's http_sd_configs
  /sd/gateways               the gateways alone, as the service follows them
  /machines/NAME/metrics     one machine: GPUs, host, engine
  /gateways/POOL/metrics     one pool's gateway and shop
"""
NONE = Answer(404, b"there is no such page; / lists them, and a machine that has ended has none\n")


@dataclass(frozen=True, slots=True)
class Pages:
    """Answers by path. Quick: what all ask for at once is a page of each machine."""

    world: World

    def __call__(self, path: str) -> Answer:
        """The answer to a path, 404 for one that has no page."""
        with self.world.lock:
            now = self.world.clock.now()
            self.world.advance(now)
            page = self._page(path.strip("/").split("/"), now)
        return page if page is not None else NONE

    def _page(self, parts: list[str], now: float) -> Answer | None:
        match parts:
            case [""]:
                text, kind = HELP, "text/plain; charset=utf-8"
            case ["metrics"]:
                text, kind = together(self._all(now)), TEXT
            case ["sd"]:
                text, kind = json.dumps([*self._machines(), *self._gateways()]), "application/json"
            case ["sd", "gateways"]:
                text, kind = json.dumps([*self._gateways()]), "application/json"
            case ["machines", name, "metrics"] if (rack := self.world.rack(name)) is not None:
                text, kind = rack.page(now), TEXT
            case ["gateways", pool, "metrics"] if pool in self.world.gateways:
                text, kind = _GATEWAY.page(self.world.gateways[pool].look()), TEXT
            case _:
                return None
        return Answer(200, text.encode(), kind)

    def _all(self, now: float) -> Iterator[tuple[Layout, list[float]]]:
        for pool, gateway in self.world.gateways.items():
            yield Layout.of(SERIES, (("instance", f"gateway/{pool}"), ("pool", pool))), gateway.look()
        for rack in self.world.racks.values():
            yield rack.told(now, whole=True)

    def _machines(self) -> Iterator[dict[str, object]]:
        for name, rack in self.world.racks.items():
            yield self._group(f"/machines/{name}/metrics", dict(rack.target))

    def _gateways(self) -> Iterator[dict[str, object]]:
        for pool in self.world.gateways:
            yield self._group(f"/gateways/{pool}/metrics", {"instance": f"gateway/{pool}", "pool": pool})

    def _group(self, path: str, labels: dict[str, str]) -> dict[str, object]:
        return {"targets": [self.world.pages], "labels": {"__metrics_path__": path, **labels}}
