"""The agent's pages: current values in three vocabularies."""

from __future__ import annotations

import gzip
import itertools
import math
import subprocess
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.agent import canonical, current, dcgm_names, otel_names, own
from autoscaler.agent.current import SERIES_LIMIT, Current, Snapshot
from autoscaler.agent.families import Family, escape, number, prefix, render
from autoscaler.agent.pages import Pages
from autoscaler.agent.settings import NAMES
from autoscaler.signals import all_metrics, is_counter, metric
from autoscaler.types import Batch, Labels, SeriesKey
from collectors import grammar
from collectors.dcgm.fields import CLOCK_EVENTS, FIELDS
from collectors.page import PageReader
from tests.peers.programs import program

UUID = "GPU-11111111-2222-3333-4444-555555555555"
BOARD: Labels = (("gpu", "3"), ("gpu_model", "NVIDIA H100 80GB HBM3"), ("host", "node-1"), ("uuid", UUID))


def key(name: str, labels: Labels = BOARD, /, **more: str) -> SeriesKey:
    return SeriesKey(name, tuple(sorted({**dict(labels), **more}.items())), is_counter(name))


def batch(
    pairs: dict[SeriesKey, float] | Sequence[tuple[SeriesKey, float]],
    at: float = 100.0,
    interval_s: float = 1.0,
    source: str = "nvml:1",
    keys: tuple[SeriesKey, ...] | None = None,
) -> Batch:
    both = dict(pairs)
    return Batch(source, at, interval_s, keys or tuple(both), np.array(list(both.values()), dtype=np.float64))


def page(values: dict[SeriesKey, float], names: str = "canonical") -> str:
    """What a page says about these values, without what the agent says about itself."""
    families = {"canonical": canonical.families, "dcgm": dcgm_names.families, "otel": otel_names.families}[names]
    return render(families(tuple(values)), list(values.values()))


def samples(text: str) -> dict[tuple[str, Labels], float]:
    return {(s.name, tuple(sorted(s.labels))): s.value for s in grammar.samples(text)}


def shown(now: Snapshot) -> dict[str, float]:
    """Metrics that have a value."""
    pairs = zip(now.keys, now.values.tolist(), strict=True)
    return {key.metric: value for key, value in pairs if not math.isnan(value)}


# --- current values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "served"),
    [
        pytest.param(0.0, True, id="a new value"),
        pytest.param(2.9, True, id="within three intervals"),
        pytest.param(3.1, False, id="too old"),
        pytest.param(-4.0, True, id="a little ahead of our clock"),
        pytest.param(-60.0, False, id="from before the clock was set back"),
    ],
)
def test_a_value_is_served_for_three_intervals(age_s: float, served: bool) -> None:
    now = Current(0.0)
    now.add([batch({key("gpu_power_watts"): 300.0})], 100.0)
    assert shown(now.snapshot(100.0 + age_s)) == ({"gpu_power_watts": 300.0} if served else {})


def test_a_source_faster_than_we_look_is_served_until_we_look_again() -> None:
    now = Current(3.0)
    now.add([batch({key("gpu_power_watts"): 300.0}, interval_s=0.05)], 100.0)
    assert shown(now.snapshot(102.9)) == {"gpu_power_watts": 300.0}


def test_what_a_slow_lane_tells_in_each_tenth_batch_stays_in_between() -> None:
    now, keys = Current(3.0), (key("gpu_power_watts"), key("gpu_ecc_corrected_total"))
    for second in range(35):
        slow = float(second) if second % 10 == 0 else math.nan
        now.add([batch(zip(keys, (300.0, slow), strict=True), 100.0 + second, keys=keys)], 100.0 + second)  # type: ignore[arg-type]
        if second > 10:
            assert shown(now.snapshot(100.0 + second))["gpu_ecc_corrected_total"] == second // 10 * 10


def test_a_value_that_is_missing_once_does_not_read_zero_and_ages() -> None:
    now, keys = Current(0.0), (key("gpu_power_watts"), key("gpu_temperature_celsius"))
    for at, power in ((100.0, 300.0), (101.0, math.nan), (102.0, math.nan), (103.5, math.nan)):
        now.add([batch(zip(keys, (power, 60.0), strict=True), at, keys=keys)], at)  # type: ignore[arg-type]
    assert shown(now.snapshot(103.5)) == {"gpu_temperature_celsius": 60.0}


def test_a_lost_gpu_has_no_last_values() -> None:
    now, keys = Current(3.0), (key("gpu_power_watts"), key("gpu_up"))
    now.add([batch(zip(keys, (300.0, 1.0), strict=True), 100.0, keys=keys)], 100.0)  # type: ignore[arg-type]
    now.add([batch(zip(keys, (math.nan, 0.0), strict=True), 101.0, keys=keys)], 101.0)  # type: ignore[arg-type]
    assert shown(now.snapshot(101.0)) == {"gpu_up": 0.0}


@pytest.mark.parametrize("state", ["down", "gone"])
def test_a_source_that_does_not_answer_is_left_out_at_once(state: str) -> None:
    now = Current(3.0)
    now.add([batch({key("gpu_power_watts"): 1.0}), batch({key("host_load1"): 2.0}, source="host")], 100.0)
    now.add([Batch("nvml:1", 100.5, 1.0, (), np.zeros(0), state=state)], 100.5)  # type: ignore[arg-type]
    assert shown(now.snapshot(100.5)) == {"host_load1": 2.0}


def test_a_drained_history_does_not_overtake_what_was_said_since() -> None:
    now, power = Current(3.0), key("gpu_power_watts")
    now.add([batch({power: 2.0}, 100.0), batch({power: 1.0}, 99.5, keys=(power,))], 100.0)
    assert shown(now.snapshot(100.0)) == {"gpu_power_watts": 2.0}


def test_a_clock_that_goes_back_does_not_silence_a_source() -> None:
    now, keys = Current(3.0), (key("gpu_power_watts"),)
    now.add([batch({keys[0]: 1.0}, 4000.0, keys=keys)], 4000.0)
    now.add([batch({keys[0]: 2.0}, 400.0, keys=keys)], 400.0)
    assert shown(now.snapshot(400.0)) == {"gpu_power_watts": 2.0}


def test_layouts_and_series_that_are_gone_are_forgotten() -> None:
    """A day in which pods come and go each minute leaves no more than the last minutes."""
    now = Current(3.0)
    for minute in range(1440):
        at = 60.0 * minute
        now.add([batch({key("gpu_process_sm_ratio", pid=str(minute)): 0.5}, at)], at)
        assert len(now.snapshot(at).keys) <= current.FORGET_S / 60 + 1


def test_series_beyond_the_limit_are_refused_and_counted() -> None:
    now = Current(3.0)
    now.add([batch({key("host_load1"): 1.0})], 100.0)
    now.add([batch({key("gpu_process_sm_ratio", pid=str(n)): 0.0 for n in range(SERIES_LIMIT)}, source="b")], 100.0)
    assert shown(now.snapshot(100.0)) == {"host_load1": 1.0}
    assert now.refused == SERIES_LIMIT


def test_keys_stay_the_same_object_while_nothing_comes_or_goes() -> None:
    now, keys = Current(3.0), (key("gpu_power_watts"),)
    now.add([batch({keys[0]: 1.0}, keys=keys)], 100.0)
    first = now.snapshot(100.0)
    now.add([batch({keys[0]: 2.0}, 101.0, keys=keys)], 101.0)
    second = now.snapshot(101.0)
    assert first.keys is second.keys
    assert first.values.tolist() == [1.0], "a snapshot does not change any more"


def test_a_statistic_has_a_name_of_its_own_so_that_nobody_adds_it_up() -> None:
    plain, highest = key("gpu_power_watts"), key("gpu_power_watts", stat="max")
    now = Current(3.0)
    now.add([batch({plain: 300.0, highest: 420.0})], 100.0)
    known = now.snapshot(100.0)
    assert known.keys == (plain, SeriesKey("gpu_power_watts_max", BOARD))
    text = render(canonical.families(known.keys), known.values.tolist())
    assert "# HELP gpu_power_watts_max The highest value of gpu_power_watts within one second\n" in text


# --- the text format ----------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8"), max_size=40))
@settings(derandomize=True, max_examples=300)
def test_any_label_value_is_read_back_as_it_was(value: str) -> None:
    (sample,) = grammar.samples(f"{prefix('a', (('b', value),))}1\n")
    assert dict(sample.labels)["b"] == value


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(derandomize=True)
def test_a_number_keeps_all_its_digits(value: float) -> None:
    assert float(number(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (300.0, "300"),
        (0.57, "0.57"),
        (15152422938.0, "15152422938"),
        (1e15, "1000000000000000"),
        (1e22, "1e+22"),
        (-2.5, "-2.5"),
    ],
)
def test_a_number_is_written_as_people_read_it(value: float, text: str) -> None:
    assert number(value) == text


def test_what_has_a_meaning_in_the_format_is_escaped() -> None:
    assert escape('a "b" \\ c\nd') == r"a \"b\" \\ c\nd"
    text = render((Family("a", "gauge", "one\\two\nthree", canonical.families((key("gpu_up"),))[0].lines),), [1.0])
    assert text.startswith("# HELP a one\\\\two\\nthree\n")


def test_a_family_without_a_value_is_not_announced() -> None:
    assert page({key("gpu_power_watts"): math.nan}) == ""


# --- canonical names ----------------------------------------------------------------------------------------------


def everything() -> dict[SeriesKey, float]:
    """A value for every metric of the table, with the labels that it has."""
    values: dict[SeriesKey, float] = {}
    for n, known in enumerate(known for known in all_metrics() if known.kind != "histogram"):
        board = known.name.startswith("gpu_")
        values[key(known.name, BOARD if board else (("host", "node-1"),))] = n / 200 if known.ratio else float(n)
    return values


def test_every_canonical_metric_is_shown_with_its_kind_and_what_it_means() -> None:
    text = page(everything())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for known in all_metrics():
        if known.kind == "histogram":
            continue
        family = families[known.name.removesuffix("_total") if known.kind == "counter" else known.name]
        assert family.type == ("counter" if known.kind == "counter" else "gauge"), known.name
        assert known.help in family.documentation
        assert known.unit in family.documentation
    assert "tells idle from busy, not busy from full" in families["gpu_busy_ratio"].documentation


def test_the_canonical_page_is_read_back_as_it_was() -> None:
    values = everything()
    read = PageReader("agent", (), 1.0).read(page(values).encode(), 100.0)
    assert dict(zip(read.keys, read.values.tolist(), strict=True)) == values


# --- DCGM's names -------------------------------------------------------------------------------------------------


def of_fields() -> dict[SeriesKey, float]:
    """A value for every canonical series that DCGM has a field for."""
    values: dict[SeriesKey, float] = {}
    for n, field in enumerate(FIELDS):
        known = metric(field.metric)
        assert known is not None
        if not field.bits:
            values[key(field.metric, **dict(field.labels))] = (n + 1) / 70 if known.ratio else (n + 1) * 1000.0
    return values


def about(**more: str) -> SeriesKey:
    return key("gpu_info", pci_bus_id="00000000:0f:00", driver_version="550.1", serial="7", **more)


def read_dcgm(values: dict[SeriesKey, float]) -> dict[SeriesKey, float]:
    """What our own reader makes of the page in DCGM's names, without the metrics that it derives from others."""
    reader = PageReader("agent", (), 1.0)
    read = reader.read(page(values, "dcgm").encode(), 100.0)
    assert (reader.rejected, reader.duplicates, reader.sentinels) == (0, 0, 0)
    metrics = {k.metric for k in values} - {"gpu_info"}
    return {k: v for k, v in zip(read.keys, read.values.tolist(), strict=True) if k.metric in metrics}


def test_our_own_reader_finds_the_same_values_on_the_page_in_dcgms_names() -> None:
    values = of_fields()
    read = read_dcgm({**values, about(): 1.0})
    assert set(read) == set(values)
    for known, value in values.items():
        assert read[known] == pytest.approx(value, rel=1e-12), known


@pytest.mark.parametrize("reasons", [(), ("idle",), ("power_brake", "idle"), tuple(r for r, _ in CLOCK_EVENTS)])
def test_reasons_that_hold_the_clocks_are_read_back(reasons: tuple[str, ...]) -> None:
    values = {key("gpu_clock_event_active", reason=r): float(r in reasons) for r, _ in CLOCK_EVENTS}
    assert read_dcgm(values) == values


def test_a_reason_that_is_unknown_makes_the_mask_unknown() -> None:
    values = {key("gpu_clock_event_active", reason=r): 0.0 for r, _ in CLOCK_EVENTS}
    values[key("gpu_clock_event_active", reason="idle")] = math.nan
    assert page(values, "dcgm") == ""


@pytest.mark.parametrize("node", [0.0, 1.0, 31.0])
def test_a_numa_node_is_read_back(node: float) -> None:
    assert read_dcgm({key("gpu_numa_node"): node}) == {key("gpu_numa_node"): node}


@pytest.mark.parametrize("node", [-1.0, 63.0, math.nan])
def test_no_numa_node_is_no_mask(node: float) -> None:
    assert page({key("gpu_numa_node"): node}, "dcgm") == ""


def test_labels_are_the_exporters_in_its_order() -> None:
    labels = tuple(sorted({**dict(BOARD), "pod": "a", "node_pool": "x"}.items()))
    text = page({key("gpu_power_watts", labels): 301.5, about(): 1.0}, "dcgm")
    assert text.splitlines()[-1] == (
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="3",UUID="{UUID}",pci_bus_id="00000000:0F:00.0",device="nvidia3",'
        'modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.1",DCGM_FI_DEV_SERIAL="7",'
        'pod="a",node_pool="x"} 301.5'
    )


def test_what_the_reader_takes_from_the_labels_is_gpu_info_again() -> None:
    batch = PageReader("agent", (), 1.0).read(
        page({key("gpu_temperature_celsius"): 60.0, about(): 1.0}, "dcgm").encode(), 1.0
    )
    (info,) = (k for k in batch.keys if k.metric == "gpu_info")
    assert set(info.labels) >= {*BOARD, ("driver_version", "550.1"), ("serial", "7"), ("device", "nvidia3")}


def test_a_mig_instance_keeps_its_profile_and_number() -> None:
    instance = key("gpu_memory_used_bytes", mig_profile="1g.10gb", gi_id="9")
    text = page({instance: float(1 << 30), key("gpu_power_watts"): 300.0}, "dcgm")
    assert 'GPU_I_PROFILE="1g.10gb",GPU_I_ID="9",Hostname="node-1"} 1024' in text
    assert read_dcgm({instance: float(1 << 30)}) == {instance: float(1 << 30)}


@pytest.mark.parametrize(
    ("name", "value", "printed"),
    [
        pytest.param("gpu_busy_ratio", 0.57, "57", id="percent"),
        pytest.param("gpu_energy_joules_total", 15152422.938, "15152422938", id="millijoules"),
        pytest.param("gpu_memory_used_bytes", float(20 << 30), "20480", id="MiB"),
        pytest.param("gpu_sm_clock_hertz", 1.41e9, "1410", id="MHz"),
        pytest.param("gpu_throttle_power_seconds_total", 2.5, "2500000000", id="nanoseconds"),
    ],
)
def test_units_are_dcgms(name: str, value: float, printed: str) -> None:
    assert page({key(name): value}, "dcgm").splitlines()[-1].rpartition(" ")[2] == printed


@pytest.mark.parametrize(
    "other",
    [
        key("gpu_processes"),
        key("gpu_nvlink_links_up"),
        key("gpu_power_watts_max"),
        key("gpu_nvlink_errors_total", kind="crc_data"),
        key("host_load1", ()),
    ],
)
def test_what_dcgm_has_no_field_for_is_left_out(other: SeriesKey) -> None:
    assert page({other: 1.0}, "dcgm") == ""


# --- OpenTelemetry's names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "labels", "expected", "more"),
    [
        ("gpu_busy_ratio", {}, "hw_gpu_utilization_ratio", {"hw_gpu_task": "general"}),
        ("gpu_encoder_ratio", {}, "hw_gpu_utilization_ratio", {"hw_gpu_task": "encoder"}),
        ("gpu_memory_used_bytes", {}, "hw_gpu_memory_usage_bytes", {}),
        ("gpu_memory_total_bytes", {}, "hw_gpu_memory_limit_bytes", {}),
        ("gpu_memory_used_ratio", {}, "hw_gpu_memory_utilization_ratio", {}),
        ("gpu_pcie_rx_bytes_total", {}, "hw_gpu_io_bytes_total", {"network_io_direction": "receive"}),
        ("gpu_power_watts", {}, "hw_power_watts", {}),
        ("gpu_energy_joules_total", {}, "hw_energy_joules_total", {}),
        ("gpu_temperature_celsius", {}, "hw_temperature_celsius", {"hw_sensor_location": "gpu"}),
        ("gpu_ecc_uncorrected_total", {}, "hw_errors_total", {"error_type": "uncorrected"}),
        ("gpu_nvlink_errors_total", {"kind": "replay"}, "hw_errors_total", {"error_type": "nvlink_replay"}),
        ("gpu_sm_active_ratio", {}, "sigmascale_gpu_sm_active_ratio", {}),
        ("gpu_xid_events_total", {"xid": "79"}, "sigmascale_gpu_xid_events_total", {"xid": "79"}),
    ],
)
def test_a_gpus_values_have_conventional_names(
    name: str, labels: dict[str, str], expected: str, more: dict[str, str]
) -> None:
    attributes = {
        "host_name": "node-1",
        "hw_id": UUID,
        "hw_name": "gpu3",
        "hw_model": "NVIDIA H100 80GB HBM3",
        "hw_type": "gpu",
        "hw_vendor": "NVIDIA",
    }
    ((found, value),) = samples(page({key(name, **labels): 0.5}, "otel")).items()
    assert found == (expected, tuple(sorted((attributes | more).items())))
    assert value == 0.5


def test_a_mig_instance_has_an_id_of_its_own_and_the_gpu_as_parent() -> None:
    ((_, labels),) = samples(page({key("gpu_memory_used_bytes", gi_id="9"): 1.0}, "otel"))
    assert (dict(labels)["hw_id"], dict(labels)["hw_parent"]) == (f"{UUID}/9", UUID)


def test_the_limit_of_the_temperature_is_what_it_is_and_what_is_left() -> None:
    found = samples(page({key("gpu_temperature_celsius"): 60.0, key("gpu_temperature_margin_celsius"): 23.0}, "otel"))
    assert [v for (name, _), v in found.items() if name == "hw_temperature_limit_celsius"] == [83.0]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        pytest.param({"gpu_up": 1.0}, "ok", id="a GPU that answers"),
        pytest.param({"gpu_up": 1.0, "gpu_lost": 0.0, "gpu_recovery_action": 0.0}, "ok", id="and is well"),
        pytest.param({"gpu_up": 0.0}, "failed", id="one that does not answer"),
        pytest.param({"gpu_up": 0.0, "gpu_lost": 1.0}, "failed", id="one that is lost"),
        pytest.param({"gpu_up": 1.0, "gpu_row_remap_failed": 1.0}, "failed", id="one without spare rows"),
        pytest.param({"gpu_up": 1.0, "gpu_recovery_action": 2.0}, "predicted_failure", id="one that wants a reset"),
        pytest.param({"gpu_up": 1.0, "gpu_power_watts": 999.0}, "ok", id="load is no fault"),
    ],
)
def test_the_status_is_what_the_driver_says(said: dict[str, float], state: str) -> None:
    found = samples(page({key(name): value for name, value in said.items()}, "otel"))
    states = {dict(labels)["hw_state"]: value for (name, labels), value in found.items() if name == "hw_status"}
    assert states == {one: float(one == state) for one in ("ok", "degraded", "predicted_failure", "failed")}


@pytest.mark.parametrize(("reason", "state"), [("thermal_hardware", "degraded"), ("power_cap", "ok"), ("idle", "ok")])
def test_a_gpu_that_is_slowed_down_by_a_fault_is_degraded(reason: str, state: str) -> None:
    values = {key("gpu_up"): 1.0, key("gpu_clock_event_active", reason=reason): 1.0}
    found = samples(page(values, "otel"))
    assert [dict(k[1])["hw_state"] for k, v in found.items() if k[0] == "hw_status" and v] == [state]


def test_a_gpu_that_does_not_say_whether_it_is_up_has_no_status() -> None:
    assert "hw_status" not in page({key("gpu_up"): math.nan, key("gpu_lost"): 0.0}, "otel")


def test_every_name_of_the_conventions_ends_in_its_unit() -> None:
    for name, name_there in otel_names.NAMES.items():
        known = metric(name)
        assert known is not None, name
        assert (known.kind == "counter") == name_there.name.endswith("_total"), name
        unit = {"bytes": "_bytes", "ratio": "_ratio", "watts": "_watts", "celsius": "_celsius"}.get(known.unit, "")
        assert unit in name_there.name, name


# --- whole pages --------------------------------------------------------------------------------------------------


def pages(values: dict[SeriesKey, float], names: Iterable[str] = ("canonical",)) -> tuple[Pages, list[float]]:
    """Pages over fixed values, and when somebody looked at these."""
    looked: list[float] = []
    known = batch(values)

    def look() -> Snapshot:
        looked.append(100.0)
        now = Current(3.0)
        now.add([known], 100.0)
        return now.snapshot(100.25)

    own_page = own.render([("agent_series", (), 1.0)], ())
    return Pages(tuple(names), look, lambda: own_page, (("host", "node-1"),)), looked  # type: ignore[arg-type]


def test_a_page_is_rendered_once_a_second_however_many_ask() -> None:
    made, looked = pages(everything())
    first = [made.page("/metrics", 100.0 + n / 100) for n in range(100)]
    assert len({id(page) for page in first}) == 1
    assert made.page("/metrics/dcgm", 100.5).text
    assert len(looked) == 1, "pages of one second show the same moment"
    assert made.page("/metrics", 101.0) is not first[0]
    assert made.page("/metrics", 50.0).text, "a clock that went back"
    assert len(looked) == 3


def test_the_compressed_page_says_the_same() -> None:
    made, _ = pages(everything())
    found = made.page("/metrics", 100.0)
    assert gzip.decompress(found.packed) == found.text
    assert len(found.packed) < len(found.text) / 4


@pytest.mark.parametrize("names", [*itertools.combinations(NAMES, 1), *itertools.combinations(NAMES, 2), NAMES])
def test_the_main_page_has_the_names_that_were_chosen(names: tuple[str, ...]) -> None:
    made, _ = pages({key("gpu_power_watts"): 300.0}, names)
    text = made.page("/metrics", 100.0).text.decode()
    there = {
        "canonical": "\ngpu_power_watts{" in text,
        "dcgm": "\nDCGM_FI_DEV_POWER_USAGE{" in text,
        "otel": "\nhw_power_watts{" in text,
    }
    assert {name for name, found in there.items() if found} == set(names)
    assert "\nsigmascale_agent_series 1\n" in text
    for one in NAMES:
        assert made.page(f"/metrics/{one}", 100.0).text, "pages by name are there whatever was chosen"
    with pytest.raises(KeyError):
        made.page("/metrics/other", 100.0)


def test_the_age_of_a_gpus_newest_sample_is_told_as_of_the_page() -> None:
    made, _ = pages({key("gpu_power_watts"): 300.0, key("gpu_sample_age_seconds", source="gauge"): 9.0})
    found = samples(made.page("/metrics", 100.0).text.decode())
    ages = {k: v for k, v in found.items() if k[0] == "gpu_sample_age_seconds"}
    assert ages == {("gpu_sample_age_seconds", (("host", "node-1"), ("source", "nvml"), ("uuid", UUID))): 0.25}


@pytest.mark.peer
@pytest.mark.parametrize("names", ["canonical", "otel"])
def test_promtool_finds_nothing_to_complain_about(names: str) -> None:
    values = {**everything(), key("gpu_power_watts_max"): 420.0}
    made, _ = pages(values, (names,))
    text = made.page("/metrics", 100.0).text
    told = subprocess.run(
        [program("prometheus", "promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


def test_every_metric_of_the_agent_itself_is_rendered_with_help_and_type() -> None:
    points = [(m.name, ("x",) * len(m.labels), 1.0) for m in own.METRICS]
    text = own.render(points, (("host", "node-1"),))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families) == len(own.METRICS)
    assert all(sample.labels["host"] == "node-1" for family in families.values() for sample in family.samples)
    assert all((m.kind == "counter") == m.name.endswith("_total") for m in own.METRICS)
