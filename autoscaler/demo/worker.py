"""An HTTP inference stand-in: `python -m autoscaler.demo.worker --port 9001 --boot 8 --slots 8`.

It loads no model: a boot delay stands for the load, and `batching` says how long requests take. Everything around
that is real: a process, a socket, a bounded queue, a vLLM-style metrics page and a SIGTERM that finishes its work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from dataclasses import dataclass, field

from aiohttp import web

from autoscaler.demo.batching import Batch, Job, Speed
from autoscaler.demo.worker_metrics import WorkerMetrics

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker is told on its command line.

    drain_s bounds the work after SIGTERM. lonely_s: it ends itself when nobody has asked it anything for that long,
    so that a demo that was killed leaves nothing running for good; 0 = never.
    """

    port: int
    host: str = "127.0.0.1"
    boot_s: float = 8.0
    slots: int = 8
    queue: int = 32
    cache_tokens: int = 24_576
    model: str = "stand-in-70b"
    drain_s: float = 60.0
    lonely_s: float = 0.0
    speed: Speed = field(default_factory=Speed)


@dataclass(slots=True)
class Worker:
    """The HTTP face of one batch. Not loaded: `/health` and requests answer 503, `/metrics` is there already."""

    options: WorkerOptions
    batch: Batch = field(init=False)
    metrics: WorkerMetrics = field(init=False)
    loaded: bool = False
    stopping: bool = False
    _asked_at: float = 0.0
    _answers: dict[Job, asyncio.Future[Job]] = field(default_factory=dict)
    _alarm: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.batch = Batch(self.options.slots, self.options.queue, self.options.speed)
        self.metrics = WorkerMetrics(self.batch, self.options.model, self.options.cache_tokens)

    def app(self) -> web.Application:
        """The routes."""

        async def note(request: web.Request, response: web.StreamResponse) -> None:
            self._asked_at = _now()

        app = web.Application(handler_args={"access_log": None})
        app.on_response_prepare.append(note)
        app.router.add_post("/v1/completions", self.complete)
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.page)
        return app

    async def health(self, request: web.Request) -> web.Response:
        """200 once loaded and until stopping, 503 otherwise."""
        if self.stopping:
            return web.Response(status=503, text="stopping")
        return web.Response(text="ok") if self.loaded else web.Response(status=503, text="loading the model")

    async def page(self, request: web.Request) -> web.Response:
        """The metrics as of now."""
        self._pump()
        return web.Response(body=self.metrics.page(), headers={"Content-Type": _METRICS_TYPE})

    async def complete(self, request: web.Request) -> web.Response:
        """Answer when the last token would have been generated; 503 with Retry-After when there is no place."""
        if not self.loaded or self.stopping:
            return _busy("stopping" if self.stopping else "loading the model")
        try:
            prompt_tokens, max_tokens = read_tokens(await request.read())
        except ValueError as fault:
            return web.json_response({"error": str(fault)}, status=400)
        self._pump()
        job = self.batch.submit(_now(), prompt_tokens, max_tokens)
        if job is None:
            return _busy(f"the queue of {self.options.queue} is full")
        answer = self._answers[job] = asyncio.get_running_loop().create_future()
        self._set_alarm()
        try:
            await answer
        except asyncio.CancelledError:
            self.batch.cancel(job)
            self.metrics.count_aborted()
            raise
        finally:
            self._answers.pop(job, None)
        return web.json_response({
            "object": "text_completion",
            "model": self.options.model,
            "choices": [{"index": 0, "text": "", "finish_reason": "length"}],
            "usage": {"prompt_tokens": job.prompt_tokens, "completion_tokens": job.max_tokens},
        })  # fmt: skip

    def _pump(self) -> None:
        """Bring the batch up to now and answer what has finished."""
        for job in self.batch.advance(_now()):
            self.metrics.count_finished(job)
            answer = self._answers.get(job)
            if answer is not None and not answer.done():
                answer.set_result(job)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        at = self.batch.next_at()
        self._alarm = None if at is None else asyncio.get_running_loop().call_at(at, self._pump)

    async def serve(self, stop: asyncio.Event) -> None:
        """Listen, load, serve; when `stop` is set take nothing new, finish what is in flight and return.

        Raises OSError when the port is taken.
        """
        runner = web.AppRunner(self.app(), shutdown_timeout=self.options.drain_s)
        await runner.setup()
        self._asked_at = _now()
        lonely = asyncio.create_task(self._stop_when_lonely(stop))
        try:
            await web.TCPSite(runner, self.options.host, self.options.port).start()
            try:
                await asyncio.wait_for(stop.wait(), self.options.boot_s)
            except TimeoutError:
                self.loaded = True
                await stop.wait()
            self.stopping = True
        finally:
            lonely.cancel()
            # Closes the listening socket and idle connections first, then waits for the requests in flight.
            await runner.cleanup()

    async def _stop_when_lonely(self, stop: asyncio.Event) -> None:
        if not self.options.lonely_s:
            return
        while (left_s := self._asked_at + self.options.lonely_s - _now()) > 0 or self._answers:
            await asyncio.sleep(max(left_s, 0.1))
        stop.set()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _busy(text: str) -> web.Response:
    return web.json_response({"error": text}, status=503, headers={"Retry-After": "1"})


def read_tokens(body: bytes) -> tuple[int, int]:
    """`prompt_tokens` and `max_tokens` of a request. Raises ValueError, whose text says what to send."""
    asked = json.loads(body or b"{}")
    fields = asked if isinstance(asked, dict) else {}
    return _count("prompt_tokens", fields.get("prompt_tokens")), _count("max_tokens", fields.get("max_tokens"))


def _count(name: str, given: object) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and 0 < given <= _MAX_TOKENS:
        return given
    raise ValueError(f"{name}: {given!r} is not a number of tokens; send an integer from 1 to {_MAX_TOKENS}")


def parse_arguments(arguments: list[str] | None = None) -> WorkerOptions:
    """The options of a command line; argparse ends the process with a message when it is wrong."""
    standard = WorkerOptions(port=0)
    parser = argparse.ArgumentParser(prog="python -m autoscaler.demo.worker", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default=standard.host)
    parser.add_argument("--boot", type=float, default=standard.boot_s, help="seconds of model load")
    parser.add_argument("--slots", type=int, default=standard.slots, help="requests in the batch")
    parser.add_argument("--queue", type=int, default=standard.queue, help="requests that may wait")
    parser.add_argument("--cache-tokens", type=int, default=standard.cache_tokens, help="size of the KV cache")
    parser.add_argument("--model", default=standard.model)
    parser.add_argument("--drain", type=float, default=standard.drain_s, help="seconds for work after SIGTERM")
    parser.add_argument("--lonely", type=float, default=0.0, help="end after so many seconds unasked; 0 = never")
    parser.add_argument("--step", type=float, default=standard.speed.step_s, help="seconds per step")
    parser.add_argument("--step-per-sequence", type=float, default=standard.speed.step_per_sequence_s)
    parser.add_argument("--prefill", type=float, default=standard.speed.prefill_per_token_s, help="seconds per token")
    given = parser.parse_args(arguments)
    if given.slots < 1 or given.queue < 0 or given.cache_tokens < 1:
        parser.error("--slots and --cache-tokens must be at least 1, --queue at least 0")
    return WorkerOptions(
        port=given.port,
        host=given.host,
        boot_s=given.boot,
        slots=given.slots,
        queue=given.queue,
        cache_tokens=given.cache_tokens,
        model=given.model,
        drain_s=given.drain,
        lonely_s=given.lonely,
        speed=Speed(given.step, given.step_per_sequence, given.prefill),
    )


async def _run(options: WorkerOptions) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await Worker(options).serve(stop)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM; 0 after a clean end, 1 when the port is taken."""
    options = parse_arguments(arguments)
    try:
        asyncio.run(_run(options))
    except OSError as refusal:
        print(f"port {options.port}: {refusal}; choose a free one with --port")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
