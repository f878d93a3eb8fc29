"""The collector of the machine: this one, and one made of files."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from autoscaler.clock import SimClock, SystemClock, monotonic
from autoscaler.errors import InputError
from autoscaler.ports import Collector
from autoscaler.signals import metric
from autoscaler.types import Batch, Labels, SeriesKey
from collectors.host import Host
from collectors.host.cgroup import Cgroup
from collectors.host.devices import Mount, mounts, usage
from collectors.host.part import numbers
from collectors.host.patience import Late, Patience
from collectors.host.processors import Processors
from tests.peers.pages import until

GIB = 1 << 30
STAT = """cpu  {0} 0 0 {1} 0 0 0 0 0 0
cpu0 {2} 0 0 {3} 0 0 0 0 0 0
cpu2 {4} 0 0 {5} 50 0 0 0 0 0
btime 1700000000
"""
NET = """Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 999 9 9 9 0 0 0 0 999 9 9 9 0 0 0 0
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
docker0: 5000 50 0 0 0 0 0 0 6000 60 0 0 0 0 0 0
"""
MOUNTS = """/dev/nvme0n1p1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
/dev/nvme0n1p1 /etc/hosts ext4 rw,relatime 0 0
/dev/loop3 /snap/core squashfs ro 0 0
filer:/models {nfs} nfs4 rw 0 0
"""
DISKS = """ 259 0 nvme0n1 10 0 20 30 40 0 60 70 0 80 90
 259 1 nvme0n1p1 1 0 2048 4 5 0 4096 8 0 2500 10
"""


@dataclass
class FakeRoot:
    """/proc and /sys of a machine with processors 0 and 2 (1 is switched off) on two NUMA nodes."""

    folder: Path

    @property
    def proc(self) -> Path:
        return self.folder / "proc"

    @property
    def sys(self) -> Path:
        return self.folder / "sys"

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def host(self, **settings: object) -> Host:
        return Host(SimClock(), procfs=self.proc, sysfs=self.sys, **{"slow_s": 1.0, **settings})  # type: ignore[arg-type]

    def ticks(self, busy0: int, idle0: int, busy2: int, idle2: int) -> None:
        self.write("proc/stat", STAT.format(busy0 + busy2, idle0 + idle2, busy0, idle0, busy2, idle2))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRoot:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")
    made = FakeRoot(tmp_path)
    made.ticks(100, 900, 0, 1000)
    made.write("proc/meminfo", f"MemTotal: {16 << 20} kB\nMemFree: {4 << 20} kB\nMemAvailable: {12 << 20} kB\n")
    with (tmp_path / "proc" / "meminfo").open("a") as more:
        more.write("Buffers: 0 kB\nCached: 0 kB\nShmem: 0 kB\nActive: 0 kB\nInactive: 0 kB\nSlab: 0 kB\n")
        more.write("SReclaimable: 0 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n")
    made.write("proc/vmstat", "pswpin 3\npswpout 5\n")
    made.write("proc/loadavg", "1.50 2.50 3.50 1/100 1234\n")
    made.write("proc/net/dev", NET)
    made.write("proc/diskstats", DISKS)
    made.write("proc/filesystems", "nodev\tproc\nnodev\tnfs4\n\text4\n\tsquashfs\n")
    made.write("proc/self/mounts", MOUNTS.format(nfs=tmp_path))
    made.write("proc/self/cgroup", "0::/system.slice/sigmascale.service\n")
    made.write("proc/sys/fs/file-nr", "1024\t24\t9223372036854775807\n")
    for resource in ("cpu", "io"):
        made.write(f"proc/pressure/{resource}", "some avg10=12.50 avg60=0 avg300=0 total=1500000\n")
    made.write("sys/devices/system/cpu/online", "0,2\n")
    for node, cpus in (("node0", "0-1"), ("node1", "2-3")):
        made.write(f"sys/devices/system/node/{node}/cpulist", cpus + "\n")
        kib = 8 << 20 if node == "node0" else 0
        made.write(f"sys/devices/system/node/{node}/meminfo", f"Node 0 MemTotal: {kib} kB\nNode 0 MemFree: {kib} kB\n")
    for interface in ("eth0/device", "docker0"):
        (made.sys / "class" / "net" / interface).mkdir(parents=True)
    return made


def told(batches: Sequence[Batch]) -> dict[str | tuple[str, str], float]:
    """Values by metric, and by (metric, value of its last own label) where there is one."""
    pairs = [pair for batch in batches for pair in zip(batch.keys, batch.values.tolist(), strict=True)]
    return {(k.metric if not k.labels else (k.metric, k.labels[-1][1])): v for k, v in pairs}


def keys_of(batches: Sequence[Batch]) -> set[SeriesKey]:
    return {key for batch in batches for key in batch.keys}


# --- a machine made of files --------------------------------------------------------------------------------------


def test_all_of_a_machine_is_read_in_base_units(root: FakeRoot) -> None:
    host = root.host()
    host.read(0.0)
    root.ticks(175, 925, 0, 1100)
    now = told(host.read(1.0))
    # Processor 0 was busy for 75 of 100 ticks and processor 2 for none.
    assert now["host_cpu_ratio"] == pytest.approx(0.375)
    assert now["host_numa_cpu_ratio", "0"] == pytest.approx(0.75)
    assert now["host_numa_cpu_ratio", "1"] == pytest.approx(0.0)
    assert now["host_cpus"] == 2
    assert (now["host_load1"], now["host_load5"], now["host_load15"]) == (1.5, 2.5, 3.5)
    assert now["host_memory_total_bytes"] == 16 * GIB
    assert now["host_memory_available_bytes"] == 12 * GIB
    assert now["host_memory_used_bytes"] == 4 * GIB
    assert now["host_memory_used_ratio"] == 0.25
    assert now["host_numa_memory_total_bytes", "0"] == 8 * GIB
    assert ("host_numa_memory_total_bytes", "1") not in now, "a node without memory of its own"
    assert (now["host_swap_used_bytes"], now["host_swap_total_bytes"]) == (1 << 20, 2 << 20)
    assert (now["host_swap_in_bytes_total"], now["host_swap_out_bytes_total"]) == (3 * 4096, 5 * 4096)
    assert now["host_disk_read_bytes_total", "nvme0n1p1"] == 2048 * 512
    assert now["host_disk_write_bytes_total", "nvme0n1p1"] == 4096 * 512
    assert now["host_disk_busy_seconds_total", "nvme0n1p1"] == 2.5
    assert ("host_disk_read_bytes_total", "nvme0n1") not in now, "its partition has the same bytes"
    assert now["host_network_receive_bytes_total", "eth0"] == 1000
    assert now["host_network_transmit_bytes_total", "eth0"] == 2000
    assert now["host_network_receive_errors_total", "eth0"] == 1
    assert now["host_network_receive_drops_total", "eth0"] == 2
    assert now["host_network_transmit_errors_total", "eth0"] == 3
    assert now["host_network_transmit_drops_total", "eth0"] == 4
    assert now["host_pressure_ratio", "io"] == 0.125
    assert now["host_pressure_some_seconds_total", "cpu"] == 1.5
    assert now["host_file_descriptors"] == 1000
    assert now["host_boot_timestamp_seconds"] == 1700000000
    assert host.status().troubles == ()


def test_what_this_kernel_does_not_have_is_absent_and_no_fault(root: FakeRoot) -> None:
    host = root.host()
    names = {key.metric for key in keys_of(host.read(0.0))}
    assert "host_pressure_full_seconds_total" not in names
    assert "host_file_descriptors_limit" not in names, "the kernel does not count them"
    assert ("host_pressure_ratio", "memory") not in told(host.read(1.0))
    assert host.status().troubles == ()


def test_the_first_reading_of_a_share_has_no_value_and_no_zero(root: FakeRoot) -> None:
    assert math.isnan(told(root.host().read(0.0))["host_cpu_ratio"])


def test_a_file_that_breaks_costs_its_own_values_only(root: FakeRoot) -> None:
    host = root.host()
    before = host.read(0.0)
    root.write("proc/loadavg", "soon soon soon\n")
    now = told(host.read(1.0))
    assert math.isnan(now["host_load1"])
    assert now["host_memory_total_bytes"] == 16 * GIB
    assert now["host_collect_errors_total", "load"] == 1
    ((call, reason),) = host.status().troubles
    assert (call, "soon" in reason) == ("load", True)
    root.write("proc/loadavg", "1.0 2.0 3.0 1/1 1\n")
    again = host.read(2.0)
    assert told(again)["host_load1"] == 1.0
    assert keys_of(before) < keys_of(again)


def test_a_counter_that_starts_again_is_passed_on_as_it_is(root: FakeRoot) -> None:
    host = root.host()
    host.read(0.0)
    root.write("proc/net/dev", NET.replace("1000 10", "7 1"))
    assert told(host.read(1.0))["host_network_receive_bytes_total", "eth0"] == 7


@pytest.mark.parametrize(
    ("virtual", "hardware", "expected"),
    [
        pytest.param(False, True, {"eth0"}, id="hardware only"),
        pytest.param(True, True, {"eth0", "docker0"}, id="all but loopback when asked for"),
        pytest.param(False, False, {"eth0", "docker0"}, id="in a container none has hardware, so all count"),
    ],
)
def test_which_interfaces_count(root: FakeRoot, virtual: bool, hardware: bool, expected: set[str]) -> None:
    if not hardware:
        (root.sys / "class" / "net" / "eth0" / "device").rmdir()
    keys = keys_of(root.host(virtual=virtual).read(0.0))
    assert {k.label("interface") for k in keys if k.metric.startswith("host_network")} == expected


def test_an_interface_that_was_taken_out_leaves_the_layout(root: FakeRoot) -> None:
    host = root.host(virtual=True)
    first, second = host.read(0.0)[0], host.read(1.0)[0]
    assert first.keys is second.keys
    root.write("proc/net/dev", NET.split("docker0", maxsplit=1)[0])
    third = host.read(2.0)[0]
    assert "docker0" not in {key.label("interface") for key in third.keys}
    assert host.read(3.0)[0].keys is third.keys


def test_a_device_that_is_mounted_twice_counts_once_and_images_do_not(root: FakeRoot, tmp_path: Path) -> None:
    root.host()  # points psutil to the files
    assert mounts() == (Mount("/", "nvme0n1p1"),)
    named = {mount.path for mount in mounts([str(tmp_path)])}
    assert named == {"/", str(tmp_path)}, "NFS only where it is named"


def test_a_file_system_tells_what_ordinary_users_can_have(tmp_path: Path) -> None:
    values = {name: value for name, labels, value in usage(Mount(str(tmp_path), "vda"))}
    ours = psutil.disk_usage(str(tmp_path))
    assert values["host_disk_used_ratio"] == pytest.approx(ours.percent / 100, abs=0.001)
    assert values["host_disk_total_bytes"] == ours.total


def test_the_labels_of_the_node_are_on_every_series(root: FakeRoot) -> None:
    batches = root.host(labels=(("pool", "chat"), ("host", "a"))).read(0.0)
    assert [batch.labels for batch in batches] == [(("host", "a"), ("pool", "chat"))] * 2
    assert all(set(batch.labels) <= set(key.labels) for batch in batches for key in batch.keys)
    assert all(list(key.labels) == sorted(key.labels) for key in keys_of(batches))


def test_what_hardly_moves_is_read_less_often_in_batches_of_its_own(root: FakeRoot) -> None:
    host = root.host(slow_s=5.0)
    rounds = [[batch.source for batch in host.read(float(at))] for at in range(11)]
    assert [at for at, sources in enumerate(rounds) if "host:slow" in sources] == [0, 5, 10]
    assert all(sources[0] == "host" for sources in rounds)
    quick, slow = host.read(100.0)
    assert (quick.interval_s, slow.interval_s) == (1.0, 5.0)
    assert not set(quick.keys) & set(slow.keys)
    assert len(host.read(50.0)) == 2, "a clock that goes back does not end it"


# --- in a container -----------------------------------------------------------------------------------------------


@pytest.fixture
def contained(root: FakeRoot) -> FakeRoot:
    root.write("proc/self/cgroup", "0::/\n")
    root.write("sys/fs/cgroup/cpu.max", "50000 100000\n")
    root.write("sys/fs/cgroup/cpu.stat", "usage_usec 1000000\nuser_usec 1\n")
    root.write("sys/fs/cgroup/memory.max", f"{2 * GIB}\n")
    root.write("sys/fs/cgroup/memory.current", f"{GIB}\n")
    root.write("sys/fs/cgroup/memory.stat", f"anon 1\ninactive_file {GIB // 2}\n")
    root.write("sys/fs/cgroup/cpu.pressure", "some avg10=50.00 avg60=0 avg300=0 total=9000000\n")
    return root


def test_ratios_in_a_container_are_of_what_is_allowed(contained: FakeRoot) -> None:
    now = told(contained.host().read(0.0))
    assert now["host_cpus"] == 0.5
    assert now["host_memory_total_bytes"] == 2 * GIB
    assert now["host_memory_used_bytes"] == GIB // 2
    assert now["host_memory_available_bytes"] == 2 * GIB - GIB // 2
    assert now["host_memory_used_ratio"] == 0.25
    assert now["host_pressure_ratio", "cpu"] == 0.5


@pytest.mark.parametrize(
    ("used_s", "expected"),
    [
        pytest.param(1.5, 0.5, id="half of half a processor"),
        pytest.param(9.0, 1.0, id="a burst from savings is no more than all"),
        pytest.param(0.5, math.nan, id="a counter that fell says nothing"),
    ],
)
def test_the_processor_share_of_a_container(contained: FakeRoot, used_s: float, expected: float) -> None:
    seconds = iter([10.0, 12.0])
    group = Cgroup(contained.sys / "fs" / "cgroup", contained.proc)
    processors = Processors(contained.sys / "devices" / "system", group, lambda: next(seconds))
    contained.host()
    list(processors.read())
    contained.write("sys/fs/cgroup/cpu.stat", f"usage_usec {used_s * 1e6:.0f}\n")
    ratio = {name: value for name, labels, value in processors.read()}["host_cpu_ratio"]
    assert ratio == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("word", ["cpu.max", "memory.max"])
def test_a_limit_that_is_max_is_none(contained: FakeRoot, word: str) -> None:
    contained.write(f"sys/fs/cgroup/{word}", "max 100000\n" if word == "cpu.max" else "max\n")
    now = told(contained.host().read(0.0))
    free = {"cpu.max": ("host_cpus", 2.0), "memory.max": ("host_memory_total_bytes", 16.0 * GIB)}
    name, value = free[word]
    assert now[name] == value


@pytest.mark.parametrize(
    ("group", "whole"),
    [
        pytest.param("0::/system.slice/agent.service\n", False, id="a unit's limits are the program's own"),
        pytest.param("9:memory:/docker/1\n0::/../other\n", False, id="another group than the root"),
        pytest.param("0::/\n", True, id="when the whole machine is asked for"),
    ],
)
def test_limits_that_are_not_the_machines_are_not_looked_at(contained: FakeRoot, group: str, whole: bool) -> None:
    contained.write("proc/self/cgroup", group)
    assert told(contained.host(whole_machine=whole).read(0.0))["host_memory_total_bytes"] == 16 * GIB


# --- calls that hang ----------------------------------------------------------------------------------------------


def test_a_call_that_hangs_is_left_alone_and_the_others_go_on() -> None:
    patience, release = Patience(), threading.Event()
    calls: list[str] = []

    def hang() -> Iterator[tuple[str, Labels, float]]:
        calls.append("hang")
        release.wait(30)
        yield "host_load1", (), 1.0

    threads = threading.active_count()
    with pytest.raises(Late, match=r"nfs gave no answer within 0\.05 s"):
        patience.ask("nfs", hang, 0.05)
    for _ in range(3):
        assert patience.ask("load", lambda: [("host_load1", (), 2.0)], 5.0) == (("host_load1", (), 2.0),)
        began = monotonic()
        with pytest.raises(Late, match="nfs still hangs in the kernel"):
            patience.ask("nfs", hang, 0.05)
        assert monotonic() - began < 0.04, "it is not waited for again"
    assert calls == ["hang"]
    assert threading.active_count() <= threads + 2
    release.set()
    until(patience._hanging["nfs"].done.is_set, "the call came back")
    assert patience.ask("nfs", lambda: [], 5.0) == ()
    patience.stop()
    until(lambda: threading.active_count() <= threads, "no thread is left")


def test_a_mount_that_hangs_makes_its_own_values_missing(root: FakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    hanging: list[bool] = []

    def statvfs(mount: Mount) -> Iterator[tuple[str, Labels, float]]:
        if hanging:
            release.wait(30)
        yield "host_disk_used_ratio", (("device", mount.device), ("mount", mount.path)), 0.5

    monkeypatch.setattr("collectors.host.collector.usage", statvfs)
    host = root.host(deadline_s=0.05)
    assert told(host.read(0.0))["host_disk_used_ratio", "/"] == 0.5
    hanging.append(True)
    for at in (1.0, 2.0):
        now = told(host.read(at))
        assert math.isnan(now["host_disk_used_ratio", "/"])
        assert now["host_memory_total_bytes"] == 16 * GIB
    assert now["host_collect_errors_total", "mount"] == 2
    assert host.status().troubles == (("mount /", "mount / still hangs in the kernel"),)
    release.set()
    host.stop()


# --- this machine -------------------------------------------------------------------------------------------------


def test_this_machine_is_read_on_a_thread_that_stops_at_once() -> None:
    host = Host(SystemClock(), interval_s=0.05)
    assert isinstance(host, Collector)
    host.start()
    batches: list[Batch] = []

    def enough() -> bool:
        batches.extend(host.collect(0.0))
        return len(batches) >= 4

    until(enough, "three rounds")
    began = monotonic()
    host.stop()
    assert monotonic() - began < 1.0
    newest = {batch.source: batch for batch in batches}
    assert host.status().troubles == ()
    pairs = [pair for batch in newest.values() for pair in zip(batch.keys, batch.values.tolist(), strict=True)]
    for key, value in pairs:
        known = metric(key.metric)
        assert known is not None, key.metric
        assert key.counter == (known.kind == "counter")
        assert value >= 0, key
        assert not known.ratio or value <= 1, key
    names = {key.metric for key, _ in pairs}
    assert names >= {"host_cpu_ratio", "host_load1", "host_memory_used_ratio", "host_swap_total_bytes", "host_cpus"}
    assert names >= {"host_disk_used_ratio", "host_network_receive_bytes_total", "host_boot_timestamp_seconds"}
    assert all(math.isfinite(value) for _, value in pairs)


def test_a_wake_up_is_given_with_each_batch() -> None:
    wake = threading.Event()
    host = Host(SystemClock(), wake=wake, interval_s=0.05)
    host.start()
    assert wake.wait(5)
    host.stop()


@pytest.mark.parametrize("name", ["interval_s", "slow_s", "deadline_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"host: {name} is \S+, but must be above 0; write one such as 1s"):
        Host(SimClock(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [("0-3,8\n", (0, 1, 2, 3, 8)), ("5", (5,)), ("\n", ())],
)
def test_a_list_of_the_kernel(listed: str, expected: tuple[int, ...]) -> None:
    assert numbers(listed) == expected
