"""Signals as PromQL: what is asked, and that real parsers take every one of it."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.signals import all_metrics
from autoscaler.types import Query
from collectors.prometheus.promql import expression, spellings
from tests.peers.programs import program

PLAIN = Query("chat", "it", 5.0, 0.0, metric="requests_waiting")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(
            replace(PLAIN, metric="jobs"), 'sum(jobs{pool="chat"})', id="a pool without a match is found by its label"
        ),
        pytest.param(
            replace(PLAIN, metric="jobs", match=(("app", "chat"), ("zone", "b"))),
            'sum(jobs{app="chat", zone="b"})',
            id="a match finds the targets",
        ),
        pytest.param(
            replace(PLAIN, metric="jobs", where=(("queue", 'a"b\\c'),)),
            'sum(jobs{pool="chat", queue="a\\"b\\\\c"})',
            id="quotes and backslashes are escaped",
        ),
        pytest.param(
            replace(PLAIN, metric="jobs_total", rate_s=90.0),
            'sum(rate(jobs_total{pool="chat"}[90s]))',
            id="a rate before the sum",
        ),
        pytest.param(
            replace(PLAIN, metric="jobs_total", rate_s=0.5),
            'sum(rate(jobs_total{pool="chat"}[500ms]))',
            id="windows are whole numbers",
        ),
        pytest.param(
            replace(PLAIN, metric="jobs", aggregate="quantile", quantile=0.9),
            'quantile(0.9, jobs{pool="chat"})',
            id="a quantile across series",
        ),
        pytest.param(
            replace(PLAIN, metric="wait_seconds", quantile=0.99, over_s=60.0),
            'histogram_quantile(0.99, sum by (le) (rate(wait_seconds_bucket{pool="chat"}[60s])))',
            id="a quantile over time is of buckets",
        ),
        pytest.param(replace(PLAIN, promql="up"), "up", id="a query that a person wrote stays as it is"),
    ],
)
def test_a_signal_is_asked_as(query: Query, expected: str) -> None:
    found = expression(query)
    assert found is not None
    assert found.value == expected


def test_a_metric_is_looked_for_under_every_name_the_canonical_one_first() -> None:
    names = [spelling.name for spelling in spellings("requests_waiting")]
    assert names[0] == "requests_waiting"
    assert {"vllm:num_requests_waiting", "sglang:num_queue_reqs", "tgi_queue_size"} <= set(names)


@pytest.mark.parametrize(
    ("metric", "name", "factor"),
    [
        pytest.param("gpu_busy_ratio", "DCGM_FI_DEV_GPU_UTIL", 0.01, id="a percentage"),
        pytest.param("gpu_busy_ratio", "DCGM_FI_DEV_GPU_UTIL_RATIO", 0.01, id="a percentage that is called a ratio"),
        pytest.param("gpu_sm_active_ratio", "DCGM_FI_PROF_SM_UTIL_RATIO", 1.0, id="a ratio under its new name"),
        pytest.param("gpu_memory_used_bytes", "DCGM_FI_DEV_FB_USED", float(1 << 20), id="mebibytes"),
        pytest.param("request_queue_time_seconds_sum", "nv_inference_queue_duration_us", 1e-6, id="microseconds"),
        pytest.param("e2e_request_latency_seconds_count", "tgi_request_duration_count", 1.0, id="a histogram's count"),
    ],
)
def test_units_there_are_brought_to_ours(metric: str, name: str, factor: float) -> None:
    assert {s.name: s.factor for s in spellings(metric)}[name] == factor


def test_a_name_that_no_store_can_hold_is_not_asked_for() -> None:
    assert expression(replace(PLAIN, metric='x"} or vector(1) #')) is None


def test_promtool_takes_every_canonical_metric_in_every_form(tmp_path: Path) -> None:
    queries = []
    for metric in all_metrics():
        plain = replace(PLAIN, metric=metric.name, match=(("app", "chat"),))
        queries.append(plain)
        if metric.kind == "histogram":
            queries.append(replace(plain, quantile=0.95, over_s=60.0))
        if metric.kind == "counter":
            queries.append(replace(plain, rate_s=60.0, aggregate="mean"))
    asked = [found.question for query in queries if (found := expression(query)) is not None]
    assert len(asked) == len(queries)
    rules = [{"record": f"r:{n}", "expr": text} for n, text in enumerate(asked)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    tool = program("prometheus", "promtool")
    checked = subprocess.run([tool, "check", "rules", str(path)], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr[-2000:]
    assert f"{len(asked)} rules found" in checked.stdout
