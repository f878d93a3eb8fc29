"""Topology out of files: what NCCL reads for an instance type, so that it can be judged before it is bought, and what
`nvidia-smi topo -m` prints."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations

from autoscaler.errors import InputError
from collectors.nvml import pci
from collectors.nvml.topology import Pair, PciPath, Topology

FILE_LIMIT = 1 << 20
DEPTH_LIMIT = 32
GPU_CLASSES = ("0x0300", "0x0302")
"""PCI classes of a display and of a 3D controller, without the programming interface."""
SWITCH_CLASS = "0x0680"
"""PCI class of an NVSwitch, the target of an NVLink that leads to every other GPU."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NAME = re.compile(r"GPU\d+")


@dataclass(frozen=True, slots=True)
class _Gpu:
    """A GPU of an NCCL file: where it hangs (processor, then bridges downwards) and its NVLinks by target."""

    name: str
    cpu: str
    bridges: tuple[int, ...]
    links: dict[str, int]


def from_nccl(text: str, gpus: Collection[str] = (), switched_nvlinks: int = 0) -> Topology:
    """The topology of an NCCL topology file (system, cpu, pci, gpu and nvlink elements); names are PCI addresses.

    gpus: addresses of the GPUs, for files that leave out the class of a device. switched_nvlinks: links of each GPU to
    NVSwitches, for files of instance types that leave out NVLinks, because NCCL asks the driver for them. A link whose
    target is the GPU itself is ignored. Two GPUs under different switches of one processor are PHB, as NCCL calls it.
    Raises InputError.
    """
    found = list(_gpus(_system(text), {pci.address(gpu) for gpu in gpus}))
    if switched_nvlinks:
        found = [_Gpu(gpu.name, gpu.cpu, gpu.bridges, {"switch": switched_nvlinks}) for gpu in found]
    pairs = {
        (one.name, other.name): Pair(_path(one, other), _links(one, other)) for one, other in combinations(found, 2)
    }
    return Topology(tuple(gpu.name for gpu in found), pairs)


def _system(text: str) -> ET.Element:
    if len(text) > FILE_LIMIT:
        raise InputError(f"the NCCL topology has {len(text)} characters, at most {FILE_LIMIT} are read")
    # Entities could make a small file huge; NCCL writes and reads none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("the NCCL topology declares a document type, which NCCL does not; remove it")
    try:
        system = ET.fromstring(text)  # noqa: S314 (declarations are refused above)
    except ET.ParseError as error:
        raise InputError(f"the NCCL topology is no XML: {error}; give a file such as NCCL_TOPO_FILE names") from None
    if system.tag != "system":
        raise InputError(
            f"the file holds <{system.tag}>, an NCCL topology holds <system>; NCCL_TOPO_DUMP_FILE writes one"
        )
    return system


def _gpus(system: ET.Element, named: Collection[str]) -> Iterator[_Gpu]:
    seen: set[str] = set()
    classless = 0
    for cpu in system.iter("cpu"):
        for device, bridges in _devices(cpu, ()):
            place = _place(device)
            kind = device.get("class")
            classless += kind is None
            if place in named or (not named and (kind or "").startswith(GPU_CLASSES)) or device.find("gpu") is not None:
                if place in seen:
                    raise InputError(f"the NCCL topology lists GPU {place} twice")
                seen.add(place)
                yield _Gpu(
                    place, f"{cpu.get('host_hash', '')}/{cpu.get('numaid', '')}", bridges, _targets(device, place)
                )
    if missing := set(named) - seen:
        raise InputError(f"the NCCL topology has no device at {', '.join(sorted(missing))}")
    if not seen and classless:
        raise InputError(f"the NCCL topology names {classless} devices without a class; say which addresses are GPUs")
    if not seen:
        raise InputError("the NCCL topology has no GPU (PCI class 0x0300 or 0x0302)")


def _devices(parent: ET.Element, bridges: tuple[int, ...]) -> Iterator[tuple[ET.Element, tuple[int, ...]]]:
    """The devices below an element that bridge to nothing, each with the bridges above it."""
    if len(bridges) > DEPTH_LIMIT:
        raise InputError(f"the NCCL topology nests more than {DEPTH_LIMIT} bridges")
    for device in parent.findall("pci"):
        if device.find("pci") is None:
            yield device, bridges
        else:
            yield from _devices(device, (*bridges, id(device)))


def _place(device: ET.Element) -> str:
    try:
        return pci.address(device.get("busid", ""))
    except ValueError as error:
        raise InputError(f"the NCCL topology has a pci element whose busid is wrong: {error}") from None


def _targets(device: ET.Element, own: str) -> dict[str, int]:
    links: dict[str, int] = {}
    for link in device.iter("nvlink"):
        printed, count = link.get("target", ""), link.get("count", "1")
        if not count.isdecimal() or len(count) > 3:
            raise InputError(f"the NCCL topology gives GPU {own} an NVLink count of {count!r}; it is a number")
        if pci.switch(printed) or link.get("tclass", "").startswith(SWITCH_CLASS):
            target = "switch"
        else:
            try:
                target = pci.address(printed)
            except ValueError as error:
                raise InputError(f"the NCCL topology gives GPU {own} an NVLink to nowhere: {error}") from None
        if target != own:
            links[target] = links.get(target, 0) + int(count)
    return links


def _path(one: _Gpu, other: _Gpu) -> PciPath:
    if one.cpu != other.cpu:
        return "SYS"
    shared = 0
    while shared < min(len(one.bridges), len(other.bridges)) and one.bridges[shared] == other.bridges[shared]:
        shared += 1
    if not shared:
        return "PHB"
    between = len(one.bridges) + len(other.bridges) - 2 * shared + 1
    return "PIX" if between == 1 else "PXB"


def _links(one: _Gpu, other: _Gpu) -> int:
    """Links between two GPUs; those to switches reach every GPU that hangs on the switches too."""
    direct = max(one.links.get(other.name, 0), other.links.get(one.name, 0))
    return direct + min(one.links.get("switch", 0), other.links.get("switch", 0))


def from_smi(text: str) -> Topology:
    """The topology in what `nvidia-smi topo -m` prints; names are GPU0, GPU1 ... NICs and affinities are skipped.

    NV# hides the PCIe path, which then is not known. Raises InputError.
    """
    if len(text) > FILE_LIMIT:
        raise InputError(f"the topology table has {len(text)} characters, at most {FILE_LIMIT} are read")
    rows = [[cell.strip() for cell in _ESCAPES.sub("", line).split("\t")] for line in text.splitlines()]
    header = next((row for row in rows if len(row) > 1 and not row[0] and _NAME.fullmatch(row[1])), None)
    if header is None:
        header = next((row for row in rows if row and _NAME.fullmatch(row[0]) and "X" not in row), None)
        header = None if header is None else ["", *header]
    if header is None:
        raise InputError("the table has no line with GPU0; give what `nvidia-smi topo -m` prints, tabs included")
    columns = {position: name for position, name in enumerate(header) if _NAME.fullmatch(name)}
    gpus = tuple(columns.values())
    lines = {row[0]: row for row in rows if row[0] in gpus and "X" in row}
    if missing := [gpu for gpu in gpus if gpu not in lines]:
        raise InputError(f"the table has no row for {', '.join(missing)}; give all of `nvidia-smi topo -m`")
    pairs: dict[tuple[str, str], Pair] = {}
    for gpu in gpus:
        for position, other in columns.items():
            if gpus.index(gpu) < gpus.index(other):
                cell = lines[gpu][position] if position < len(lines[gpu]) else ""
                pairs[gpu, other] = _pair(cell, gpu, other)
    return Topology(gpus, pairs)


def _pair(cell: str, gpu: str, other: str) -> Pair:
    paths: dict[str, PciPath] = {"PIX": "PIX", "PXB": "PXB", "PHB": "PHB", "NODE": "NODE", "SYS": "SYS"}
    if cell in paths:
        return Pair(paths[cell])
    if cell == "?":
        return Pair()
    if cell.startswith("NV") and cell[2:].isdecimal() and len(cell) < 6:
        return Pair(None, int(cell[2:]))
    raise InputError(f"the table says {cell!r} between {gpu} and {other}; it is NV#, PIX, PXB, PHB, NODE or SYS")
