"""Everything that brings samples to a running service: pages, pushes, and the collectors of its configuration."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from autoscaler.board import Board
from autoscaler.config import Config
from autoscaler.configparts import Discovery, PlugInConfig
from autoscaler.plugged import PlugIns
from autoscaler.ports import Clock, Collector
from collectors.pages.reader import Room
from collectors.scraping.scraper import Scraper
from collectors.scraping.service_discovery import Listing, ServiceDiscovery
from collectors.scraping.target_groups import Manner
from collectors.scraping.targets import Target, instance_targets, static_targets

SCRAPE_S = 5.0
MIN_SCRAPE_S = 1.0


class Sources:
    """The scraper and what takes pushes are always at work; other collectors are those of the configuration."""

    def __init__(self, config: Config, plug_ins: PlugIns, board: Board, clock: Clock) -> None:
        self._config = config
        self._board = board
        self._static = static_targets(config.targets)
        self._discovery = ServiceDiscovery([_listing(d) for d in config.discovery], clock)
        room = Room(config.max_series + config.max_series // 4, config.max_text_bytes)
        self.scraper = Scraper(self._targets, clock, board.wake, room=room)
        self.push: Any = plug_ins.configured("collectors", self._push_config())
        beside = [c for c in config.collectors if c.plug_in != "push"]
        self.named: dict[str, Any] = {c.name: plug_ins.configured("collectors", c) for c in beside}

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """All of them, as the loop drains them."""
        return (self.scraper, self.push, *self.named.values())

    def problems(self) -> dict[tuple[str, str], str]:
        """(pool, signal) -> why the store that was asked for it has no number now."""
        asking = [part for part in self.named.values() if hasattr(part, "queries") and hasattr(part, "status")]
        return {(q.pool, q.signal): q.error for part in asking for q in part.status() if q.error}

    def refusals(self) -> tuple[str, ...]:
        """What is not taken in, in words: series on pages for lack of room, pushes of two under one name."""
        room = self.scraper.room
        contested: tuple[str, ...] = self.push.contested()
        if not room.refused:
            return contested
        return (
            *contested,
            f"new series on pages were refused {room.refused} times: all pages together have {room.series} series, the "
            f"limit is {room.series_limit}, with {room.text_bytes >> 20} MiB of text, the limit is "
            f"{room.text_limit >> 20} MiB; scrape fewer targets, or raise max_series and max_text",
        )

    def start(self, ends: ExitStack) -> None:
        """Start everything; how to stop it is left on `ends`."""
        for part in (self._discovery, self.push, self.scraper, *self.named.values()):
            if hasattr(part, "stop"):
                ends.callback(part.stop)
            if hasattr(part, "start"):
                part.start()

    def _push_config(self) -> PlugInConfig:
        given = next((c for c in self._config.collectors if c.plug_in == "push"), PlugInConfig("push"))
        return replace(given, settings={"window_s": self._config.raw_window_s, **given.settings})

    def _targets(self) -> Iterable[Target]:
        """Pages of the configuration and of its lists, and one for each instance that serves or drains."""
        found = [*self._static, *self._discovery.targets()]
        for view in self._board.pools().values():
            if view.fleet is not None:
                pace = min(SCRAPE_S, max(MIN_SCRAPE_S, view.rules.tick_s))
                found += instance_targets(view.fleet, interval_s=pace)
        return found


def _listing(written: Discovery) -> Listing:
    """A list of targets as the configuration names it."""
    manner = Manner(
        written.labels,
        written.path,
        written.interval_s,
        written.timeout_s,
        written.page_token_file,
        written.ca_file,
    )
    return Listing(written.files, written.url, written.refresh_s, manner, written.token_file)
