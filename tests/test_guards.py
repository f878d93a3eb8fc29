"""What every request passes: limits on heads and bodies, pages of other sites, and who may ask from a browser."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from autoscaler.api.app import create_app
from autoscaler.api.bodies import BodyLimit
from autoscaler.api.crosssite import cross_site
from autoscaler.api.serve import Server
from tests.apiworld import SECRETS, ApiWorld, api_world

OVERRIDE = {"kind": "freeze", "for": "1h", "author": "ada", "reason": "test"}
GRAFANA = "https://grafana.example"


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


# --- heads and bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "status", "words"),
    [
        pytest.param("pools?prefix=" + "a" * 8200, {}, 414, "the address has", id="an endless address"),
        pytest.param("pools", {"X-Long": "a" * 8200}, 431, "the header 'x-long' has", id="an endless header"),
        pytest.param("pools", {f"X-{n}": "a" for n in range(101)}, 431, "the limit is 100", id="too many headers"),
        pytest.param("pools", {f"X-{n}": "a" * 4000 for n in range(9)}, 431, "together", id="too large a head"),
    ],
)
def test_a_head_beyond_its_limits_is_refused(
    world: ApiWorld, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    response = world.client().ask("GET", path, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert words in response.json()["detail"]


@pytest.fixture
def server(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A service that waits for nobody longer than a moment."""
    monkeypatch.setattr("autoscaler.api.serve.HEAD_S", 0.3)
    monkeypatch.setattr(BodyLimit.__init__, "__defaults__", (None, 0.3))
    running = Server(create_app(world.deps), "127.0.0.1", 0)
    running.start()
    yield running
    running.stop()


def said(server: Server, *parts: bytes) -> bytes:
    """What a connection is told until the service closes it."""
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        found = b""
        while data := connection.recv(65536):
            found += data
        return found


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((), id="nothing"),
        pytest.param((b"GET /healthz HTTP/1.1\r\nHost: a",), id="half a head"),
    ],
)
def test_a_connection_whose_request_does_not_come_is_closed(server: Server, parts: tuple[bytes, ...]) -> None:
    assert said(server, *parts) == b""


def test_a_second_head_in_drips_ends_the_connection_after_the_first_was_answered(server: Server) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answered = said(server, whole + b"GET /healthz HT")
    assert answered.startswith(b"HTTP/1.1 200 OK")
    assert answered.count(b"HTTP/1.1") == 1


def test_a_body_that_drips_is_given_up(server: Server) -> None:
    head = (
        "POST /api/v1/rules/check HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {SECRETS['admin']}\r\nContent-Length: 100\r\n\r\n"
    )
    answered = said(server, head.encode(), b"{")
    assert answered.startswith(b"HTTP/1.1 408 Request Timeout")
    assert b"the body did not come within 0.3 s" in answered


# --- pages of other sites -------------------------------------------------------------------------------------------

OURS = {"host": "scale.example:9377"}


@pytest.mark.parametrize(
    ("method", "headers", "refused"),
    [
        pytest.param("POST", {}, False, id="a program sends neither header"),
        pytest.param("POST", {"sec-fetch-site": "same-origin"}, False, id="our own page"),
        pytest.param("POST", {"sec-fetch-site": "none"}, False, id="a person, without a page"),
        pytest.param("POST", {"sec-fetch-site": "same-site"}, True, id="another port or name of the same site"),
        pytest.param("DELETE", {"sec-fetch-site": "cross-site"}, True, id="another site"),
        pytest.param("PUT", {"sec-fetch-site": ""}, True, id="a browser that says nothing"),
        pytest.param("GET", {"sec-fetch-site": "cross-site"}, False, id="reading changes nothing"),
        pytest.param("POST", {"origin": "https://scale.example:9377"}, False, id="an older browser on our page"),
        pytest.param("POST", {"origin": "http://scale.example:8080"}, True, id="an older browser on another port"),
        pytest.param("POST", {"origin": "null"}, True, id="a sandboxed page"),
        pytest.param("POST", {"origin": "http://[::1"}, True, id="an origin that is none"),
        pytest.param(
            "POST", {"origin": "https://scale.example:9377", "sec-fetch-site": "cross-site"}, True, id="both, in doubt"
        ),
        pytest.param("POST", {"origin": GRAFANA, "sec-fetch-site": "cross-site"}, False, id="a page that is trusted"),
    ],
)
def test_only_our_own_pages_change_anything(method: str, headers: dict[str, str], refused: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in (OURS | headers).items()]
    request = HTTPConnection({"type": "http", "method": method, "headers": raw})
    assert bool(cross_site(request, (GRAFANA,))) is refused


def test_a_cross_site_change_is_refused_whatever_its_token(world: ApiWorld) -> None:
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    response = world.client().ask("PUT", "pools/chat/overrides/one", json=OVERRIDE, headers=headers)
    assert response.status_code == 403
    assert "was asked for by a page of another origin" in response.json()["detail"]
    assert world.deps.journal.overrides(0.0) == ()


# --- browsers elsewhere ---------------------------------------------------------------------------------------------


def preflight(world: ApiWorld, method: str, origin: str = GRAFANA) -> int:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return world.client(None).ask("OPTIONS", "pools", headers=headers).status_code


def test_no_page_elsewhere_reads_anything_unless_it_is_configured(world: ApiWorld) -> None:
    response = world.client().ask("GET", "pools", headers={"Origin": GRAFANA})
    assert "access-control-allow-origin" not in response.headers
    assert preflight(world, "GET") == 405


def test_a_page_that_is_configured_reads_with_a_token_and_without_cookies(tmp_path: Path) -> None:
    world = api_world(tmp_path, cors_origins=(GRAFANA,))
    response = world.client().ask("GET", "pools", headers={"Origin": GRAFANA, "Sec-Fetch-Site": "cross-site"})
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, GRAFANA)
    assert "access-control-allow-credentials" not in response.headers
    assert "ETag" in response.headers["access-control-expose-headers"]
    other = world.client().ask("GET", "pools", headers={"Origin": "https://grafana.example.evil"})
    assert "access-control-allow-origin" not in other.headers
    assert [preflight(world, "GET"), preflight(world, "PUT"), preflight(world, "GET", "https://b.example")] == [
        200,
        400,
        400,
    ]
    headers = {"Origin": GRAFANA, "Sec-Fetch-Site": "cross-site"}
    assert world.client().ask("PUT", "pools/chat/overrides/one", json=OVERRIDE, headers=headers).status_code == 403


def test_a_page_that_may_write_does_so_with_a_token(tmp_path: Path) -> None:
    world = api_world(tmp_path, cors_origins=(GRAFANA,), cors_writes=True)
    headers = {"Origin": GRAFANA, "Sec-Fetch-Site": "cross-site"}
    assert preflight(world, "PUT") == 200
    assert world.client().ask("PUT", "pools/chat/overrides/one", json=OVERRIDE, headers=headers).status_code == 200
    assert world.client(None).ask("PUT", "pools/chat/overrides/two", json=OVERRIDE, headers=headers).status_code == 401
