"""What a list leaves out. An instance that is missing from one has not ended: EC2 lists ended ones for an hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import structlog

from providers.aws.region import Region
from providers.aws.seen import Seen, seen

HELD_S = 60.0
"""How long an instance that EC2 shows neither in a list nor by its id counts as it was seen last."""
ASKED_AT_ONCE = 200
"""Most ids that a filter takes."""
_log = structlog.get_logger("providers.aws")


@dataclass
class Recall:
    """The last record of each instance and when EC2 gave it. EC2's lists are eventually consistent; taken at its word,
    an instance that blinks would be bought again."""

    owner: str
    _last: dict[str, tuple[Seen, float]] = field(default_factory=dict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def complete(self, listed: Iterable[Seen], regions: Mapping[str, Region], now: float) -> list[Seen]:
        """A list with what it left out, each instance once. Raises the errors of `Region`."""
        found = {one.id: one for one in listed}
        with self._lock:
            missing = [(one, at) for one, at in self._last.values() if one.id not in found and not one.ended]
        known = self._by_id([one for one, _ in missing], regions)
        held: dict[str, tuple[Seen, float]] = {}
        for one, at in missing:
            record = known.get(one.id)
            if record is not None and record.mark.owner == self.owner:
                found[one.id] = record
            elif record is not None:
                _log.warning("an instance does not carry our tag any more, its pool may replace it", instance=one.id)
            elif now - at <= HELD_S:
                held[one.id] = (one, at)
        with self._lock:
            self._last = {id_: (one, now) for id_, one in found.items()} | held
        return [*found.values(), *(one for one, _ in held.values())]

    @staticmethod
    def _by_id(missing: Sequence[Seen], regions: Mapping[str, Region]) -> dict[str, Seen]:
        known: dict[str, Seen] = {}
        for name in sorted({one.region for one in missing}):
            ids = [one.id for one in missing if one.region == name]
            for first in range(0, len(ids), ASKED_AT_ONCE):
                by_id = {"Name": "instance-id", "Values": ids[first : first + ASKED_AT_ONCE]}
                known |= {str(r["InstanceId"]): seen(r, name) for r in regions[name].instances(by_id)}
        return known
