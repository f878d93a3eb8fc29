"""Driver faults and lost GPUs, from pages that only show what is so now."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from autoscaler.store import Store
from autoscaler.types import SeriesKey
from collectors.derived.presence import FORGET_S, LOST_AFTER
from collectors.pages.reader import PageReader


class Target:
    """A page that is read every 15 seconds."""

    def __init__(self) -> None:
        self.reader = PageReader("test", (("pool", "chat"),), 15.0)
        self.at = 1000.0
        self.keys: tuple[SeriesKey, ...] = ()
        self.values: dict[SeriesKey, float] = {}

    def read(self, *lines: str, later_s: float = 15.0) -> Target:
        self.at += later_s
        self.batch = self.reader.read(("\n".join(lines) + "\n").encode(), self.at)
        found = zip(self.batch.keys, self.batch.values.tolist(), strict=True)
        self.values = {key: value for key, value in found if not math.isnan(value)}
        return self

    def events(self) -> dict[str, float]:
        """Events by code."""
        mine = {key: value for key, value in self.values.items() if key.metric == "gpu_xid_events_total"}
        assert all(key.counter for key in mine)
        return {key.label("xid") or "": value for key, value in mine.items()}

    def of(self, metric: str, uuid: str = "GPU-1") -> list[float]:
        return [v for key, v in self.values.items() if key.metric == metric and key.label("uuid") == uuid]


def temperature(uuid: str = "GPU-1", host: str = "node1") -> str:
    return f'DCGM_FI_DEV_GPU_TEMP{{gpu="0",UUID="{uuid}",Hostname="{host}"}} 40'


def last(code: int, uuid: str = "GPU-1", more: str = "") -> str:
    return f'DCGM_FI_DEV_XID_ERRORS{{gpu="0",UUID="{uuid}",Hostname="node1"{more}}} {code}'


def window(code: int | None, count: int) -> str:
    xid = "" if code is None else f',xid="{code}"'
    return f'DCGM_EXP_XID_ERRORS_COUNT{{gpu="0",UUID="GPU-1",Hostname="node1",window_size_in_ms="300000"{xid}}} {count}'


# --- events ---------------------------------------------------------------------------------------------------------


def test_a_code_that_stays_is_one_event_however_often_it_is_scraped() -> None:
    target = Target().read(temperature(), last(0))
    assert target.events() == {}
    seen = [target.read(temperature(), last(79)).events()["79"] for _ in range(40)]
    assert seen == [0.0] + [1.0] * 39
    assert target.of("gpu_last_xid") == [79.0]


def test_the_increase_of_the_counter_is_one_event_in_the_store() -> None:
    """A counter's first value is where its increase starts, so a new code begins with 0."""
    target, store = Target(), Store(None)
    for line in (last(0), last(79), last(79), last(79)):
        store.add(target.read(temperature(), line).batch)
    frame = store.raw("chat", "gpu_xid_events_total", (), target.at, 60.0)
    assert float(np.nansum(frame.values)) == 1.0


def test_what_a_gpu_shows_when_it_is_first_seen_happened_before() -> None:
    target = Target().read(temperature(), last(79))
    assert target.read(temperature(), last(79)).events() == {"79": 0.0}
    assert target.of("gpu_last_xid_timestamp_seconds") == []
    assert target.read(temperature(), last(48)).events() == {"79": 0.0, "48": 0.0}
    assert target.read(temperature(), last(48)).events() == {"79": 0.0, "48": 1.0}


def test_a_series_that_appears_with_its_first_fault_is_an_event() -> None:
    """Newer exporters leave out blanks, and the field is blank until there was a fault."""
    target = Target().read(temperature()).read(temperature(), last(31))
    assert target.events() == {"31": 0.0}
    assert target.of("gpu_last_xid_timestamp_seconds") == [target.at]
    assert target.read(temperature(), last(31)).events() == {"31": 1.0}


def test_the_same_code_after_a_reset_to_0_is_a_new_event() -> None:
    target = Target().read(last(0))
    for code in (79, 79, 0, 79, 79):
        target.read(last(code))
    assert target.events() == {"79": 2.0}


def test_codes_that_alternate_are_events_each() -> None:
    target = Target().read(last(0))
    for code in (13, 31, 13, 31, 31):
        target.read(last(code))
    assert target.events() == {"13": 2.0, "31": 2.0}


def test_a_blank_or_missing_code_is_no_change() -> None:
    target = Target().read(temperature(), last(79))
    target.read(temperature(), last(9223372036854775794)).read(temperature()).read(temperature(), last(79))
    assert target.events() == {"79": 0.0}


def test_an_error_text_in_the_labels_makes_no_second_series() -> None:
    target = Target().read(temperature(), last(0))
    target.read(temperature(), last(79, more=',err_code="79",err_msg="fallen off, the bus } #"'))
    target.read(temperature(), last(79, more=',err_code="79",err_msg="fallen off, the bus } #"'))
    assert target.events() == {"79": 1.0}
    assert target.of("gpu_last_xid") == [79.0]


def test_a_fault_of_the_board_is_one_event_on_four_instances() -> None:
    def page(code: int) -> list[str]:
        return [last(code, more=f',GPU_I_PROFILE="1g.5gb",GPU_I_ID="{n}"') for n in (7, 8, 9, 5)]

    target = Target().read(*page(0)).read(*page(79)).read(*page(79))
    assert target.events() == {"79": 1.0}
    (key,) = [key for key in target.values if key.metric == "gpu_xid_events_total"]
    assert key.label("gi_id") is None


def test_a_pod_that_comes_or_goes_is_no_event() -> None:
    target = Target().read(last(0)).read(last(79)).read(last(79, more=',pod="a",namespace="n"')).read(last(79))
    assert target.events() == {"79": 1.0}


# --- the exporter's own count ---------------------------------------------------------------------------------------


def test_where_the_exporter_counts_its_count_alone_is_taken() -> None:
    target = Target().read(last(0), window(None, 0))
    target.read(last(79), window(79, 1)).read(last(79), window(79, 1))
    assert target.events() == {"79": 1.0}
    target.read(last(79), window(79, 3))
    assert target.events() == {"79": 3.0}, "a repeat that the last code hides"


def test_a_window_that_falls_or_empties_adds_nothing() -> None:
    target = Target().read(window(None, 0))
    lines = (window(79, 1), window(79, 3), window(79, 2), window(None, 0), window(79, 1))
    totals = [target.read(line).events()["79"] for line in lines]
    assert totals == [0.0, 3.0, 3.0, 3.0, 4.0]


def test_faults_in_the_window_of_the_first_page_happened_before() -> None:
    target = Target().read(window(79, 2)).read(window(79, 2)).read(window(79, 3))
    assert target.events() == {"79": 1.0}


def test_a_counter_of_another_exporter_starts_with_its_first_fault_and_survives_its_restart() -> None:
    def page(count: int | None) -> list[str]:
        counted = [] if count is None else [f'nvidia_smi_xid_errors_total{{uuid="1",xid="31"}} {count}']
        return ['nvidia_smi_temperature_gpu{uuid="1"} 40', *counted]

    target = Target()
    counts = [target.read(*page(count)).events().get("31") for count in (None, 1, 2, 1, 1)]
    assert counts == [None, 0.0, 2.0, 3.0, 3.0]


# --- lost GPUs ------------------------------------------------------------------------------------------------------


def states(target: Target, uuid: str = "GPU-2") -> tuple[list[float], list[float]]:
    return target.of("gpu_up", uuid), target.of("gpu_lost", uuid)


def test_a_gpu_whose_series_vanish_is_unknown_then_lost_and_comes_back() -> None:
    both, one = (temperature(), temperature("GPU-2")), (temperature(),)
    target = Target().read(*both)
    assert states(target) == ([1.0], [0.0])
    for _ in range(LOST_AFTER - 1):
        assert states(target.read(*one)) == ([], [])
    assert states(target.read(*one)) == ([0.0], [1.0])
    for _ in range(30):
        target.read(*one)
    assert states(target) == ([0.0], [1.0]), "also after its series were forgotten"
    assert states(target, "GPU-1") == ([1.0], [0.0])
    assert states(target.read(*both)) == ([1.0], [0.0])


def test_a_page_without_any_gpu_has_lost_them_all() -> None:
    target = Target().read(temperature(), temperature("GPU-2"))
    for _ in range(LOST_AFTER):
        target.read("up_since 3")
    assert states(target) == states(target, "GPU-1") == ([0.0], [1.0])


def test_a_gpu_that_prints_only_blanks_is_lost() -> None:
    target = Target().read(temperature())
    for _ in range(LOST_AFTER):
        target.read(temperature().replace(" 40", " 9223372036854775794"))
    assert states(target, "GPU-1") == ([0.0], [1.0])


def test_a_line_that_cannot_be_read_may_be_the_missing_gpu_s() -> None:
    target = Target().read(temperature(), temperature("GPU-2"))
    for _ in range(3 * LOST_AFTER):
        target.read(temperature(), 'DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-2",modelName="a "b""} 40')
    assert states(target) == ([], [])


def test_an_exporter_that_could_not_ask_proves_nothing() -> None:
    target = Target().read('nvidia_smi_temperature_gpu{uuid="1"} 40', "nvidia_smi_last_collect_success 1")
    for _ in range(3 * LOST_AFTER):
        target.read("nvidia_smi_last_collect_success 0")
    assert states(target, "GPU-1") == ([], [])


def test_a_lost_gpu_is_forgotten_after_a_day() -> None:
    target = Target().read(temperature(), temperature("GPU-2"))
    for _ in range(LOST_AFTER):
        target.read(temperature())
    assert states(target) == ([0.0], [1.0])
    assert states(target.read(temperature(), later_s=FORGET_S + 1)) == ([], [])
    assert not any(key.metric == "gpu_lost" and key.label("uuid") == "GPU-2" for key in target.batch.keys)


def test_a_host_that_leaves_a_page_of_several_lost_no_gpu() -> None:
    target = Target().read(temperature(), temperature("GPU-2", "node2"))
    for _ in range(LOST_AFTER):
        target.read(temperature())
    assert not any(key.metric == "gpu_lost" and key.label("uuid") == "GPU-2" for key in target.batch.keys)


def test_an_exporter_s_new_host_name_loses_no_gpu() -> None:
    target = Target().read(temperature(host="exporter-a"))
    for _ in range(2 * LOST_AFTER):
        target.read(temperature(host="exporter-b"))
    assert states(target, "GPU-1") == ([1.0], [0.0])


def test_the_series_keep_their_identity_while_nothing_changes() -> None:
    target = Target()
    keys: Iterator[int] = (id(target.read(temperature(), last(0)).batch.keys) for _ in range(10))
    assert len(set(keys)) == 1


@pytest.mark.parametrize("count", [1, 8])
def test_every_gpu_of_a_page_is_up(count: int) -> None:
    target = Target().read(*(temperature(f"GPU-{n}") for n in range(count)))
    assert [v for key, v in target.values.items() if key.metric == "gpu_up"] == [1.0] * count
