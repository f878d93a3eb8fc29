"""What a driver answered once becomes a fleet of the stand-in that answers the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoscaler.clock import monotonic
from tests.peers.nvml import Scenario, models, record, replay


def steady(told: record.Recording) -> record.Recording:
    """What must be the same when it is recorded once more: no times, and no counts of how often."""
    copy: record.Recording = json.loads(json.dumps(told))
    del copy["calls"]
    copy["events"].pop("waited_ms", None)
    for gpu in copy["gpus"]:
        for answer in gpu["answers"].values():
            del answer["us"]
        for one in (*gpu["fields"], *gpu["samples"].values()):
            one.pop("age_s", None)
            one.pop("depth", None)
        # A busy machine takes longer than it was asked to, so that what is near the limit falls on either side.
        gpu["gpm"]["codes_by_ms"] = {ms: gpu["gpm"].get("codes_by_ms", {}).get(ms) for ms in ("0", "250")}
    return copy


@pytest.mark.parametrize("make", [models.hgx_h100, models.dgx_a100, models.g5_a10g], ids=["H100", "A100", "A10G"])
def test_a_fleet_made_of_a_recording_answers_as_the_recorded_one(make: Callable[[], Scenario], tmp_path: Path) -> None:
    with make() as fleet, fleet.loaded() as nvml:
        fleet.list_gpus(fleet.gpus[:2])
        for gpu in fleet.gpus:
            gpu.energy_mj.grow(0)
        fleet.gpus[0].fail("nvmlDeviceGetPerformanceState", 4)
        fleet.gpus[1].field(186, code=3)
        nvml.nvmlInit()
        first = record.record(nvml, 0.3)
    (tmp_path / "recorded.json").write_text(json.dumps(first))
    assert first["calls"]["nvmlDeviceGetPerformanceState"]["codes"].keys() == {"0", "4"}
    text = (tmp_path / "recorded.json").read_text()
    assert not [gpu for gpu in fleet.gpus if gpu.uuid in text or gpu.serial in text], "nobody's machine is recognised"
    with replay.load(tmp_path / "recorded.json") as again, again.loaded() as nvml:
        nvml.nvmlInit()
        assert steady(record.record(nvml, 0.3)) == steady(first)


def test_a_recording_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0, and 1 is read; record it again"):
        replay.load(tmp_path / "old.json")


def test_the_recorder_is_a_command(tmp_path: Path) -> None:

    with models.t4() as fleet:
        command = [sys.executable, "-m", "tests.peers.nvml.record", str(tmp_path / "t4.json"), "--seconds", "0.3"]
        done = subprocess.run(command, env=fleet.environment(), capture_output=True, text=True, check=True, timeout=60)
    assert "1 GPU(s)" in done.stdout
    with replay.load(tmp_path / "t4.json") as again:
        assert [gpu.name for gpu in again.gpus] == ["Tesla T4"]


def test_how_long_a_call_takes_is_recorded() -> None:
    with models.t4() as fleet, fleet.loaded() as nvml:
        nvml.nvmlInit()
        fault = fleet.gpus[0].block("nvmlDeviceGetPowerUsage", seconds=0.02)
        began = monotonic()
        with record.overheard(nvml) as heard:
            nvml.nvmlDeviceGetPowerUsage(nvml.nvmlDeviceGetHandleByIndex(0))
        fault.clear()
        assert 0.02 <= heard["nvmlDeviceGetPowerUsage"][0][1] <= monotonic() - began
