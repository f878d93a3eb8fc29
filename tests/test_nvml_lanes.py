"""The lanes: driver buffers, bursts, GPM, counters, and what is kept at the source."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.clock import SystemClock
from collectors.nvml import Nvml
from collectors.nvml.faults import Fault
from tests.nvmlworld import START, World, told, world
from tests.peers.nvml import Gpu, models
from tests.peers.pages import until
from tests.peers.running import running

POWER = "gpu_power_watts"
OVERRUN = "gpu_collect_errors_total{call=nvmlDeviceGetSamples,code=overrun}"


def push(made: World, gpu: Gpu, number: int, *, kind: int = 0, step_us: int = 20_000, value: int = 100_000) -> None:
    """So many samples up to now, the newest now."""
    now_us = made.fleet.now_us()
    gpu.push_samples(kind, [(now_us - (number - 1 - n) * step_us, value + n) for n in range(number)])


def test_the_driver_s_buffer_is_drained_once_with_its_own_times() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        push(made, gpu, 50)
        made.round()
        push(made, gpu, 50)
        made.rounds(2)
        at, values = made.nvml.recent(gpu.uuid, POWER)
        assert len(at) == 100
        assert np.allclose(np.diff(at), 0.02, atol=1e-4)
        assert values[0] == pytest.approx(100.0)
        assert values[-1] == pytest.approx(100.049)
        assert OVERRUN not in made.values(gpu)


def test_samples_that_were_overwritten_before_they_were_drained_are_a_counted_gap() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        push(made, gpu, 120)
        made.rounds(1, 5.0)
        # 5 s at 20 ms are 250 samples, and the buffer keeps 120.
        push(made, gpu, 250)
        made.rounds(2)
        assert made.values(gpu)[OVERRUN] == 3.0, "power and both clocks, which come every 20 ms"
        at, _ = made.nvml.recent(gpu.uuid, POWER)
        assert len(at) == 240


def test_a_pause_of_the_driver_s_sampling_is_no_overrun() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        for kind in (1, 2, 5, 6):
            gpu.push_samples(kind, [])
        push(made, gpu, 120)
        made.rounds(1, 60.0)
        push(made, gpu, 20)
        made.rounds(2)
        assert OVERRUN not in made.values(gpu)


def test_a_buffer_without_news_is_no_failure() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        push(made, gpu, 5)
        made.rounds(5)
        assert len(made.nvml.recent(gpu.uuid, POWER)[0]) == 5
        assert not [name for name in made.values(gpu) if "errors" in name and "nvmlDeviceGetSamples" in name]
        assert made.values(gpu)["gpu_sample_age_seconds{source=buffer}"] is not None


def test_a_buffer_larger_than_expected_is_read_whole() -> None:
    from collectors.nvml import samples

    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        push(made, gpu, 120)
        room, samples.ROOM = samples.ROOM, 16
        try:
            made.round()
        finally:
            samples.ROOM = room
        assert len(made.nvml.recent(gpu.uuid, POWER)[0]) == 120


def test_stats_say_what_a_second_amounted_to_and_the_plain_series_stays_the_last_value() -> None:
    with world(models.t4(), stats=True) as made:
        gpu = made.fleet.gpus[0]
        push(made, gpu, 20, value=60_000)
        made.round()
        push(made, gpu, 101, value=60_000, step_us=9_000)
        made.round()
        values = made.values(gpu)
        assert values["gpu_power_watts_min"] == 60.0
        assert values["gpu_power_watts_max"] == pytest.approx(60.1)
        assert values["gpu_power_watts_mean"] == pytest.approx(60.05)
        assert values["gpu_power_watts_p95"] == pytest.approx(60.095)
        assert values["gpu_power_watts_count"] == 101.0
        assert values["gpu_power_watts"] == pytest.approx(65.0), "what the gauge said last"
        made.round()
        assert made.values(gpu)["gpu_power_watts_mean"] is None, "nothing new came"


def test_without_stats_there_is_one_series_of_each_metric() -> None:
    with world(models.t4()) as made:
        made.rounds(2)
        assert not [name for name in made.values(made.fleet.gpus[0]) if name.endswith(("_max", "_count"))]


def test_what_comes_once_a_second_is_kept_too_for_two_minutes() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(200)
        at, values = made.nvml.recent(gpu.uuid, "gpu_temperature_celsius")
        assert set(values.tolist()) == {60.0}
        assert 118 <= len(at) <= 121
        assert at[-1] == START + 199
        idle = made.nvml.recent(gpu.uuid, "gpu_clock_event_active", (("reason", "idle"),), 10.0)[1]
        assert len(idle) == pytest.approx(10, abs=1)


def test_a_counter_that_is_reset_is_told_as_it_is_and_its_rate_is_unknown_once() -> None:
    with world(models.hgx_h100()) as made:
        gpu = made.fleet.gpus[0]
        gpu.pcie_tx_bytes.set(10**9)
        gpu.pcie_tx_bytes.grow(1e6)
        made.rounds(3)
        assert made.values(gpu)["gpu_pcie_tx_bytes_per_second"] == pytest.approx(1e6)
        gpu.reset_counters()
        gpu.energy_mj.set(5000)
        made.round()
        values = made.values(gpu)
        assert values["gpu_energy_joules_total"] == pytest.approx(5.0, abs=1.0)
        # GPM tells the traffic too, so that a rate is told even where the counter's is not.
        assert values["gpu_pcie_tx_bytes_per_second"] in (None, 100 * 2**20)
        made.rounds(2)
        assert made.values(gpu)["gpu_pcie_tx_bytes_per_second"] == pytest.approx(1e6)


def test_a_counter_that_wraps_goes_on() -> None:
    with world(models.hgx_h100(), gpm=False, interval_s=0.01) as made:
        gpu = made.fleet.gpus[0]
        gpu.field(197, 2**32 - 1000, kind=1)
        gpu.field(198, 0, kind=1)
        made.rounds(3, 0.01)
        gpu.field(197, 9000, kind=1)
        made.rounds(2, 0.01)
        values = made.values(gpu)
        assert values["gpu_pcie_tx_bytes_total"] == float(2**32 + 9000)


def test_gpm_asks_no_sooner_than_the_driver_allows() -> None:
    with world(models.hgx_h100(), interval_s=0.1, gpm_s=0.1) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(10, 0.1)
        assert not [name for name in made.values(gpu) if "errors" in name and "nvmlGpm" in name], (
            "no refusal was provoked"
        )
        at, values = made.nvml.recent(gpu.uuid, "gpu_sm_active_ratio")
        assert len(at) >= 3
        assert set(values.tolist()) == {0.6}


def test_gpm_that_is_hastened_still_keeps_its_samples_apart() -> None:
    with world(models.hgx_h100()) as made:
        gpu = made.fleet.gpus[0]
        made.round(0.04)
        for _ in range(5):
            made.nvml.boards.by_uuid[gpu.uuid].quick.hasten()
            made.round(0.04)
        assert made.fleet.calls("nvmlGpmSampleGet", gpu=0) == 2, "at 0 and 120 ms"


def test_gpm_that_is_refused_is_a_gap_and_goes_on() -> None:
    with world(models.hgx_h100()) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(3)
        gpu.fail("nvmlGpmMetricsGet", 27, until_call=2)
        made.round()
        assert made.values(gpu)["gpu_sm_active_ratio"] is None
        assert made.values(gpu)["gpu_saturation_ratio{source=sm_active+dram_active+power}"] is None
        made.round()
        assert made.values(gpu)["gpu_sm_active_ratio"] == 0.6


def test_one_gpm_metric_that_is_refused_costs_only_itself() -> None:
    with world(models.hgx_h100()) as made:
        gpu = made.fleet.gpus[0]
        gpu.fail("nvmlGpmMetricsGet", 3, metric=5)
        made.rounds(4)
        assert made.state(gpu, "gpu_tensor_active_ratio").availability == "unsupported"
        assert made.values(gpu)["gpu_sm_active_ratio"] == 0.6


def test_after_a_long_silence_gpm_starts_anew_instead_of_telling_a_mean_over_it() -> None:
    with world(models.hgx_h100()) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(3)
        made.clock.at += 10.0
        made.fleet.step(10.0)
        made.round()
        assert made.values(gpu)["gpu_sm_active_ratio"] is None
        made.round()
        assert made.values(gpu)["gpu_sm_active_ratio"] == 0.6


def test_the_fast_lane_runs_in_bursts_only() -> None:
    instant = "gpu_power_instant_watts"
    with world(models.hgx_h100(), gpm=False) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(30, 0.1)
        assert len(made.nvml.recent(gpu.uuid, instant)[0]) == 3, "one a second"
        made.nvml.burst(1.0, gpu.uuid)
        for step in range(30):
            gpu.power_instant_mw = 300_000 + step * 1000
            made.round(0.1)
        at, values = made.nvml.recent(gpu.uuid, instant)
        assert len(at) == pytest.approx(10, abs=1)
        assert np.allclose(np.diff(at), 0.1, atol=1e-3)
        assert np.all(np.diff(values) == 1.0)
        assert len(made.nvml.recent(made.fleet.gpus[1].uuid, instant)[0]) < 10, "the others are left alone"


def test_a_value_that_the_driver_did_not_renew_is_no_new_sample() -> None:
    with world(models.hgx_h100(), gpm=False, fast=True, buffer=False) as made:
        gpu = made.fleet.gpus[0]
        for step in range(60):
            gpu.busy_percent = 50 + step // 3
            made.round(0.1)
        at, values = made.nvml.recent(gpu.uuid, "gpu_busy_ratio")
        assert len(at) == 20
        assert np.all(np.diff(values) > 0)


def test_a_value_that_stays_is_noted_once_a_second() -> None:
    with world(models.hgx_h100(), gpm=False, fast=True, buffer=False) as made:
        made.rounds(51, 0.1)
        assert len(made.nvml.recent(made.fleet.gpus[0].uuid, "gpu_busy_ratio")[0]) == pytest.approx(6, abs=1)


def test_a_short_slowdown_is_seen_by_the_fast_lane() -> None:
    with world(models.hgx_h100(), gpm=False, fast=True) as made:
        gpu = made.fleet.gpus[0]
        for step in range(20):
            gpu.clock_reasons = 64 if step == 5 else 0
            made.round(0.1)
        _, active = made.nvml.recent(gpu.uuid, "gpu_clock_event_active", (("reason", "thermal_hardware"),))
        assert active.tolist().count(1.0) == 1


def test_an_event_reaches_the_batches_at_once() -> None:
    with models.hgx_h100() as fleet, fleet.loaded():
        nvml = Nvml(SystemClock(), interval_s=0.1, slow_s=60.0, gpm=False, kernel_log=False)
        with running(nvml):
            until(
                lambda: nvml.listening.reporter is not None and len(nvml.listening.reporter.registered) == 8,
                "registered",
            )
            fleet.gpus[3].xid(79)
            counted: list[float] = []

            def seen() -> bool:
                for batch in nvml.collect(0.0):
                    for key, value in zip(batch.keys, batch.values.tolist(), strict=True):
                        if key.metric == "gpu_xid_events_total" and key.label("xid") == "79":
                            assert key.label("uuid") == fleet.gpus[3].uuid
                            counted.append(value)
                return bool(counted)

            until(seen, "the fault, long before the slow lane's next minute")
            assert counted[-1] == 1.0


def test_faults_of_a_gpu_that_is_lost_are_still_told() -> None:
    with world(models.hgx_h100(), slow_s=1.0) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(2)
        gpu.lose()
        made.rounds(3)
        made.nvml.listening.record(Fault(gpu.uuid, 79, made.clock.at, "kernel"))
        for _ in range(2):
            made.round()
            (faults,) = [told(batch) for batch in made.batches if batch.source == "nvml:faults"][-1:]
            assert faults["gpu_xid_events_total{xid=79}"] == 1.0
        assert made.values(gpu)["gpu_lost"] == 1.0


def test_a_clock_that_goes_back_silences_no_lane() -> None:
    with world(models.t4()) as made:
        made.rounds(3)
        made.clock.at -= 3600.0
        made.round()
        assert made.values(made.fleet.gpus[0])["gpu_busy_ratio"] == 0.5
        made.round()
        assert made.batch(made.fleet.gpus[0]).at == START + 3.0 - 3600.0 + 1.0
