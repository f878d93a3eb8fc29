"""What becomes of pages that are wrong, large or slow, each from a real server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import socket

import pytest

import collectors.scraping.scraper
from collectors.scraping.scraper import Target
from tests.peers.pages import Answer, Pages, answer, hang, raw, until
from tests.peers.scraping import LABELS, PAGE, asked, gather, scraping, target

GZIP = "Content-Encoding: gzip\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


async def stall(writer: asyncio.StreamWriter) -> None:
    """Send half the page and then nothing more."""
    writer.write(CHUNKED + b"7\r\njobs 3\n\r\n")
    await hang(writer)


BOMB = gzip.compress(b"# " + bytes(4 << 20))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(
            answer(b"oh no", "500 Internal Server Error"),
            "answered HTTP 500 Internal Server Error, expected 200",
            id="HTTP 500",
        ),
        pytest.param(
            answer(b"", "404 Not Found"), "answered HTTP 404 Not Found, expected 200; check the path", id="404"
        ),
        pytest.param(
            answer(b"", "401 Unauthorized"),
            "answered HTTP 401 Unauthorized, expected 200; give the target a token_file",
            id="a page for those who have a password",
        ),
        pytest.param(
            answer(b"", "302 Found", more="Location: /elsewhere\r\n"),
            "redirects (HTTP 302) to /elsewhere; redirects are not followed",
            id="a redirect is not followed",
        ),
        pytest.param(
            answer(b"", "302 Found", more="Location: https://ada:l0ve@sso:1/login?token=abc#x\r\n"),
            "redirects (HTTP 302) to https://sso:1/login; redirects are not followed",
            id="a redirect is named without what logs in",
        ),
        pytest.param(
            answer(b"<html>login</html>", content_type="text/html; charset=utf-8"),
            "answered with type 'text/html', expected text/plain",
            id="an HTML page",
        ),
        pytest.param(
            answer(b"\n <!DOCTYPE html><p>Bad gateway"),
            "the page is HTML or XML although its type says otherwise",
            id="an HTML page that says it is plain text",
        ),
        pytest.param(
            answer(b"{}", content_type="application/json"),
            "answered with type 'application/json'",
            id="a wrong content type",
        ),
        pytest.param(
            answer(b"hello there, world\nwelcome to my page !\n"),
            "not one line of 2 is a sample: the line 'hello there, world'",
            id="a page of prose",
        ),
        pytest.param(
            raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\njobs 3\n"),
            "the page broke off before its end",
            id="half a page by its length",
        ),
        pytest.param(
            raw(CHUNKED + b"7\r\njobs 3\n\r\n"), "the page broke off before its end", id="half a page in chunks"
        ),
        pytest.param(raw(b""), "the connection was closed without an answer", id="a connection closed at once"),
        pytest.param(raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "the answer is not HTTP", id="another protocol"),
        pytest.param(
            answer(gzip.compress(PAGE)[:-12], more=GZIP),
            "the gzip page broke off before its end",
            id="half a gzip page",
        ),
        pytest.param(answer(PAGE, more=GZIP), "the page says that it is gzip, which it is not", id="gzip that is none"),
        pytest.param(
            answer(PAGE, more="Content-Encoding: br\r\n"),
            "the page is encoded as 'br', which was not asked for",
            id="an unknown encoding",
        ),
        pytest.param(
            answer(BOMB, more=GZIP),
            "the page is larger than 1 MiB and was cut off; let the target show fewer series",
            id="a gzip bomb",
        ),
        pytest.param(
            answer(b"# " + bytes(2 << 20)),
            "the page is larger than 1 MiB and was cut off",
            id="a page too large by its length",
        ),
        pytest.param(
            raw(CHUNKED + b"200000\r\n" + bytes(2 << 20) + b"\r\n0\r\n\r\n"),
            "the page is larger than 1 MiB and was cut off",
            id="a page too large in chunks",
        ),
        pytest.param(hang, "no complete answer within 0.2 s; raise the target's timeout", id="a hanging server"),
        pytest.param(stall, "no complete answer within 0.2 s", id="a server that hangs within the page"),
    ],
)
def test_a_target_that_does_not_give_a_page_is_down_with_a_reason(bad: Answer, reason: str) -> None:
    timeout_s = 0.2 if bad in (hang, stall) else 3.0
    with (
        Pages({"/metrics": bad}) as pages,
        scraping(target(pages, timeout_s=timeout_s), max_page_bytes=1 << 20) as scraper,
    ):
        batch = gather(scraper, bool)[0]
        status = asked(scraper)
    assert reason in status.error
    assert not status.up
    assert status.last_at is None
    assert (batch.state, batch.keys, batch.values.tolist(), batch.labels) == ("down", (), [], LABELS)


def test_a_refused_connection_is_down_with_a_reason() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets the port, and it refuses
        port = taken.getsockname()[1]
        with scraping(Target(f"http://127.0.0.1:{port}/metrics", interval_s=0.05)) as scraper:
            assert (
                asked(scraper).error == f"cannot connect to 127.0.0.1:{port} (Connection refused); is it running there?"
            )


def test_a_page_of_100_megabytes_is_cut_off_at_the_default_limit() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for _ in range(100):
            writer.write(b"100000\r\n" + b"jobs 3\n" * (1 << 17) + bytes(1 << 17) + b"\r\n")
            await writer.drain()

    with Pages({"/metrics": endless}) as pages, scraping(target(pages, timeout_s=30, interval_s=0.2)) as scraper:
        until(lambda: scraper.status() and scraper.status()[0].error != "not asked yet", "the cut", 30)
        assert scraper.status()[0].error.startswith("the page is larger than 64 MiB and was cut off")


def test_a_large_page_within_the_limit_is_read() -> None:
    page = b"".join(b'jobs{kind="%06d"} %d\n' % (n, n) for n in range(30_000))
    assert len(page) > collectors.scraping.scraper.LARGE_PAGE_BYTES
    with Pages({"/metrics": answer(gzip.compress(page), more=GZIP)}) as pages, scraping(target(pages)) as scraper:
        batch = gather(scraper, bool)[0]
    assert (batch.state, len(batch.keys), batch.values.sum()) == ("up", 30_000, sum(range(30_000)))


def test_a_packed_page_that_does_not_say_so_is_unpacked() -> None:
    with Pages({"/metrics": answer(gzip.compress(PAGE))}) as pages, scraping(target(pages)) as scraper:
        status = asked(scraper)
    assert (status.up, status.lines, status.rejected) == (True, 2, 0)


def test_several_gzip_members_are_one_page() -> None:
    with (
        Pages({"/metrics": answer(gzip.compress(b"jobs 3\n") + gzip.compress(b"lanes 4\n"), more=GZIP)}) as pages,
        scraping(target(pages)) as scraper,
    ):
        assert sorted(gather(scraper, bool)[0].values.tolist()) == [3.0, 4.0]


def test_without_a_length_a_last_line_without_its_newline_is_not_believed() -> None:
    """The 12 may be the beginning of 1234."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    with Pages({"/metrics": raw(head + b"jobs 3\nlanes 12")}) as pages, scraping(target(pages)) as scraper:
        batch = gather(scraper, bool)[0]
    assert [(key.metric, value) for key, value in zip(batch.keys, batch.values, strict=True)] == [("jobs", 3.0)]
