"""The topology of this machine, as its driver tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from collectors.nvml import links, pci
from collectors.nvml.topology import Pair, PciPath, Topology

READ = 0
"""NVML_P2P_CAPS_INDEX_READ; the bindings' constant is a tuple by mistake."""
# Two chips of one board (0) sit behind the board's own switch.
PATHS: dict[int, PciPath] = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
"""Path by NVML_TOPOLOGY_* of nvml.h."""


@dataclass(frozen=True, slots=True)
class _Reach:
    """Active NVLinks of one GPU: how many lead to switches, and how many to each PCI address."""

    place: str
    switched: int
    direct: dict[str, int]


def read(nvml: Any, gpus: Sequence[tuple[str, Any]]) -> Topology:
    """What connects the GPUs, given as (UUID, handle). What the driver does not tell of a pair is not known of it.

    With NVSwitches every active link of a GPU counts to every other GPU on the switches; a link of a GPU to itself
    counts to nobody.
    """
    reach = {uuid: _reach(nvml, handle) for uuid, handle in gpus}
    pairs = {}
    for (one, handle), (other, other_handle) in combinations(gpus, 2):
        path = _path(nvml, handle, other_handle)
        count = _nvlinks(reach[one], reach[other])
        pairs[one, other] = Pair(path, count, _p2p(nvml, handle, other_handle))
    return Topology(tuple(uuid for uuid, _ in gpus), pairs)


def _path(nvml: Any, one: Any, other: Any) -> PciPath | None:
    try:
        return PATHS.get(nvml.nvmlDeviceGetTopologyCommonAncestor(one, other))
    except nvml.NVMLError:
        return None


def _p2p(nvml: Any, one: Any, other: Any) -> bool | None:
    try:
        return bool(nvml.nvmlDeviceGetP2PStatus(one, other, READ) == nvml.NVML_P2P_STATUS_OK)
    except nvml.NVMLError:
        return None


def _reach(nvml: Any, handle: Any) -> _Reach:
    try:
        place = pci.of_device(nvml.nvmlDeviceGetPciInfo_v3(handle))
    except (nvml.NVMLError, ValueError):
        place = ""
    switched, direct = 0, dict[str, int]()
    try:
        for link in links.links(nvml, handle):
            if link.remote == "switch":
                switched += 1
            elif link.remote == "gpu" and link.place != place:
                direct[link.place] = direct.get(link.place, 0) + 1
    except nvml.NVMLError:
        pass
    return _Reach(place, switched, direct)


def _nvlinks(one: _Reach, other: _Reach) -> int:
    direct = max(one.direct.get(other.place, 0), other.direct.get(one.place, 0))
    return direct + min(one.switched, other.switched)
