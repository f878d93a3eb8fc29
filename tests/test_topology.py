"""How GPUs are connected, from recorded topologies and from the driver, and what a set of them is worth."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.errors import InputError
from collectors.nvml import topology_nvml
from collectors.nvml.topology import Pair, PciPath, Scores, Topology, best_set, calls, gpu_score, pair_score, set_score
from collectors.nvml.topology_files import from_nccl, from_smi
from tests.peers.nvml import Scenario, models

DATA = Path(__file__).parent / "data" / "topo"
G5 = [f"0000:00:{device:02x}.0" for device in range(0x16, 0x1E)]
PATHS: list[PciPath | None] = ["PIX", "PXB", "PHB", "NODE", "SYS", None]


def recorded(name: str, gpus: list[str] | None = None, switched_nvlinks: int = 0) -> Topology:
    return from_nccl((DATA / name).read_text(), gpus or (), switched_nvlinks)


def paths(topology: Topology) -> list[str]:
    """The matrix as rows of letters: x = itself, p = PIX, b = PXB, h = PHB, n = NODE, s = SYS, L = NVLink."""
    letters = {"X": "x", "PIX": "p", "PXB": "b", "PHB": "h", "NODE": "n", "SYS": "s", None: "?"}
    return ["".join("L" if pair.nvlinks else letters[pair.path] for pair in row) for row in topology.matrix()]


def test_p4d_has_two_sockets_of_two_switches_of_two_gpus() -> None:
    topology = recorded("aws_p4d-24xl_nccl-topo.xml")
    assert topology.gpus[0] == "00000000:10:1c"
    assert paths(topology) == (
        ["xphhssss", "pxhhssss", "hhxpssss", "hhpxssss", "ssssxphh", "sssspxhh", "sssshhxp", "sssshhpx"]
    )
    assert set_score(topology, topology.gpus[:2]) == 0.8
    assert set_score(topology, topology.gpus[:4]) == 0.5
    assert set_score(topology, topology.gpus) == 0.2


def test_the_nvlinks_that_a_file_leaves_out_can_be_added() -> None:
    topology = recorded("aws_p4d-24xl_nccl-topo.xml", switched_nvlinks=12)
    assert topology.pair(topology.gpus[0], topology.gpus[7]) == Pair("SYS", 12)
    assert set_score(topology, topology.gpus) == 1.0


def test_links_of_a_gpu_to_itself_count_to_nobody() -> None:
    topology = recorded("azure_ncv4-a100_nccl-topo.xml")
    assert topology.gpus == tuple(f"{domain:08x}:00:00" for domain in (1, 2, 3, 4))
    assert paths(topology) == ["xsss", "sxss", "ssxs", "sssx"], "one GPU on each NUMA node, and no NVLink between any"
    assert set_score(topology, topology.gpus) == 0.2


def test_ndv4_has_four_switches_of_two_gpus_on_four_numa_nodes() -> None:
    assert paths(recorded("azure_ndv4-a100_nccl-topo.xml")) == (
        ["xpssssss", "pxssssss", "ssxpssss", "sspxssss", "ssssxpss", "sssspxss", "ssssssxp", "sssssspx"]
    )


def test_ndv2_has_two_processors_of_four_gpus() -> None:
    assert paths(recorded("azure_ndv2-v100_nccl-topo.xml"))[0] == "xhhhssss"


def test_a_file_without_classes_needs_to_be_told_the_gpus() -> None:
    with pytest.raises(InputError, match="names 9 devices without a class; say which addresses are GPUs"):
        recorded("aws_g5-48xl_nccl-topo.xml")
    topology = recorded("aws_g5-48xl_nccl-topo.xml", G5)
    assert paths(topology)[0] == "xhhhssss"
    assert set_score(topology, topology.gpus[:4]) == 0.5


NESTED = """<system version="1"><cpu numaid="0">
  <pci busid="0000:01:00.0" class="0x060400">
    <pci busid="0000:02:00.0" class="0x060400"><pci busid="0000:03:00.0" class="0x030200"><gpu dev="0">
      <nvlink target="0000:05:00.0" count="2" tclass="0x030200"/></gpu></pci></pci>
    <pci busid="0000:04:00.0" class="0x060400"><pci busid="0000:05:00.0" class="0x030000"/></pci>
    <pci busid="0000:06:00.0" class="0x030200"><gpu dev="2">
      <nvlink target="ffff:ff:ff.0" count="6" tclass="0x068000"/></gpu></pci>
    <pci busid="0000:07:00.0" class="0x030200"><gpu dev="3">
      <nvlink target="ffffffff:ffff:ff" count="4" tclass="0x068000"/></gpu></pci>
  </pci></cpu></system>"""


def test_several_switches_are_pxb_and_switched_links_reach_whoever_hangs_on_the_switches() -> None:
    first, second, third, fourth = from_nccl(NESTED).gpus
    topology = from_nccl(NESTED)
    assert topology.pair(first, second) == Pair("PXB", 2)
    assert topology.pair(first, third) == Pair("PXB", 0)
    assert topology.pair(third, fourth) == Pair("PIX", 4), "as many links as the lesser of the two has"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("<system", "no XML", id="cut off"),
        pytest.param("<!DOCTYPE a [<!ENTITY b 'c'>]><system/>", "declares a document type", id="entities"),
        pytest.param("<system/>", "has no GPU", id="no GPU"),
        pytest.param(
            '<system><cpu><pci busid="x" class="0x0302"/></cpu></system>', "'x' is no PCI address", id="busid"
        ),
        pytest.param(" " * (1 << 20) + "<system/>", "at most 1048576 are read", id="too long"),
        pytest.param(NESTED.replace('count="2"', 'count="-2"'), "NVLink count of '-2'", id="a count that is none"),
        pytest.param(NESTED.replace("05:00.0", "03:00.0"), "lists GPU 00000000:03:00 twice", id="one address twice"),
        pytest.param(
            "<system><cpu>" + "<pci busid='0:1:1'>" * 40 + "</pci>" * 40 + "</cpu></system>", "nests", id="deep"
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_nccl(text)


def test_the_graph_that_nccl_writes_beside_a_topology_is_told_from_it() -> None:
    with pytest.raises(InputError, match="holds <graphs>, an NCCL topology holds <system>"):
        recorded("azure_ncv4-a100_nccl-graph.xml")


def test_a_gpu_that_the_file_does_not_have_is_named() -> None:
    with pytest.raises(InputError, match="has no device at 00000000:77:00"):
        recorded("aws_p4d-24xl_nccl-topo.xml", ["0000:77:00.0"])


def test_the_recorded_table_of_one_h100_is_one_gpu() -> None:
    topology = from_smi((DATA / "h100_80gb_hbm3_topo-m.txt").read_text())
    assert topology.gpus == ("GPU0",)
    assert set_score(topology, topology.gpus) == 1.0


TABLE = (
    "\t\x1b[4mGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n"
    "GPU0\t X \tNV12\tSYS\tPXB\t0-23\t0\t\tN/A\n"
    "GPU1\tNV12\t X \tNODE\tSYS\t0-23\t0\t\tN/A\n"
    "GPU2\tSYS\tNODE\t X \tPIX\t24-47\t1\t\tN/A\n"
    "NIC0\tPXB\tSYS\tPIX\t X \t\t\t\t\n\nLegend:\n\n  X    = Self\n"
)


def test_a_table_with_a_network_card_gives_the_gpus_only() -> None:
    topology = from_smi(TABLE)
    assert topology.gpus == ("GPU0", "GPU1", "GPU2")
    assert paths(topology) == ["xLs", "Lxn", "snx"]
    assert topology.pair("GPU0", "GPU1") == Pair(None, 12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("nothing", "no line with GPU0", id="no table"),
        pytest.param(TABLE.replace("\nGPU2", "\nGPU7"), "no row for GPU2", id="a row is missing"),
        pytest.param(TABLE.replace("SYS\tPXB", "FAST\tPXB"), "says 'FAST' between GPU0 and GPU2", id="an unknown word"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_smi(text)


@given(st.data(), st.integers(1, 6))
def test_a_table_that_we_print_reads_back_the_same(data: st.DataObject, count: int) -> None:
    gpus = tuple(f"GPU{number}" for number in range(count))
    pair = st.one_of(st.sampled_from(PATHS).map(Pair), st.integers(1, 18).map(lambda links: Pair(None, links)))
    topology = Topology(gpus, {two: data.draw(pair) for two in combinations(gpus, 2)})
    assert from_smi(topology.table()).matrix() == topology.matrix()


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        pytest.param(Pair("SYS", 4), 1.0, id="NVLink counts however far the GPUs are on PCIe"),
        pytest.param(Pair("SYS", 4, p2p=False), 1.0, id="and though PCIe allows no peer access"),
        pytest.param(Pair("PIX"), 0.8, id="one switch"),
        pytest.param(Pair("PXB"), 0.7, id="several switches"),
        pytest.param(Pair("PHB"), 0.5, id="the host bridge"),
        pytest.param(Pair("NODE"), 0.4, id="one NUMA node"),
        pytest.param(Pair("SYS"), 0.2, id="between sockets"),
        pytest.param(Pair("PIX", p2p=False), 0.2, id="without peer access a near GPU is far"),
        pytest.param(Pair(), 0.0, id="nothing known"),
        pytest.param(Pair("X"), 1.0, id="itself"),
    ],
)
def test_a_pair_is_worth_its_best_way(pair: Pair, expected: float) -> None:
    assert pair_score(pair) == expected


def test_scores_are_configurable_and_checked() -> None:
    assert pair_score(Pair("PIX"), Scores(pix=0.95)) == 0.95
    with pytest.raises(InputError, match=r"pix = 1.5 must be 0 to 1"):
        Scores(pix=1.5)


@pytest.mark.parametrize(
    ("count", "free", "expected"),
    [
        pytest.param(1, None, (0,), id="one GPU: the first"),
        pytest.param(2, None, (0, 1), id="two of one switch"),
        pytest.param(2, (1, 2, 3, 5), (2, 3), id="two of one switch, where both are free"),
        pytest.param(3, None, (0, 1, 2), id="three of one socket"),
        pytest.param(4, (0, 1, 2, 4, 5, 6, 7), (4, 5, 6, 7), id="a socket that is all free"),
        pytest.param(1, (0, 1, 2), (2,), id="one GPU: the one that leaves the better rest"),
        pytest.param(9, None, None, id="more than there are"),
        pytest.param(0, None, None, id="none"),
    ],
)
def test_the_best_set_is_found(count: int, free: tuple[int, ...] | None, expected: tuple[int, ...] | None) -> None:
    topology = recorded("aws_p4d-24xl_nccl-topo.xml")
    names = None if free is None else [topology.gpus[number] for number in free]
    chosen = best_set(topology, count, names)
    assert chosen == (None if expected is None else tuple(topology.gpus[number] for number in expected))


@given(st.data(), st.integers(2, 6), st.integers(1, 6))
def test_no_set_of_the_size_is_better_than_the_best(data: st.DataObject, gpus: int, count: int) -> None:
    names = tuple(f"GPU{number}" for number in range(gpus))
    topology = Topology(names, {two: Pair(data.draw(st.sampled_from(PATHS))) for two in combinations(names, 2)})
    chosen = best_set(topology, min(count, gpus))
    assert chosen is not None
    others = combinations(names, min(count, gpus))
    assert set_score(topology, chosen) == max(set_score(topology, other) for other in others)


def test_a_machine_with_very_many_gpus_is_answered_by_growing_a_set() -> None:
    names = tuple(f"GPU{number}" for number in range(32))
    near: dict[tuple[str, str], Pair] = {
        (a, b): Pair("PIX" if names.index(a) // 8 == names.index(b) // 8 else "SYS") for a, b in combinations(names, 2)
    }
    assert best_set(Topology(names, near), 8, names[3:]) == names[8:16]


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="GPU-x is no GPU here; choose of GPU-a"):
        Topology(("GPU-a",)).pair("GPU-a", "GPU-x")


def read_from_driver(fleet: Scenario) -> Topology:
    with fleet, fleet.loaded() as nvml:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return topology_nvml.read(nvml, [(nvml.nvmlDeviceGetUUID(handle), handle) for handle in handles])


def test_with_nvswitches_every_active_link_counts_to_every_peer() -> None:
    fleet = models.dgx_a100()
    fleet.gpus[3].links[5].active = 0
    topology = read_from_driver(fleet)
    assert topology.gpus == tuple(gpu.uuid for gpu in fleet.gpus)
    assert [pair.nvlinks for pair in topology.matrix()[0]] == [0, 12, 12, 11, 12, 12, 12, 12]
    assert [pair.path for pair in topology.matrix()[0]] == ["X", "PXB", "NODE", "NODE", "SYS", "SYS", "SYS", "SYS"]
    assert all(pair.p2p for row in topology.matrix() for pair in row)
    assert set_score(topology, topology.gpus) == 1.0


def test_the_driver_too_may_name_a_gpu_as_the_target_of_its_own_links() -> None:
    topology = read_from_driver(models.azure_nc_a100())
    assert paths(topology) == ["xsss", "sxss", "ssxs", "sssx"]


def test_direct_links_count_to_the_gpu_at_their_other_end() -> None:
    fleet = models.azure_nc_a100()
    for gpu, peer in ((0, 1), (1, 0), (2, 3), (3, 2)):
        for link in fleet.gpus[gpu].links[:12]:
            link.remote_gpu = peer
    topology = read_from_driver(fleet)
    assert paths(topology) == ["xLss", "Lxss", "ssxL", "ssLx"]
    assert topology.pair(*topology.gpus[:2]).nvlinks == 12
    assert best_set(topology, 2, topology.gpus[1:]) == topology.gpus[2:]


def test_boards_without_peer_access_are_worth_little_together() -> None:
    topology = read_from_driver(models.g5_a10g())
    assert topology.pair(*topology.gpus[:2]) == Pair("PHB", 0, p2p=False)
    assert set_score(topology, topology.gpus) == 0.2


def test_what_the_driver_does_not_tell_of_a_pair_is_not_known() -> None:
    fleet = models.g5_a10g()
    fleet.fail("nvmlDeviceGetTopologyCommonAncestor", 3)
    fleet.fail("nvmlDeviceGetP2PStatus", 3)
    topology = read_from_driver(fleet)
    assert topology.pair(*topology.gpus[:2]) == Pair(None, 0, None)
    assert topology.table().splitlines()[1] == "GPU0\tX\t?\t?\t?"


def test_a_gpu_tells_what_its_worst_connection_is_worth() -> None:
    topology = recorded("azure_ndv4-a100_nccl-topo.xml")
    (call,) = calls(topology, topology.gpus[0])
    (sample,) = call.read(None, None)
    assert (sample.metric, sample.value, sample.labels) == ("gpu_topology_score", 0.2, ())
    assert gpu_score(Topology(("GPU-a",)), "GPU-a") == 1.0
