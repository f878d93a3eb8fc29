"""Makes a fleet of the stand-in out of what a driver answered once; see record.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.peers.nvml import gpu as bits
from tests.peers.nvml.gpu import Gpu
from tests.peers.nvml.questions import QUESTIONS
from tests.peers.nvml.record import FORMAT, Recording
from tests.peers.nvml.scenario import Scenario

PLAIN_BUS_ID = "00000000:{:02X}:00.0"
NOT_SUPPORTED, NOT_FOUND = 3, 6


def load(path: Path) -> Scenario:
    """The fleet that a file tells of; ValueError for a file of another format."""
    told: Recording = json.loads(path.read_text(encoding="utf-8"))
    if told.get("format") != FORMAT:
        raise ValueError(f"{path}: has format {told.get('format')}, and {FORMAT} is read; record it again")
    return fleet(told)


def fleet(told: Recording) -> Scenario:
    """The fleet of a recording. Each GPU gets a UUID of its own, since recordings keep none."""
    scenario = Scenario()
    scenario.driver_version, scenario.nvml_version = told["driver_version"], told["nvml_version"]
    scenario.cuda_version = told["cuda_version"]
    for number, one in enumerate(told["gpus"]):
        _gpu(scenario, scenario.add_gpu(), number, one)
    for name, matrix in (("topology", told["topology"]), ("p2p", told["p2p"])):
        for row, values in enumerate(matrix):
            for column, value in enumerate(values):
                getattr(scenario, name)[row][column] = max(0, value)
    return scenario


def _gpu(scenario: Scenario, gpu: Gpu, number: int, told: Recording) -> None:
    gpu.uuid, gpu.serial = f"GPU-00000000-0000-0000-0000-{number:012d}", f"{number:013d}"
    answers = told["answers"]
    gpu.bus_id = str(answers["nvmlDeviceGetPciInfo_v3"]["value"] or PLAIN_BUS_ID.format(number + 1))
    gpu.has = _has(told)
    gpu.no_samples_code, gpu.no_utilization_code = NOT_FOUND, answers["nvmlDeviceGetProcessUtilization"]["code"]
    _links(gpu, told["links"])
    if (mode := answers["nvmlDeviceGetMigMode"]["value"]) is not None:
        gpu.mig_mode, gpu.mig_pending = mode
    refused: dict[str, set[int]] = {}
    for question in QUESTIONS:
        answer = answers[question.name]
        refused.setdefault(question.symbol, set()).add(answer["code"])
        if answer["code"] == 0 and answer["value"] is not None:
            question.put(gpu, answer["value"])
    gpu.power_instant_mw = gpu.power_mw
    for symbol, codes in refused.items():
        # One function with several arguments can only fail for all of them. Code 0 here is a list without entries.
        if len(codes) == 1 and (code := codes.pop()) and symbol != "nvmlDeviceGetProcessUtilization":
            gpu.fail(symbol, code)
    _series(gpu, told)


def _has(told: Recording) -> int:
    """What the board can do, by what it did not refuse."""
    answers = told["answers"]
    supported = {name for name, answer in answers.items() if answer["code"] == 0}
    by_name = {
        "nvmlDeviceGetTotalEccErrors corrected": bits.ECC,
        "nvmlDeviceGetRemappedRows": bits.REMAP,
        "nvmlDeviceGetMigMode": bits.MIG,
        "nvmlDeviceGetTotalEnergyConsumption": bits.ENERGY,
        "nvmlDeviceGetMarginTemperature": bits.MARGIN,
        "nvmlDeviceGetNumaNodeId": bits.NUMA,
    }
    has = sum(bit for name, bit in by_name.items() if name in supported)
    codes = {field["id"]: field.get("code", NOT_SUPPORTED) for field in told["fields"]}
    by_field = {185: bits.POWER_FIELDS, 197: bits.PCIE_BYTES, 230: bits.RECOVERY}
    has += sum(bit for number, bit in by_field.items() if codes[number] == 0)
    return has + (bits.GPM if told["gpm"]["supported"] else 0)


def _links(gpu: Gpu, told: list[Recording]) -> None:
    there = [link for link in told if link["code"] == 0]
    gpu.links_count = len(there)
    for link, found in zip(gpu.links, there, strict=False):
        link.active, link.remote_gpu = int(found["active"] or 0), -1
        link.remote_type = 0 if found["remote_type"] is None else found["remote_type"]


def _series(gpu: Gpu, told: dict[str, Any]) -> None:
    for kind, found in told["samples"].items():
        if found["code"] == 0 and found["period_us"]:
            gpu.invent_samples(int(kind), period_us=found["period_us"], depth=min(found["depth"], 128))
    for field in told["fields"]:
        if "code" in field:
            gpu.field(
                field["id"], field["bits"], kind=field["type"], code=field["code"], latency_us=field["latency_us"]
            )
            written = next(f for f in gpu.data.fields if f.present and f.id == field["id"])
            # As the driver wrote them, whatever their type.
            written.bits = field["bits"]
    gpm = told["gpm"]
    for number, metric in gpm.get("metrics", {}).items():
        gpu.gpm({int(number): metric["value"]})
        if metric["code"]:
            gpu.fail("nvmlGpmMetricsGet", metric["code"], metric=int(number))
    refused = [int(apart) for apart, code in gpm.get("codes_by_ms", {}).items() if code]
    if refused:
        gpu.scenario.gpm_least_us = (max(refused) + 1) * 1000
        gpu.scenario.gpm_refusal_code = gpm["codes_by_ms"][str(max(refused))]
    elif gpm["supported"]:
        gpu.scenario.gpm_least_us = 0
