"""One GPU, told in every spelling that there is: the canonical frame is the same."""

from __future__ import annotations

import json
import math
import socket
import sys
from pathlib import Path

import pytest

from autoscaler.clock import SystemClock
from autoscaler.types import Batch, Labels
from collectors.dcgm import CLOCK_EVENTS, FIELDS, PREFIX
from collectors.dcgm.collector import Dcgm
from collectors.dcgm.labels import WORK_LABELS
from collectors.nvml.gauges import REASONS
from collectors.pages.reader import PageReader
from collectors.pages.smi_names import LABELLED
from tests.nvmlworld import world
from tests.peers.nvml import models
from tests.peers.pages import until

UUID, MODEL, PCI = "GPU-c2f76b33-7953-256e-8f33-1343419b1a1c", "NVIDIA H100 80GB HBM3", "00000000:07:00.0"
HOST = socket.gethostname()
WORK = {"pod": "chat-0", "namespace": "serving", "container": "vllm"}
TOLD: dict[int, str] = {
    100: "1980", 101: "2619", 113: "1980", 140: "54", 150: "59", 155: "631.950", 156: "15152422938", 157: "625.680",
    164: "700.000", 190: "0", 202: "3", 203: "91", 204: "11", 206: "0", 207: "7", 230: "0", 237: "5", 238: "16",
    240: "2500000000", 241: "0", 251: "61263", 252: "19818", 253: "479", 310: "3", 311: "0", 393: "0", 394: "2",
    395: "0", 396: "0", 409: "7", 429: "8", 439: "9", 449: "1000", 1001: "0.950", 1002: "0.930", 1003: "0.162",
    1004: "0.300", 1005: "0.810", 1006: "0.000", 1007: "0.100", 1008: "0.200", 1009: "112603", 1010: "17544",
    1011: "5000000000", 1012: "6000000000",
}  # fmt: skip
"""What the GPU tells, by field, as DCGM prints it."""

OF_PAGES_ALONE = ("gpu_last_xid_timestamp_seconds", "gpu_xid_events_total")
"""From a page a fault is known by a change; the driver tells of it itself."""

BY_ID = {field.id: field for field in FIELDS}
Frame = dict[tuple[str, Labels], float]


def page(labels: dict[str, str], *, newest: bool = False) -> bytes:
    """A page with these labels, under old names or those of DCGM 4.6."""
    printed = ",".join(f'{name}="{value}"' for name, value in labels.items())
    names = {number: BY_ID[number].names[-1 if newest else 0] for number in TOLD}
    return "".join(f"{PREFIX}{names[n]}{{{printed}}} {value}\n" for n, value in TOLD.items()).encode()


def frame(batch: Batch, *, with_work: bool = True) -> Frame:
    """What a batch says of the GPU. `gpu_info` is left out: versions differ in what they tell about it."""
    found: Frame = {}
    for key, value in zip(batch.keys, batch.values.tolist(), strict=True):
        labels = tuple(pair for pair in key.labels if with_work or pair[0] not in WORK_LABELS)
        if key.metric != "gpu_info" and not math.isnan(value):
            assert (key.metric, labels) not in found
            found[key.metric, labels] = value
    return found


def read(text: bytes) -> Batch:
    reader = PageReader("test", (), 15.0)
    batch = reader.read(text, 1000.0)
    assert (reader.rejected, reader.sentinels) == (0, 0)
    return batch


NEW = {"gpu": "0", "UUID": UUID, "pci_bus_id": PCI, "device": "nvidia0", "modelName": MODEL, "Hostname": HOST}
EXPECTED = frame(read(page({**NEW, **WORK})))


def without(labels: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in names}


PAGES = {
    "driver 520, without pci_bus_id": page(
        {**without(NEW, "pci_bus_id"), "DCGM_FI_DRIVER_VERSION": "520.56.06", **WORK}
    ),
    "4.8": page({**NEW, "DCGM_FI_DRIVER_VERSION": "580.105.08", **WORK}),
    "hostname in lower case": page({**without(NEW, "Hostname"), "hostname": HOST, **WORK}),
    "names of 4.6": page({**NEW, "DCGM_FI_SYSTEM_DRIVER_VERSION": "600.1", **WORK}, newest=True),
    "through a Prometheus": page(
        {
            **NEW,
            **{f"exported_{name}": value for name, value in WORK.items()},
            "pod": "dcgm-exporter-x",
            "namespace": "gpu-operator",
            "container": "exporter",
        }
    ),
    "--use-old-namespace": page(
        {
            **without(NEW, "UUID"),
            "uuid": UUID,
            "pod_name": "chat-0",
            "pod_namespace": "serving",
            "container_name": "vllm",
        }
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_every_version_gives_the_same_frame(name: str) -> None:
    assert frame(read(PAGES[name])) == EXPECTED


def test_the_frame_is_in_base_units() -> None:
    """So that the same mistake everywhere would not pass for agreement."""
    found = {metric: value for (metric, _), value in EXPECTED.items()}
    assert found["gpu_busy_ratio"] == pytest.approx(0.91)
    assert found["gpu_energy_joules_total"] == pytest.approx(15152422.938)
    assert found["gpu_memory_total_bytes"] == (61263 + 19818 + 479) * 2**20
    assert found["gpu_nvlink_bytes_per_second"] == 1.024e9
    assert found["gpu_throttle_power_seconds_total"] == 2.5
    assert found["gpu_sm_clock_hertz"] == 1.98e9
    assert found["gpu_saturation_ratio"] == 0.93
    assert len(EXPECTED) > 45


@pytest.mark.parametrize("style", ["left", "right"])
def test_dmon_gives_the_same_frame(tmp_path: Path, style: str) -> None:
    """Of who uses the GPU dmon knows nothing."""
    file = tmp_path / "told.json"
    cells = {str(number): value for number, value in TOLD.items()} | {"54": UUID, "50": MODEL}
    file.write_text(json.dumps({"rows": [["GPU 0", cells]], "style": style}), encoding="utf-8")
    program = Path(__file__).parent / "peers" / "dmon_program.py"
    command = f"{sys.executable} -S -E {program} {file}"
    collector = Dcgm(SystemClock(), interval_s=0.1, address="", through="dmon", dcgmi=command)
    collector.start()
    batches: list[Batch] = []

    def more() -> object:
        batches.extend(collector.collect(0.0))
        return batches

    try:
        until(more, "a batch")
    finally:
        collector.stop()
    expected = {
        (metric, tuple(pair for pair in labels if pair[0] not in WORK_LABELS)): value
        for (metric, labels), value in EXPECTED.items()
    }
    assert frame(batches[-1]) == expected


def test_the_driver_s_library_gives_the_same_frame_as_a_page() -> None:
    """What the collector of NVML reads of a stand-in is printed as a page of DCGM, and read again."""
    with world(models.hgx_h100()) as made:
        made.rounds(4)
        gpu = made.fleet.gpus[0]
        told: Frame = {}
        for batch in made.batches:
            if gpu.uuid in batch.source:
                told.update(frame(batch))
    labels = next(dict(labels) for (metric, labels) in told if metric == "gpu_power_watts")
    lines = []
    for field in FIELDS:
        for (metric, own), value in told.items():
            if metric == field.metric and dict(own) == {**labels, **dict(field.labels)}:
                printed = f'gpu="{labels["gpu"]}",UUID="{gpu.uuid}",modelName="{labels["gpu_model"]}"'
                lines.append(
                    f'{PREFIX}{field.names[-1]}{{{printed},hostname="{labels["host"]}"}} {value / field.factor!r}'
                )
    again = frame(PageReader("test", (("pool", "chat"),), 15.0).read(("\n".join(lines) + "\n").encode(), 1000.0))
    assert len(lines) > 25
    alike = {key: value for key, value in again.items() if key[0] not in OF_PAGES_ALONE}
    assert set(alike) <= set(told)
    assert alike == {key: pytest.approx(told[key], rel=1e-9) for key in alike}


def test_the_reasons_that_hold_clocks_down_are_called_the_same_everywhere() -> None:
    ours = {bit: name for name, bit in CLOCK_EVENTS}
    assert ours == REASONS
    assert {reason for metric, (_, reason) in LABELLED.values() if metric == "gpu_clock_event_active"} < set(
        ours.values()
    )
