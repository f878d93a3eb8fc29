"""The gateway: routing by table, everything else over real HTTP against real workers."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from autoscaler.demo.batching import Speed
from autoscaler.demo.driver import Driver
from autoscaler.demo.gateway import Gateway, http_endpoints
from autoscaler.demo.load import compress, read_trace
from autoscaler.demo.routing import Router
from autoscaler.demo.worker import Worker, WorkerOptions

REQUEST = {"prompt_tokens": 10, "max_tokens": 50}
QUICK = Speed(0.002, 0.0001, 0.0001)


@pytest.mark.parametrize(
    ("outstanding", "expected"),
    [
        pytest.param({}, "a", id="an idle fleet is served in turn"),
        pytest.param({"a": 1}, "b", id="the least busy one gets it"),
        pytest.param({"a": 2, "b": 2, "c": 1}, "c", id="even if it is the last on the list"),
        pytest.param({"a": 2, "b": 2, "c": 2}, None, id="nobody gets more than the limit"),
    ],
)
def test_a_request_goes_to_the_endpoint_with_the_fewest(outstanding: dict[str, int], expected: str | None) -> None:
    router = Router(concurrency=2, routable=("a", "b", "c"), outstanding=outstanding)
    assert router.take(0.0) == expected


def test_ties_are_broken_by_the_longest_rest() -> None:
    router = Router(concurrency=2)
    router.update(["a", "b"])
    taken = []
    for _ in range(4):
        address = router.take(0.0)
        assert address is not None
        router.give_back(address, 0.0)
        taken.append(address)
    assert taken == ["a", "b", "a", "b"]


def test_an_endpoint_off_the_list_gets_nothing_new_and_keeps_its_count() -> None:
    router = Router(concurrency=4)
    router.update(["a"])
    assert router.take(0.0) == "a"
    router.update(["b"])
    assert [router.take(0.0) for _ in range(2)] == ["b", "b"]
    assert router.outstanding["a"] == 1
    router.give_back("a", 0.0)
    router.update(["b"])
    assert "a" not in router.outstanding


def test_an_endpoint_that_refused_rests_for_a_moment() -> None:
    router = Router(concurrency=4, rest_s=0.5)
    router.update(["a"])
    assert router.take(0.0) == "a"
    router.give_back("a", 0.0, failed=True)
    assert router.take(0.4) is None
    assert router.take(0.5) == "a"


def unlisted(*addresses: str) -> Callable[[], Awaitable[list[str]]]:
    async def ask() -> list[str]:
        return list(addresses)

    return ask


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def worker(slots: int = 8, queue: int = 32, speed: Speed = QUICK) -> AsyncIterator[str]:
    """A loaded worker on this loop."""
    options = WorkerOptions(port=free_port(), boot_s=0.0, slots=slots, queue=queue, speed=speed)
    stop = asyncio.Event()
    serving = asyncio.create_task(Worker(options).serve(stop))
    address = f"127.0.0.1:{options.port}"
    await answers(f"http://{address}/health")
    try:
        yield address
    finally:
        stop.set()
        await serving


async def answers(url: str) -> None:
    async with asyncio.timeout(30.0), aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def gateway(made: Gateway) -> AsyncIterator[str]:
    await made.start()
    try:
        yield f"http://{made.address}"
    finally:
        await made.stop()


async def send(url: str, count: int = 1) -> list[int]:
    """Statuses of so many requests at once, in order."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> int:
            async with session.post(f"{url}/v1/completions", json=REQUEST) as answer:
                return answer.status

        return await asyncio.gather(*(one() for _ in range(count)))


async def metric(url: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        found = re.search(rf"^{name} (\S+)$", await answer.text(), re.MULTILINE)
    assert found is not None, f"{name} is not on the page"
    return float(found[1])


def test_requests_wait_while_there_is_no_endpoint_and_are_served_when_one_comes() -> None:
    async def story() -> None:
        listed: list[str] = []

        async def ask() -> list[str]:
            return listed

        async with worker() as address, gateway(Gateway(ask, refresh_s=0.02)) as url:
            sent = asyncio.create_task(send(url, 5))
            while await metric(url, "requests_waiting") < 5:
                await asyncio.sleep(0.01)
            assert await metric(url, "requests_arrived_total") == 5
            listed.append(address)
            assert await sent == [200] * 5
            assert await metric(url, "requests_waiting") == 0
            assert await metric(url, "gateway_request_duration_seconds_count") == 5

    asyncio.run(story())


def test_a_full_queue_rejects_at_once_and_counts_it_as_arrived_too() -> None:
    async def story() -> None:
        async with gateway(Gateway(unlisted(), queue=2, deadline_s=0.3)) as url:
            assert sorted(await send(url, 5)) == [503, 503, 503, 504, 504]
            assert await metric(url, "requests_arrived_total") == 5
            assert await metric(url, "requests_rejected_total") == 5
            assert await metric(url, "requests_waiting") == 0

    asyncio.run(story())


def test_a_dead_endpoint_on_the_list_loses_nothing() -> None:
    async def story() -> None:
        async with worker() as address:
            dead = f"127.0.0.1:{free_port()}"
            async with gateway(Gateway(unlisted(dead, address), refresh_s=0.02)) as url:
                assert await send(url, 20) == [200] * 20
                assert await metric(url, "gateway_retries_total") > 0

    asyncio.run(story())


def test_a_replica_that_resets_or_refuses_is_asked_no_more_for_the_same_request() -> None:
    async def story(answer: Callable[[web.Request], Awaitable[web.Response]]) -> None:
        app = web.Application()
        app.router.add_post("/v1/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sick = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with worker() as address, gateway(Gateway(unlisted(sick, address), refresh_s=0.02)) as url:
                assert await send(url, 10) == [200] * 10
        finally:
            await runner.cleanup()

    async def reset(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=503)

    asyncio.run(story(reset))
    asyncio.run(story(refuse))


def test_a_replica_never_has_more_than_its_share_at_once() -> None:
    async def story() -> None:
        async with worker(slots=2) as address:
            made = Gateway(unlisted(address), concurrency=3)
            async with gateway(made) as url:
                sent = asyncio.create_task(send(url, 12))
                seen = set()
                while not sent.done():
                    seen.add(made.router.outstanding.get(address, 0))
                    await asyncio.sleep(0.005)
                assert sent.result() == [200] * 12
                assert max(seen) == 3

    asyncio.run(story())


def test_a_wrong_request_is_the_callers_fault_and_not_sent_again() -> None:
    async def story() -> None:
        async with worker() as address, gateway(Gateway(unlisted(address))) as url:
            async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/completions", data=b"{}") as answer:
                assert answer.status == 400
                assert "prompt_tokens" in await answer.text()
            assert await metric(url, "gateway_retries_total") == 0

    asyncio.run(story())


def test_the_endpoints_page_is_read_with_its_token_and_a_failed_page_means_unknown() -> None:
    async def story() -> None:
        async def page(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != "Bearer secret":
                return web.Response(status=401)
            return web.json_response([
                {"targets": ["127.0.0.1:9001", "127.0.0.1:9002"], "labels": {"pool": "chat"}},
                {"targets": ["127.0.0.1:9003"], "labels": {}},
            ])  # fmt: skip

        async def broken(request: web.Request) -> web.Response:
            return web.Response(text="<html>", content_type="application/json")

        app = web.Application()
        app.router.add_get("/endpoints", page)
        app.router.add_get("/broken", broken)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with aiohttp.ClientSession() as session:
                expected = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"]
                assert await http_endpoints(session, f"{url}/endpoints", "secret")() == expected
                assert await http_endpoints(session, f"{url}/endpoints")() is None
                assert await http_endpoints(session, f"{url}/broken")() is None
                assert await http_endpoints(session, f"http://127.0.0.1:{free_port()}/")() is None
        finally:
            await runner.cleanup()

    asyncio.run(story())


def test_an_unknown_list_keeps_the_endpoints_that_were_known() -> None:
    async def story() -> None:
        async with worker() as address:
            answers: list[list[str] | None] = [[address], None]

            async def ask() -> list[str] | None:
                return answers.pop(0) if len(answers) > 1 else answers[0]

            made = Gateway(ask, refresh_s=0.01)
            async with gateway(made) as url:
                while len(answers) > 1:
                    await asyncio.sleep(0.01)
                assert await send(url, 3) == [200] * 3

    asyncio.run(story())


def test_draining_one_of_two_worker_processes_under_load_loses_no_request() -> None:
    """Leave the list, then SIGTERM at once, while a part of the trace is played; the process ends with 0."""

    async def start() -> tuple[asyncio.subprocess.Process, str]:
        port = free_port()
        arguments = ("-m", "autoscaler.demo.worker", "--port", str(port), "--boot", "0")
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
        await answers(f"http://127.0.0.1:{port}/health")
        return process, f"127.0.0.1:{port}"

    async def story() -> None:
        started = await asyncio.gather(start(), start())
        (leaving, first), (_, second) = started
        listed = [first, second]

        async def ask() -> list[str]:
            return listed

        try:
            made = Gateway(ask)
            async with gateway(made) as url:
                requests = compress(read_trace(), duration_s=8.0, speed=1.0, seed=1, peak_per_s=8.0)
                driver = Driver(f"{url}/v1/completions", requests, 8.0)
                running = asyncio.create_task(driver.run())
                while driver.score.sent < 20 or not made.router.outstanding.get(first):
                    await asyncio.sleep(0.02)
                listed.remove(first)
                leaving.send_signal(signal.SIGTERM)
                score = await running
                assert score.sent == score.ok == len(requests)
                assert score.lost == 0
                async with asyncio.timeout(10.0):
                    assert await leaving.wait() == 0
        finally:
            for process, _ in started:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    asyncio.run(story())
