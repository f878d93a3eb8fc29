"""NVLinks and PCIe of one GPU: what is up, what went wrong, and how much is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from autoscaler.clock import monotonic
from collectors.nvml import fields, pci
from collectors.nvml.call import Call, Sample
from collectors.nvml.counters import Counter, Step
from collectors.nvml.fields import ALL_LINKS, Told

LINKS_LIMIT = 36
"""NVML_NVLINK_MAX_LINKS of nvml.h; a GPU with fewer refuses the next number with code 2."""
INVALID_ARGUMENT, NOT_SUPPORTED = 2, 3
LINK_COUNT, NVLINK_TX_KIB, NVLINK_RX_KIB, PCIE_TX_BYTES, PCIE_RX_BYTES = 91, 138, 139, 197, 198
NVLINK_MOST, PCIE_MOST = 2e12, 1.3e11
"""Bytes per second one way that no GPU passes: NVLink 5 moves 9e11, PCIe 6 with 16 lanes 1.28e11."""
ERROR_KINDS = {0: "replay", 1: "recovery", 2: "crc_flit", 3: "crc_data", 4: "ecc_data"}
"""NVML_NVLINK_ERROR_DL_* of nvml.h, in the words that the DCGM names use too."""

Remote = Literal["gpu", "switch", "other"]


@dataclass(frozen=True, slots=True)
class Link:
    """One NVLink. remote: what it leads to; place: PCI address of a GPU at its other end, empty where there is none."""

    number: int
    active: bool
    remote: Remote = "other"
    place: str = ""


def numbers(nvml: Any, handle: Any) -> range:
    """The numbers of a GPU's links, none where it has no NVLink."""
    told = fields.read(nvml, handle, [LINK_COUNT])[0]
    return range(min(int(told.value), LINKS_LIMIT) if told.code == 0 else LINKS_LIMIT)


def _states(nvml: Any, handle: Any) -> Iterator[tuple[int, bool]]:
    """Number and state of each link that the GPU has; raises NVMLError where it has none at all."""
    refusal = None
    for number in numbers(nvml, handle):
        try:
            yield number, bool(nvml.nvmlDeviceGetNvLinkState(handle, number))
            refusal = None
        except nvml.NVMLError as error:
            if number and error.value == INVALID_ARGUMENT:
                return
            if error.value not in (INVALID_ARGUMENT, NOT_SUPPORTED):
                raise
            # Boards leave out links in the middle; only if the first is refused there may be no NVLink.
            if number == 0:
                refusal = error
            elif refusal is not None:
                break
    if refusal is not None:
        raise nvml.NVMLError(NOT_SUPPORTED)


def links(nvml: Any, handle: Any) -> tuple[Link, ...]:
    """Every link of a GPU and where it leads; raises NVMLError where it has none."""
    return tuple(_link(nvml, handle, number, active) for number, active in _states(nvml, handle))


def _link(nvml: Any, handle: Any, number: int, active: bool) -> Link:
    if not active:
        return Link(number, False)
    kind = _quietly(nvml, lambda: nvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, number))
    if kind == nvml.NVML_NVLINK_DEVICE_TYPE_SWITCH:
        return Link(number, True, "switch")
    info = _quietly(nvml, lambda: nvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, number))
    printed = pci.printed(info)
    if kind is None and pci.switch(printed):
        return Link(number, True, "switch")
    try:
        place = pci.address(printed)
    except ValueError:
        return Link(number, True)
    return Link(number, True, "gpu" if kind in (None, nvml.NVML_NVLINK_DEVICE_TYPE_GPU) else "other", place)


def _quietly(nvml: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _links_up(nvml: Any, handle: Any) -> tuple[Sample, ...]:
    return (Sample("gpu_nvlink_links_up", float(sum(active for _, active in _states(nvml, handle)))),)


def _errors(nvml: Any, handle: Any) -> tuple[Sample, ...]:
    """Errors of all links by kind; a kind that this GPU does not count is absent. Raises where it counts none."""
    sums: dict[str, int] = {}
    refusal = NOT_SUPPORTED
    for number, _ in _states(nvml, handle):
        for kind, name in ERROR_KINDS.items():
            try:
                count = nvml.nvmlDeviceGetNvLinkErrorCounter(handle, number, kind)
            except nvml.NVMLError as error:
                if error.value not in (INVALID_ARGUMENT, NOT_SUPPORTED):
                    raise
                refusal = error.value
                continue
            sums[name] = sums.get(name, 0) + count
    if not sums:
        raise nvml.NVMLError(refusal)
    return tuple(Sample("gpu_nvlink_errors_total", float(count), (("kind", name),)) for name, count in sums.items())


CALLS: tuple[Call, ...] = (
    Call("nvmlDeviceGetNvLinkState", ("gpu_nvlink_links_up",), _links_up, needs="NVLink"),
    Call("nvmlDeviceGetNvLinkErrorCounter", ("gpu_nvlink_errors_total",), _errors, needs="NVLink"),
)
"""What changes rarely."""


def traffic(now: Callable[[], float] = monotonic) -> tuple[Call, ...]:
    """The calls that tell how much one GPU moves; they remember its counters, so that a GPU found again needs new ones.

    now: seconds for counters that the driver does not date.
    """
    nvlink = Counter(NVLINK_MOST / 1024), Counter(NVLINK_MOST / 1024)
    pcie = Counter(PCIE_MOST), Counter(PCIE_MOST)

    def step(counter: Counter, told: Told) -> Step:
        return counter.step(told.raw, told.at or now(), told.bits)

    def moved_by_nvlink(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        told = fields.given(nvml, fields.read(nvml, handle, [(NVLINK_TX_KIB, ALL_LINKS), (NVLINK_RX_KIB, ALL_LINKS)]))
        tx, rx = (step(counter, value).per_second * 1024 for counter, value in zip(nvlink, told, strict=True))
        return (
            Sample("gpu_nvlink_tx_bytes_per_second", tx),
            Sample("gpu_nvlink_rx_bytes_per_second", rx),
            Sample("gpu_nvlink_bytes_per_second", tx + rx),
        )

    def moved_by_pcie(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        told = fields.given(nvml, fields.read(nvml, handle, [PCIE_TX_BYTES, PCIE_RX_BYTES]))
        tx, rx = (step(counter, value) for counter, value in zip(pcie, told, strict=True))
        return (
            Sample("gpu_pcie_tx_bytes_total", tx.total),
            Sample("gpu_pcie_rx_bytes_total", rx.total),
            Sample("gpu_pcie_tx_bytes_per_second", tx.per_second),
            Sample("gpu_pcie_rx_bytes_per_second", rx.per_second),
        )

    return (
        Call(
            "nvmlDeviceGetFieldValues(138,139)",
            ("gpu_nvlink_tx_bytes_per_second", "gpu_nvlink_rx_bytes_per_second", "gpu_nvlink_bytes_per_second"),
            moved_by_nvlink,
            needs="NVLink",
        ),
        Call(
            "nvmlDeviceGetFieldValues(197,198)",
            (
                "gpu_pcie_tx_bytes_total",
                "gpu_pcie_rx_bytes_total",
                "gpu_pcie_tx_bytes_per_second",
                "gpu_pcie_rx_bytes_per_second",
            ),
            moved_by_pcie,
            needs="driver 550 or newer",
        ),
    )
