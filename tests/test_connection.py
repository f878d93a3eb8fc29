"""The scraper's own HTTP client against servers that are right in unusual ways, and wrong in usual ones."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from collectors.scraping.connection import BUFFER_BYTES
from collectors.scraping.fetch import Page, PageError, fetch, open_session
from collectors.scraping.targets import Target
from tests.peers.pages import Answer, Pages, answer, raw
from tests.peers.programs import program

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def fetched(pages: Pages, times: int = 1, limit: int = 1 << 20, path: str = "/metrics", user: str = "") -> list[Page]:
    """Pages of one target over one session."""

    async def ask() -> list[Page]:
        url = pages.url(path).replace("://", f"://{user}")
        async with open_session() as session:
            return [await fetch(session, Target(url, timeout_s=3.0), limit) for _ in range(times)]

    return asyncio.run(ask())


def dribble(whole: bytes, piece: int = 1) -> Answer:
    """The bytes in pieces, each in a packet of its own."""

    async def write(writer: asyncio.StreamWriter) -> None:
        for n in range(0, len(whole), piece):
            writer.write(whole[n : n + piece])
            await writer.drain()
            await asyncio.sleep(0)

    return write


CHUNKS = b"5;ext=1\r\na 1\nb\r\n0003\r\n 2\n\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(raw(OK + b"Content-Length: 8\r\n\r\na 1\nb 2\n", close=False), id="a length"),
        pytest.param(
            raw(OK + b"Content-Length: 8\r\nContent-Length: 8\r\n\r\na 1\nb 2\n", close=False),
            id="one length said twice",
        ),
        pytest.param(raw(OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, close=False), id="chunks with trailers"),
        pytest.param(raw(OK + b"\r\na 1\nb 2\n"), id="the end of the connection"),
        pytest.param(raw(b"HTTP/1.0 200\r\nContent-Length: 8\r\n\r\na 1\nb 2\n"), id="HTTP/1.0 without a reason"),
        pytest.param(
            raw(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 8\r\n\r\na 1\nb 2\n", close=False),
            id="an announcement before",
        ),
        pytest.param(dribble(OK + b"content-LENGTH:8\r\n\r\na 1\nb 2\n"), id="byte by byte"),
        pytest.param(dribble(OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS), id="chunks byte by byte"),
    ],
)
def test_an_answer_may_end_in_three_ways(given: Answer) -> None:
    with Pages({"/metrics": given}) as pages:
        assert [page.body for page in fetched(pages, times=2)] == [b"a 1\nb 2\n"] * 2


@pytest.mark.parametrize("size", [BUFFER_BYTES - 200, BUFFER_BYTES, 3 * BUFFER_BYTES + 7])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_page_around_the_size_of_the_buffer_arrives_whole(size: int, framing: str) -> None:
    body = b"jobs 3\n" * (size // 7)
    given: dict[str, Callable[[], Answer]] = {
        "length": lambda: answer(body),
        "chunked": lambda: raw(
            OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n", close=False
        ),
        "close": lambda: raw(OK + b"\r\n" + body),
    }
    with Pages({"/metrics": given[framing]()}) as pages:
        assert all(page.body == body for page in fetched(pages, times=3, limit=4 << 20))


def test_a_connection_that_was_closed_between_two_scrapes_is_opened_again_unnoticed() -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        await answer(b"jobs 3\n")(writer)
        writer.close()

    with Pages({"/metrics": once}) as pages:
        assert len(fetched(pages, times=3)) == 3
        assert pages.connections == 3


def test_a_server_that_asks_to_close_is_obeyed() -> None:
    with Pages({"/metrics": answer(b"jobs 3\n", more="Connection: close\r\n")}) as pages:
        fetched(pages, times=2)
        assert pages.connections == 2


def test_what_comes_behind_an_answer_is_not_taken_for_the_next_one() -> None:
    with Pages({"/metrics": raw(OK + b"Content-Length: 7\r\n\r\njobs 3\njobs 4\n", close=False)}) as pages:
        assert [page.body for page in fetched(pages, times=2)] == [b"jobs 3\n"] * 2
        assert pages.connections == 2


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param(OK + b"Content-Length: -7\r\n\r\n", "its length is '-7'", id="a length below nothing"),
        pytest.param(
            OK + b"Content-Length: 8\r\ncontent-length: 3\r\n\r\na 1\nb 2\n",
            "it has two lengths, 8 and 3",
            id="two lengths",
        ),
        pytest.param(OK + b"no colon\r\n\r\n", "it has the header 'no colon'", id="a header without a name"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "a chunk has the size 'zz'", id="a size that is none"
        ),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            "a chunk is longer than it says",
            id="a chunk that lies",
        ),
        pytest.param(OK + b"X: " + b"y" * 40_000, "it begins with 'HTTP/1.1 200 OK", id="a head without an end"),
        pytest.param(b"HTTP/2 200 OK\r\n\r\n", "it begins with 'HTTP/2 200 OK", id="another version"),
    ],
)
def test_an_answer_that_breaks_the_protocol_is_named(given: bytes, reason: str) -> None:
    with Pages({"/metrics": raw(given)}) as pages, pytest.raises(PageError) as caught:
        fetched(pages)
    assert str(caught.value).startswith("the answer is not HTTP (")
    assert reason in str(caught.value)


def test_the_user_in_an_address_is_sent_and_the_path_is_quoted() -> None:
    with Pages({"/a%20b?x=1": answer(b"jobs 3\n")}) as pages:
        fetched(pages, path="/a b?x=1", user="ada:l%40ve@")
    request = pages.requests[0]
    assert request.startswith("GET /a%20b?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert f"Authorization: Basic {base64.b64encode(b'ada:l@ve').decode()}\r\n" in request
    assert "ada" not in request.splitlines()[1]


def test_a_name_that_nobody_knows_is_named() -> None:
    async def ask() -> None:
        async with open_session() as session:
            await fetch(session, Target("http://no-such-host.invalid:9400/metrics"), 1 << 20)

    with pytest.raises(PageError, match=r"cannot connect to no-such-host\.invalid:9400 \(.+\); is it running there"):
        asyncio.run(ask())


def test_a_page_behind_tls_is_read_when_its_certificate_is_trusted_and_refused_when_not(tmp_path: Path) -> None:
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext"]
    command += ["subjectAltName=DNS:localhost", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run(command, check=True, capture_output=True)
    body = b"jobs 3\n" * 40_000

    async def ask(trusted: bool) -> list[Page]:
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ours.load_cert_chain(tmp_path / "cert", tmp_path / "key")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                    await writer.drain()

        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ours) as server, open_session() as session:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}/metrics"
            target = Target(url, ca_file=tmp_path / "cert" if trusted else None)
            return [await fetch(session, target, 1 << 20) for _ in range(2)]

    assert [page.body for page in asyncio.run(ask(True))] == [body] * 2
    with pytest.raises(PageError, match=r"cannot connect to localhost:\d+ \(self.signed certificate\)"):
        asyncio.run(ask(False))


def test_a_server_without_tls_that_is_asked_for_it_is_told_apart_from_one_that_is_away() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server, open_session() as session:
            port = server.sockets[0].getsockname()[1]
            await fetch(session, Target(f"https://127.0.0.1:{port}/m"), 1 << 20)

    with pytest.raises(PageError, match=r"cannot connect to .+; does it speak TLS\? Else write http://"):
        asyncio.run(ask())
