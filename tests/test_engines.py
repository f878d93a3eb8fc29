"""Pages of inference engines come out as canonical signals, in base units, with labels merged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.types import Batch
from collectors.engines import ALIASES, NIM
from collectors.pages.reader import PageReader
from collectors.pages.resolve import resolver

PAGES = Path(__file__).parent / "data" / "pages"

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def values(batch: Batch) -> Found:
    pairs = zip(batch.keys, batch.values.tolist(), strict=True)
    return {(key.metric, key.labels): value for key, value in pairs if not math.isnan(value)}


def read(page: bytes | str, engine: str = "") -> Found:
    reader = PageReader("test", (), 5.0, resolver(engine))
    return values(reader.read(page.encode() if isinstance(page, str) else page, 0.0))


def totals(found: Found) -> dict[str, float]:
    """Sum of each metric over its series."""
    sums: dict[str, float] = {}
    for (name, _), value in found.items():
        sums[name] = sums.get(name, 0.0) + value
    return sums


@pytest.fixture(scope="module")
def vllm() -> str:
    return (PAGES / "vllm" / "vllm_2026-03_qwen2.5-0.5b_engine-label.prom").read_text()


def test_a_page_of_vllm_gives_every_signal_that_the_engine_has(vllm: str) -> None:
    found = {name for name, _ in read(vllm)}
    assert {
        "requests_running",
        "requests_waiting",
        "kv_cache_used_ratio",
        "kv_cache_capacity_tokens",
        "request_success_total",
        "request_failure_total",
        "prompt_tokens_total",
        "generation_tokens_total",
        "preemptions_total",
        "prefix_cache_queries_total",
        "prefix_cache_hits_total",
        "engine_asleep",
    } <= found
    for histogram in (
        "time_to_first_token_seconds",
        "time_per_output_token_seconds",
        "request_time_per_output_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_inference_time_seconds",
        "request_prompt_tokens",
        "request_generation_tokens",
    ):
        assert {f"{histogram}_bucket", f"{histogram}_sum", f"{histogram}_count"} <= found
    assert not any(name.endswith("_created") for name in found)


def test_buckets_keep_their_bounds_and_are_counters(vllm: str) -> None:
    batch = PageReader("test", (("pool", "chat"),), 5.0).read(vllm.encode(), 0.0)
    buckets = [key for key in batch.keys if key.metric == "time_to_first_token_seconds_bucket"]
    assert all(key.counter for key in buckets)
    assert {"0.001", "0.1", "0.25", "2560.0", "+Inf"} <= {key.label("le") for key in buckets}
    assert {key.label("pool") for key in buckets} == {"chat"}


def test_a_histogram_whose_name_ends_in_total_is_no_counter_of_tokens(vllm: str) -> None:
    found = {name for name, _ in read(vllm)}
    assert "vllm:iteration_tokens_total_bucket" in found
    assert "iteration_tokens_total" not in found


def test_aborted_and_failed_requests_are_no_successes(vllm: str) -> None:
    page = vllm
    for reason, count in (("stop", 5), ("length", 3), ("repetition", 1), ("abort", 20), ("error", 40)):
        page = page.replace(
            f'finished_reason="{reason}",model_name="Qwen/Qwen2.5-0.5B-Instruct"}} 0.0',
            f'finished_reason="{reason}",model_name="Qwen/Qwen2.5-0.5B-Instruct"}} {count}',
        )
    found = totals(read(page))
    assert (found["request_success_total"], found["request_failure_total"]) == (9, 60)


def test_the_capacity_of_the_cache_is_a_product_of_two_labels() -> None:
    page = 'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000",swap_space="4"} 1.0\n'
    assert read(page) == {("kv_cache_capacity_tokens", (("engine", "0"),)): 16000.0}
    unknown = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0\n'
    assert "kv_cache_capacity_tokens" not in totals(read(unknown))


@pytest.mark.parametrize(
    "line",
    [
        f'vllm:cache_config_info{{num_gpu_blocks="{"9" * 400}",block_size="16"}} 1',
        'vllm:cache_config_info{num_gpu_blocks="None",block_size="16"} 1',
        'vllm:cache_config_info{num_gpu_blocks="1_0",block_size="16"} 1',
        'vllm:cache_config_info{num_gpu_blocks="\u0661",block_size="16"} 1',
        f'sglang:num_running_reqs{{dp_rank="0",tp_rank="{"9" * 5000}"}} 1',
        "trtllm_kv_cache_max_blocks 1e200\ntrtllm_kv_cache_tokens_per_block 1e200",
        'nvidia_smi_memory_used_bytes{uuid="1"} 1e308\nnvidia_smi_memory_free_bytes{uuid="1"} 1e308',
    ],
    ids=["too large", "no number", "underscores", "digits of another script", "a long rank", "a product", "a sum"],
)
def test_an_absurd_number_costs_nothing_but_itself(line: str) -> None:
    """Neither the page nor a sum of it: what no number can hold is no value."""
    batch = PageReader("test", (), 5.0).read(f"{line}\nother 2\n".encode(), 0.0)
    assert not np.isinf(batch.values).any()
    told = {key.metric: value for key, value in zip(batch.keys, batch.values.tolist(), strict=True)}
    assert told["other"] == 2.0
    assert math.isnan(told.get("kv_cache_capacity_tokens", math.nan))


@pytest.mark.parametrize(("awake", "asleep"), [(1, 0.0), (0, 1.0)])
def test_an_engine_sleeps_unless_it_is_awake(awake: int, asleep: float) -> None:
    found = totals(read(f'vllm:engine_sleep_state{{engine="0",sleep_state="awake"}} {awake}\n'))
    assert found["engine_asleep"] == asleep


def test_the_first_spelling_present_wins_and_two_are_never_added() -> None:
    new = 'vllm:kv_cache_usage_perc{model_name="m"} 0.5\n'
    old = 'vllm:gpu_cache_usage_perc{model_name="m"} 0.4\n'
    labels = (("model_name", "m"),)
    assert read(old + new) == {("kv_cache_used_ratio", labels): 0.5}
    assert read(old) == {("kv_cache_used_ratio", labels): 0.4}


def test_buckets_of_two_spellings_are_never_mixed() -> None:
    page = (
        'vllm:time_per_output_token_seconds_bucket{le="0.03"} 9\n'
        'vllm:time_per_output_token_seconds_bucket{le="+Inf"} 9\n'
        'vllm:inter_token_latency_seconds_bucket{le="0.05"} 7\n'
        'vllm:inter_token_latency_seconds_bucket{le="+Inf"} 8\n'
    )
    name = "time_per_output_token_seconds_bucket"
    assert read(page) == {(name, (("le", "0.05"),)): 7.0, (name, (("le", "+Inf"),)): 8.0}


def test_an_engine_that_is_upgraded_while_we_watch_changes_its_spelling() -> None:
    reader = PageReader("test", (), 5.0)
    reader.read(b"vllm:gpu_cache_usage_perc 0.4\nvllm:num_requests_waiting 1\n", 0.0)
    batch = reader.read(b"vllm:kv_cache_usage_perc 0.5\nvllm:num_requests_waiting 2\n", 5.0)
    assert values(batch) == {("kv_cache_used_ratio", ()): 0.5, ("requests_waiting", ()): 2.0}
    back = reader.read(b"vllm:gpu_cache_usage_perc 0.3\nvllm:num_requests_waiting 3\n", 10.0)
    assert values(back) == {("kv_cache_used_ratio", ()): 0.3, ("requests_waiting", ()): 3.0}


SPELLINGS = [
    f'{name}{{engine="{engine}"}} {value}\n'.encode()
    for value, name in enumerate(
        ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage", "vllm:num_requests_waiting"), 1
    )
    for engine in (0, 1)
]
PAGE = st.lists(st.sampled_from(SPELLINGS), max_size=6).map(b"".join)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(PAGE, max_size=4), PAGE)
def test_which_spelling_wins_depends_on_the_page_alone(before: list[bytes], page: bytes) -> None:
    warm, cold = PageReader("test", (), 5.0), PageReader("test", (), 5.0)
    for other in before:
        warm.read(other, 0.0)
    assert values(warm.read(page, 0.0)) == values(cold.read(page, 0.0))


def test_other_ranks_of_one_engine_are_left_out() -> None:
    page = 'sglang:num_queue_reqs{tp_rank="0"} 3\nsglang:num_queue_reqs{tp_rank="1"} 3\n'
    assert read(page) == {("requests_waiting", ()): 3.0}


def test_rank_0_speaks_for_its_engine_wherever_it_stands_on_the_page() -> None:
    lines = [f'sglang:num_queue_reqs{{model_name="m",tp_rank="{rank}"}} {rank + 3}\n' for rank in (1, 0, 2)]
    assert read("".join(lines)) == {("requests_waiting", (("model_name", "m"),)): 3.0}


def test_data_parallel_engines_stay_apart() -> None:
    page = 'vllm:num_requests_waiting{engine="0"} 3\nvllm:num_requests_waiting{engine="1"} 4\n'
    assert read(page) == {
        ("requests_waiting", (("engine", "0"),)): 3.0,
        ("requests_waiting", (("engine", "1"),)): 4.0,
    }


def test_retractions_count_only_when_they_rise() -> None:
    reader = PageReader("test", (), 5.0)
    seen = [values(reader.read(f"sglang:num_retracted_reqs {n}\n".encode(), 0.0)) for n in (2, 5, 1, 2)]
    assert [found["preemptions_total", ()] for found in seen] == [0.0, 3.0, 3.0, 4.0]


def test_a_histogram_in_milliseconds_gets_bounds_and_sum_in_seconds() -> None:
    found = read((PAGES / "triton" / "triton_doc_samples_2026-08.prom").read_bytes())
    model = (("model", "my_model"), ("version", "1"))
    bounds = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "time_to_first_token_seconds_bucket"
    }
    assert bounds == {"0.1": 8.0, "0.5": 30.0, "2.0": 36.0, "5.0": 37.0, "+Inf": 37.0}
    assert found["time_to_first_token_seconds_sum", model] == pytest.approx(10.771)
    assert found["time_to_first_token_seconds_count", model] == 37.0


def test_quantiles_of_a_summary_are_left_out() -> None:
    found = read((PAGES / "triton" / "triton_doc_samples_2026-08.prom").read_bytes())
    assert not any("quantile" in dict(labels) for _, labels in found)


@pytest.mark.parametrize("name", ["ray_vllm:num_requests_running", "ray_vllm_num_requests_running"])
def test_vllm_inside_ray_is_vllm(name: str) -> None:
    assert read(f"{name} 5\n") == {("requests_running", ()): 5.0}


def test_without_a_counted_error_every_request_of_ray_serve_succeeded() -> None:
    batch = PageReader("test", (), 5.0).read(b'ray_serve_deployment_request_counter_total{deployment="d"} 5\n', 0.0)
    (success,) = [key for key in batch.keys if key.metric == "request_success_total"]
    assert success.counter
    assert values(batch)["request_success_total", success.labels] == 5.0


def test_a_counter_counts_with_and_without_total() -> None:
    assert read("tgi_request_success_total 5\n") == {("request_success_total", ()): 5.0}
    assert read("vllm:prompt_tokens 5\n") == {("prompt_tokens_total", ()): 5.0}


def test_names_without_a_prefix_mean_nim_only_at_a_target_that_is_said_to_be_nim() -> None:
    assert read("num_requests_running 5\n") == {("num_requests_running", ()): 5.0}
    assert read("num_requests_running 5\n", "nim") == {("requests_running", ()): 5.0}


def test_a_canonical_name_means_itself() -> None:
    batch = PageReader("test", (), 5.0).read(b"requests_waiting 5\nrequests_arrived_total 7\n", 0.0)
    assert [(key.metric, key.counter) for key in batch.keys] == [
        ("requests_waiting", False),
        ("requests_arrived_total", True),
    ]


def test_what_a_counter_was_created_is_no_measurement() -> None:
    assert read("# TYPE orders_created gauge\norders_created 1.7e9\n") == {}


def test_no_alias_stands_for_two_signals_of_the_same_series() -> None:
    # A mean per request is all that TGI says of the time between tokens, so it stands in for that too.
    twice = {"tgi_request_mean_time_per_token_duration"}
    seen: dict[tuple[object, ...], str] = {}
    for table in (ALIASES, NIM):
        for name, aliases in table.items():
            for alias in aliases if name != "request_time_per_output_token_seconds" else ():
                assert alias.name not in twice or name == "time_per_output_token_seconds"
                assert seen.setdefault((id(table), alias.name, alias.where), name) == name
