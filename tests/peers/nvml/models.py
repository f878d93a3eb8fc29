"""Fleets that exist, as scenarios. Their figures: NVIDIA's data sheets of the boards, topologies as sources say."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from tests.peers.nvml import gpu as bits
from tests.peers.nvml.gpu import Gpu
from tests.peers.nvml.scenario import Scenario

MIB, GIB = 2**20, 2**30
TURING, AMPERE, HOPPER = 6, 7, 9
SINGLE, MULTIPLE, HOST_BRIDGE, NODE, SYSTEM = 10, 20, 30, 40, 50
EVENTS = bits.XID_EVENT | bits.DOUBLE_BIT_EVENT
DATA_CENTER = bits.ECC | bits.ENERGY | bits.POWER_FIELDS
P2P_OK, P2P_REFUSED = 0, 5


@dataclass(frozen=True, slots=True)
class Board:
    """A model of GPU, in the driver's units."""

    name: str
    architecture: int
    compute: tuple[int, int]
    cores: int
    pci_device_id: int
    memory_total: int
    memory_reserved: int
    bar1_total: int
    limits_w: tuple[int, int, int]  # least, default, most
    clocks_mhz: tuple[int, int, int, int]  # graphics, SM, memory, video: the highest
    has: int
    pcie: tuple[int, int]  # generation, width
    links: int = 0
    link_mbps: int = 0
    link_version: int = 0
    mig_max: int = 0
    mig_needs_reset: bool = False
    memory_sensor: bool = True
    events: int = EVENTS


A100 = Board(
    "NVIDIA A100-SXM4-40GB",
    AMPERE,
    (8, 0),
    6912,
    0x20B010DE,
    40 * GIB,
    583 * MIB,
    64 * GIB,
    (100, 400, 400),
    (1410, 1410, 1215, 1290),
    DATA_CENTER | bits.REMAP | bits.MIG,
    (4, 16),
    12,
    25781,
    4,
    7,
    mig_needs_reset=True,
)
A100_PCIE = Board(
    "NVIDIA A100 80GB PCIe",
    AMPERE,
    (8, 0),
    6912,
    0x20B510DE,
    80 * GIB,
    640 * MIB,
    128 * GIB,
    (150, 300, 300),
    (1410, 1410, 1512, 1290),
    DATA_CENTER | bits.REMAP | bits.MIG,
    (4, 16),
    12,
    25781,
    4,
    7,
    mig_needs_reset=True,
)
H100 = Board(
    "NVIDIA H100 80GB HBM3",
    HOPPER,
    (9, 0),
    16896,
    0x233010DE,
    80 * GIB,
    600 * MIB,
    128 * GIB,
    (200, 700, 700),
    (1980, 1980, 2619, 1545),
    DATA_CENTER | bits.REMAP | bits.MIG | bits.GPM | bits.PCIE_BYTES | bits.MARGIN | bits.RECOVERY,
    (5, 16),
    18,
    26562,
    5,
    7,
    events=EVENTS | bits.UNAVAILABLE_EVENT | bits.RECOVERY_EVENT,
)
A10G = Board(
    "NVIDIA A10G",
    AMPERE,
    (8, 6),
    9216,
    0x223710DE,
    24 * GIB,
    290 * MIB,
    32 * GIB,
    (100, 300, 300),
    (1710, 1710, 6251, 1500),
    bits.ENERGY | bits.POWER_FIELDS,
    (4, 16),
    memory_sensor=False,
    events=bits.XID_EVENT,
)
T4 = Board(
    "Tesla T4",
    TURING,
    (7, 5),
    2560,
    0x1EB810DE,
    16 * GIB,
    450 * MIB,
    256 * MIB,
    (60, 70, 70),
    (1590, 1590, 5001, 1470),
    bits.ECC | bits.ENERGY | bits.RETIRED,
    (3, 16),
    memory_sensor=False,
)


def add(scenario: Scenario, board: Board, bus_id: str, numa_node: int = 0) -> Gpu:
    """One more GPU of this model, under half load: 50 % busy, half its memory, half its power above the least."""
    gpu = scenario.add_gpu()
    number = gpu.number
    gpu.uuid = f"GPU-{uuid.uuid5(uuid.NAMESPACE_OID, f'{board.name}/{number}')}"
    gpu.name, gpu.serial, gpu.bus_id, gpu.vbios = board.name, f"13248210838{number:02}", bus_id, "92.00.45.00.03"
    gpu.architecture, gpu.has, gpu.minor_number, gpu.brand = board.architecture, board.has, number, 5
    gpu.compute_major, gpu.compute_minor = board.compute
    gpu.cores, gpu.pci_device_id, gpu.pci_subsystem_id = board.cores, board.pci_device_id, 0x134710DE
    gpu.memory_total, gpu.memory_reserved, gpu.memory_used = (
        board.memory_total,
        board.memory_reserved,
        board.memory_total // 2,
    )
    gpu.bar1_total, gpu.bar1_used = board.bar1_total, MIB
    least, default, most = (watts * 1000 for watts in board.limits_w)
    gpu.power_limit_min_mw, gpu.power_limit_default_mw, gpu.power_limit_max_mw = least, default, most
    gpu.power_limit_mw = default
    gpu.draw((least + default) / 2000)
    gpu.busy_percent, gpu.memory_percent, gpu.persistence_mode = 50, 30, 1
    gpu.temperature_c, gpu.memory_temperature_c = 60, 65 if board.memory_sensor else 0
    gpu.margin_c, gpu.slowdown_c, gpu.shutdown_c = 27, 87, 92
    gpu.clocks_mhz[:] = gpu.clocks_max_mhz[:] = board.clocks_mhz
    gpu.pcie_generation, gpu.pcie_width = gpu.pcie_generation_max, gpu.pcie_width_max = board.pcie
    gpu.pcie_tx_kbps, gpu.pcie_rx_kbps = 1000, 2000
    gpu.numa_node, gpu.links_count, gpu.mig_max = numa_node, board.links, board.mig_max
    gpu.mig_needs_reset, gpu.event_types, gpu.field_latency_us = int(board.mig_needs_reset), board.events, 40
    gpu.no_samples_code, gpu.no_utilization_code = 6, 6
    for link in gpu.links[: board.links]:
        link.active, link.version, link.speed_mbps, link.remote_gpu = 1, board.link_version, board.link_mbps, -1
    for kind in (0, 5, 6):
        gpu.invent_samples(kind, period_us=20_000, swing=0)
    for kind in (1, 2, 3, 4, 8, 9):
        gpu.invent_samples(kind, period_us=166_667, swing=0)
    if board.has & bits.GPM:
        gpu.gpm({1: 80.0, 2: 60.0, 3: 25.0, 5: 30.0, 10: 45.0, 11: 0.0, 12: 5.0, 13: 2.0, 20: 100.0, 21: 200.0})
    return gpu


def connect(scenario: Scenario, level: int, pairs: dict[tuple[int, int], int] | None = None, p2p: int = P2P_OK) -> None:
    """The common ancestor of each two GPUs (NVML_TOPOLOGY_*), `pairs` where it is another; p2p status of all."""
    for one in scenario.gpus:
        for other in scenario.gpus:
            a, b = sorted((one.number, other.number))
            same = one is other
            scenario.topology[one.number][other.number] = 0 if same else (pairs or {}).get((a, b), level)
            scenario.p2p[one.number][other.number] = P2P_OK if same else p2p


def switch(scenario: Scenario, cpus_each: int = 24) -> None:
    """Every NVLink leads to an NVSwitch; each NUMA node has this many processors."""
    for gpu in scenario.gpus:
        for link in gpu.links[: gpu.links_count]:
            link.remote_type = 2
    pin(scenario, cpus_each)


def pin(scenario: Scenario, cpus_each: int) -> None:
    """Each GPU's processors are those of its NUMA node, which has `cpus_each` of them in one run."""
    for gpu in scenario.gpus:
        mask = ((1 << cpus_each) - 1) << (cpus_each * gpu.numa_node)
        gpu.cpu_affinity[:] = [mask >> (64 * word) & (2**64 - 1) for word in range(4)]
        gpu.memory_affinity[0] = 1 << gpu.numa_node


def dgx_a100() -> Scenario:
    """8 A100 behind 6 NVSwitches, two sockets. Bus ids: the DGX A100 profile of NVIDIA/k8s-test-infra's mocknvml."""
    scenario = Scenario()
    for number, bus in enumerate((0x07, 0x0F, 0x47, 0x4E, 0x87, 0x90, 0xB7, 0xBD)):
        add(scenario, A100, f"00000000:{bus:02X}:00.0", number // 4)
    near = {(a, a + 1): MULTIPLE for a in range(0, 8, 2)}
    node = {(a, b): NODE for a in range(8) for b in range(a + 1, 8) if a // 4 == b // 4}
    connect(scenario, SYSTEM, {**node, **near})
    switch(scenario, 64)
    return scenario


def hgx_h100() -> Scenario:
    """8 H100 with GPM behind NVSwitches, two sockets."""
    scenario = Scenario()
    for number, bus in enumerate((0x1B, 0x43, 0x52, 0x61, 0x9D, 0xC3, 0xD1, 0xDF)):
        add(scenario, H100, f"00000000:{bus:02X}:00.0", number // 4)
    connect(scenario, SYSTEM, {(a, b): NODE for a in range(8) for b in range(a + 1, 8) if a // 4 == b // 4})
    switch(scenario, 56)
    return scenario


def azure_nc_a100() -> Scenario:
    """4 A100 80GB PCIe, each on a NUMA node of its own; the links of a pair of cards lead nowhere that is shown.

    Microsoft's NCCL topology file of this size names each GPU as the target of its own 12 links, which is kept here.
    """
    scenario = Scenario()
    for number in range(4):
        gpu = add(scenario, A100_PCIE, f"{number + 1:08X}:00:00.0", number)
        for link in gpu.links[:12]:
            link.remote_gpu = number
    connect(scenario, SYSTEM)
    pin(scenario, 24)
    return scenario


def g5_a10g() -> Scenario:
    """AWS g5.12xlarge: 4 A10G without NVLink, ECC or peer access."""
    scenario = Scenario()
    for number in range(4):
        add(scenario, A10G, f"00000000:00:{0x1B + number:02X}.0")
    connect(scenario, HOST_BRIDGE, p2p=P2P_REFUSED)
    pin(scenario, 48)
    return scenario


def t4() -> Scenario:
    """One T4: Turing, no NVLink, no MIG, no row remapping, no sensor on its memory."""
    scenario = Scenario()
    add(scenario, T4, "00000000:00:1E.0")
    connect(scenario, SINGLE)
    pin(scenario, 8)
    return scenario


def a100_mig() -> Scenario:
    """One A100 cut into 4 instances: 3g.20gb, 2g.10gb and two of 1g.5gb."""
    return _cut(A100, "3g.20gb", "2g.10gb", "1g.5gb", "1g.5gb")


def h100_mig() -> Scenario:
    """One H100 cut into 4 instances with GPM: 3g.40gb, 2g.20gb and two of 1g.10gb."""
    scenario = _cut(H100, "3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb")
    for device in scenario.gpus[0].mig:
        device.gpm({1: 70.0, 2: 10.0 * (device.index + 1), 3: 20.0, 5: 15.0, 10: 40.0})
    return scenario


def _cut(board: Board, *profiles: str) -> Scenario:
    scenario = Scenario()
    gpu = add(scenario, board, "00000000:07:00.0")
    gpu.mig.enable()
    for profile in profiles:
        device = gpu.mig.create(profile)
        device.memory_used = device.memory_total // 4
    connect(scenario, SINGLE)
    switch(scenario)
    return scenario
