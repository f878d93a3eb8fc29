"""What goes wrong with GPUs and their driver, one code at a time, and that it stays where it is."""

from __future__ import annotations

import math

import pytest

from collectors.nvml import codes
from tests.nvmlworld import Value, World, world
from tests.peers.nvml import Gpu, models

OTHERS = "the other GPUs are read as before"


def unknown(values: Value) -> bool:
    """Whether nothing is told but that the GPU is not there."""
    return all(value is None for name, value in values.items() if name not in ("gpu_up", "gpu_lost"))


def healthy(made: World, *but: Gpu) -> bool:
    others = [gpu for gpu in made.fleet.gpus if gpu not in but]
    return all(made.values(gpu)["gpu_up"] == 1.0 and made.values(gpu)["gpu_busy_ratio"] == 0.5 for gpu in others)


def test_every_code_of_the_header_has_a_meaning() -> None:
    import pynvml

    known = {value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_") and value >= 0}
    assert {row.code for row in codes.MEANINGS} - {0} >= known
    assert codes.meaning(4711).remedy == "again"


@pytest.mark.parametrize("code", [3, 24, 4])
def test_a_call_that_is_refused_for_good_is_not_asked_again_and_never_zero(code: int) -> None:
    with world(models.dgx_a100(), buffer=False) as made:
        first = made.fleet.gpus[0]
        first.fail("nvmlDeviceGetUtilizationRates", code)
        made.rounds(5)
        assert "gpu_busy_ratio" not in made.values(first)
        assert made.values(first)["gpu_power_watts"] == 250.0
        assert made.state(first, "gpu_busy_ratio").availability == ("no_permission" if code == 4 else "unsupported")
        assert made.fleet.calls("nvmlDeviceGetUtilizationRates", gpu=0) == 1
        name = f"gpu_collect_errors_total{{call=nvmlDeviceGetUtilizationRates,code={code}}}"
        assert made.values(first)[name] == 1.0
        assert healthy(made, first), OTHERS


def test_what_is_not_permitted_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        gpu.fail("nvmlDeviceGetEnforcedPowerLimit", 4)
        made.rounds(2)
        made.fleet.reload_driver()
        made.rounds(90)
        assert made.state(gpu, "gpu_power_limit_watts").availability == "no_permission"
        assert made.fleet.calls("nvmlDeviceGetEnforcedPowerLimit", gpu=0) > 1, "asked again with the new handle"
    assert capsys.readouterr().out.count("gpu call not permitted") == 1


@pytest.mark.parametrize("code", [10, 27, 8, 11, 14, 17, 22, 30, 4711, 21])
def test_what_fails_this_once_is_a_gap(code: int) -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(2)
        keys = made.batch(gpu).keys
        gpu.fail("nvmlDeviceGetEnforcedPowerLimit", code, until_call=2)
        made.round()
        assert made.values(gpu)["gpu_power_limit_watts"] is None
        assert made.values(gpu)["gpu_saturation_ratio{source=power}"] is None, "and not as if the GPU were idle"
        made.round()
        assert made.values(gpu)["gpu_power_limit_watts"] == 70.0
        counted = made.values(gpu).get(f"gpu_collect_errors_total{{call=nvmlDeviceGetEnforcedPowerLimit,code={code}}}")
        assert counted == (None if code == 21 else 1.0)
        assert (made.batch(gpu).keys is keys) == (code == 21)


@pytest.mark.parametrize("code", [20, 23])
def test_a_driver_that_lacks_resources_is_asked_later_and_later(code: int) -> None:
    with world(models.t4()) as made:
        made.fleet.gpus[0].fail("nvmlDeviceGetPerformanceState", code)
        made.rounds(32)
        assert made.fleet.calls("nvmlDeviceGetPerformanceState") == 5, "at 0, 2, 6, 14 and 30 s"


@pytest.mark.parametrize("code", [25, 26, 13])
def test_a_newer_form_that_the_driver_does_not_take_is_replaced_by_the_older(code: int) -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        gpu.fail("nvmlDeviceGetMemoryInfo_v2", code)
        made.rounds(3)
        assert made.values(gpu)["gpu_memory_used_bytes"] == gpu.memory_used + gpu.memory_reserved
        assert made.fleet.calls("nvmlDeviceGetMemoryInfo_v2", gpu=0) == 1


def test_a_gpu_lost_on_its_twentieth_call_is_shown_as_lost_and_the_others_are_read() -> None:
    with world(models.dgx_a100()) as made:
        made.round()
        gpu = made.fleet.gpus[3]
        gpu.lose(from_call=20)
        made.rounds(2)
        assert (made.values(gpu)["gpu_up"], made.values(gpu)["gpu_lost"]) == (0.0, 1.0)
        assert unknown(made.values(gpu))
        assert healthy(made, gpu), OTHERS
        state = made.state(gpu, "gpu_power_watts")
        assert (state.availability, state.detail[:15]) == ("lost", "the GPU is lost")
        assert gpu.uuid in {info.uuid for info in made.nvml.describe()}
        asked = made.fleet.calls("nvmlDeviceGetMemoryInfo_v2", gpu=3)
        made.rounds(30)
        assert made.fleet.calls("nvmlDeviceGetMemoryInfo_v2", gpu=3) == asked, "its lanes stand still"
        assert unknown(made.values(gpu)), "and it stays in the list"


def test_a_lost_gpu_that_returns_at_another_index_is_read_again() -> None:
    with world(models.dgx_a100()) as made:
        made.round()
        gpu = made.fleet.gpus[0]
        gpu.unlist()
        made.rounds(40)
        assert made.state(gpu, "gpu_power_watts").detail.startswith("the driver does not list this GPU any more")
        assert made.values(gpu)["gpu_lost"] == 1.0
        gpu.come_back(index=7)
        made.rounds(61)
        assert (made.values(gpu)["gpu_up"], made.values(gpu)["gpu_lost"]) == (1.0, 0.0)
        assert made.values(gpu)["gpu_power_watts"] == 250.0
        assert {dict(key.labels)["gpu"] for key in made.batch(gpu).keys} == {"7"}
        assert len(made.nvml.describe()) == 8


def test_stale_handles_are_found_again_by_uuid_though_the_indices_changed() -> None:
    with world(models.dgx_a100()) as made:
        for watts, gpu in enumerate(made.fleet.gpus, start=101):
            gpu.power_mw = gpu.power_instant_mw = watts * 1000
        made.rounds(2)
        made.fleet.list_gpus(list(reversed(made.fleet.gpus)))
        made.fleet.reload_driver(code=28)
        made.rounds(10)
        for watts, gpu in enumerate(made.fleet.gpus, start=101):
            assert made.values(gpu)["gpu_power_watts"] == float(watts)
            assert {dict(key.labels)["gpu"] for key in made.batch(gpu).keys} == {str(7 - gpu.number)}


def test_a_call_that_refuses_even_a_new_handle_is_at_fault_itself() -> None:
    with world(models.dgx_a100()) as made:
        gpu = made.fleet.gpus[0]
        gpu.fail("nvmlDeviceGetEnforcedPowerLimit", 2)
        made.rounds(20)
        assert made.values(gpu)["gpu_power_watts"] == 250.0
        assert made.state(gpu, "gpu_power_limit_watts").availability == "unsupported"
        assert made.fleet.calls("nvmlDeviceGetEnforcedPowerLimit", gpu=0) == 2


def test_a_gpu_that_is_found_and_lost_again_is_looked_for_later_and_later() -> None:
    with world(models.dgx_a100()) as made:
        made.round()
        gpu = made.fleet.gpus[0]
        gpu.fail("nvmlDeviceGetMemoryInfo_v2", 15)
        ups = []
        for _ in range(120):
            made.round()
            ups.append(made.values(gpu)["gpu_up"])
        assert set(ups) == {0.0}, "a handle alone is no GPU that answers"
        assert made.fleet.calls("nvmlDeviceGetHandleByUUID", gpu=0) <= 8


def test_a_gpu_that_needs_a_reset_is_not_up_and_not_lost() -> None:
    with world(models.dgx_a100()) as made:
        made.round()
        gpu = made.fleet.gpus[1]
        fault = gpu.fail("*", 16)
        made.rounds(2)
        assert (made.values(gpu)["gpu_up"], made.values(gpu)["gpu_lost"]) == (0.0, 0.0)
        state = made.state(gpu, "gpu_power_watts")
        assert state.availability == "absent"
        assert "needs a reset" in state.detail
        fault.clear()
        made.rounds(60)
        assert healthy(made)


def test_a_driver_that_was_updated_under_us_leaves_every_value_unknown_and_says_restart() -> None:
    with world(models.dgx_a100()) as made:
        made.round()
        made.fleet.fail("*", 18)
        made.rounds(4)
        for gpu in made.fleet.gpus:
            assert unknown(made.values(gpu))
            assert made.values(gpu)["gpu_up"] == 0.0
            assert "restart this process" in made.state(gpu, "gpu_busy_ratio").detail
        assert made.nvml.status().state == "failed"
        assert "restart this process" in made.nvml.status().detail


def test_a_driver_that_was_reloaded_is_started_again() -> None:
    with world(models.dgx_a100(), slow_s=1.0) as made:
        made.rounds(3)
        made.fleet.reload_driver(code=1, driver_version="570.1")
        made.rounds(20)
        assert healthy(made)
        (info,) = [n for n in made.values(made.fleet.gpus[0], "slow") if n.startswith("gpu_info")]
        assert "driver_version=570.1" in info


def test_a_driver_that_is_unloaded_is_waited_for() -> None:
    with world(models.dgx_a100()) as made:
        made.round()
        fault = made.fleet.fail("*", 9)
        made.rounds(70)
        assert (made.nvml.status().state, healthy(made)) == ("failed", False)
        fault.clear()
        made.rounds(125)
        assert healthy(made)


def test_three_rounds_of_unknown_errors_are_trouble_and_one_is_none() -> None:
    with world(models.dgx_a100()) as made:
        gpu = made.fleet.gpus[0]
        made.round()
        fault = gpu.fail("*", 999)
        made.rounds(2)
        assert made.nvml.status().gpus[0].state == "reading"
        made.round()
        status = made.nvml.status().gpus[0]
        assert status.state == "failed"
        assert "in a container, access to the device was probably lost" in status.detail
        assert made.values(gpu)["gpu_up"] == 0.0
        assert healthy(made, gpu), OTHERS
        fault.clear()
        made.rounds(10)
        assert healthy(made)


def test_when_every_gpu_answers_that_it_does_not_know_the_library_is_started_again() -> None:
    with world(models.dgx_a100()) as made:
        made.round()
        fault = made.fleet.fail("*", 999)
        made.rounds(3)
        begun = made.fleet.calls("nvmlInitWithFlags")
        fault.clear()
        made.rounds(10)
        assert made.fleet.calls("nvmlInitWithFlags") > begun
        assert healthy(made)


def test_a_gpu_of_which_no_call_succeeds_is_not_up() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        made.round()
        made.fleet.fail("*", 10)
        made.round()
        assert (made.values(gpu)["gpu_up"], made.values(gpu)["gpu_lost"]) == (0.0, 0.0)
        assert made.values(gpu)["gpu_busy_ratio"] is None


def test_a_missing_function_costs_its_own_metric_only() -> None:
    with world(models.t4(), without=["nvmlDeviceGetPerformanceState"]) as made:
        made.rounds(3)
        gpu = made.fleet.gpus[0]
        assert "gpu_performance_state" not in made.values(gpu)
        assert made.state(gpu, "gpu_performance_state").availability == "unsupported"
        assert made.values(gpu)["gpu_up"] == 1.0


def test_a_profiler_that_holds_the_counters_pauses_them_and_nothing_is_concluded() -> None:
    with world(models.hgx_h100()) as made:
        gpu = made.fleet.gpus[0]
        made.rounds(3)
        fault = gpu.fail("nvmlGpmSampleGet", 19)
        made.round()
        assert made.values(gpu)["gpu_sm_active_ratio"] is None
        assert made.state(gpu, "gpu_sm_active_ratio").availability == "paused"
        assert made.values(gpu)["gpu_saturation_ratio{source=power}"] == pytest.approx(450 / 700)
        fault.clear()
        made.rounds(3)
        assert made.values(gpu)["gpu_sm_active_ratio"] == 0.6
        assert made.state(gpu, "gpu_sm_active_ratio").availability == "ok"


def test_a_reader_that_cannot_make_sense_of_an_answer_costs_its_metric_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        monkeypatch.setattr(pynvml, "nvmlDeviceGetPerformanceState", lambda handle: b"no number")
        made.rounds(3)
        assert "gpu_performance_state" not in made.values(gpu)
        assert "cannot be read" in made.state(gpu, "gpu_performance_state").detail
        assert made.values(gpu)["gpu_up"] == 1.0
        assert math.isfinite(made.values(gpu)["gpu_power_watts"] or math.nan)
