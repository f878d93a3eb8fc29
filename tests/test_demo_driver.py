"""The load and the driver: what is sent when, and how the score is kept."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from aiohttp import web

from autoscaler.demo.driver import Driver, Score
from autoscaler.demo.load import PEAK_PER_S, Requests, compress, read_trace


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("duration_s", "speed"),
    [
        pytest.param(300.0, 1.0, id="five minutes"),
        pytest.param(90.0, 1.0, id="90 seconds"),
        pytest.param(300.0, 2.5, id="the window two and a half times"),
        pytest.param(300.0, 0.5, id="half of the window"),
        pytest.param(1200.0, 1.0, id="longer than the thinned trace has requests for"),
    ],
)
def test_the_load_stays_under_50_a_second_and_has_a_peak_and_a_fall(duration_s: float, speed: float, seed: int) -> None:
    requests = compress(read_trace(), duration_s, speed, seed)
    assert np.all(np.diff(requests.at_s) >= 0.0)
    assert requests.at_s[0] >= 0.0
    assert requests.at_s[-1] < duration_s
    per_s = np.bincount(requests.at_s.astype(int), minlength=int(duration_s))
    assert per_s.max() < 50
    parts = [part.mean() for part in np.array_split(per_s, 18)]
    assert max(parts) == pytest.approx(PEAK_PER_S, rel=0.25)
    first_high = int(np.argmax(np.array(parts) > 0.8 * max(parts)))
    assert min(parts[first_high:]) < 0.6 * max(parts)


def test_the_same_seed_sends_the_same_requests_and_another_one_does_not() -> None:
    first, again, other = (compress(read_trace(), 90.0, 1.0, seed) for seed in (7, 7, 8))
    assert np.array_equal(first.at_s, again.at_s)
    assert np.array_equal(first.output_tokens, again.output_tokens)
    assert not np.array_equal(first.at_s[:50], other.at_s[:50])


def test_sent_requests_have_the_lengths_and_order_of_the_trace() -> None:
    trace = read_trace()
    requests = compress(trace, 300.0, 1.0, 3)
    recorded = set(zip(trace.prompt_tokens.tolist(), trace.output_tokens.tolist(), strict=True))
    assert set(zip(requests.prompt_tokens.tolist(), requests.output_tokens.tolist(), strict=True)) <= recorded
    assert len(trace) == 19366


def test_the_score_tells_ok_from_lost_and_forgets_what_is_old_in_its_progress() -> None:
    score = Score(window_s=10.0)
    for at, latency_s, ok in ((0.0, 1.0, True), (1.0, 2.0, True), (20.0, 30.0, False)):
        score.count_sent(at)
        score.count_answer(at, latency_s, ok)
    now = score.progress(25.0, 90.0)
    assert (now.sent, now.ok, now.lost) == (3, 2, 1)
    assert now.sent_per_s == pytest.approx(0.1)
    assert now.latency_p99_s == 30.0
    assert score.quantile(0.5) == 2.0
    assert score.progress(60.0, 90.0).latency_p99_s is None
    assert Score().quantile(0.5) is None


def few(*at_s: float) -> Requests:
    ones = np.ones(len(at_s), dtype=np.int64)
    return Requests(np.array(at_s), ones, ones)


@pytest.mark.parametrize(
    ("status", "delay_s", "expected"),
    [
        pytest.param(200, 0.0, (3, 3, 0), id="a 2xx in time is ok"),
        pytest.param(503, 0.0, (3, 0, 3), id="a refusal is lost"),
        pytest.param(200, 5.0, (3, 0, 3), id="a 2xx after the deadline is lost"),
    ],
)
def test_lost_means_no_2xx_within_the_deadline(status: int, delay_s: float, expected: tuple[int, int, int]) -> None:
    async def story() -> Score:
        async def answer(request: web.Request) -> web.Response:
            assert await request.json() == {"prompt_tokens": 1, "max_tokens": 1}
            await asyncio.sleep(delay_s)
            return web.Response(status=status)

        app = web.Application()
        app.router.add_post("/v1/completions", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/completions"
            return await Driver(url, few(0.0, 0.01, 0.02), 1.0, deadline_s=0.3).run()
        finally:
            await runner.cleanup()

    score = asyncio.run(story())
    assert (score.sent, score.ok, score.lost) == expected


def test_the_next_request_does_not_wait_for_the_answer_to_the_last() -> None:
    async def story() -> tuple[int, Score]:
        together, inside = 0, 0
        everyone = asyncio.Event()

        async def answer(request: web.Request) -> web.Response:
            nonlocal together, inside
            inside += 1
            together = max(together, inside)
            if inside == 4:
                everyone.set()
            await everyone.wait()
            return web.Response()

        app = web.Application()
        app.router.add_post("/v1/completions", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/completions"
            return together, await Driver(url, few(0.0, 0.02, 0.04, 0.06), 1.0, deadline_s=5.0).run()
        finally:
            await runner.cleanup()

    _, score = asyncio.run(story())
    assert (score.sent, score.ok) == (4, 4)


def test_a_gateway_that_is_not_there_loses_every_request() -> None:
    score = asyncio.run(Driver("http://127.0.0.1:1/v1/completions", few(0.0, 0.0), 1.0, deadline_s=2.0).run())
    assert (score.sent, score.ok, score.lost) == (2, 0, 2)
