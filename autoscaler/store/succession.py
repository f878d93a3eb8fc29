"""Series that took the place of others: one value of one GPU goes on under the labels of its next user.

The pod on a GPU is among the labels of the GPU's series. When it changes, a source gives the same values under other
labels: nothing vanished, and nothing may be counted twice. What belongs to a user, such as the memory of a process, is
not passed on, and neither is a metric that is not in our vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from autoscaler.signals import metric
from autoscaler.types import Labels, SeriesKey

USERS = ("container", "dra_claim", "dra_claim_namespace", "hpc_job", "namespace", "pod", "pod_uid", "vgpu")
"""Labels that say who uses a GPU."""
_DEVICES = ("uuid", "gpu")
_OF_USERS = "gpu_process_"

_Place = tuple[str, Labels, bool]


def successors(gone: Iterable[SeriesKey], given: Collection[SeriesKey]) -> dict[SeriesKey, SeriesKey]:
    """Of the series that a source stopped giving, those that live on: each with the one of `given` that it is now."""
    stripped: dict[int, Labels | None] = {}
    places: dict[_Place, list[SeriesKey]] = {}
    for key in gone:
        place = _place(key, stripped)
        if place is not None:
            places.setdefault(place, []).append(key)
    if not places:
        return {}
    heirs: dict[_Place, list[SeriesKey]] = {}
    for key in given:
        place = _place(key, stripped)
        if place is not None and place in places:
            heirs.setdefault(place, []).append(key)
    # Where a source lists the users of a GPU apart, it is not for us to say which of them goes on with what.
    return {key: own[0] for place, own in heirs.items() if len(own) == 1 for key in places[place]}


def _place(key: SeriesKey, stripped: dict[int, Labels | None]) -> _Place | None:
    """What a series of a GPU says, whoever uses it; None for all other series."""
    name = key.metric
    if not name.startswith(("gpu_", "DCGM_")) or name.startswith(_OF_USERS):
        return None
    if name.startswith("gpu_") and metric(name) is None:
        return None
    # The forty metrics of a GPU share one tuple of labels.
    number = id(key.labels)
    if number not in stripped:
        labels = tuple([pair for pair in key.labels if pair[0] not in USERS])
        stripped[number] = labels if any(label in _DEVICES for label, _ in labels) else None
    found = stripped[number]
    return None if found is None else (name, found, key.counter)
