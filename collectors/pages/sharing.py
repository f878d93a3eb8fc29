"""One device, several users: what an exporter prints once for each of them is still one value.

Where pods share a GPU by time-slicing, or jobs by a scheduler, dcgm-exporter prints the GPU's series again for each of
them (NVIDIA/dcgm-exporter issue 307). Added up, two pods on one busy GPU would look like two busy GPUs. Newer versions
(pull request 594) print the device's own series without a pod and, of two fields, each pod's own part beside it.

And where a pod ends and another gets its GPU, the device goes on under other labels: whoever was printed last stands
for it, and those before are not missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Labels
from collectors.pages.identity import Identity

PARTS = {"gpu_busy_ratio": "gpu_process_sm_ratio", "gpu_memory_used_bytes": "gpu_process_memory_bytes"}
"""What a user's own part of a device's value is called."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How shared series were settled. changed: (series, place among its meanings) -> what it means instead, None =
    nothing. series, present: on whose presence this rests, and what it was."""

    changed: dict[tuple[int, int], Identity | None] = field(default_factory=dict)
    series: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    present: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def standing(self, present: NDArray[np.bool_]) -> bool:
        """Whether the same users are there."""
        return not self.series.size or bool(np.array_equal(present[self.series], self.present))


_Place = tuple[int, int]
_Groups = dict[tuple[str, Labels], dict[Labels, list[_Place]]]


def settle(
    identities: Sequence[Sequence[Identity]], present: NDArray[np.bool_], seen: NDArray[np.integer] | None = None
) -> Sharing:
    """Who shares what at a target whose series i means `identities[i]` and was printed if `present[i]`.

    seen: (series,) grows with the time at which each was printed last; None = all that is not present is as old.
    The users that were printed last are those of the device, whether it is there now or not; what others meant is
    nothing any more. Users who are there at once are joined with a comma in each label ("a,b"), in one series. Where
    the device's own series is there too, it is the one that counts, and theirs are their parts.
    """
    if not any(identity.work for meanings in identities for identity in meanings):
        return Sharing()
    groups: _Groups = {}
    for series, meanings in enumerate(identities):
        for place, identity in enumerate(meanings):
            users = groups.setdefault((identity.metric, identity.labels), {})
            users.setdefault(identity.work, []).append((series, place))
    shared = [users for users in groups.values() if len(users) > 1]
    changed: dict[_Place, Identity | None] = {}
    times = (present if seen is None else seen).tolist()
    for users in shared:
        last = {work: max(times[series] for series, _ in places) for work, places in users.items()}
        newest = max(last.values())
        here = {work: places for work, places in users.items() if last[work] == newest}
        changed.update((place, None) for work, places in users.items() if work not in here for place in places)
        if len(here) > 1:
            changed.update(_joined(here, identities))
    if not shared:
        return Sharing()
    several = sorted({series for users in shared for places in users.values() for series, _ in places})
    deciding = np.array(several, dtype=np.int64)
    return Sharing(changed, deciding, present[deciding])


def _joined(
    users: dict[Labels, list[_Place]], identities: Sequence[Sequence[Identity]]
) -> dict[_Place, Identity | None]:
    work = _join([labels for labels in users if labels])
    own = () in users
    changed: dict[_Place, Identity | None] = {}
    for labels, places in users.items():
        for series, place in places:
            identity = identities[series][place]
            if not own or not labels:
                changed[series, place] = replace(identity, work=work)
            elif identity.metric in PARTS:
                changed[series, place] = replace(identity, metric=PARTS[identity.metric])
            else:
                changed[series, place] = None
    return changed


def _join(users: Sequence[Labels]) -> Labels:
    names = sorted({name for labels in users for name, _ in labels})
    values = {name: sorted({value for labels in users for n, value in labels if n == name}) for name in names}
    return tuple((name, ",".join(values[name])) for name in names)
