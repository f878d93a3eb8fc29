"""Reading GPUs: without a driver, and through the real bindings from a stand-in for the driver's library."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from autoscaler.clock import SimClock, SystemClock, monotonic
from autoscaler.errors import InputError
from autoscaler.ports import Collector
from collectors.gpus import Gpus
from tests.peers.programs import program

ROOT = Path(__file__).parent.parent
GIB = 2**30
UNITS = {
    "gpu_busy_ratio": 0.5,
    "gpu_memory_used_bytes": 40.0 * GIB,
    "gpu_memory_total_bytes": 80.0 * GIB,
    "gpu_power_watts": 400.5,
    "gpu_temperature_celsius": 60.0,
    "gpu_sm_clock_hertz": 1.98e9,
    "gpu_up": 1.0,
    "gpu_lost": 0.0,
}
LOST = {"gpu_up": 0.0, "gpu_lost": 1.0}


def has_driver() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def build(folder: Path, *flags: str) -> Path:
    source, library = ROOT / "tests" / "peers" / "nvml_stub.c", folder / "libnvidia-ml.so.1"
    command = [
        program("gcc", "gcc", "cc"),
        "-Wall",
        "-Wextra",
        "-Werror",
        *flags,
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        str(source),
    ]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


def run(folder: Path, argument: str) -> Any:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "NVML_STUB": str(folder / "scenario")}
    command = [sys.executable, "-W", "error", "-m", "tests.peers.gpu_rounds", argument]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=60)
    return json.loads(done.stdout.splitlines()[-1])


def rounds(folder: Path, *steps: tuple[float, str]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = run(folder, json.dumps([steps]))[0]
    return results


def test_values_are_in_base_units_with_the_uuid_as_identity(stub: Path) -> None:
    first, second = rounds(stub, (0, ""), (1, ""))
    assert first["gpus"]["nvml:GPU-0"] == UNITS
    assert first["gpus"]["nvml:GPU-1"]["gpu_busy_ratio"] == 0.51
    assert first["labels"] == [str({"gpu_model": "Stand-in 80GB", "pool": "chat", "uuid": f"GPU-{n}"}) for n in (0, 1)]
    assert first["described"] == [["GPU-0", "Stand-in 80GB", 80 * GIB], ["GPU-1", "Stand-in 80GB", 80 * GIB]]
    assert (first["state"], first["detail"]) == ("reading", "the driver lists 2 GPU(s)")
    assert {availability for availability, _ in first["metrics"].values()} == {"ok"}
    assert first["keys"] == second["keys"], "keys stay the same objects while a GPU tells the same metrics"


@pytest.mark.parametrize(
    ("code", "availability"),
    [
        pytest.param(3, "unsupported", id="not supported"),
        pytest.param(4, "no_permission", id="no permission"),
        pytest.param(24, "unsupported", id="frequency not supported"),
    ],
)
def test_what_a_gpu_cannot_tell_is_absent_and_never_zero(stub: Path, code: int, availability: str) -> None:
    refusal = f"UtilizationRates 0 {code}\nMemoryInfo_v2 0 {code}\n"
    first, second = rounds(stub, (0, refusal), (1, ""))
    for result in (first, second):  # what is refused for good is not asked again
        assert "gpu_busy_ratio" not in result["gpus"]["nvml:GPU-0"]
        assert "gpu_memory_used_bytes" not in result["gpus"]["nvml:GPU-0"]
        assert result["gpus"]["nvml:GPU-0"]["gpu_power_watts"] == 400.5
        assert "gpu_busy_ratio" in result["gpus"]["nvml:GPU-1"]
        detail = f"the driver answers with NVML error {code}"
        assert result["metrics"]["GPU-0 gpu_busy_ratio"] == [availability, detail]
        assert result["metrics"]["GPU-0 gpu_memory_total_bytes"] == [availability, detail]


def test_what_fails_this_once_is_a_gap(stub: Path) -> None:
    codes = (10, 20, 21, 23, 27, 8, 11, 14, 17, 19, 999)
    results = run(stub, json.dumps([[(0, ""), (1, f"PowerUsage 0 {code}"), (2, "")] for code in codes]))
    for code, (first, second, third) in zip(codes, results, strict=True):
        assert second["gpus"]["nvml:GPU-0"] == {**UNITS, "gpu_power_watts": None}, code
        assert third["gpus"]["nvml:GPU-0"] == UNITS, code
        assert first["keys"] == second["keys"] == third["keys"], code


@pytest.mark.parametrize(
    ("code", "lost", "words"),
    [
        pytest.param(15, 1.0, "the GPU is lost (it fell off the bus)", id="lost"),
        pytest.param(16, 0.0, "the GPU needs a reset", id="reset required"),
        pytest.param(18, 0.0, "driver and library differ since an update; restart this process", id="driver updated"),
    ],
)
def test_a_gpu_in_trouble_is_shown_and_the_others_are_read(stub: Path, code: int, lost: float, words: str) -> None:
    trouble = f"MemoryInfo_v2 0 {code}"
    before, during, after, back = rounds(stub, (0, ""), (1, trouble), (59, ""), (60, ""))
    assert before["gpus"]["nvml:GPU-0"] == UNITS
    for result in (during, after):
        assert result["gpus"]["nvml:GPU-0"] == {"gpu_up": 0.0, "gpu_lost": lost}
        assert len(result["gpus"]["nvml:GPU-1"]) == len(UNITS)
        availability, detail = result["metrics"]["GPU-0 gpu_busy_ratio"]
        assert availability == "lost"
        assert detail.startswith(words)
        assert ["GPU-0", "Stand-in 80GB", 80 * GIB] in result["described"]
    assert back["gpus"]["nvml:GPU-0"] == UNITS


def test_a_gpu_that_the_driver_lists_no_more_stays_as_lost(stub: Path) -> None:
    _, _, later = rounds(stub, (0, ""), (1, "MemoryInfo_v2 1 15"), (61, "count 1"))
    assert later["gpus"] == {"nvml:GPU-0": UNITS, "nvml:GPU-1": LOST}
    assert later["metrics"]["GPU-1 gpu_power_watts"][1].startswith("the driver does not list this GPU any more")


def test_stale_handles_are_found_again_by_uuid(stub: Path) -> None:
    stale = "UtilizationRates 0 1\nswap 1"
    first, gap, found = rounds(stub, (0, ""), (1, stale), (6, "swap 1"))
    assert gap["gpus"]["nvml:GPU-0"] == {**UNITS, "gpu_busy_ratio": None}
    assert found["gpus"]["nvml:GPU-0"] == UNITS
    assert found["gpus"]["nvml:GPU-1"]["gpu_busy_ratio"] == 0.51
    assert found["keys"] == first["keys"]


def test_three_unknown_errors_in_a_row_are_trouble(stub: Path) -> None:
    *_, second, third = rounds(stub, *[(n, "PowerUsage 0 999") for n in range(3)])
    assert second["gpus"]["nvml:GPU-0"]["gpu_up"] == 1.0
    assert third["gpus"]["nvml:GPU-0"] == {"gpu_up": 0.0, "gpu_lost": 0.0}
    assert "in a container, access to the device was probably lost" in third["metrics"]["GPU-0 gpu_busy_ratio"][1]


def test_a_gpu_of_which_no_call_succeeds_is_not_up(stub: Path) -> None:
    calls = ("UtilizationRates", "MemoryInfo_v2", "PowerUsage", "TemperatureV", "ClockInfo")
    (result,) = rounds(stub, (0, "\n".join(f"{call} 0 10" for call in calls)))
    assert result["gpus"]["nvml:GPU-0"] == {**dict.fromkeys(UNITS), "gpu_up": 0.0, "gpu_lost": 0.0}


def test_an_older_driver_is_asked_in_the_older_way(tmp_path: Path) -> None:
    folder = build(tmp_path, "-DOLD_DRIVER")
    (result,) = rounds(folder, (0, ""))
    assert result["gpus"]["nvml:GPU-0"] == {
        **UNITS,
        "gpu_memory_used_bytes": 41.0 * GIB,
        "gpu_temperature_celsius": 70.0,
    }


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        pytest.param(9, "idle", "the NVIDIA driver is not loaded", id="driver not loaded"),
        pytest.param(18, "failed", "driver and library differ since an update; restart this process", id="mismatch"),
        pytest.param(4, "failed", "NVML refuses to start: ", id="no permission"),
    ],
)
def test_a_driver_that_refuses_is_asked_again_after_a_minute(stub: Path, code: int, state: str, words: str) -> None:
    first, second, third = rounds(stub, (0, f"Init -1 {code}"), (59, ""), (60, ""))
    assert (first["gpus"], first["state"], second["state"]) == ({}, state, state)
    assert first["detail"].startswith(words)
    assert (third["state"], len(third["gpus"])) == ("reading", 2)


def test_a_gpu_without_a_uuid_is_left_out(stub: Path) -> None:
    (result,) = rounds(stub, (0, "count 3\nHandleByIndex 0 15\nUUID 2 15\nName 1 3\nMemoryInfo 1 3"))
    assert result["described"] == [["GPU-1", "unknown", 0]]


def test_its_thread_reads_by_itself_and_stops_at_once(stub: Path) -> None:
    result = run(stub, "thread")
    assert result["described"] == 2
    assert result["stopped_in_s"] < 1.0


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_without_a_driver_it_is_idle_and_not_failed() -> None:
    gpus = Gpus(SimClock())
    assert isinstance(gpus, Collector)
    assert gpus.read(0.0) == ()
    status = gpus.status()
    assert (status.state, status.metrics, gpus.describe()) == ("idle", (), ())
    assert status.detail == "there is no libnvidia-ml.so.1; in a container, give it the utility capability"


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_without_a_driver_its_thread_starts_and_stops_at_once() -> None:
    gpus = Gpus(SystemClock())
    began = monotonic()
    gpus.start()
    assert gpus.status().state == "idle"
    gpus.stop()
    assert monotonic() - began < 2.0
    assert gpus.collect(0.0) == ()


class Turned(SystemClock):
    """The system's time an hour early from the second wait on; notes how long each wait was to be."""

    def __init__(self) -> None:
        super().__init__()
        self.offset_s = 0.0
        self.waits_s: list[float] = []

    def now(self) -> float:
        return super().now() + self.offset_s

    def wait(self, until: float, wake: Event | None = None) -> bool:
        self.waits_s.append(until - self.now())
        self.offset_s = -3600.0
        return super().wait(super().now() + 0.01, wake)


def test_a_clock_that_goes_back_does_not_delay_the_next_round() -> None:
    clock = Turned()
    gpus = Gpus(clock, interval_s=0.5)
    gpus.start()
    deadline = monotonic() + 10.0
    while len(clock.waits_s) < 5 and monotonic() < deadline:
        Event().wait(0.01)
    gpus.stop()
    assert len(clock.waits_s) >= 5
    assert max(clock.waits_s) <= 0.5


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_interval_that_is_none_is_refused(interval_s: float) -> None:
    with pytest.raises(InputError, match=r"gpus: interval_s is \S+, but must be above 0; write one such as 1s"):
        Gpus(SimClock(), interval_s=interval_s)


@pytest.mark.skipif(not has_driver(), reason="this machine has no NVIDIA driver")
def test_a_real_driver_names_its_gpus_and_their_memory() -> None:
    gpus = Gpus(SimClock())
    batches = gpus.read(0.0)
    assert gpus.status().state == "reading", gpus.status().detail
    assert len(batches) == len(gpus.describe()) > 0
    assert all(info.uuid and info.memory_bytes > 0 for info in gpus.describe())
