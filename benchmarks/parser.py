"""How many lines of an exposition page one core reads per second, beside prometheus_client's parser in the same run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.clock import cpu_seconds
from benchmarks.table import Row, show
from collectors.pages.reader import PageReader

SIZES = (250, 10_000)
TARGET_LINES_PER_S = 1_000_000
FIELDS = 25
HEAD = (
    'gpu="{gpu}",UUID="GPU-{uuid}",pci_bus_id="00000000:{gpu:02X}:00.0",device="nvidia{gpu}",'
    'modelName="NVIDIA H100 80GB HBM3",Hostname="gpu-node-{node}",DCGM_FI_DRIVER_VERSION="580.105.08",'
    'container="main",namespace="serving",pod="vllm-{node}-{gpu}"'
)
NAMES = (
    "DEV_SM_CLOCK",
    "DEV_MEM_CLOCK",
    "DEV_MEMORY_TEMP",
    "DEV_GPU_TEMP",
    "DEV_POWER_USAGE",
    "DEV_TOTAL_ENERGY_CONSUMPTION",
    "DEV_PCIE_REPLAY_COUNTER",
    "DEV_GPU_UTIL",
    "DEV_MEM_COPY_UTIL",
    "DEV_ENC_UTIL",
    "DEV_DEC_UTIL",
    "DEV_XID_ERRORS",
    "DEV_FB_FREE",
    "DEV_FB_USED",
    "DEV_FB_RESERVED",
    "DEV_UNCORRECTABLE_REMAPPED_ROWS",
    "DEV_CORRECTABLE_REMAPPED_ROWS",
    "DEV_ROW_REMAP_FAILURE",
    "DEV_NVLINK_BANDWIDTH_TOTAL",
    "PROF_GR_ENGINE_ACTIVE",
    "PROF_PIPE_TENSOR_ACTIVE",
    "PROF_DRAM_ACTIVE",
    "PROF_SM_ACTIVE",
    "PROF_PCIE_TX_BYTES",
    "PROF_PCIE_RX_BYTES",
)


def page(lines: int, seed: int) -> bytes:
    """A page in the form of dcgm-exporter with `lines` lines, HELP and TYPE of its 25 families included."""
    values = np.random.default_rng(seed)
    gpus = -(-(lines - 2 * FIELDS) // FIELDS)
    uuids = [np.random.default_rng(gpu).bytes(8).hex() for gpu in range(gpus)]
    text: list[str] = []
    for name in NAMES:
        text += [f"# HELP DCGM_FI_{name} What it is.", f"# TYPE DCGM_FI_{name} gauge"]
        for gpu in range(gpus):
            labels = HEAD.format(gpu=gpu % 8, uuid=uuids[gpu], node=gpu // 8)
            text.append(f"DCGM_FI_{name}{{{labels}}} {values.uniform(0, 1e6):.6f}")
    return ("\n".join(text[:lines]) + "\n").encode()


def fastest(action: Callable[[], object], repeats: int) -> float:
    """CPU seconds of the fastest of several runs: what the code costs when nothing else disturbs it."""
    best = float("inf")
    for _ in range(repeats):
        began = cpu_seconds()
        action()
        best = min(best, cpu_seconds() - began)
    return best


def shuffled(text: bytes, seed: int) -> bytes:
    """The same lines in another order, as an exporter prints them that walks a hash map."""
    lines = np.array(text.splitlines(keepends=True), dtype=object)
    return b"".join(np.random.default_rng(seed).permutation(lines))


def _warm(pages: list[bytes], lines: int) -> float:
    reader = PageReader("bench", (("pool", "bench"),), 5.0)
    rounds = max(1, 20_000 // lines)
    for text in pages * 2:
        reader.read(text, 0.0)

    def read() -> None:
        for n in range(rounds):
            reader.read(pages[n % len(pages)], 0.0)

    return rounds * lines / fastest(read, 15)


def _cold(lines: int) -> float:
    text = page(lines, 0)
    return lines / fastest(lambda: PageReader("bench", (("pool", "bench"),), 5.0).read(text, 0.0), 3)


def _peer(lines: int) -> float:
    text = page(lines, 0).decode()
    return lines / fastest(lambda: sum(1 for _ in text_string_to_metric_families(text)), 3)


def run() -> list[Row]:
    """Lines per second, cold and warm, at both sizes; `peer` is prometheus_client's text parser on the same page."""
    rows = []
    for lines in SIZES:
        peer = _peer(lines)
        pages = [page(lines, seed) for seed in range(4)]
        mixed = [shuffled(text, seed) for seed, text in enumerate(pages)]
        what = f"exposition page, {lines} lines"
        rows.append(Row(f"{what}, warm", _warm(pages, lines), "lines/s", TARGET_LINES_PER_S, peer))
        rows.append(Row(f"{what}, warm, in ever another order", _warm(mixed, lines), "lines/s", None, peer))
        rows.append(Row(f"{what}, first time", _cold(lines), "lines/s", None, peer))
    return rows


if __name__ == "__main__":
    show(run())
