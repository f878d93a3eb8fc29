"""The devices that a batch's series speak of: boards and MIG instances, by UUID."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from autoscaler.types import Labels, SeriesKey

OF_ONE_PART = ("kind", "nvlink", "nvswitch", "reason", "system", "xid", "pid", "cpu", "cpucore", "peer_gpu")
"""Labels of series that tell only of a part of a device, or of one of several things about it."""
USERS = ("pod", "namespace", "container", "pod_uid", "vgpu", "hpc_job", "dra_claim", "dra_claim_namespace")
INSTANCE = ("gi_id", "mig_profile")


class Device(NamedTuple):
    """A GPU, or one of its MIG instances: `instance` is empty for the board. Indices and host names change (an old
    exporter's host name is that of its pod), a UUID does not."""

    uuid: str
    instance: str

    @property
    def board(self) -> Device:
        """The GPU that it is, or is a part of."""
        return self._replace(instance="")


@dataclass(slots=True)
class Columns:
    """Where the series of one device stand: by metric, those of its parts left out, and all of them."""

    of: dict[str, int] = field(default_factory=dict)
    all: list[int] = field(default_factory=list)


def devices(keys: Sequence[SeriesKey]) -> dict[Device, Columns]:
    """Every device that a GPU series names, in the order of the keys. Series without a UUID belong to none."""
    found: dict[Device, Columns] = {}
    for column, key in enumerate(keys):
        if not key.metric.startswith(("gpu_", "DCGM_", "nvidia_smi_")):
            continue
        labels = dict(key.labels)
        uuid = labels.get("uuid")
        if uuid:
            columns = found.setdefault(Device(uuid, labels.get("gi_id", "")), Columns())
            columns.all.append(column)
            if not any(name in labels for name in OF_ONE_PART):
                columns.of.setdefault(key.metric, column)
    return found


def board_labels(keys: Iterable[SeriesKey]) -> Labels:
    """What all these series' labels have in common, users and instances left out: the labels of their board."""
    common: set[tuple[str, str]] | None = None
    for key in keys:
        own = {pair for pair in key.labels if pair[0] not in (*USERS, *INSTANCE)}
        common = own if common is None else common & own
    return tuple(sorted(common or ()))


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """The labels and one more, sorted."""
    return tuple(sorted((*labels, (name, value))))
