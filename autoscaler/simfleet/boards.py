"""What a simulated machine is made of: the catalogue's machine, and the GPU's data sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from autoscaler.types import Offer
from autoscaler.types.prices import plain_type
from providers.catalog import Machine, read_catalog

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Board:
    """One model of GPU. limit_watts: its power limit. nvlinks: links of one, 0 = none; nvlink_bytes_per_second: of all
    of them, one way. pcie_generation: of its slot."""

    model: str
    memory_bytes: int
    idle_watts: float
    limit_watts: float
    sm_hertz: float
    memory_hertz: float
    nvlinks: int = 0
    nvlink_bytes_per_second: float = 0.0
    pcie_generation: int = 4


BOARDS: Mapping[str, Board] = {
    "V100": Board("Tesla V100-SXM2-16GB", 16 * GIB, 42, 300, 1.53e9, 0.877e9, 6, 150e9, 3),
    "T4": Board("Tesla T4", 16 * GIB, 10, 70, 1.59e9, 5.0e9, 0, 0.0, 3),
    "A10G": Board("NVIDIA A10G", 24 * GIB, 18, 300, 1.71e9, 6.251e9),
    "A10": Board("NVIDIA A10", 24 * GIB, 18, 150, 1.695e9, 6.251e9),
    "L4": Board("NVIDIA L4", 24 * GIB, 12, 72, 2.04e9, 6.251e9),
    "L40S": Board("NVIDIA L40S", 48 * GIB, 33, 350, 2.52e9, 9.001e9),
    "A100": Board("NVIDIA A100-SXM4-80GB", 80 * GIB, 55, 400, 1.41e9, 1.593e9, 12, 300e9),
    "H100": Board("NVIDIA H100 80GB HBM3", 80 * GIB, 70, 700, 1.98e9, 2.619e9, 18, 450e9, 5),
    "H200": Board("NVIDIA H200", 141 * GIB, 75, 700, 1.98e9, 3.201e9, 18, 450e9, 5),
}
"""Limits, clocks and links as NVIDIA's data sheets state them; idle power is what such boards usually draw."""
USUAL = "A100"


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine: its GPUs, all of one model, and the host around them."""

    board: Board
    gpus: int
    cpus: int
    memory_bytes: float
    joined: bool


@cache
def hardware(offer: Offer, gpus_of_replica: int) -> Hardware:
    """What a machine of an offer is made of; one that the catalogue does not know has A100s, as many as it needs."""
    row = _machines().get((offer.provider, plain_type(offer.type)))
    gpus = offer.gpus or (row.gpus if row is not None else 0) or max(1, offer.replicas * gpus_of_replica)
    name = row.gpu if row is not None and row.gpu in BOARDS else USUAL
    board = BOARDS[name]
    if row is not None and row.gpu_gib:
        board = Board(
            board.model if abs(board.memory_bytes / GIB - row.gpu_gib) < 4 else f"NVIDIA {name}-{row.gpu_gib:.0f}GB",
            int(row.gpu_gib * GIB), board.idle_watts, board.limit_watts, board.sm_hertz, board.memory_hertz,
            board.nvlinks, board.nvlink_bytes_per_second, board.pcie_generation,
        )  # fmt: skip
    joined = board.nvlinks > 0 and gpus > 1 and not (row is not None and "NV" not in row.link.upper())
    cpus = row.vcpus if row is not None and row.vcpus else 12 * gpus
    memory = row.memory_gib if row is not None and row.memory_gib else 96.0 * gpus
    return Hardware(board, gpus, cpus, memory * GIB, joined)


@cache
def _machines() -> Mapping[tuple[str, str], Machine]:
    return {(m.provider, plain_type(m.type)): m for m in reversed(read_catalog())}
