"""Pages behind a token and behind a certificate of one's own: what is sent, believed and said."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autoscaler.configfile import read_config
from autoscaler.errors import InputError
from collectors.scraping.targets import Target
from tests.peers.pages import Pages, answer, until
from tests.peers.programs import program
from tests.peers.scraping import PAGE, asked, scraping

TOKEN = "a-token-of-some-length"


class Guarded(BaseHTTPRequestHandler):
    """Shows its page to whoever has the token."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(PAGE) if allowed else 0))
        self.end_headers()
        self.wfile.write(PAGE if allowed else b"")

    def log_message(self, *words: object) -> None:
        """Quiet."""


@contextmanager
def guarded(certificate: Path | None = None) -> Iterator[str]:
    # Each connection has a thread: one that is kept open must not keep the others out.
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that its own key signed, key and certificate in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = [
        program("openssl", "openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key", "-out", f"{folder}/crt"]
    subprocess.run(command, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key").read_text() + (folder / "crt").read_text())
    return both


def written(folder: Path, text: str = TOKEN) -> Path:
    path = folder / "token"
    path.write_text(f"{text}\n")
    return path


def test_the_token_of_a_target_is_sent_and_a_changed_one_is_read_anew(tmp_path: Path) -> None:
    token = written(tmp_path, "an-old-token-of-some-length")
    with guarded() as url, scraping(Target(url, (), 0.05, 1.0, token)) as scraper:
        assert "answered HTTP 401" in asked(scraper).error
        written(tmp_path)
        until(lambda: scraper.status()[0].up, "the page")
        assert TOKEN not in repr(scraper.status())


def test_without_a_token_the_next_step_names_the_setting() -> None:
    with guarded() as url, scraping(Target(url, (), 0.05, 1.0)) as scraper:
        assert "give the target a token_file" in asked(scraper).error


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(None, "cannot be read (No such file or directory)", id="no file"),
        pytest.param(b"two words", "holds 2 words; write the token alone into it", id="more than a token"),
        pytest.param(b"", "holds 0 words", id="nothing"),
        pytest.param(b"\xff\xfe", "it is not ASCII text", id="no text"),
    ],
)
def test_a_token_file_that_holds_no_token_is_named(tmp_path: Path, content: bytes | None, why: str) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    with Pages({"/metrics": answer(PAGE)}) as pages:
        with scraping(Target(pages.url("/metrics"), (), 0.05, 1.0, token)) as scraper:
            assert f"the token file {token} " in asked(scraper).error
            assert why in asked(scraper).error
        assert not pages.requests


def test_a_page_is_believed_by_the_authority_that_the_target_names(tmp_path: Path, certificate: Path) -> None:
    token = written(tmp_path)
    with guarded(certificate) as url:
        trusting = Target(url, (("n", "1"),), 0.05, 10.0, token, certificate)
        with scraping(trusting, Target(url, (("n", "2"),), 0.05, 10.0, token)) as scraper:
            until(lambda: all(s.up or s.error != "not asked yet" for s in scraper.status()), "both were asked")
            by_name = {dict(s.labels)["n"]: s for s in scraper.status()}
            until(lambda: scraper.status()[0].up, "the page of the trusting one")
    assert "self-signed certificate" in by_name["2"].error


def test_certificates_that_are_none_are_named(tmp_path: Path, certificate: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with guarded(certificate) as url, scraping(Target(url, (), 0.05, 1.0, None, empty)) as scraper:
        assert f"the certificates in {empty} cannot be read" in asked(scraper).error


def test_files_are_relative_to_the_configuration_and_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    path = tmp_path / "config.yaml"
    path.write_text(
        "targets: [{url: 'http://a/m', labels: {pool: chat}, token_file: token}]\n"
        "discovery: [{files: 'sd/*.json', page_token_file: token}]\n"
    )
    config = read_config(path, {})
    assert config.targets[0].token_file == tmp_path / "token"
    assert config.discovery[0].page_token_file == tmp_path / "token"
    path.write_text("targets: [{url: 'http://a/m', labels: {pool: chat}, ca_file: nowhere}]\n")
    with pytest.raises(InputError, match=r"targets\[0\]\.ca_file: .*nowhere is not a readable file"):
        read_config(path, {})
