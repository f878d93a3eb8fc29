"""What the scraper and its parser cost: CPU seconds per million samples, over loopback, nothing else running in us.

A bare figure: no store, no rules, no peer beside it. The pages come from a process of their own, whose CPU is not
counted; every value on them changes with each request, as counters do.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from threading import Event

from autoscaler.clock import SystemClock, cpu_seconds, monotonic
from benchmarks.table import Row, show
from collectors.scraping.scraper import Scraper
from collectors.scraping.targets import Target

FIRST_PAGES_S = 60.0


def measure(targets: int = 50, lines: int = 300, interval_s: float = 1.0, seconds: float = 8.0) -> tuple[Row, ...]:
    """CPU seconds per million samples of this process, from the moment when every target has answered twice."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs, lines), daemon=True)
    server.start()
    try:
        port = ours.recv()
        pages = [Target(f"http://127.0.0.1:{port}/{n}", (("pool", "bench"),), interval_s) for n in range(targets)]
        wake = Event()
        clock = SystemClock()
        scraper = Scraper(pages, clock, wake)
        scraper.start()
        _warm_up(scraper, wake, targets)
        samples, late, spent_s, took_s = _count(scraper, clock, seconds)
        scraper.stop()
    finally:
        server.terminate()
        server.join()
    what = f"{targets} targets x {lines} lines every {interval_s:g} s"
    expected = targets * lines * took_s / interval_s
    return (
        Row(
            f"scrape and parse, warm, {what}", spent_s / samples * 1e6, "CPU s / million samples", lower_is_better=True
        ),
        Row(f"share of one core, {what}", spent_s / took_s * 100, "%", lower_is_better=True),
        Row(f"samples received of {expected:,.0f} expected", samples / expected * 100, "%"),
        Row("pages not read", late, "pages", target=0, lower_is_better=True),
    )


def run() -> list[Row]:
    """All rows at the usual size."""
    return list(measure())


def _warm_up(scraper: Scraper, wake: Event, targets: int) -> None:
    answers: dict[str, int] = {}
    deadline = monotonic() + FIRST_PAGES_S
    while len(answers) < targets or min(answers.values()) < 2:
        if monotonic() > deadline:
            errors = sorted({status.error for status in scraper.status() if status.error})
            raise SystemExit(f"not every target answered within {FIRST_PAGES_S:g} s: {errors}")
        wake.wait(1.0)
        wake.clear()
        for batch in scraper.collect(0.0):
            if batch.state == "up":
                answers[batch.source] = answers.get(batch.source, 0) + 1


def _count(scraper: Scraper, clock: SystemClock, seconds: float) -> tuple[int, int, float, float]:
    """Samples, pages that were not read, CPU seconds and seconds of the measured window."""
    samples = failed = 0
    began, spent = monotonic(), cpu_seconds()
    # Collected four times a second, as a tick would: a wake-up for each page would measure the waiting.
    while monotonic() - began < seconds:
        clock.wait(clock.now() + 0.25)
        for batch in scraper.collect(0.0):
            samples += len(batch.keys)
            failed += batch.state != "up"
    return samples, failed, cpu_seconds() - spent, monotonic() - began


def _serve(port: Connection, lines: int) -> None:
    """Serve a page of `lines` gauges and counters on every path, in the size of one line of a DCGM exporter."""
    places = "0123456789abcdef"
    series = [
        f'bench_metric_{n % 40}{{gpu="{n // 40}",UUID="GPU-{places}-{n // 40:04d}",device="nvidia{n // 40}",'
        f'modelName="NVIDIA H100 80GB HBM3",Hostname="node-{n // 40:04d}",container="engine",namespace="serving",'
        f'pod="chat-70b-{places[:10]}-{n:05d}"}}'
        for n in range(lines)
    ]
    asyncio.run(_answer(port, series))


async def _answer(port: Connection, series: Sequence[str]) -> None:
    requests = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                requests += 1
                page = "".join(f"{name} {requests + n}\n" for n, name in enumerate(series)).encode()
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(page)}\r\n\r\n"
                )
                writer.write(head.encode() + page)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
    port.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--targets", type=int, default=50)
    arguments.add_argument("--lines", type=int, default=300)
    arguments.add_argument("--interval", type=float, default=1.0, help="seconds")
    arguments.add_argument("--seconds", type=float, default=8.0, help="length of the measured window")
    given = arguments.parse_args()
    show(measure(given.targets, given.lines, given.interval, given.seconds), "scraper and parser")
