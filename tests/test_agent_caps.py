"""What the agent sets on GPUs: written down before, given back at the end, and after a crash at the next start."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.agent.actfile import ActFile
from autoscaler.agent.caps import Caps
from autoscaler.agent.settings import Words, read_settings
from autoscaler.agent.wanted import Wanted, clocks, power_limit
from autoscaler.clock import SimClock
from autoscaler.errors import InputError, StorageError
from collectors.nvml import Nvml
from collectors.nvml.controls import Act
from tests.peers.nvml import Scenario, models
from tests.peers.pages import until, without_waiting
from tests.test_agent import Child, end, kill, started


@pytest.fixture
def fleet() -> Iterator[Scenario]:
    with models.dgx_a100() as made:
        yield made


def capped(fleet: Scenario, file: Path, *flags: str) -> Child:
    return started(fleet.environment(), "--no-host", "--controls-file", str(file), *flags)


def limits(fleet: Scenario) -> set[float]:
    return {gpu.power_limit_mw / 1000 for gpu in fleet.gpus}


def test_caps_are_set_on_every_gpu_and_given_back_on_sigterm(fleet: Scenario, tmp_path: Path) -> None:
    fleet.gpus[3].power_limit_mw = 350_000
    file = tmp_path / "made" / "controls"
    child = capped(fleet, file, "--power-limit", "250W", "--lock-clocks", "1200MHz-1400MHz")
    try:
        until(lambda: limits(fleet) == {250.0}, "capped")
        until(lambda: {gpu.locked_max_mhz for gpu in fleet.gpus} == {1400}, "locked")
        assert child.value("sigmascale_agent_gpu_caps", outcome="held") == 8
        assert child.value("gpu_power_limit_watts", gpu="0") is not None
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(lines) == 16
        assert file.stat().st_mode & 0o077 == 0
        end(child)
    finally:
        kill(child)
    assert [gpu.power_limit_mw for gpu in fleet.gpus] == [400_000] * 3 + [350_000] + [400_000] * 4
    assert {gpu.locked_max_mhz for gpu in fleet.gpus} == {0}
    assert file.read_text() == "", "nothing is left behind"


@pytest.mark.parametrize("flags", [(), ("--power-limit", "300W")], ids=["which caps nothing", "which caps again"])
def test_what_a_crashed_agent_left_behind_is_given_back_by_the_next(
    fleet: Scenario, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    file = tmp_path / "controls"
    child = capped(fleet, file, "--power-limit", "250W")
    try:
        until(lambda: limits(fleet) == {250.0}, "capped")
        child.process.send_signal(signal.SIGKILL)
        child.process.wait(5)
    finally:
        kill(child)
    assert limits(fleet) == {250.0}
    child = capped(fleet, file, *flags)
    try:
        until(lambda: limits(fleet) == ({300.0} if flags else {400.0}), "given back")
        end(child)
    finally:
        kill(child)
    assert limits(fleet) == {400.0}
    assert file.read_text() == ""


def test_a_gpu_that_hangs_keeps_no_other_from_its_limit_and_is_restored_by_the_next_start(
    fleet: Scenario, tmp_path: Path
) -> None:
    file = tmp_path / "controls"
    child = capped(fleet, file, "--power-limit", "250W")
    try:
        until(lambda: limits(fleet) == {250.0}, "capped")
        fault = fleet.gpus[2].block("nvmlDeviceSetPowerManagementLimit", seconds=20)
        with without_waiting(20.0):
            end(child)
    finally:
        kill(child)
    assert [gpu.number for gpu in fleet.gpus if gpu.power_limit_mw != 400_000] == [2]
    fault.clear()
    child = capped(fleet, file)
    try:
        until(lambda: limits(fleet) == {400.0}, "given back")
        end(child)
    finally:
        kill(child)


def test_without_root_it_reads_on_and_says_so(fleet: Scenario, tmp_path: Path) -> None:
    fleet.root = 0
    child = capped(fleet, tmp_path / "controls", "--power-limit", "250W")
    try:
        until(lambda: child.value("sigmascale_agent_gpu_caps", outcome="refused") == 8, "refused")
        assert child.value("gpu_up", gpu="0") == 1
        child.process.send_signal(signal.SIGTERM)
        log = child.rest_of_log()
        child.process.wait(5)
    finally:
        kill(child)
    assert log.count("the driver allows it to root only") == 8, "once for each GPU"
    assert limits(fleet) == {400.0}
    assert (tmp_path / "controls").read_text() == "", "what was never set is not given back later"


def test_a_record_that_cannot_be_written_stops_the_agent_before_it_changes_anything(
    fleet: Scenario, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="cannot be written"):
        capped(fleet, tmp_path, "--power-limit", "250W")
    assert fleet.acts() == ()


def test_a_driver_that_forgot_the_cap_gets_it_again(fleet: Scenario, tmp_path: Path) -> None:
    clock = SimClock(1_700_000_000.0)
    fleet.at(clock.at)
    with fleet.loaded():
        nvml, record = Nvml(clock), ActFile(tmp_path / "controls", clock)
        caps = Caps(nvml, Wanted(250.0), record)

        def round_() -> None:
            nvml.read()
            caps.look()
            clock.at += 1.0
            fleet.step(1.0)

        def held(number: int) -> bool:
            round_()
            return list(caps.outcomes().values()).count("held") == number and limits(fleet) == {250.0}

        until(lambda: held(8), "capped")
        size = record.path.stat().st_size
        for _ in range(5):
            for gpu in fleet.gpus:
                gpu.power_limit_mw = 400_000
            fleet.reload_driver()
            until(lambda: held(8), "capped again")
        assert record.path.stat().st_size == size, "the record does not grow with it"
        caps.stop(5.0)
        assert limits(fleet) == {400.0}
        nvml.stop()


# --- the record -----------------------------------------------------------------------------------------------------

CLOCK = SimClock(1_700_000_000.0)
FIRST = Act("GPU-1", "power_limit_watts", (400.0,), (300.0,))
SECOND = Act("GPU-1", "power_limit_watts", (300.0,), (250.0,))
LOCKED = Act("GPU-2", "locked_clocks_hertz", (), (1.2e9, 1.5e9))


def reopened(path: Path, boot: str = "b1") -> ActFile:
    return ActFile(path, CLOCK, boot)


def test_the_record_knows_the_first_value_and_what_was_given_back(tmp_path: Path) -> None:
    record = reopened(tmp_path / "acts")
    for act in (FIRST, SECOND, LOCKED, Act("GPU-2", "locked_clocks_hertz", (1.2e9, 1.5e9), (), restores=True)):
        record(act)
    record.close()
    again = reopened(tmp_path / "acts")
    assert again.left_behind("GPU-1") == (Act("GPU-1", "power_limit_watts", (400.0,), (250.0,)),)
    assert again.uuids == {"GPU-1"}
    again.close()


@pytest.mark.parametrize(
    "tail",
    [b'{"at": 1, "boot": "b1", "uu', b"\x00\xff\n", b'{"setting": "fan"}\n', b"[]\n", b"7\n"],
    ids=["a line cut off", "no text", "another setting", "a list", "a number"],
)
def test_a_line_that_cannot_be_read_costs_only_itself(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "acts"
    record = reopened(path)
    record(FIRST)
    record.close()
    with path.open("ab") as file:
        file.write(tail)
    again = reopened(path)
    again(LOCKED)
    again.close()
    last = reopened(path)
    assert last.uuids == {"GPU-1", "GPU-2"}
    last.close()


def test_what_was_changed_before_the_machine_was_booted_is_void(tmp_path: Path) -> None:
    record = reopened(tmp_path / "acts")
    record(FIRST)
    record.close()
    again = reopened(tmp_path / "acts", "b2")
    assert again.uuids == frozenset()
    again.close()


def test_two_agents_cannot_share_a_record(tmp_path: Path) -> None:
    record = reopened(tmp_path / "acts")
    with pytest.raises(InputError, match="another agent holds it"):
        reopened(tmp_path / "acts")
    record.close()


def test_a_record_is_no_link_to_somewhere_else(tmp_path: Path) -> None:
    (tmp_path / "acts").symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match="cannot be written"):
        reopened(tmp_path / "acts")


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    record = reopened(tmp_path / "acts")
    kept, record._file = record._file, os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StorageError, match="No space left"):
        record(FIRST)
    os.close(record._file)
    record._file = kept
    assert record.uuids == frozenset()
    record.close()


# --- what people write ----------------------------------------------------------------------------------------------


def test_amounts_as_people_write_them() -> None:
    assert power_limit("300W") == 300.0
    assert power_limit("0.3kW") == 300.0
    assert clocks("1200MHz-1.5GHz") == (1.2e9, 1.5e9)
    assert clocks("1500MHz") == (1.5e9, 1.5e9)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"power_limit": "300"}, "--power-limit: '300' is no number of watts; write --power-limit 300W"),
        ({"power_limit": "-5W"}, "--power-limit: '-5W' is no number of watts"),
        ({"power_limit": "much"}, "--power-limit: 'much' is not a value"),
        ({"lock_clocks": "1500"}, "--lock-clocks: '1500' is no number of hertz"),
        ({"lock_clocks": "1500MHz-1200MHz"}, "ends below its beginning"),
        ({"power_limit": "300W", "no_gpus": "true"}, "are set on GPUs; leave --no-gpus out"),
    ],
)
def test_what_is_no_amount_is_refused(words: dict[str, str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_settings(Words(**words), "node-1")


def test_nothing_is_set_unless_a_person_asked_for_it() -> None:
    assert not read_settings(Words(), "node-1").wanted
