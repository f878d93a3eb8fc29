"""The container's health check: what it takes for healthy, and what it says otherwise."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from autoscaler.cli.healthy import complaint, main
from tests.peers.pages import Pages, answer, hang


@pytest.fixture
def pages() -> Iterator[Pages]:
    with Pages() as made:
        yield made


def test_a_page_that_answers_200_is_healthy(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    pages.answers["/healthz"] = answer(b"{}")
    assert complaint(pages.url("/healthz")) == ""
    monkeypatch.setenv("HEALTH_URL", pages.url("/healthz"))
    assert main() == 0


def test_a_page_that_fails_is_not_and_the_line_says_why(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages.answers["/healthz"] = answer(b"{}", status="503 Service Unavailable")
    monkeypatch.setenv("HEALTH_URL", pages.url("/healthz"))
    assert main() == 1
    assert "503" in capsys.readouterr().out


def test_a_page_that_hangs_is_given_up(pages: Pages) -> None:
    pages.answers["/healthz"] = hang
    assert "timed out" in complaint(pages.url("/healthz"), timeout_s=0.5)


@pytest.mark.parametrize("url", ["http://192.0.2.1/healthz", "file:///etc/passwd", "healthz", "http://example.com/"])
def test_nobody_but_this_machine_is_asked(url: str) -> None:
    assert complaint(url).startswith(f"HEALTH_URL {url!r} is not on this machine; write one such as http://127.0.0.1")


def test_a_certificate_for_another_name_is_no_fault_between_a_container_and_itself(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=scale.example", "-days", "1",
         "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")],
        check=True, capture_output=True,
    )  # fmt: skip

    class Fine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with HTTPServer(("127.0.0.1", 0), Fine) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            assert complaint(f"https://127.0.0.1:{server.server_address[1]}/healthz", timeout_s=30) == ""
        finally:
            server.shutdown()
            thread.join(30)
