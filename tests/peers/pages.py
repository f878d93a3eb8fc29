"""A small real HTTP server on loopback whose answers are written byte by byte, so that they can be wrong in any way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from autoscaler.clock import monotonic

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(
    body: bytes, status: str = "200 OK", content_type: str = "text/plain; version=0.0.4", more: str = ""
) -> Answer:
    """A complete answer with its length."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return raw(head.encode() + body, close=False)


def raw(answer_bytes: bytes, close: bool = True) -> Answer:
    """These bytes and nothing else; then the connection is closed, or kept for the next request."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(answer_bytes)
        await writer.drain()
        if close:
            writer.close()

    return write


async def hang(writer: asyncio.StreamWriter) -> None:
    """Accept the request and never answer it."""
    await asyncio.Event().wait()


class Pages:
    """Serves `answers` (path -> how it is answered) until the `with` block ends; a path may be changed meanwhile."""

    def __init__(self, answers: dict[str, Answer] | None = None) -> None:
        self.answers = answers or {}
        self.requests: list[str] = []
        self.connections = 0
        self.port = 0
        self._connected: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Pages:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    async def _close(self) -> None:
        self._server.close()
        for writer in self._connected:
            writer.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._connected.add(writer)
        try:
            while request := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.requests.append(request)
                await self.answers[request.split(" ")[1]](writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            # Only the end of the `with` block cancels; asyncio would log what a connection's task raises.
            pass
        finally:
            self._connected.discard(writer)
            writer.close()


def until(happened: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    """Return as soon as `happened()` is true; fail after `within_s`."""
    deadline = monotonic() + within_s
    pause = threading.Event()
    while not happened():
        assert monotonic() < deadline, f"not within {within_s:g} s: {what}"
        pause.wait(0.005)


@contextmanager
def without_waiting(fault_s: float) -> Iterator[None]:
    """What is done here must not wait for a fault that lasts `fault_s`; fails when it took half as long.

    Machines that run tests are shared and stall: a long fault tells waiting from not waiting, a tight bound does not.
    """
    began = monotonic()
    yield
    took_s = monotonic() - began
    assert took_s < fault_s / 2, f"took {took_s:.1f} s, while something hung for {fault_s:g} s"
