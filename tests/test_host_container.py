"""In a container: shares of what its control group allows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from collectors.host.cgroup import container
from collectors.host.processors import Processors
from tests.hostworld import GIB, FakeRoot, machine, told


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRoot:
    return machine(tmp_path, monkeypatch)


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
    group = container(contained.sys / "fs" / "cgroup", contained.proc)
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
