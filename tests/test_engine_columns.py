"""Every column of the table of engines, row by row: canonical signal, value in base units, labels merged as stated."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autoscaler.signals import metric
from collectors.engines import ALIASES, COMBINATIONS, ENGINES, NIM, detect
from collectors.pages.account import meaning
from collectors.pages.grammar import parse
from collectors.pages.reader import PageReader
from collectors.pages.resolve import resolver

PAGES = Path(__file__).parent / "data" / "pages"
VLLM = "vllm/vllm_2026-03_qwen2.5-0.5b_engine-label.prom"
TFT, TPOT = "time_to_first_token_seconds", "time_per_output_token_seconds"

COLUMNS: dict[str, dict[str, float]] = {
    VLLM: {
        "requests_running": 0,
        "requests_waiting": 0,
        "kv_cache_used_ratio": 0,
        "kv_cache_capacity_tokens": 1626000,
        f"{TFT}_count": 0,
        f"{TPOT}_count": 0,
        "request_time_per_output_token_seconds_count": 0,
        "e2e_request_latency_seconds_count": 0,
        "request_queue_time_seconds_count": 0,
        "request_prefill_time_seconds_count": 0,
        "request_decode_time_seconds_count": 0,
        "request_inference_time_seconds_count": 0,
        "prompt_tokens_total": 0,
        "generation_tokens_total": 0,
        "request_prompt_tokens_count": 0,
        "request_generation_tokens_count": 0,
        "request_success_total": 0,
        "request_failure_total": 0,
        "preemptions_total": 0,
        "prefix_cache_queries_total": 0,
        "prefix_cache_hits_total": 0,
        "engine_asleep": 0,
        "requests_arrived_total": 0,
    },
    "written/sglang.prom": {
        "requests_running": 7,
        "requests_waiting": 3,
        "kv_cache_used_ratio": 0.28,
        "kv_cache_capacity_tokens": 454000,
        f"{TFT}_bucket": 14,
        f"{TFT}_sum": 1.5,
        f"{TFT}_count": 9,
        f"{TPOT}_bucket": 99,
        "e2e_request_latency_seconds_count": 9,
        "request_queue_time_seconds_sum": 0.7,
        "request_prefill_time_seconds_sum": 1.25,
        "prompt_tokens_total": 1200,
        "generation_tokens_total": 900,
        "generation_tokens_per_second": 812.5,
        "request_prompt_tokens_sum": 1200,
        "request_generation_tokens_sum": 900,
        "request_success_total": 9,
        "request_failure_total": 1,
        "preemptions_total": 0,
        "prefix_cache_hit_ratio": 0.75,
        "model_load_seconds": 41.5,
        "requests_arrived_total": 20,
    },
    "written/trtllm.prom": {
        "requests_running": 4,
        "requests_waiting": 2,
        "kv_cache_used_ratio": 0.5,
        "kv_cache_capacity_tokens": 64000,
        f"{TFT}_bucket": 3,
        f"{TPOT}_bucket": 30,
        "e2e_request_latency_seconds_sum": 12.5,
        "request_queue_time_seconds_sum": 0.5,
        "request_prefill_time_seconds_sum": 0.75,
        "request_decode_time_seconds_sum": 11,
        "request_inference_time_seconds_sum": 11.75,
        "prompt_tokens_total": 600,
        "generation_tokens_total": 90,
        "request_success_total": 3,
        "request_failure_total": 1,
        "prefix_cache_hit_ratio": 0.25,
        "requests_arrived_total": 10,
    },
    "written/triton.prom": {
        "requests_running": 6,
        "requests_waiting": 5,
        "kv_cache_used_ratio": 0.25,
        "kv_cache_capacity_tokens": 6400,
        "e2e_request_latency_seconds_sum": 2.5,
        "request_queue_time_seconds_sum": 0.5,
        "request_inference_time_seconds_sum": 1.5,
        "request_success_total": 40,
        "request_failure_total": 5,
        "requests_rejected_total": 3,
        "model_load_seconds": 12.5,
        "gpu_busy_ratio": 0.5,
        "gpu_memory_used_bytes": 1000,
        "gpu_memory_total_bytes": 2000,
        "gpu_power_watts": 99.5,
        "gpu_power_limit_watts": 300,
        "gpu_energy_joules_total": 4321,
        # Of the one model that says what runs: another model's requests are steps on the way to it.
        "requests_arrived_total": 46,
    },
    "triton/triton_doc_samples_2026-08.prom": {
        f"{TFT}_sum": 10.771,
        f"{TFT}_count": 37,
        "request_queue_time_seconds_sum": 0.01111,
        "request_success_total": 161,
    },
    "written/tgi.prom": {
        "requests_running": 4,
        "requests_waiting": 2,
        "kv_cache_capacity_tokens": 16000,
        f"{TPOT}_bucket": 21,
        "request_time_per_output_token_seconds_bucket": 21,
        "e2e_request_latency_seconds_bucket": 41,
        "e2e_request_latency_seconds_sum": 14.5,
        "request_queue_time_seconds_sum": 1.5,
        "request_inference_time_seconds_sum": 12.5,
        "prompt_tokens_total": 4000,
        "generation_tokens_total": 2100,
        "request_prompt_tokens_sum": 4000,
        "request_generation_tokens_count": 21,
        "request_success_total": 21,
        "request_failure_total": 4,
        "requests_rejected_total": 3,
        "requests_arrived_total": 31,
    },
    "written/nim.prom": {
        "requests_running": 4,
        "requests_waiting": 1,
        "kv_cache_used_ratio": 0.125,
        "num_request_max": 256,
        f"{TFT}_bucket": 8,
        f"{TPOT}_bucket": 80,
        "e2e_request_latency_seconds_count": 8,
        "prompt_tokens_total": 100,
        "generation_tokens_total": 200,
        "request_prompt_tokens_sum": 100,
        "request_generation_tokens_sum": 200,
        "request_success_total": 8,
        "requests_arrived_total": 13,
    },
    "written/dynamo.prom": {
        "requests_running": 5,
        "requests_waiting": 2,
        "kv_cache_used_ratio": 0.25,
        f"{TFT}_bucket": 50,
        f"{TPOT}_bucket": 500,
        "e2e_request_latency_seconds_sum": 75,
        "generation_tokens_total": 5000,
        "request_prompt_tokens_sum": 9000,
        "request_generation_tokens_sum": 5000,
        "request_success_total": 48,
        "request_failure_total": 2,
        "requests_rejected_total": 1,
        # A queued request is among those in flight.
        "requests_arrived_total": 55,
    },
    "written/ray_serve.prom": {
        "requests_running": 7,
        "requests_waiting": 9,
        "e2e_request_latency_seconds_bucket": 22,
        "e2e_request_latency_seconds_sum": 2.4,
        "request_queue_time_seconds_sum": 0.12,
        "request_success_total": 10,
        "request_failure_total": 2,
        "requests_arrived_total": 28,
    },
    "written/ray_vllm.prom": {
        "requests_running": 7,
        "requests_waiting": 9,
        "kv_cache_used_ratio": 0.5,
        "prompt_tokens_total": 100,
        "request_success_total": 5,
        "requests_arrived_total": 21,
    },
}

ROWS = [
    pytest.param(page, name, value, id=f"{Path(page).stem} {name}")
    for page, rows in COLUMNS.items()
    for name, value in rows.items()
]
Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(page: bytes, engine: str = "") -> tuple[Found, dict[str, bool]]:
    """Value of each series, and whether the metric is stored as a counter."""
    batch = PageReader("test", (), 5.0, resolver(engine)).read(page, 0.0)
    pairs = zip(batch.keys, batch.values.tolist(), strict=True)
    values = {(key.metric, key.labels): value for key, value in pairs if not math.isnan(value)}
    return values, {key.metric: key.counter for key in batch.keys}


def of_page(name: str) -> tuple[Found, dict[str, bool]]:
    return read((PAGES / name).read_bytes(), "nim" if "nim" in name else "")


@pytest.fixture(scope="module")
def pages() -> dict[str, tuple[Found, dict[str, bool]]]:
    return {name: of_page(name) for name in COLUMNS}


@pytest.mark.parametrize(("page", "name", "expected"), ROWS)
def test_a_row_of_an_engine_s_column_is_read_in_base_units(
    pages: dict[str, tuple[Found, dict[str, bool]]], page: str, name: str, expected: float
) -> None:
    found, counters = pages[page]
    total = sum(value for (series, _), value in found.items() if series == name)
    assert name in counters
    assert total == pytest.approx(expected)
    assert counters[name] == name.endswith(("_total", "_bucket", "_sum", "_count"))


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name)
def test_every_row_of_an_engine_occurs_on_a_page(
    engine: object, pages: dict[str, tuple[Found, dict[str, bool]]]
) -> None:
    """An alias that no page shows is one that nobody has tried."""
    sides = {side for rule in COMBINATIONS for side in (rule.left, rule.right)}
    seen = {series for found, counters in pages.values() for series in counters}
    wanted = {name for table in (ALIASES, NIM) for name in table if name not in sides}
    parts = {name for name in wanted if metric(name) is not None and metric(name).kind == "histogram"}  # type: ignore[union-attr]
    missing = {n for n in wanted if not ({n, f"{n}_bucket", f"{n}_sum", f"{n}_count"} if n in parts else {n}) & seen}
    assert missing == set()


# --- labels ---------------------------------------------------------------------------------------------------------


def labels_of(found: Found, name: str) -> list[dict[str, str]]:
    return [dict(labels) for series, labels in found if series == name]


def test_ranks_of_one_engine_are_one_series_and_their_labels_say_nothing_further() -> None:
    found, _ = of_page("written/sglang.prom")
    assert labels_of(found, "requests_running") == [{"engine_type": "unified", "model_name": "m"}]


def test_with_data_parallel_attention_the_lowest_rank_of_each_dp_rank_speaks() -> None:
    found, _ = of_page("written/sglang_dp_attention.prom")
    running = {dict(labels)["dp_rank"]: value for (name, labels), value in found.items() if name == "requests_running"}
    assert running == {"0": 2.0, "1": 5.0}
    used = [value for (name, _), value in found.items() if name == "kv_cache_used_ratio"]
    assert sorted(used) == [0.1, 0.2]


@pytest.mark.parametrize("order", [1, -1], ids=["as printed", "the other way round"])
def test_which_rank_speaks_does_not_depend_on_the_order_of_the_page(order: int) -> None:
    lines = [f'sglang:num_queue_reqs{{dp_rank="1",tp_rank="{rank}"}} {rank}' for rank in (2, 3)]
    found, _ = read("\n".join([*lines[::order], ""]).encode())
    assert found == {("requests_waiting", (("dp_rank", "1"),)): 2.0}


def test_a_cache_that_is_switched_off_has_no_hit_ratio() -> None:
    found, counters = of_page("written/sglang_dp_attention.prom")
    assert "prefix_cache_hit_ratio" in counters
    assert not any(name == "prefix_cache_hit_ratio" for name, _ in found)


def test_what_a_dynamo_worker_passes_on_is_marked() -> None:
    found, _ = of_page("written/dynamo_worker.prom")
    for name in ("requests_running", "requests_waiting", "preemptions_total"):
        assert [labels["passed_on"] for labels in labels_of(found, name)] == ["dynamo"]


def test_the_front_end_s_own_series_are_not_marked() -> None:
    found, _ = of_page("written/dynamo.prom")
    assert all("passed_on" not in dict(labels) for _, labels in found)


def test_a_counter_that_ray_prints_in_both_forms_counts_once() -> None:
    found, _ = of_page("written/ray_vllm.prom")
    assert [value for (name, _), value in found.items() if name == "prompt_tokens_total"] == [100.0]


def test_counters_whose_name_lacks_total_are_counters_without_a_type_too() -> None:
    _, counters = read(b"nv_inference_count 8\nnv_inference_exec_count 2\ntgi_request_count 3\nnv_unknown 1\n")
    assert counters == {
        "nv_inference_count": True,
        "nv_inference_exec_count": True,
        "tgi_request_count": True,
        "nv_unknown": False,
    }


def test_the_time_of_the_last_adapter_change_is_an_event_and_no_amount() -> None:
    page = b'# TYPE vllm:lora_requests_info gauge\nvllm:lora_requests_info{max_lora="4"} 1.7e9\n'
    _, counters = read(page)
    assert counters == {"vllm:lora_requests_info": False}
    assert meaning("vllm:lora_requests_info", "gauge") == ("unix seconds", "event")


# --- which engine ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (VLLM, ["vllm 0.10.2 or later"]),
        ("written/sglang.prom", ["sglang"]),
        ("written/trtllm.prom", ["trtllm"]),
        ("written/triton.prom", ["triton"]),
        ("written/tgi.prom", ["tgi"]),
        ("written/nim.prom", ["nim"]),
        ("written/dynamo.prom", ["dynamo"]),
        ("written/dynamo_worker.prom", ["vllm", "dynamo"]),
        ("written/ray_serve.prom", ["ray_serve 2.49.0"]),
        ("written/ray_vllm.prom", ["vllm 0.9.2 or later", "ray_serve 2.49.0"]),
        ("dcgm/l4_driver580.105.08_k8s_full.prom", []),
    ],
    ids=lambda given: Path(given).stem if isinstance(given, str) else "",
)
def test_a_page_gives_its_engine_and_releases_away(page: str, expected: list[str]) -> None:
    samples = parse((PAGES / page).read_bytes()).samples
    assert [fact.text for fact in detect((s.name, s.labels) for s in samples)] == expected


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param(["vllm:gpu_cache_usage_perc"], "vllm up to 0.11", id="a name that was removed"),
        pytest.param(["vllm:kv_cache_usage_perc"], "vllm 0.9.2 or later", id="a name that was added"),
        pytest.param(
            ["vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"], "vllm 0.9.2 to 0.11", id="both: between"
        ),
        pytest.param(["vllm:cpu_cache_usage_perc"], "vllm up to 0.10", id="a name that means no signal"),
        pytest.param(
            ["vllm:time_per_output_token_seconds_bucket"], "vllm up to 0.12", id="a part of a renamed histogram"
        ),
        pytest.param(["vllm:num_requests_running"], "vllm", id="a name of every release"),
    ],
)
def test_names_that_came_and_went_bound_the_release(names: list[str], text: str) -> None:
    (fact,) = detect((name, ()) for name in names)
    assert fact.text == text
    assert set(fact.proof) <= {name.removesuffix("_bucket") for name in names}


def test_a_release_that_a_series_names_is_believed() -> None:
    (fact,) = detect([("vllm:kv_cache_usage_perc", ()), ("vllm:build_info", (("version", "0.13.1"),))])
    assert (fact.text, fact.proof) == ("vllm 0.13.1", ("vllm:build_info",))


def test_the_version_of_a_model_is_not_that_of_its_engine() -> None:
    (fact,) = detect([("nv_inference_count", (("model", "m"), ("version", "7")))])
    assert fact.text == "triton"
