"""Azure's metadata service: scheduled events of the machines around, of which ours are picked by name.

Azure documentation, "Scheduled Events for Linux VMs": every machine of a scale set is shown the events of all, so
`Resources` tells whom one is about. NotBefore is empty once it has begun.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from collectors.cloud.exchange import Exchange, Reply, SilentError
from collectors.cloud.notices import Notices, instant

KINDS = ("preempt", "terminate", "reboot", "redeploy", "freeze")
EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
_HEADERS = {"Metadata": "true"}
_NAME = re.compile(r"[A-Za-z0-9._()-]{1,90}")
MOST_EVENTS = 1000


@dataclass(slots=True)
class Azure:
    """Questions of one machine. `now` of `look` stands for an event that has begun."""

    exchange: Exchange
    _instance: str = ""

    def look(self, now: float) -> Notices:
        """What is announced. Raises SilentError."""
        if not self._instance:
            said = self._get(NAME).body.decode("ascii", "replace").strip()
            if not _NAME.fullmatch(said):
                raise SilentError("no name of a virtual machine")
            self._instance = said.lower()
        found: dict[str, float] = {}
        for event in _events(self._get(EVENTS)):
            kind = str(event.get("EventType", "")).lower()
            mine = event.get("Resources")
            about_us = isinstance(mine, list) and self._instance in {str(name).lower() for name in mine}
            if kind in KINDS and about_us:
                found[kind] = min(found.get(kind, float("inf")), instant(event.get("NotBefore")) or now)
        return Notices(self._instance, found)

    def _get(self, path: str) -> Reply:
        reply = self.exchange.ask("GET", path, _HEADERS)
        if reply.status != 200:
            raise SilentError(f"it answers {reply.status}")
        return reply


def _events(reply: Reply) -> list[dict[str, Any]]:
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        found = None
    events = found.get("Events") if isinstance(found, dict) else None
    if not isinstance(events, list):
        raise SilentError("no list of scheduled events")
    return [event for event in events[:MOST_EVENTS] if isinstance(event, dict)]
