"""How the GPUs of a machine are connected, how good a set of them is, and which set is the best for n of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import comb, fsum
from typing import Any, Literal

from autoscaler.errors import InputError
from collectors.nvml.call import Call, Sample

PciPath = Literal["X", "PIX", "PXB", "PHB", "NODE", "SYS"]
"""What lies between two GPUs on PCIe, in the words of `nvidia-smi topo`: X = the same GPU, PIX = one switch,
PXB = several switches, PHB = the host bridge, NODE = several host bridges of one NUMA node, SYS = several nodes."""

SETS_LIMIT = 20_000
"""Sets that are tried one by one (12,870 for 8 of 16); beyond, the best set is grown from each GPU in turn."""
GPUS_LIMIT = 256


@dataclass(frozen=True, slots=True)
class Scores:
    """What a connection is worth, 0 to 1; an order of our choice, not a measurement.

    A pair counts by the better of NVLink and its PCIe path. no_p2p bounds what a pair is worth over PCIe when the
    driver says that neither can reach the other's memory. unknown: of a pair that nothing is known about.
    """

    nvlink: float = 1.0
    pix: float = 0.8
    pxb: float = 0.7
    phb: float = 0.5
    node: float = 0.4
    sys: float = 0.2
    no_p2p: float = 0.2
    unknown: float = 0.0

    def __post_init__(self) -> None:
        wrong = [f"{name} = {getattr(self, name)}" for name in self.__slots__ if not 0 <= getattr(self, name) <= 1]
        if wrong:
            raise InputError(f"topology scores: {', '.join(wrong)} must be 0 to 1")


@dataclass(frozen=True, slots=True)
class Pair:
    """One connection. path: None = not known. nvlinks: active links between the two; p2p: usable, None = not known."""

    path: PciPath | None = None
    nvlinks: int = 0
    p2p: bool | None = None


@dataclass(frozen=True, slots=True)
class Topology:
    """The GPUs of one machine and what connects them. pairs: by the two names in the order of `gpus`.

    gpus: UUIDs where the driver was asked, PCI addresses or GPU0, GPU1 ... where a file was read. Every pair has the
    same connection both ways.
    """

    gpus: tuple[str, ...]
    pairs: Mapping[tuple[str, str], Pair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.gpus) > GPUS_LIMIT:
            raise InputError(f"a topology of {len(self.gpus)} GPUs is read, but one machine has at most {GPUS_LIMIT}")

    def pair(self, one: str, other: str) -> Pair:
        """The connection of two GPUs; InputError for a GPU that is not here."""
        missing = {one, other}.difference(self.gpus)
        if missing:
            raise InputError(f"{', '.join(sorted(missing))} is no GPU here; choose of {', '.join(self.gpus)}")
        if one == other:
            return Pair("X", p2p=True)
        return self.pairs.get((one, other)) or self.pairs.get((other, one)) or Pair()

    def matrix(self) -> tuple[tuple[Pair, ...], ...]:
        """Every pair, as rows and columns in the order of `gpus`."""
        return tuple(tuple(self.pair(one, other) for other in self.gpus) for one in self.gpus)

    def table(self) -> str:
        """The matrix as `nvidia-smi topo -m` prints it, tabs between columns; `?` where nothing is known."""
        names = [f"GPU{number}" for number in range(len(self.gpus))]
        rows = ["\t" + "\t".join(names)]
        for name, row in zip(names, self.matrix(), strict=True):
            rows.append("\t".join([name, *(_cell(pair) for pair in row)]))
        return "\n".join(rows) + "\n"


def _cell(pair: Pair) -> str:
    return f"NV{pair.nvlinks}" if pair.nvlinks else pair.path or "?"


def pair_score(pair: Pair, scores: Scores = Scores()) -> float:
    """What one connection is worth, 0 to 1."""
    if pair.path == "X":
        return 1.0
    if pair.path is None:
        over_pcie = scores.unknown
    else:
        worth = {"PIX": scores.pix, "PXB": scores.pxb, "PHB": scores.phb, "NODE": scores.node, "SYS": scores.sys}
        over_pcie = worth[pair.path]
    if pair.p2p is False:
        over_pcie = min(over_pcie, scores.no_p2p)
    return max(over_pcie, scores.nvlink) if pair.nvlinks else over_pcie


def set_score(topology: Topology, gpus: Iterable[str], scores: Scores = Scores()) -> float:
    """What a set of GPUs is worth, 0 to 1: its worst pair, since a collective runs at its slowest link. One GPU: 1."""
    return min((pair_score(topology.pair(*two), scores) for two in combinations(gpus, 2)), default=1.0)


def best_set(
    topology: Topology, count: int, free: Sequence[str] | None = None, scores: Scores = Scores()
) -> tuple[str, ...] | None:
    """The `count` GPUs of `free` (None: of all) that work best together, in the order of the machine.

    Of sets with an equal worst pair the one with the better mean wins, then the one that leaves the better rest, then
    the first in the machine's order. None: there are not so many. Among 2 * 10^4 sets or fewer the answer is the best;
    beyond, it is grown greedily.
    """
    choice = [gpu for gpu in topology.gpus if free is None or gpu in free]
    if not 1 <= count <= len(choice):
        return None
    worth = {two: pair_score(topology.pair(*two), scores) for two in combinations(choice, 2)}
    worth |= {(other, one): value for (one, other), value in worth.items()}
    if comb(len(choice), count) <= SETS_LIMIT:
        tried: Iterable[tuple[str, ...]] = combinations(choice, count)
    else:
        tried = (_grown(first, choice, count, worth) for first in choice)

    def merit(chosen: tuple[str, ...]) -> tuple[float, float, float]:
        inside = [worth[two] for two in combinations(chosen, 2)] or [1.0]
        rest = [gpu for gpu in choice if gpu not in chosen]
        # Exact sums: the same values in another order must not differ in the last digit.
        return min(inside), fsum(inside), fsum(worth[two] for two in combinations(rest, 2))

    # max keeps the first of equals.
    return max(tried, key=merit)


def _grown(first: str, choice: Sequence[str], count: int, worth: Mapping[tuple[str, str], float]) -> tuple[str, ...]:
    chosen = [first]
    while len(chosen) < count:
        left = [gpu for gpu in choice if gpu not in chosen]
        chosen.append(max(left, key=lambda gpu: min(worth[gpu, other] for other in chosen)))
    return tuple(gpu for gpu in choice if gpu in chosen)


def gpu_score(topology: Topology, gpu: str, scores: Scores = Scores()) -> float:
    """What the worst connection of one GPU to another of its machine is worth; alone: 1. The least is the machine's."""
    return min((pair_score(topology.pair(gpu, other), scores) for other in topology.gpus if other != gpu), default=1.0)


def calls(topology: Topology, uuid: str, scores: Scores = Scores()) -> tuple[Call, ...]:
    """The score of one GPU for its slow lane; asks the topology as it was read, not the driver."""
    score = gpu_score(topology, uuid, scores)

    def read(_nvml: Any, _handle: Any) -> tuple[Sample, ...]:
        return (Sample("gpu_topology_score", score),)

    return (Call("topology", ("gpu_topology_score",), read),)
