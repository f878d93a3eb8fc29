"""What changes rarely: memory errors, remapped rows, the PCIe link, BAR1, the video engines, and what the GPU is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collectors.nvml import fields, pci
from collectors.nvml.call import Call, Read, Sample

CORRECTED, UNCORRECTED, SINCE_DRIVER_LOAD = 0, 1, 0
NOT_SUPPORTED = 3
PCIE_REPLAYS, ECC_CORRECTED, ECC_UNCORRECTED, RECOVERY_ACTION = 94, 3, 4, 230
ROWS_CORRECTABLE, ROWS_UNCORRECTABLE, ROWS_PENDING, ROWS_FAILED = 142, 143, 144, 145
NUMA_WORDS = 4
"""64-bit words of a mask of NUMA nodes that are asked for."""
ARCHITECTURES = {
    2: "kepler",
    3: "maxwell",
    4: "pascal",
    5: "volta",
    6: "turing",
    7: "ampere",
    8: "ada",
    9: "hopper",
    10: "blackwell",
    13: "rubin",
}


def _number(metric: str, ask: Callable[[Any, Any], Any]) -> Read:
    """A read of one number."""

    def read(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        return (Sample(metric, float(ask(nvml, handle))),)

    return read


def _field(metric: str, number: int) -> Read:
    """A read of one field value as it is."""
    return _number(metric, lambda nvml, handle: fields.one(nvml, handle, number).value)


def _ecc(metric: str, kind: int, number: int) -> Call:
    return Call(
        "nvmlDeviceGetTotalEccErrors",
        (metric,),
        _number(metric, lambda nvml, handle: nvml.nvmlDeviceGetTotalEccErrors(handle, kind, SINCE_DRIVER_LOAD)),
        _field(metric, number),
        needs="ECC that is switched on",
    )


def _rows(correctable: float, uncorrectable: float, pending: float, failed: float) -> tuple[Sample, ...]:
    return (
        Sample("gpu_rows_remapped_total", float(correctable), (("kind", "correctable"),)),
        Sample("gpu_rows_remapped_total", float(uncorrectable), (("kind", "uncorrectable"),)),
        Sample("gpu_row_remap_pending", float(bool(pending))),
        Sample("gpu_row_remap_failed", float(bool(failed))),
    )


def _remapped(nvml: Any, handle: Any) -> tuple[Sample, ...]:
    return _rows(*nvml.nvmlDeviceGetRemappedRows(handle))


def _remapped_by_fields(nvml: Any, handle: Any) -> tuple[Sample, ...]:
    told = fields.read(nvml, handle, [ROWS_CORRECTABLE, ROWS_UNCORRECTABLE, ROWS_PENDING, ROWS_FAILED])
    correctable, uncorrectable, pending, failed = (told.value for told in fields.given(nvml, told))
    return _rows(correctable, uncorrectable, pending, failed)


def _numa_node(nvml: Any, handle: Any) -> tuple[Sample, ...]:
    """The first NUMA node that is nearest to the GPU, as DCGM's field 86; on coherent machines the GPU's own node.

    A machine without NUMA answers with an empty mask: then nothing is told.
    """
    try:
        mask = list(nvml.nvmlDeviceGetMemoryAffinity(handle, NUMA_WORDS, nvml.NVML_AFFINITY_SCOPE_NODE))
    except nvml.NVMLError as error:
        if error.value not in (NOT_SUPPORTED, 13):
            raise
        return (Sample("gpu_numa_node", float(nvml.nvmlDeviceGetNumaNodeId(handle))),)
    whole = sum(int(word) << (64 * place) for place, word in enumerate(mask))
    if not whole:
        raise nvml.NVMLError(NOT_SUPPORTED)
    return (Sample("gpu_numa_node", float((whole & -whole).bit_length() - 1)),)


def _info(nvml: Any, handle: Any) -> tuple[Sample, ...]:
    """One row with all that names the GPU and its software; what it does not tell is left out of the labels."""
    labels = {"pci_bus_id": pci.of_device(nvml.nvmlDeviceGetPciInfo_v3(handle))}
    asks: dict[str, Callable[[], Any]] = {
        "architecture": lambda: ARCHITECTURES.get(nvml.nvmlDeviceGetArchitecture(handle), "unknown"),
        "driver_version": nvml.nvmlSystemGetDriverVersion,
        "serial": lambda: nvml.nvmlDeviceGetSerial(handle),
        "vbios_version": lambda: nvml.nvmlDeviceGetVbiosVersion(handle),
    }
    for label, ask in asks.items():
        try:
            labels[label] = str(ask())
        except nvml.NVMLError:
            continue
    return (Sample("gpu_info", 1.0, tuple(sorted(labels.items()))),)


CALLS: tuple[Call, ...] = (
    _ecc("gpu_ecc_corrected_total", CORRECTED, ECC_CORRECTED),
    _ecc("gpu_ecc_uncorrected_total", UNCORRECTED, ECC_UNCORRECTED),
    Call(
        "nvmlDeviceGetRemappedRows",
        ("gpu_rows_remapped_total", "gpu_row_remap_pending", "gpu_row_remap_failed"),
        _remapped,
        _remapped_by_fields,
        needs="row remapping (Ampere or newer)",
    ),
    Call(
        "nvmlDeviceGetCurrPcieLinkGeneration",
        ("gpu_pcie_link_generation",),
        _number("gpu_pcie_link_generation", lambda nvml, handle: nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)),
    ),
    Call(
        "nvmlDeviceGetCurrPcieLinkWidth",
        ("gpu_pcie_link_width",),
        _number("gpu_pcie_link_width", lambda nvml, handle: nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)),
    ),
    Call(
        "nvmlDeviceGetPcieReplayCounter",
        ("gpu_pcie_replay_total",),
        _number("gpu_pcie_replay_total", lambda nvml, handle: nvml.nvmlDeviceGetPcieReplayCounter(handle)),
        _field("gpu_pcie_replay_total", PCIE_REPLAYS),
    ),
    Call(
        "nvmlDeviceGetBAR1MemoryInfo",
        ("gpu_bar1_used_bytes",),
        _number("gpu_bar1_used_bytes", lambda nvml, handle: nvml.nvmlDeviceGetBAR1MemoryInfo(handle).bar1Used),
    ),
    Call(
        "nvmlDeviceGetEncoderUtilization",
        ("gpu_encoder_ratio",),
        _number("gpu_encoder_ratio", lambda nvml, handle: nvml.nvmlDeviceGetEncoderUtilization(handle)[0] / 100),
        needs="a video encoder, and no MIG",
    ),
    Call(
        "nvmlDeviceGetDecoderUtilization",
        ("gpu_decoder_ratio",),
        _number("gpu_decoder_ratio", lambda nvml, handle: nvml.nvmlDeviceGetDecoderUtilization(handle)[0] / 100),
        needs="a video decoder, and no MIG",
    ),
    Call(
        "nvmlDeviceGetFieldValues(230)",
        ("gpu_recovery_action",),
        _field("gpu_recovery_action", RECOVERY_ACTION),
        needs="driver 570 or newer",
    ),
    Call("nvmlDeviceGetMemoryAffinity", ("gpu_numa_node",), _numa_node),
    Call("nvmlDeviceGetPciInfo", ("gpu_info",), _info),
)
