"""A fleet of GPU nodes as dcgm-exporter shows them: one process that serves every node's page, cheaply, to all stores.

A page is a function of the node and of the step that the time lies in, so that every store which asks within one step
is told the same, and what a store has kept can be compared with what it was told. 32 of 40 fields differ in every
step, as ratios, watts, byte rates and counters do; eight (link width, remapped rows and their like) stand still.
"""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from autoscaler.clock import SystemClock

GPUS = 8
STEP_S = 5.0
RATIOS = [
    "PROF_GR_ENGINE_ACTIVE",
    "PROF_SM_ACTIVE",
    "PROF_SM_OCCUPANCY",
    "PROF_PIPE_TENSOR_ACTIVE",
    "PROF_DRAM_ACTIVE",
    "PROF_PIPE_FP64_ACTIVE",
    "PROF_PIPE_FP32_ACTIVE",
    "PROF_PIPE_FP16_ACTIVE",
    "DEV_FB_USED_PERCENT",
]
WATTS = ["DEV_POWER_USAGE", "DEV_POWER_USAGE_INSTANT"]
RATES = [
    "PROF_PCIE_TX_BYTES",
    "PROF_PCIE_RX_BYTES",
    "PROF_NVLINK_TX_BYTES",
    "PROF_NVLINK_RX_BYTES",
    "DEV_NVLINK_BANDWIDTH_TOTAL",
]
COUNTERS = [
    "DEV_TOTAL_ENERGY_CONSUMPTION",
    "DEV_POWER_VIOLATION",
    "DEV_THERMAL_VIOLATION",
    "PROF_PCIE_TX_BYTES_TOTAL",
    "PROF_PCIE_RX_BYTES_TOTAL",
]
NUMBERS = [
    "DEV_GPU_UTIL",
    "DEV_MEM_COPY_UTIL",
    "DEV_ENC_UTIL",
    "DEV_DEC_UTIL",
    "DEV_SM_CLOCK",
    "DEV_GPU_TEMP",
    "DEV_MEMORY_TEMP",
    "DEV_FB_FREE",
    "DEV_FB_USED",
    "DEV_BAR1_USED",
    "DEV_PSTATE",
]
STILL = [
    "DEV_MAX_SM_CLOCK",
    "DEV_FB_RESERVED",
    "DEV_PCIE_LINK_GEN",
    "DEV_PCIE_LINK_WIDTH",
    "DEV_UNCORRECTABLE_REMAPPED_ROWS",
    "DEV_CORRECTABLE_REMAPPED_ROWS",
    "DEV_ROW_REMAP_FAILURE",
    "DEV_XID_ERRORS",
]
FIELDS = tuple(RATIOS + WATTS + RATES + COUNTERS + NUMBERS + STILL)
_POOL = 8191
_STRIDE = 611953


@dataclass(frozen=True, slots=True)
class Manner:
    """How pages come. gzipped: compressed, as Go's exporters do.

    pod_life_s: after so long a node's pods are others, and with them the labels of all its series; 0 = never.
    """

    gzipped: bool = False
    pod_life_s: float = 0.0

    def generation(self, node: int, step: int) -> int:
        """How often a node's pods have changed; each node at a time of its own."""
        life = round(self.pod_life_s / STEP_S)
        return (step + node * 7919 % life) // life if life else 0


@dataclass(frozen=True, slots=True)
class Fleet:
    """`page(node, step)` is the text, `value(node, line, step)` one number on it; a line is field * GPUS + gpu."""

    nodes: int
    manner: Manner = Manner()
    _tokens: dict[str, list[bytes]] = field(default_factory=dict)
    _heads: dict[int, tuple[int, list[bytes]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chance = random.Random(7)
        makers: dict[str, Callable[[], str]] = {
            "ratio": lambda: f"{chance.random():.6f}",
            "watts": lambda: f"{chance.gauss(420, 60):.3f}000",
            "rate": lambda: str(chance.randrange(10**8, 9 * 10**9)),
            "number": lambda: str(chance.randrange(1, 100)),
        }
        for kind, make in makers.items():
            self._tokens[kind] = [make().encode() + b"\n" for _ in range(_POOL)]

    def page(self, node: int, step: int) -> bytes:
        """The whole page, about 90 kB."""
        generation = self.manner.generation(node, step)
        kept = self._heads.get(node)
        if kept is None or kept[0] != generation:
            kept = self._heads[node] = generation, _heads(node, generation)
        heads = kept[1]
        pieces = [b""] * (2 * len(heads))
        pieces[::2] = heads
        pieces[1::2] = self.values(node, step)
        return b"".join(pieces)

    def values(self, node: int, step: int) -> list[bytes]:
        """What each line shows, with its line feed."""
        found: list[bytes] = []
        start = (node * 7919 + step * _STRIDE) % (_POOL - GPUS * 16)
        for kind, names in (("ratio", RATIOS), ("watts", WATTS), ("rate", RATES)):
            found += self._tokens[kind][start : start + GPUS * len(names)]
        base = 10**11 + node * 1000 + step * 1_000_003
        found += [b"%d\n" % (base + line * 7) for line in range(GPUS * len(COUNTERS))]
        found += self._tokens["number"][start : start + GPUS * len(NUMBERS)]
        found += [b"0\n"] * (GPUS * len(STILL))
        return found


def series(node: int, name: str, gpu: int, generation: int = 0) -> str:
    """The series of a line, in the form of dcgm-exporter 4.5 on Kubernetes."""
    return (
        f'DCGM_FI_{name}{{gpu="{gpu}",UUID="GPU-{node:08x}-7953-256e-8f33-13434{gpu}9b1a1c",'
        f'pci_bus_id="00000000:{gpu}1:00.0",device="nvidia{gpu}",modelName="NVIDIA H100 80GB HBM3",'
        f'Hostname="node-{node:04d}",DCGM_FI_DRIVER_VERSION="580.105.08",container="engine",namespace="serving",'
        f'pod="chat-70b-6d5c9f7b4-{node:04d}{gpu}{generation or ""}"}}'
    )


def _heads(node: int, generation: int) -> list[bytes]:
    heads = []
    for name in FIELDS:
        kind = "counter" if name in COUNTERS else "gauge"
        told = f"# HELP DCGM_FI_{name} What field {name} of DCGM says.\n# TYPE DCGM_FI_{name} {kind}\n"
        heads += [f"{told if gpu == 0 else ''}{series(node, name, gpu, generation)} ".encode() for gpu in range(GPUS)]
    return heads


def step_of(at: float) -> int:
    """The step that a time lies in."""
    return int(at // STEP_S)


class _Answers(asyncio.Protocol):
    """Answers GET /NODE; a request of the stores that we run arrives in one piece, or in a few."""

    def __init__(self, fleet: Fleet, made: dict[int, tuple[int, bytes]]) -> None:
        self._fleet = fleet
        self._made = made
        self._clock = SystemClock()
        self._heard = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if not self._heard.endswith(b"\r\n\r\n"):
            return
        node, self._heard = int(self._heard[5 : self._heard.index(b" ", 5)]), b""
        step = step_of(self._clock.now())
        kept = self._made.get(node)
        if kept is None or kept[0] != step:
            page, coding = self._fleet.page(node, step), ""
            if self._fleet.manner.gzipped:
                page, coding = gzip.compress(page, 1), "Content-Encoding: gzip\r\n"
            kind = "Content-Type: text/plain; version=0.0.4\r\n"
            head = f"HTTP/1.1 200 OK\r\n{kind}{coding}Content-Length: {len(page)}\r\n\r\n"
            kept = self._made[node] = (step, head.encode() + page)
        self._transport.write(kept[1])


def serve(told: Connection, nodes: int, manner: Manner) -> None:
    """Serve the pages of all nodes on a free port of loopback, which is told first; does not return."""
    asyncio.run(_serve(told, Fleet(nodes, manner), {}))


async def _serve(told: Connection, fleet: Fleet, made: dict[int, tuple[int, bytes]]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answers(fleet, made), "127.0.0.1", 0, backlog=4096)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()
