"""A day on a real node: reloads under way, clocks that are set, GPUs that come and go, and nothing left behind."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autoscaler.clock import SystemClock
from autoscaler.types import Batch
from collectors.nvml import Nvml
from tests.nvmlworld import World, told, world
from tests.peers.nvml import VARIABLE, Gpu, Scenario, models
from tests.peers.pages import until, without_waiting

POWER = "gpu_power_watts"


class SetClock(SystemClock):
    """The machine's clock, which somebody may set."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s

    def wait(self, until: float, wake: threading.Event | None = None) -> bool:
        return super().wait(until - self.ahead_s, wake)


@dataclass
class Live:
    """A collector on its own threads, and the newest batch of each source."""

    nvml: Nvml
    newest: dict[str, Batch] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def gather(self) -> None:
        for batch in self.nvml.collect(0.0):
            self.newest[batch.source] = batch
            self.seen[batch.source] += 1

    def beyond(self, counts: Mapping[str, int]) -> bool:
        """Whether every source told some batches more than these."""
        self.gather()
        return all(self.seen[source] > count + 3 for source, count in counts.items())

    def up(self, gpu: Gpu) -> bool:
        self.gather()
        batch = self.newest.get(f"nvml:{gpu.uuid}")
        return batch is not None and told(batch).get("gpu_up") == 1.0


@contextmanager
def live(fleet: Scenario, clock: SystemClock | None = None, **settings: object) -> Iterator[Live]:
    with fleet, fleet.loaded():
        plain = {"interval_s": 0.05, "slow_s": 0.1, "kernel_log": False, "deadline_s": 0.5}
        running = Live(Nvml(clock or SystemClock(), **{**plain, **settings}))  # type: ignore[arg-type]
        running.nvml.start()
        try:
            until(lambda: all(running.up(gpu) for gpu in fleet.listed()), "every GPU")
            yield running
        finally:
            running.nvml.stop()


def unreadable(made: World, gpu: Gpu) -> bool:
    values = made.values(gpu)
    return values["gpu_up"] == 0.0 and values[POWER] is None


def test_a_driver_that_is_reloaded_while_it_is_read_is_read_again() -> None:
    before = threading.active_count()
    with live(models.dgx_a100()) as running:
        fleet = scenario_of(running)
        generations = {board.device.uuid: board.device.generation for board in running.nvml.boards}
        fleet.reload_driver(code=1)
        until(
            lambda: all(board.device.generation > generations[board.device.uuid] for board in running.nvml.boards),
            "new handles",
        )
        until(lambda: all(running.up(gpu) for gpu in fleet.gpus), "read again")
        until(lambda: threading.active_count() - before <= 4, "no thread more than before")


def scenario_of(running: Live) -> Scenario:
    """The fleet that the environment names."""
    return Scenario(Path(os.environ[VARIABLE]))


@pytest.mark.parametrize("hours", [-1.0, 1.0], ids=["back", "forward"])
def test_a_clock_that_is_set_while_it_is_read_silences_nothing(hours: float) -> None:
    clock = SetClock()
    with live(models.t4(), clock, fast=True) as running:
        clock.ahead_s = hours * 3600.0
        running.gather()
        before = dict(running.seen)
        until(lambda: running.beyond(before), "every source goes on, and not in an hour")
        assert running.up(scenario_of(running).gpus[0])


def test_after_the_clock_went_back_the_driver_s_samples_are_read_and_their_age_is_true() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        gpu.processes.start(4711, 2**30)
        made.rounds(5)
        made.clock.at -= 3600.0
        made.fleet.step(-3600.0)
        drained = 0
        for _ in range(5):
            made.round()
            at, _ = made.nvml.recent(gpu.uuid, POWER, for_s=5.0)
            drained = sum(one <= made.clock.at for one in at.tolist())
        assert drained > 100, "20 ms apart"
        assert made.values(gpu)["gpu_sample_age_seconds{source=buffer}"] == pytest.approx(0.0, abs=1.1)
        # The library's buffers stand still: their age must show it.
        for kind in range(10):
            gpu.push_samples(kind, [])
        made.rounds(10)
        assert (made.values(gpu)["gpu_sample_age_seconds{source=buffer}"] or 0.0) > 8.0


def test_all_gpus_are_lost_and_all_come_back() -> None:
    with world(models.dgx_a100(), slow_s=1.0) as made:
        made.rounds(2)
        for gpu in made.fleet.gpus:
            gpu.lose()
        made.rounds(5)
        assert all(unreadable(made, gpu) for gpu in made.fleet.gpus)
        assert {made.values(gpu)["gpu_lost"] for gpu in made.fleet.gpus} == {1.0}
        for index, gpu in enumerate(reversed(made.fleet.gpus)):
            gpu.come_back(index=index)
        made.rounds(70)
        assert [made.values(gpu)["gpu_up"] for gpu in made.fleet.gpus] == [1.0] * 8


def test_mig_is_switched_on_and_off_while_the_gpu_is_read() -> None:
    with world(models.hgx_h100(), slow_s=1.0) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(3)
        gpu.mig.enable()
        for profile in ("3g.40gb", "2g.20gb"):
            gpu.mig.create(profile).memory_used = 2**30
        made.rounds(5)
        quick, slow = made.values(gpu), made.values(gpu, "slow")
        used = [name for name, value in {**quick, **slow}.items() if name.startswith("gpu_memory_used_bytes") and value]
        assert len(used) == 2, "each instance's, and no board's beside them"
        assert made.state(gpu, "gpu_busy_ratio").availability == "unsupported"
        assert quick.get("gpu_busy_ratio") is None
        gpu.mig.disable()
        made.rounds(5)
        quick, slow = made.values(gpu), made.values(gpu, "slow")
        used = [name for name, value in {**quick, **slow}.items() if name.startswith("gpu_memory_used_bytes") and value]
        assert used == ["gpu_memory_used_bytes"]
        assert quick["gpu_busy_ratio"] == 0.5
        assert made.state(gpu, "gpu_busy_ratio").availability == "ok"


def test_sixteen_gpus_are_sixteen() -> None:
    fleet = models.dgx_a100()
    for bus in range(8):
        models.add(fleet, models.H100, f"00000000:{0xC0 + bus:02X}:00.0", 1)
    with world(fleet, slow_s=1.0) as made:
        made.rounds(3)
        assert len({batch.source for batch in made.batches if "/" not in batch.source}) == 16
        assert {made.values(gpu)["gpu_up"] for gpu in fleet.gpus} == {1.0}


def test_without_permission_for_half_of_the_calls_the_other_half_is_told() -> None:
    forbidden = (
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetSamples",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetTotalEccErrors",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlGpmSampleGet",
        "nvmlDeviceGetNvLinkState",
        "nvmlDeviceGetMigMode",
    )
    with world(models.hgx_h100(), slow_s=1.0) as made:
        for call in forbidden:
            made.fleet.fail(call, 4)
        made.rounds(4)
        gpu = made.fleet.gpus[0]
        values = {**made.values(gpu), **made.values(gpu, "slow")}
        assert values["gpu_up"] == 1.0
        assert values[POWER] == 450.0
        assert values["gpu_memory_used_bytes"] is not None
        for metric in ("gpu_busy_ratio", "gpu_sm_clock_hertz", "gpu_sm_active_ratio", "gpu_processes"):
            assert values.get(metric) is None
            assert made.state(gpu, metric).availability == "no_permission", metric


def test_a_slow_call_that_hangs_takes_the_value_of_no_gauge_from_its_state() -> None:
    with live(models.t4(), deadline_s=0.2) as running:
        fleet = scenario_of(running)
        gpu = fleet.gpus[0]
        fault = gpu.block("nvmlDeviceGetPcieReplayCounter", seconds=10.0)
        board = running.nvml.boards.by_uuid[gpu.uuid]
        until(lambda: "slow" in board.device.hung, "it hangs")
        states = {state.metric: state for state in running.nvml.status().metrics}
        assert states[POWER].availability == "ok", "it is told each second"
        assert states["gpu_pcie_replay_total"].availability == "absent"
        assert "has not returned" in states["gpu_pcie_replay_total"].detail
        fault.clear()


def test_a_driver_that_hangs_as_it_is_started_holds_up_neither_start_nor_stop() -> None:
    with models.t4() as fleet, fleet.loaded():
        fault = fleet.block("nvmlInitWithFlags", seconds=20.0)
        nvml = Nvml(SystemClock(), kernel_log=False)
        with without_waiting(20.0):
            nvml.start(wait_s=0.2)
            nvml.stop()
        fault.clear()
        until(lambda: nvml.slow_rota.ended(0.0), "the thread that was left behind")


def test_a_forked_process_ends_without_touching_the_driver() -> None:
    with live(models.t4()) as running:
        fleet = scenario_of(running)
        running.nvml._pid += 1
        running.nvml.stop()
        assert fleet.calls("nvmlShutdown") == 0
        running.nvml._pid -= 1
        before = running.seen[f"nvml:{fleet.gpus[0].uuid}"]
        until(lambda: running.up(fleet.gpus[0]) and running.seen[f"nvml:{fleet.gpus[0].uuid}"] > before + 3, "read on")


def test_an_instance_that_is_made_anew_between_two_looks_costs_nobody_else_its_activity() -> None:
    with world(models.h100_mig()) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(12)
        for _ in range(4):
            # Under the same number, and long before the slow lane looks again.
            first = next(iter(gpu.mig))
            gpu.mig.destroy(first)
            gpu.mig.create(first.profile).gpm({2: 90.0})
            made.round()
            values = made.values(gpu)
            told = [v for name, v in values.items() if name.startswith("gpu_sm_active_ratio") and v is not None]
            assert len(told) == 3, "the others go on"
            made.rounds(14)
            assert made.values(gpu)["gpu_sm_active_ratio{gi_id=1,mig_profile=3g.40gb}"] == pytest.approx(0.9)
        assert made.state(gpu, "gpu_sm_active_ratio").availability == "ok"


def test_a_handle_that_was_stale_twice_in_a_day_is_found_again_twice() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        for _ in range(3):
            made.rounds(70)
            gpu.fail("nvmlDeviceGetEnforcedPowerLimit", 2, until_call=2)
            made.rounds(5)
            assert made.values(gpu)["gpu_power_limit_watts"] == 70.0
            assert made.state(gpu, "gpu_power_limit_watts").availability == "ok"
