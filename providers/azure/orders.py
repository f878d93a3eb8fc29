"""Orders in the tags of a scale set: what makes a growth happen once.

Capacity is absolute, and "one more" repeated is two more. So the write that raises the capacity also names the actions
that it was raised for, under the etag that was read. A repetition, after an answer that was cut off, a crash, or beside
a second controller, finds its action in the tags or is refused with 412.

A tag holds 256 characters and a resource 50 tags (limits of Azure Resource Manager), so there are 30 tags of orders.
An order stays as long as its action may be repeated; the machine that came of it carries the action in its own tags.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.errors import BusyError

TAG = "sigmascale-"
POOL, OFFER, TERMS = TAG + "pool", TAG + "offer", TAG + "terms"
ORDERS = TAG + "orders-"
"""How the tags of a scale set begin that hold its orders."""
_TAGS = 30
_CHARS = 256
KEEP_S = 120.0
"""How long an order is kept after its time: longer than clocks of two machines differ."""
ACTION_CHARS = 80
ROLE = TAG + "role"


@dataclass(frozen=True, slots=True)
class Entry:
    """One launch: for which action, for what, since and until when; `machine` once one was assigned, "" before.

    failure: Azure's code when the order came to nothing.
    """

    action: str
    into: Literal["serving", "warm"]
    at: float
    until: float
    machine: str = ""
    failure: str = ""

    @property
    def open(self) -> bool:
        """A place in the capacity is still waited for."""
        return not self.machine and not self.failure


@dataclass(frozen=True, slots=True)
class Terms:
    """What every machine of a scale set is: one scale set serves one pool and one offer."""

    pool: str
    offer: str
    replicas: int = 1
    usd_per_hour: float = 0.0
    port: int = 8000
    dns_suffix: str = ""
    ready: str = "/health"


def write(tags: Mapping[str, str], terms: Terms, entries: Sequence[Entry]) -> dict[str, str]:
    """All tags of the scale set, with ours renewed. Raises BusyError when too many orders are open."""
    body = json.dumps(
        [terms.replicas, terms.usd_per_hour, terms.port, terms.dns_suffix, terms.ready], separators=(",", ":")
    )
    chunks = [""]
    for entry in entries:
        text = _text(entry)
        if len(chunks[-1]) + 1 + len(text) > _CHARS:
            chunks.append("")
        chunks[-1] = f"{chunks[-1]} {text}".lstrip()
    if len(chunks) > _TAGS:
        raise BusyError(f"{len(entries)} orders are open at once, more than the tags of a scale set hold", 15.0)
    kept = {name: value for name, value in tags.items() if not name.startswith(ORDERS)}
    # Names that are no longer needed are emptied, not left out: whether a PATCH of tags merges or replaces then
    # makes no difference.
    old = {name: "" for name in tags if name.startswith(ORDERS)}
    ours = {f"{ORDERS}{number:02d}": text for number, text in enumerate(chunks)}
    return kept | {POOL: terms.pool, OFFER: terms.offer, TERMS: body} | old | ours


def read_terms(tags: Mapping[str, str]) -> Terms | None:
    """What the tags say of the machines; None for a scale set that is not ours, or whose tags were spoilt."""
    pool, offer = tags.get(POOL), tags.get(OFFER)
    if not pool or not offer:
        return None
    try:
        replicas, usd, port, dns, ready = json.loads(tags.get(TERMS, "[]"))
        return Terms(pool, offer, int(replicas), float(usd), int(port), str(dns), str(ready))
    except (ValueError, TypeError):
        return None


def read(tags: Mapping[str, str]) -> tuple[Entry, ...]:
    """The orders, oldest first. What somebody spoilt by hand is left out."""
    words = [w for name in sorted(tags) if name.startswith(ORDERS) for w in tags[name].split()]
    return tuple(entry for entry in map(_entry, words) if entry is not None)


def _text(entry: Entry) -> str:
    into = "w" if entry.into == "warm" else "s"
    end = f"!{entry.failure}" if entry.failure else entry.machine
    return f"{entry.action},{into},{entry.at:.3f},{entry.until - entry.at:.0f},{end}"


def _entry(word: str) -> Entry | None:
    parts = word.split(",")
    try:
        action, into, at, left, end = parts
        began = float(at)
        until = began + float(left)
    except ValueError:
        return None
    failure = end[1:] if end.startswith("!") else ""
    return Entry(action, "warm" if into == "w" else "serving", began, until, "" if failure else end, failure)


def assigned(entries: Iterable[Entry], machines: Iterable[str]) -> tuple[Entry, ...]:
    """Each open order with a machine that nobody has yet, oldest order first, lowest id first.

    Machines of one scale set are alike, so which is whose does not matter, as long as everybody finds the same.
    """
    entries = tuple(entries)
    taken = {e.machine for e in entries}
    free = iter(sorted((m for m in machines if m not in taken), key=number))
    return tuple(replace(e, machine=next(free, "")) if e.open else e for e in entries)


def usable(tags: Mapping[str, str]) -> bool:
    """Whether a machine can be assigned to an order: nobody has labelled it."""
    return not tags.get(ROLE)


def number(machine: str) -> tuple[int, str]:
    """Ids of Azure's are numbers, given out upwards and never again."""
    return (int(machine), "") if machine.isascii() and machine.isdigit() else (1 << 62, machine)
