"""Which GPU this is: its UUID, which never changes, and what a person recognises it by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from collectors.nvml import pci

ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
"""NVML_DEVICE_ARCH_* of nvml.h."""
HOPPER = 9
_BRANDS = ("NVIDIA", "Tesla", "GeForce", "Quadro")


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU: its UUID, which unlike its index never changes, its model and its memory (0 = it does not tell).

    index: as the driver lists it now. architecture, pci_address: 0 and empty where the driver does not tell.
    """

    uuid: str
    name: str
    memory_bytes: int
    index: int = 0
    architecture: int = 0
    pci_address: str = ""

    @property
    def model(self) -> str:
        """The model in one word: A100 of `NVIDIA A100-SXM4-80GB`."""
        words = [word for word in self.name.split() if word not in _BRANDS]
        return words[0].split("-")[0] if words else self.name


def identify(nvml: Any, handle: Any, index: int) -> GpuInfo | None:
    """What the driver says about a GPU; None without a UUID, since it would have no identity."""
    uuid = _answer(nvml, nvml.nvmlDeviceGetUUID, handle)
    if not uuid:
        return None
    memory = _answer(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    board = _answer(nvml, nvml.nvmlDeviceGetPciInfo, handle)
    return GpuInfo(
        uuid=uuid,
        name=_answer(nvml, nvml.nvmlDeviceGetName, handle) or "unknown",
        memory_bytes=int(memory.total) if memory is not None else 0,
        index=index,
        architecture=int(_answer(nvml, nvml.nvmlDeviceGetArchitecture, handle) or 0),
        pci_address=pci.of_device(board) if board is not None else "",
    )


def _answer(nvml: Any, ask: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return ask(argument)
    except nvml.NVMLError:
        return None
