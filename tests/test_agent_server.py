"""The agent's HTTP server, asked over real sockets by clients that behave and by those that do not."""

from __future__ import annotations

import gzip
import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from autoscaler.agent.server import HEAD_BYTES, IDLE_S, REQUEST_S, Answer, Limits, Server
from autoscaler.clock import monotonic
from autoscaler.errors import SigmascaleError
from tests.peers.pages import until, without_waiting
from tests.peers.programs import program

PAGE = b"a 1\n" * 1000
BIG = b"x" * (8 << 20)
GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
SECRET = "a-secret-of-20-letters"


def respond(path: str) -> Answer:
    match path:
        case "/metrics":
            return Answer(200, PAGE, "text/plain; version=0.0.4; charset=utf-8", gzip.compress(PAGE))
        case "/big":
            return Answer(200, BIG)
        case "/healthz":
            return Answer(200, b"ok\n")
        case _:
            return Answer(404, b"no\n")


@contextmanager
def serving(
    limits: Limits | None = None, secret: str | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    server = Server("127.0.0.1", 0, respond, secret, frozenset({"/healthz"}), tls, limits or Limits())
    server.start()
    try:
        yield server
    finally:
        with without_waiting(min(REQUEST_S, IDLE_S)):
            server.stop()


def client(server: Server) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5))


def raw(server: Server, text: bytes) -> bytes:
    """All that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connected:
        connected.sendall(text)
        found = b""
        while more := connected.recv(1 << 16):
            found += more
        return found


def test_a_page_is_served_again_and_again_on_one_connection() -> None:
    with serving() as server, client(server) as connection:
        for _ in range(3):
            connection.request("GET", "/metrics?name[]=a")
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, PAGE)
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert (server.connections, server.answered) == (1, {200: 3})


def test_who_takes_gzip_gets_it() -> None:
    with serving() as server, client(server) as connection:
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip, deflate"})
        response = connection.getresponse()
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(response.read()) == PAGE


def test_a_head_has_no_body() -> None:
    with serving() as server, client(server) as connection:
        connection.request("HEAD", "/metrics")
        response = connection.getresponse()
        assert (response.status, response.headers["Content-Length"], response.read()) == (200, str(len(PAGE)), b"")
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n", "and the connection goes on"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"GET /other HTTP/1.1\r\nConnection: close\r\n\r\n", b"404 Not Found", id="no such page"),
        pytest.param(b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", id="nothing can be changed"),
        pytest.param(b"hello\r\n\r\n", b"400 Bad Request", id="not HTTP"),
        pytest.param(b"GET /metrics\r\n\r\n", b"400 Bad Request", id="HTTP 0.9"),
        pytest.param(b"\x16\x03\x01\x00\r\n\r\n", b"400 Bad Request", id="TLS where there is none"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"x" * HEAD_BYTES, b"431", id="a head that is too long"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"200 OK", id="a body is not read"),
        pytest.param(b"GET /metrics HTTP/1.0\r\n\r\n", b"200 OK", id="an old client"),
    ],
)
def test_an_odd_request_is_answered_and_the_connection_closed(request_bytes: bytes, status: bytes) -> None:
    with serving() as server:
        found = raw(server, request_bytes)
        assert found.startswith(b"HTTP/1.1 " + status)
        until(lambda: server.connections == 0, "closed")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="who says nothing"),
        pytest.param(b"GET /metrics HT", id="who stops in the middle"),
    ],
)
def test_a_client_that_hangs_is_let_go(sent: bytes) -> None:
    with serving(Limits(request_s=0.1, idle_s=0.1)) as server:
        # `raw` itself waits five seconds for the end at most.
        assert (b"408" in raw(server, sent)) == bool(sent)


def test_a_client_that_sends_a_letter_at_a_time_has_no_more_time_than_others() -> None:
    with (
        serving(Limits(request_s=0.3)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=0.02) as slow,
    ):
        began = monotonic()
        found = b""
        while not found and monotonic() - began < 10:
            slow.sendall(b"x")
            try:
                found = slow.recv(100)
            except TimeoutError:
                continue
        assert found.startswith(b"HTTP/1.1 408 Request Timeout")


def test_connections_beyond_the_limit_are_closed_and_counted() -> None:
    with serving(Limits(connections=3)) as server, ExitStack() as stack:
        kept = [stack.enter_context(client(server)) for _ in range(3)]
        for connection in kept:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
        assert raw(server, b"").startswith(b"HTTP/1.1 503")
        assert server.refused == 1
        kept[0].request("GET", "/metrics")
        assert kept[0].getresponse().read() == PAGE, "those before go on"
        kept[1].close()
        until(lambda: server.connections == 2, "one left")
        assert raw(server, b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b"ok\n")


def test_who_reads_slowly_holds_up_nobody_and_not_the_end() -> None:
    with socket.socket() as lazy, serving() as server, client(server) as other:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", server.port))
        lazy.sendall(GET.replace(b"/metrics", b"/big"))
        until(lambda: server.answered[200] == 1, "the big answer is on its way")
        other.request("GET", "/metrics")
        assert other.getresponse().read() == PAGE


def test_two_requests_at_once_get_two_answers() -> None:
    with serving() as server:
        found = raw(server, GET + GET.replace(b"Host", b"Connection: close\r\nHost"))
        assert found.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {SECRET}", 200),
        (f"bearer  {SECRET}", 200),
        ("Bearer another-secret-of-ours", 401),
        (f"Basic {SECRET}", 401),
        ("Bearer \u00e9", 401),
        (None, 401),
    ],
)
def test_a_page_with_a_token_is_for_those_who_send_it(authorization: str | None, status: int) -> None:
    with serving(secret=SECRET) as server, client(server) as connection:
        assert SECRET not in repr(server)
        connection.request("GET", "/metrics", headers={"Authorization": authorization} if authorization else {})
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert response.headers.get("WWW-Authenticate") == (None if status == 200 else "Bearer")
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200, "a probe needs none"


def test_a_port_that_is_taken_is_named_with_the_next_step() -> None:
    with serving() as server:
        second = Server("127.0.0.1", server.port, respond)
        with pytest.raises(SigmascaleError, match=rf"cannot listen on 127\.0\.0\.1:{server.port}: .* with --listen"):
            second.start()
        second.stop()


@pytest.mark.peer
def test_pages_can_be_served_over_tls(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = [
        program("openssl", "openssl"),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    words += [
        "-keyout",
        str(key),
        "-out",
        str(cert),
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    with serving(tls=context) as server:
        trusted = ssl.create_default_context(cafile=str(cert))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=5, context=trusted)
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == PAGE
        connection.close()
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
            plain.sendall(GET)
            assert not plain.recv(100).startswith(b"HTTP/1.1 200")
