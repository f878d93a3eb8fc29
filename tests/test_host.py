"""The collector of the machine: this one, and one made of files."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import psutil
import pytest

from autoscaler.clock import SimClock, SystemClock
from autoscaler.errors import InputError
from autoscaler.ports import Collector
from autoscaler.signals import metric
from autoscaler.types import Batch
from collectors.host import Host
from collectors.host.devices import Mount, mounts, usage
from collectors.host.part import numbers
from tests.hostworld import GIB, NET, FakeRoot, keys_of, machine, told
from tests.peers.pages import until
from tests.peers.running import running


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRoot:
    return machine(tmp_path, monkeypatch)


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


# --- this machine -------------------------------------------------------------------------------------------------


def test_this_machine_is_read_on_a_thread_that_stops() -> None:
    host = Host(SystemClock(), interval_s=0.05)
    assert isinstance(host, Collector)
    batches: list[Batch] = []

    def enough() -> bool:
        batches.extend(host.collect(0.0))
        return len(batches) >= 4

    with running(host):
        until(enough, "three rounds")
    until(lambda: "host" not in {thread.name for thread in threading.enumerate()}, "the end of its thread")
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
    with running(host):
        assert wake.wait(10)


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
