"""The table of canonical metrics and its look-ups."""

from __future__ import annotations

import re

import pytest

from autoscaler.signals import Metric, all_metrics, canonical, is_counter, metric, suggest
from collectors.dcgm import FIELDS
from collectors.engines import ALIASES, COMBINATIONS, NIM

UNITS = {
    "_bytes": "bytes",
    "_celsius": "celsius",
    "_hertz": "hertz",
    "_ratio": "ratio",
    "_seconds": "seconds",
    "_watts": "watts",
    "_bytes_per_second": "bytes/second",
    "_tokens": "tokens",
    "_joules_total": "joules",
    "_seconds_total": "seconds",
    "_bytes_total": "bytes",
}


def test_every_name_is_there_once() -> None:
    names = [m.name for m in all_metrics()]
    assert len(names) == len(set(names)) >= 100


@pytest.mark.parametrize("known", all_metrics(), ids=lambda m: m.name)
def test_a_name_follows_its_unit_and_kind(known: Metric) -> None:
    assert metric(known.name) is known
    assert re.fullmatch(r"[a-z][a-z0-9_]*", known.name)
    assert (known.kind == "counter") == known.name.endswith("_total")
    endings = [unit for ending, unit in UNITS.items() if known.name.endswith(ending)]
    assert not endings or known.unit in endings
    assert known.help
    assert not known.help.endswith(".")


def test_a_share_saturates_and_memory_in_use_only_asks_for_more() -> None:
    assert all(m.saturating for m in all_metrics() if m.ratio)
    assert [m.name for m in all_metrics() if m.scale_out_only and m.name.startswith("gpu_")] == [
        "gpu_memory_used_bytes",
        "gpu_memory_free_bytes",
        "gpu_memory_used_ratio",
        "gpu_process_memory_bytes",
    ]
    waiting = metric("requests_waiting")
    assert waiting is not None
    assert not waiting.saturating


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("gpu_utilization", "gpu_busy_ratio"),
        ("queue_length", "requests_waiting"),
        ("cpu_usage", "host_cpu_ratio"),
        ("orders_total", "orders_total"),
    ],
)
def test_an_alias_of_the_short_dialects_stands_for_its_metric(alias: str, name: str) -> None:
    assert canonical(alias) == name
    assert metric(alias) is metric(name)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        pytest.param("gpu_power_watts_max", "watts", id="the highest value"),
        pytest.param("gpu_sm_active_ratio_p95", "ratio", id="the 95th percentile of a share"),
        pytest.param("gpu_power_watts_count", "samples", id="how many there were"),
    ],
)
def test_an_aggregate_of_a_gauge_is_a_gauge_in_its_unit(name: str, unit: str) -> None:
    found = metric(name)
    assert found is not None
    assert (found.name, found.unit, found.kind) == (name, unit, "gauge")
    assert not is_counter(name)


@pytest.mark.parametrize(
    "name", ["gpu_energy_joules_total_max", "gpu_power_watts_sum", "max", "_max", "nothing_max", "ttft_max"]
)
def test_what_is_no_aggregate_of_a_gauge_is_unknown(name: str) -> None:
    assert metric(name) is None


def test_the_series_of_a_histogram_belong_to_it() -> None:
    assert metric("time_to_first_token_seconds_bucket") is metric("time_to_first_token_seconds")
    assert metric("requests_waiting_bucket") is None
    assert metric("unheard_of") is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("request_waiting", "requests_waiting"),
        ("gpu_utilisation", "gpu_utilization"),
        ("GPU_BUSY_RATIO", "gpu_busy_ratio"),
        ("time_to_first_token", "time_to_first_token_seconds"),
        ("zzz", None),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(written: str, meant: str | None) -> None:
    assert suggest(written) == meant


@pytest.mark.parametrize(
    ("name", "hint", "expected"),
    [
        pytest.param("request_success_total", "gauge", True, id="the table wins over a wrong type"),
        pytest.param("requests_waiting", "counter", False, id="also the other way"),
        pytest.param("gpu_nvlink_bytes_per_second", "counter", False, id="a rate that is typed as a counter"),
        pytest.param("time_to_first_token_seconds_bucket", "", True, id="a bucket of a canonical histogram"),
        pytest.param("orders", "counter", True, id="an unknown counter"),
        pytest.param("orders_total", "", True, id="a total without a type"),
        pytest.param("orders_total", "gauge", False, id="a total that is declared a gauge"),
        pytest.param("orders_sum", "histogram", True, id="a sum of a histogram"),
        pytest.param("orders_count", "", False, id="a count without a type"),
        pytest.param("orders", "summary", False, id="a quantile of a summary"),
    ],
)
def test_what_only_rises_is_a_counter(name: str, hint: str, expected: bool) -> None:
    assert is_counter(name, hint) is expected


def test_whatever_a_collector_maps_to_is_in_the_table() -> None:
    sides = {side for rule in COMBINATIONS for side in (rule.left, rule.right)}
    names = {f.metric for f in FIELDS} | set(ALIASES) | set(NIM) | {rule.metric for rule in COMBINATIONS}
    assert {name for name in names - sides if metric(name) is None} == set()
