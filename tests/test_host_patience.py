"""Calls of the machine that hang in the kernel."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.types import Labels
from collectors.host.devices import Mount
from collectors.host.patience import Late, Patience
from tests.hostworld import GIB, FakeRoot, machine, told
from tests.peers.pages import until, without_waiting


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRoot:
    return machine(tmp_path, monkeypatch)


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
        with without_waiting(20.0), pytest.raises(Late, match="nfs still hangs in the kernel"):
            patience.ask("nfs", hang, 20.0)
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
    host = root.host(deadline_s=1.0)
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
