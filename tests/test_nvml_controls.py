"""Settings of a GPU that are changed on request and given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from autoscaler.errors import InputError
from collectors.nvml.controls import Act, Controls
from tests.peers.nvml import Scenario, models


class Recorded:
    """Controls over a fleet; each record notes how many setters had been called before it."""

    def __init__(self, fleet: Scenario) -> None:
        self.fleet = fleet
        self.acts: list[Act] = []
        self.setters_before: list[int] = []

    def __call__(self, act: Act) -> None:
        self.acts.append(act)
        self.setters_before.append(len(self.fleet.acts()))


@contextmanager
def controls(fleet: Scenario) -> Iterator[tuple[Controls, Recorded]]:
    with fleet, fleet.loaded() as nvml:
        nvml.nvmlInit()
        handles = {
            nvml.nvmlDeviceGetUUID(handle): handle
            for handle in (nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount()))
        }
        recorded = Recorded(fleet)
        yield Controls(nvml, handles.__getitem__, recorded), recorded


def test_a_power_limit_is_told_then_set_and_given_back() -> None:
    fleet = models.dgx_a100()
    gpu = fleet.gpus[3]
    gpu.power_limit_mw = 350_000
    with controls(fleet) as (ours, recorded):
        with ours:
            ours.set_power_limit(gpu.uuid, 250.0)
            assert gpu.power_limit_mw == 250_000
            ours.set_power_limit(gpu.uuid, 200.0)
            assert gpu.power_limit_mw == 200_000
        assert gpu.power_limit_mw == 350_000, "what was there before the first change"
        assert ours.restore() == ()
    assert recorded.acts == [
        Act(gpu.uuid, "power_limit_watts", (350.0,), (250.0,)),
        Act(gpu.uuid, "power_limit_watts", (250.0,), (200.0,)),
        Act(gpu.uuid, "power_limit_watts", (200.0,), (350.0,), restores=True),
    ]
    assert recorded.setters_before == [0, 1, 3], "a change is told before it is made, a restored value afterwards"
    assert len(fleet.acts()) == 3, "and restored once"


def test_every_setting_is_given_back_the_last_one_first() -> None:
    fleet = models.hgx_h100()
    gpu = fleet.gpus[0]
    gpu.compute_mode = 0
    with controls(fleet) as (ours, recorded), ours:
        ours.set_power_limit(gpu.uuid, 400.0)
        ours.lock_clocks(gpu.uuid, 1.2e9, 1.5e9)
        ours.set_compute_mode(gpu.uuid, "exclusive_process")
        assert (gpu.locked_min_mhz, gpu.locked_max_mhz, gpu.compute_mode) == (1200, 1500, 3)
    assert (gpu.locked_min_mhz, gpu.locked_max_mhz, gpu.compute_mode) == (0, 0, 0)
    assert gpu.power_limit_mw == 700_000
    assert [act.setting for act in recorded.acts if act.restores] == [
        "compute_mode",
        "locked_clocks_hertz",
        "power_limit_watts",
    ]


def test_mig_mode_is_switched_and_given_back() -> None:
    fleet = models.hgx_h100()
    gpu = fleet.gpus[0]
    with controls(fleet) as (ours, _), ours:
        ours.set_mig_mode(gpu.uuid, True)
        assert gpu.mig_mode == 1
    assert gpu.mig_mode == 0


@pytest.mark.parametrize("watts", [99.0, 401.0, float("nan"), -1.0])
def test_a_limit_outside_the_board_is_refused_before_anything_is_told(watts: float) -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, recorded):
        with pytest.raises(InputError, match="is not within 100 to 400 W of this board"):
            ours.set_power_limit(fleet.gpus[0].uuid, watts)
        assert ours.restore() == ()
    assert recorded.acts == []
    assert fleet.acts() == ()


@pytest.mark.parametrize(("least", "most"), [(0.0, 1e9), (2e9, 1e9), (1e9, 1e12), (float("nan"), 1e9)])
def test_a_range_that_is_no_clock_is_refused(least: float, most: float) -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, _), pytest.raises(InputError, match="is no range of a GPU's clock"):
        ours.lock_clocks(fleet.gpus[0].uuid, least, most)


def test_a_mode_that_is_none_is_refused_by_name() -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, _), pytest.raises(InputError, match="'shared' is none; choose of default, "):
        ours.set_compute_mode(fleet.gpus[0].uuid, "shared")


def test_without_root_the_refusal_says_what_to_do() -> None:
    fleet = models.dgx_a100()
    fleet.root = 0
    with controls(fleet) as (ours, _):
        with pytest.raises(InputError, match="the driver allows it to root only; run as root or leave controls off"):
            ours.set_power_limit(fleet.gpus[0].uuid, 300.0)
        assert ours.restore() == (), "what was refused is not restored"


def test_a_gpu_that_is_not_here_is_named() -> None:
    with controls(models.dgx_a100()) as (ours, _), pytest.raises(InputError, match="there is no GPU GPU-x"):
        ours.set_power_limit("GPU-x", 300.0)


def test_what_cannot_be_recorded_is_not_done() -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, _):
        ours.record = lambda act: (_ for _ in ()).throw(OSError("disk full"))
        with pytest.raises(OSError, match="disk full"):
            ours.set_power_limit(fleet.gpus[0].uuid, 300.0)
    assert fleet.acts() == ()


def test_what_cannot_be_recorded_is_given_back_all_the_same() -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, _):
        ours.set_power_limit(fleet.gpus[0].uuid, 300.0)
        ours.record = lambda act: (_ for _ in ()).throw(OSError("disk full"))
        assert ours.restore() == ()
    assert fleet.gpus[0].power_limit_mw == 400_000


def test_what_cannot_be_restored_is_said_and_tried_again() -> None:
    fleet = models.dgx_a100()
    first, second = fleet.gpus[0], fleet.gpus[1]
    with controls(fleet) as (ours, _):
        ours.set_power_limit(first.uuid, 300.0)
        ours.set_power_limit(second.uuid, 300.0)
        fault = second.fail("nvmlDeviceSetPowerManagementLimit", 15)
        (left,) = ours.restore()
        assert second.uuid in left
        assert "GPU is lost" in left
        assert (first.power_limit_mw, second.power_limit_mw) == (400_000, 300_000)
        fault.clear()
        assert ours.restore() == ()
        assert second.power_limit_mw == 400_000


def test_what_an_earlier_process_left_behind_is_undone_from_its_record() -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, recorded):
        ours.set_power_limit(fleet.gpus[0].uuid, 300.0)
        ours.set_power_limit(fleet.gpus[0].uuid, 250.0)
        ours.set_power_limit(fleet.gpus[1].uuid, 250.0)
        left_behind = (*recorded.acts, Act(fleet.gpus[1].uuid, "power_limit_watts", (250.0,), (400.0,), restores=True))
        after = Controls(ours.nvml, ours.gpus, Recorded(fleet))
        assert after.undo(left_behind) == ()
        assert fleet.gpus[0].power_limit_mw == 400_000
        assert fleet.gpus[1].power_limit_mw == 250_000, "the record says that it was restored"


def test_a_process_that_crashes_while_it_restores_has_not_said_that_it_did() -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, recorded):
        ours.set_power_limit(fleet.gpus[0].uuid, 300.0)
        fleet.gpus[0].fail("nvmlDeviceSetPowerManagementLimit", 999)
        assert len(ours.restore()) == 1
        assert not [act for act in recorded.acts if act.restores], "or whoever starts next would leave it behind"


def test_what_the_driver_refused_is_recorded_as_taken_back() -> None:
    fleet = models.dgx_a100()
    fleet.root = 0
    with controls(fleet) as (ours, recorded):
        with pytest.raises(InputError):
            ours.set_power_limit(fleet.gpus[0].uuid, 300.0)
        assert [act.restores for act in recorded.acts] == [False, True]


def test_what_the_driver_may_have_done_before_it_failed_is_given_back() -> None:
    fleet = models.dgx_a100()
    gpu = fleet.gpus[0]
    with controls(fleet) as (ours, recorded):
        gpu.fail("nvmlDeviceSetPowerManagementLimit", 999, until_call=2)
        with pytest.raises(InputError, match="NVML error 999"):
            ours.set_power_limit(gpu.uuid, 300.0)
        assert ours.restore() == ()
        assert [(act.after, act.restores) for act in recorded.acts] == [((300.0,), False), ((400.0,), True)]


def test_a_value_that_is_set_already_is_left_alone() -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, recorded):
        ours.set_power_limit(fleet.gpus[0].uuid, 400.0)
    assert (recorded.acts, fleet.acts()) == ([], ())


def test_after_the_end_nothing_is_changed_any_more() -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, _):
        assert ours.end() == ()
        with pytest.raises(InputError, match="settings are being given back already"):
            ours.set_power_limit(fleet.gpus[0].uuid, 300.0)
    assert fleet.acts() == ()


def test_a_forked_process_takes_nothing_back() -> None:
    fleet = models.dgx_a100()
    with controls(fleet) as (ours, _):
        ours.set_power_limit(fleet.gpus[0].uuid, 300.0)
        ours._pid += 1
        assert ours.restore() == ()
        assert fleet.gpus[0].power_limit_mw == 300_000
        ours._pid -= 1
        assert ours.restore() == ()
        assert fleet.gpus[0].power_limit_mw == 400_000
