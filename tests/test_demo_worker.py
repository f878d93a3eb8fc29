"""The worker stand-in: its arithmetic by hand-worked cases, its process by real HTTP and a real SIGTERM."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.clock import SystemClock
from autoscaler.demo.batching import Batch, Speed
from autoscaler.demo.worker import parse_arguments, read_tokens

TENTHS = Speed(step_s=0.1, step_per_sequence_s=0.05, prefill_per_token_s=0.01)
FAST = ("--step", "0.002", "--step-per-sequence", "0.0001", "--prefill", "0.0001")


def test_a_lone_request_takes_its_prefill_and_one_step_a_token() -> None:
    batch = Batch(slots=4, queue_limit=4, speed=TENTHS)
    batch.advance(10.0)
    job = batch.submit(10.0, prompt_tokens=20, max_tokens=5)
    assert job is not None
    assert batch.next_at() == pytest.approx(10.2)
    assert batch.advance(10.94) == []
    assert batch.advance(11.0) == [job]
    assert job.first_token_at == pytest.approx(10.2 + 0.15)
    assert job.finished_at == pytest.approx(10.2 + 5 * 0.15)


def test_a_second_request_slows_the_first() -> None:
    batch = Batch(slots=4, queue_limit=4, speed=Speed(0.1, 0.05, 0.0))
    first = batch.submit(0.0, 1, 10)
    assert batch.advance(0.75) == []
    second = batch.submit(0.75, 1, 2)
    assert batch.advance(100.0) == [second, first]
    assert first is not None
    assert second is not None
    assert second.finished_at == pytest.approx(0.75 + 2 * 0.20)
    assert first.finished_at == pytest.approx(0.75 + 2 * 0.20 + 3 * 0.15)


def test_the_queue_is_first_in_first_out_and_bounded() -> None:
    batch = Batch(slots=1, queue_limit=2, speed=TENTHS)
    jobs = [batch.submit(0.0, 1, 1) for _ in range(4)]
    assert jobs[3] is None
    assert [job is not None and job.started_at for job in jobs[:3]] == [0.0, None, None]
    assert batch.advance(60.0) == jobs[:3]


def test_a_request_whose_caller_has_gone_leaves_its_slot_to_the_next() -> None:
    batch = Batch(slots=1, queue_limit=2, speed=TENTHS)
    first, second, third = (batch.submit(0.0, 1, 10) for _ in range(3))
    assert first is not None
    assert third is not None
    batch.cancel(third)
    batch.cancel(first)
    assert batch.running == [second]
    assert not batch.waiting


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.floats(0.0, 2.0), st.integers(1, 3000), st.integers(1, 400)), min_size=1, max_size=30
    ),
    start=st.sampled_from([0.0, 5.0e5, 1.7e9]),
    late_s=st.floats(0.0, 3.0),
)
def test_every_accepted_request_finishes_in_the_order_of_its_events_however_late_one_looks(
    arrivals: list[tuple[float, int, int]], start: float, late_s: float
) -> None:
    batch, now, accepted, finished = Batch(slots=3, queue_limit=100, at=start), start, [], []
    for gap_s, prompt_tokens, max_tokens in arrivals:
        now += gap_s
        finished += batch.advance(now)
        accepted.append(batch.submit(now, prompt_tokens, max_tokens))
        assert len(batch.running) <= 3
    while batch.running:
        at = batch.next_at()
        assert at is not None
        now = max(now, at) + late_s
        finished += batch.advance(now)
    assert len(finished) == len(accepted)
    for job in finished:
        assert job.started_at is not None
        assert job.first_token_at is not None
        assert job.finished_at is not None
        assert job.arrived_at <= job.started_at <= job.first_token_at <= job.finished_at
        alone_s = job.max_tokens * Speed().step(1) + job.prompt_tokens * Speed().prefill_per_token_s
        assert job.finished_at - job.started_at >= alone_s - 1e-4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def worker(*arguments: str, boot: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    command = [sys.executable, "-m", "autoscaler.demo.worker", "--port", str(port), "--boot", str(boot), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def wait_for(url: str, status: int) -> httpx.Response:
    clock = SystemClock()
    until = clock.now() + 30.0
    while clock.now() < until:
        try:
            answer = httpx.get(url)
        except httpx.TransportError:
            pass
        else:
            if answer.status_code == status:
                return answer
        clock.wait(clock.now() + 0.05)
    raise AssertionError(f"{url} did not answer {status} within 30 s")


def test_a_worker_is_not_healthy_while_it_loads_but_shows_its_metrics() -> None:
    with worker(boot=1.0) as (_, url):
        loading = wait_for(f"{url}/health", 503)
        assert loading.text == "loading the model"
        page = httpx.get(f"{url}/metrics")
        assert page.status_code == 200
        assert "vllm:num_requests_running" in page.text
        refused = httpx.post(f"{url}/v1/completions", json={"prompt_tokens": 1, "max_tokens": 1})
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert wait_for(f"{url}/health", 200).text == "ok"


def test_the_page_counts_what_was_served_under_vllm_names() -> None:
    with worker(*FAST, "--model", "tiny") as (_, url):
        wait_for(f"{url}/health", 200)
        answer = httpx.post(f"{url}/v1/completions", json={"prompt_tokens": 100, "max_tokens": 20})
        assert answer.status_code == 200
        assert answer.json()["usage"] == {"prompt_tokens": 100, "completion_tokens": 20}
        page = httpx.get(f"{url}/metrics")
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {
        (s.name, s.labels.get("finished_reason", s.labels.get("le", ""))): s.value
        for family in text_string_to_metric_families(page.text)
        for s in family.samples
        if s.labels.get("model_name") == "tiny" and s.labels.get("engine") == "0"
    }
    assert samples["vllm:num_requests_running", ""] == 0
    assert samples["vllm:num_requests_waiting", ""] == 0
    assert samples["vllm:kv_cache_usage_perc", ""] == 0
    assert samples["vllm:request_success_total", "length"] == 1
    assert samples["vllm:prompt_tokens_total", ""] == 100
    assert samples["vllm:generation_tokens_total", ""] == 20
    assert samples["vllm:time_to_first_token_seconds_count", ""] == 1
    assert samples["vllm:inter_token_latency_seconds_count", ""] == 19
    assert samples["vllm:inter_token_latency_seconds_bucket", "0.01"] == 19
    assert samples["vllm:e2e_request_latency_seconds_count", ""] == 1
    assert samples["vllm:e2e_request_latency_seconds_sum", ""] == pytest.approx(0.01 + 20 * 0.0021, rel=0.01)


def test_a_full_queue_answers_503_and_the_others_are_served() -> None:
    async def send_five(url: str) -> list[int]:
        async def send() -> int:
            async with session.post(f"{url}/v1/completions", json={"prompt_tokens": 1, "max_tokens": 150}) as answer:
                return answer.status

        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(send() for _ in range(5)))

    with worker(*FAST, "--slots", "2", "--queue", "1") as (_, url):
        wait_for(f"{url}/health", 200)
        assert sorted(asyncio.run(send_five(url))) == [200, 200, 200, 503, 503]


def test_sigterm_finishes_the_requests_in_flight_and_exits_with_zero() -> None:
    async def stop_under_load(process: subprocess.Popen[str], url: str) -> list[int]:
        async with aiohttp.ClientSession() as session:

            async def send() -> int:
                async with session.post(f"{url}/v1/completions", json={"prompt_tokens": 1, "max_tokens": 300}) as a:
                    return a.status

            sent = [asyncio.create_task(send()) for _ in range(6)]
            while True:
                async with session.get(f"{url}/metrics") as page:
                    text = await page.text()
                if re.search(r"num_requests_running{.*} 4\.0", text) and re.search(r"requests_waiting{.*} 2\.0", text):
                    break
            os.kill(process.pid, signal.SIGTERM)
            return await asyncio.gather(*sent)

    with worker(*FAST, "--slots", "4") as (process, url):
        wait_for(f"{url}/health", 200)
        assert asyncio.run(stop_under_load(process, url)) == [200] * 6
        assert process.wait(timeout=10) == 0


def test_a_worker_that_nobody_asks_any_more_ends_itself() -> None:
    with worker("--lonely", "0.5") as (process, _):
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"{}", "prompt_tokens: None is not a number of tokens", id="nothing"),
        pytest.param(b"[]", "prompt_tokens: None is not a number of tokens", id="a list"),
        pytest.param(b'{"prompt_tokens": 1, "max_tokens": 0}', "max_tokens: 0 is not", id="zero tokens"),
        pytest.param(b'{"prompt_tokens": true, "max_tokens": 1}', "prompt_tokens: True is not", id="a truth value"),
        pytest.param(b"{", "Expecting property name", id="half a body"),
    ],
)
def test_a_request_without_token_counts_is_told_what_to_send(body: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_tokens(body)


def test_a_worker_says_when_its_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "autoscaler.demo.worker", "--port", port],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert f"port {port}" in ended.stdout
    assert "choose a free one with --port" in ended.stdout


def test_a_worker_without_slots_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--port", "1", "--slots", "0"])
    assert "--slots and --cache-tokens must be at least 1" in capsys.readouterr().err
