"""The API over real sockets: ports, TLS, stopping."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from autoscaler.api.serve import Server
from autoscaler.errors import InputError
from tests.apiworld import RULES, SECRETS, ApiWorld, api_world


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def server(world: ApiWorld) -> Iterator[Server]:
    running = Server(world.app, "127.0.0.1", 0)
    running.start()
    yield running
    running.stop()


def ask(server: Server, path: str, **more: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {SECRETS['admin']}"}
    return httpx.get(f"{server.url}{path}", headers=headers, timeout=10.0, trust_env=False, **more)  # type: ignore[arg-type]


def test_the_server_answers_over_a_socket_and_releases_its_port(world: ApiWorld, server: Server) -> None:
    assert server.port != 0
    assert ask(server, "/api/v1/pools").json()["pools"][0]["pool"] == "chat"
    assert ask(server, "/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    server.stop()
    again = Server(world.app, "127.0.0.1", server.port)
    again.start()
    assert ask(again, "/healthz").status_code == 200
    again.stop()


def test_answers_are_sent_at_once(world: ApiWorld, server: Server) -> None:
    """Without TCP_NODELAY on its connections each answer would wait some 40 ms for the caller's acknowledgement."""
    with httpx.Client(trust_env=False) as client:
        waits = sorted(client.get(f"{server.url}/healthz").elapsed.total_seconds() for _ in range(21))
    # A machine that is busy makes some of them late, and TCP every one.
    assert waits[5] < 0.03


def test_a_port_in_use_is_an_input_error_that_says_what_to_do(server: Server) -> None:
    with pytest.raises(InputError) as caught:
        Server(server._uvicorn.config.app, "127.0.0.1", server.port).start()  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"listen 127.0.0.1:{server.port}: the port is taken by another program (perhaps another sigmascale); stop it "
        "or choose another port with --listen HOST:PORT"
    )


def test_an_address_of_another_machine_is_an_input_error(world: ApiWorld) -> None:
    with pytest.raises(InputError, match=r"listen 192\.0\.2\.1:0: .*; name an address of this machine"):
        Server(world.app, "192.0.2.1", 0).start()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, made by the openssl program."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def test_the_server_speaks_tls_with_the_files_that_it_is_given(world: ApiWorld, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    server = Server(world.app, "127.0.0.1", 0, cert, key)
    server.start()
    assert server.url.startswith("https://127.0.0.1:")
    assert ask(server, "/healthz", verify=ssl.create_default_context(cafile=cert)).status_code == 200
    server.stop()


def test_tls_files_that_do_not_fit_are_refused_before_anything_listens(world: ApiWorld, tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    with pytest.raises(InputError, match="both must be PEM files without a password, and the key must belong to the"):
        Server(world.app, "127.0.0.1", 0, cert, cert)


def test_a_request_under_way_is_finished_when_the_server_stops(world: ApiWorld, server: Server) -> None:
    body = json.dumps({"text": RULES}).encode()
    head = (
        f"POST /api/v1/rules/check HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {SECRETS['admin']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode() + body[:10])
        # An answer to another request proves that the server has read what was sent before.
        assert ask(server, "/healthz").status_code == 200
        server._uvicorn.should_exit = True
        connection.sendall(body[10:])
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_a_huge_body_is_refused_although_its_length_was_not_announced(server: Server) -> None:
    body = (b"x" * 65536 for _ in range(32))
    headers = {"Authorization": f"Bearer {SECRETS['admin']}", "Content-Type": "application/json"}
    url = f"{server.url}/api/v1/rules/check"
    response = httpx.post(url, content=body, headers=headers, timeout=10.0, trust_env=False)
    assert response.status_code == 413
    assert (
        response.json()["detail"] == "the body is larger than 1,048,576 bytes, which is the limit; send a smaller one"
    )
