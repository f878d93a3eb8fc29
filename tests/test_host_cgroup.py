"""Control groups of both versions: as trees of files, and as the kernel at hand makes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.host.cgroup import Cgroup, container
from tests.hostworld import GIB, FakeRoot, machine, told

TREES = Path(__file__).parent / "data" / "cgroup"
MIB = 1 << 20
MOUNTED = Path("/sys/fs/cgroup")


def plant(root: FakeRoot, name: str) -> None:
    """The files of a recorded tree, below the root."""
    for part in (TREES / f"{name}.txt").read_text().split("\n== ")[1:]:
        path, _, content = part.partition("\n")
        root.write(path, content.rstrip("\n") + "\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRoot:
    """A machine of two processors, 16 GiB of memory and 2 MiB of swap space, half of which is in use."""
    return machine(tmp_path, monkeypatch)


MACHINE = {
    "host_cpus": 2.0,
    "host_memory_total_bytes": 16 * GIB,
    "host_memory_used_bytes": 4 * GIB,
    "host_swap_total_bytes": 2 * MIB,
    "host_swap_used_bytes": MIB,
}
LIMITED = {
    "host_cpus": 1.5,
    "host_memory_total_bytes": 2 * GIB,
    "host_memory_used_bytes": GIB * 3 // 4,
    "host_swap_total_bytes": MIB,
    "host_swap_used_bytes": MIB // 2,
}
NO_SWAP = {
    "host_cpus": 0.5,
    "host_memory_total_bytes": 2 * GIB,
    "host_memory_used_bytes": 2 * GIB,
    "host_swap_total_bytes": 0.0,
    "host_swap_used_bytes": 0.0,
}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param("docker-v2", LIMITED, id="limits of v2"),
        pytest.param("docker-v1", LIMITED, id="limits of v1, and of a group above"),
        pytest.param("no-swap-v2", NO_SWAP, id="no swap space, and more in use than a lowered limit allows"),
        pytest.param("pod-v2", {**MACHINE, "host_cpus": 1.0}, id="max is no limit, and a list of processors is one"),
        pytest.param("machine-v1", MACHINE, id="a program's own group and roots without limits"),
    ],
)
def test_what_may_be_used(root: FakeRoot, tree: str, expected: dict[str, float]) -> None:
    plant(root, tree)
    now = told(root.host().read(0.0))
    assert {name: now[name] for name in expected} == expected
    whole = told(root.host(whole_machine=True).read(0.0))
    assert {name: whole[name] for name in MACHINE} == MACHINE


def group(root: FakeRoot, tree: str) -> Cgroup:
    plant(root, tree)
    found = container(root.sys / "fs" / "cgroup", root.proc)
    assert found is not None
    return found


@pytest.mark.parametrize("tree", ["docker-v2", "docker-v1"])
def test_processor_time_is_in_seconds_in_both(root: FakeRoot, tree: str) -> None:
    assert group(root, tree).cpu_seconds() == 2.5


def test_a_list_of_all_processors_is_no_limit(root: FakeRoot) -> None:
    assert group(root, "pod-v2").cpus(online=1) is None


@pytest.mark.parametrize(
    ("own", "mounted"),
    [
        pytest.param("4:memory:/docker/4f2/child\n", "/docker/4f2", id="a group inside the container"),
        pytest.param("4:memory:/docker/4f2\n", "/", id="all groups of the machine are mounted"),
        pytest.param("4:memory:/../other\n", "/", id="a group outside of the namespace"),
        pytest.param("0::/user.slice\n", "/", id="a unit of systemd"),
    ],
)
def test_another_group_than_the_one_that_is_mounted_is_no_container(root: FakeRoot, own: str, mounted: str) -> None:
    root.write("proc/self/cgroup", own)
    kinds = ("cgroup cgroup rw,memory", "cgroup2 cgroup rw")
    lines = [f"33 31 0:34 {mounted} /sys/fs/cgroup/memory ro - {kind}\n" for kind in kinds]
    root.write("proc/self/mountinfo", "".join(lines))
    assert container(root.sys / "fs" / "cgroup", root.proc) is None


# --- the kernel at hand ---------------------------------------------------------------------------------------------


@contextmanager
def made(parent: Path, limits: dict[str, str]) -> Iterator[Path]:
    """An empty group with limits; nothing is put into it, since whoever runs the tests may count on its own groups."""
    folder = parent / f"sigmascale-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made in {parent}: {error.strerror}")
    try:
        for name, value in limits.items():
            try:
                (folder / name).write_text(value)
            except OSError as error:
                pytest.skip(f"this kernel has no {name} there: {error.strerror}")
        yield folder
    finally:
        folder.rmdir()


def as_container(root: FakeRoot, own: str, mounts: dict[Path, str]) -> Cgroup:
    """The group as a process in it would see it: /proc says that it is what is mounted."""
    root.write("proc/self/cgroup", own)
    lines = [f"33 31 0:34 /test {folder} ro - {kind}\n" for folder, kind in mounts.items()]
    root.write("proc/self/mountinfo", "".join(lines))
    found = container(MOUNTED, root.proc)
    assert found is not None
    return found


def test_limits_that_this_kernel_took_are_read_back_from_v1(root: FakeRoot) -> None:
    memory = {"memory.limit_in_bytes": str(64 * MIB)}
    cpu = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    if not (MOUNTED / "memory" / "memory.limit_in_bytes").exists():
        pytest.skip("this kernel has no memory controller of v1")
    with made(MOUNTED / "memory", memory) as first, made(MOUNTED / "cpu", cpu) as second:
        kinds = {first: "cgroup cgroup rw,memory", second: "cgroup cgroup rw,cpu"}
        found = as_container(root, "4:memory:/test\n1:cpu:/test\n", kinds)
        assert (found.memory_limit(), found.memory_used()) == (64 * MIB, 0.0)
        assert found.cpus(online=64) == 0.5
        (first / "memory.limit_in_bytes").write_text("-1")
        (second / "cpu.cfs_quota_us").write_text("-1")
        limit = found.memory_limit()
        assert limit is not None
        assert limit > 2.0**60, "no machine has so much"
        assert found.cpus(online=64) is None


def test_limits_that_this_kernel_took_are_read_back_from_v2(root: FakeRoot) -> None:
    if "memory" not in _enabled():
        pytest.skip("this kernel gives no memory controller of v2 to groups below /sys/fs/cgroup")
    limits = {"memory.max": str(64 * MIB), "memory.swap.max": "0", "cpu.max": "50000 100000"}
    with made(MOUNTED, limits) as folder:
        found = as_container(root, "0::/test\n", {folder: "cgroup2 cgroup rw"})
        assert (found.memory_limit(), found.memory_used(), found.swap_limit()) == (64 * MIB, 0.0, 0.0)
        assert found.cpus(online=64) == 0.5
        (folder / "memory.max").write_text("max")
        (folder / "cpu.max").write_text("max")
        assert (found.memory_limit(), found.cpus(online=64)) == (None, None)


def _enabled() -> list[str]:
    try:
        return (MOUNTED / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []
