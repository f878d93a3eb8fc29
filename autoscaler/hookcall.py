"""One call of a drain hook: an HTTP request or a command, bounded in time and in what it may answer.

What is sent as a header comes from a file or the environment and is in no text of ours.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import selectors
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, urlsplit

from autoscaler.clock import monotonic
from autoscaler.movement import DrainHook
from autoscaler.types import Instance

if TYPE_CHECKING:
    import httpx

ANSWER_BYTES = 64 << 10
HEADER_BYTES = 8 << 10
SHOWN = 200
LOOK_S = 0.05
_PRIVATE = ("SIGMASCALE_", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """What came of one call. in_flight: requests inside the instance as its answer counts them; None = it does not."""

    ok: bool
    text: str
    in_flight: int | None = None


class _RefusedError(Exception):
    """The call is not made, or its answer not taken; the message says why."""


def call(hook: DrainHook, instance: Instance, hosts: Iterable[str]) -> HookAnswer:
    """Calls once, for `hook.timeout_s` at most. hosts: whom it may ask besides the instance itself."""
    filled = fields(instance)
    try:
        if hook.url:
            # Whoever names an instance must not write our URLs; host and port are checked below.
            written = {
                n: quote(text, safe="") if n in ("instance", "pool", "offer") else text for n, text in filled.items()
            }
            url = hook.url.format(**written)
            return asyncio.run(_ask(hook, url, instance, frozenset(hosts)))
        return _command([word.format(**filled) for word in hook.words], hook.timeout_s)
    except _RefusedError as error:
        return HookAnswer(False, str(error))


def fields(instance: Instance) -> dict[str, str]:
    """What templates of a hook may hold. address is host:port of what it serves."""
    address = instance.address or ""
    host, _, port = address.rpartition(":")
    names = ("address", "host", "port", "instance", "pool", "offer")
    return dict(zip(names, (address, host, port, instance.id, instance.pool, instance.offer), strict=True))


# --- HTTP ---------------------------------------------------------------------------------------------------------


async def _ask(hook: DrainHook, url: str, instance: Instance, hosts: frozenset[str]) -> HookAnswer:
    import httpx

    shown = f"{hook.method} {_shown(url)}"
    try:
        # The time-outs of httpx are those of one read; only this one bounds an answer that drips.
        async with asyncio.timeout(hook.timeout_s):
            await _allowed(url, instance, hosts)
            sent = _headers(hook)
            status, body = await _exchange(hook, url, sent)
    except TimeoutError:
        return HookAnswer(False, f"{shown}: no answer in {hook.timeout_s:g} s")
    except _RefusedError as error:
        return HookAnswer(False, f"{shown}: {error}")
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        # Only the class: the text of some errors repeats the URL, query included.
        return HookAnswer(False, f"{shown}: {type(error).__name__}")
    ok = 200 <= status < 300
    counted = _in_flight(body) if ok else None
    told = "" if counted is None else f", {counted} in flight"
    return HookAnswer(ok, f"{shown}: {status}{told}", counted)


async def _exchange(hook: DrainHook, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    import httpx

    # A context without authorities is made in no time; it is not used for plain HTTP.
    tls: ssl.SSLContext | bool = True if url.startswith("https://") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # No redirects and no proxies: whoever answers must not choose who is asked next, or be shown the headers.
    async with (
        httpx.AsyncClient(timeout=hook.timeout_s, follow_redirects=False, trust_env=False, verify=tls) as client,
        client.stream(hook.method, url, headers=dict(headers)) as response,
    ):
        return response.status_code, await _body(response)


async def _body(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes(4096):
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise _RefusedError(f"{response.status_code}, but answers more than {ANSWER_BYTES} bytes")
    return body


async def _allowed(url: str, instance: Instance, hosts: frozenset[str]) -> None:
    """Only the instance itself and hosts that the service's configuration names; never a cloud's metadata service."""
    host = (urlsplit(url).hostname or "").lower()
    if not host:
        raise _RefusedError("the instance has no address yet")
    own = (instance.address or "").rpartition(":")[0].strip("[]").lower()
    if host != own and host not in hosts:
        raise _RefusedError(
            f"host {host} is neither the instance nor one of hook_hosts; add it to the service's configuration"
        )
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise _RefusedError(f"host {host} has no address") from None
    for address in {ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found}:
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            raise _RefusedError(f"host {host} is {address}, where clouds keep credentials; no hook may ask it")


def _headers(hook: DrainHook) -> dict[str, str]:
    found = {"user-agent": "sigmascale"}
    for name, file in hook.header_files:
        try:
            with Path(file).open("rb") as opened:
                value = opened.read(HEADER_BYTES + 1).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not ASCII text"
            raise _RefusedError(f"header {name}: {file} cannot be read ({why})") from None
        found[name] = value
    for name, variable in hook.header_variables:
        if variable not in os.environ:
            raise _RefusedError(f"header {name}: the service has no variable {variable}")
        found[name] = os.environ[variable].strip()
    for name, value in found.items():
        if not value or len(value) > HEADER_BYTES or _UNPRINTABLE.search(value):
            raise _RefusedError(f"header {name}: its value is empty, too long or not one line of text")
    return found


def _shown(url: str) -> str:
    """Without the query, where people put what others should not read."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:SHOWN]


# --- commands -----------------------------------------------------------------------------------------------------


def _command(words: Sequence[str], timeout_s: float) -> HookAnswer:
    """Runs it in a group of its own, which ends with it when it takes too long or says too much."""
    env = {name: text for name, text in os.environ.items() if not name.startswith(_PRIVATE)}
    try:
        process = subprocess.Popen(
            words,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _RefusedError(f"{words[0]}: cannot be started ({why}); name a program that the service may run") from None
    try:
        said = _output(process, monotonic() + timeout_s, words[0], timeout_s)
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    counted = _in_flight(said) if process.returncode == 0 else None
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    last = _UNPRINTABLE.sub(" ", lines[-1])[:SHOWN] if lines else ""
    text = f"{words[0]}: exit code {process.returncode}" + (f", {last}" if last else "")
    return HookAnswer(process.returncode == 0, text, counted)


def _output(process: subprocess.Popen[bytes], until: float, name: str, timeout_s: float) -> bytes:
    """What it prints until it ends. A child that it leaves behind may hold the pipe open for ever."""
    pipe: IO[bytes] | None = process.stdout
    assert pipe is not None
    os.set_blocking(pipe.fileno(), False)
    said, open_ = b"", True
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while open_ or process.poll() is None:
            ended = process.poll() is not None
            if monotonic() > until:
                raise _RefusedError(f"{name}: does not end in {timeout_s:g} s")
            ready = selector.select(LOOK_S) if open_ else []
            if not open_:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)
            if ready:
                chunk = os.read(pipe.fileno(), 1 << 16)
                open_, said = bool(chunk), said + chunk
            elif ended:
                break
            if len(said) > ANSWER_BYTES:
                raise _RefusedError(f"{name}: prints more than {ANSWER_BYTES} bytes")
    return said


# --- answers ------------------------------------------------------------------------------------------------------


def _in_flight(body: bytes) -> int | None:
    """The count in an answer such as {"in_flight": 3}, or in its last line; None for any other answer."""
    for text in (body.strip(), body.strip().rpartition(b"\n")[2]):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        counted = found.get("in_flight") if isinstance(found, dict) else None
        if isinstance(counted, int) and not isinstance(counted, bool) and 0 <= counted <= 1_000_000_000:
            return counted
    return None
