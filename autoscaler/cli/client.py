"""Asks a running service over its REST API, and turns every failure into a sentence with a next step."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from autoscaler.errors import InputError, SigmascaleError

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:9377"
TOKEN_VARIABLE = "SIGMASCALE_TOKEN"  # noqa: S105 - the name of a variable
LOCAL_TOKEN = Path("sigmascale-data/token")
TIMEOUT_S = 10.0

UrlOption = Annotated[str, typer.Option("--url", envvar="SIGMASCALE_URL", help="The service to ask.", show_envvar=True)]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help=f"File with the token; default is ${TOKEN_VARIABLE}, then {LOCAL_TOKEN}. A token is never a flag, since "
        "flags can be seen by other users.",
    ),
]
CaOption = Annotated[Path | None, typer.Option("--ca", help="PEM file with the authority that signed the service.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of text for people.")]


@dataclass(frozen=True, slots=True)
class Client:
    """A service's address and how to talk to it. The token stays out of every repr.

    guessed: the token is the one that lies in this folder, which may be of another service.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    ca: Path | None = None
    guessed: bool = False

    def get(self, path: str, **query: object) -> Any:
        """The JSON of a GET. Raises InputError for what the service refuses, SigmascaleError when it cannot answer."""
        return self.ask("GET", path, query)

    def newer(self, path: str, tag: str, **query: object) -> tuple[str, Any]:
        """The JSON of a GET and its ETag; None and the same ETag when it is still what the caller has."""
        response = self._send("GET", path, query, None, {"If-None-Match": tag} if tag else {})
        return response.headers.get("ETag", ""), None if response.status_code == 304 else self._json(response)

    def ask(self, method: str, path: str, query: dict[str, object] | None = None, body: object = None) -> Any:
        """The JSON of any request; None for an empty answer."""
        return self._json(self._send(method, path, query, body, {}))

    def _send(
        self, method: str, path: str, query: dict[str, object] | None, body: object, more: dict[str, str]
    ) -> httpx.Response:
        import httpx

        headers = more | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        known = {k: v for k, v in (query or {}).items() if v is not None}
        address = f"{self.url.rstrip('/')}/api/v1/{path}"
        try:
            verify = _verification(self.ca)
            with httpx.Client(headers=headers, timeout=TIMEOUT_S, verify=verify, trust_env=False) as client:
                response = client.request(method, address, params=known, json=body)  # type: ignore[arg-type]
        except httpx.TimeoutException as error:
            raise SigmascaleError(
                f"{self.url}: no answer within {TIMEOUT_S:.0f} s; look at the service's log"
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InputError(f"--url {self.url}: is not a URL; write http://HOST:PORT") from error
        except httpx.TransportError as error:
            raise SigmascaleError(f"{self.url}: {_no_answer(self.url, error)}") from error
        if response.status_code == 401 and self.guessed:
            if method == "GET":
                return replace(self, token=None, guessed=False)._send(method, path, query, body, more)
            refusal = _refusal(self.url, response.status_code, response)
            raise InputError(f"{refusal} (sent was the token in {LOCAL_TOKEN}; name another with --token-file)")
        if not response.is_success and response.status_code != 304:
            raise _refusal(self.url, response.status_code, response)
        return response

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise _stranger(self.url, f"{response.status_code} and no JSON") from error


def _no_answer(url: str, error: Exception) -> str:
    """What kept a request from being answered, and the next step."""
    words = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in words:
        why = words.partition("certificate verify failed:")[2].partition("(_ssl")[0].strip() or words
        return f"its certificate is not trusted ({why}); name the authority that signed it with --ca FILE"
    if "WRONG_VERSION_NUMBER" in words or "RECORD_LAYER_FAILURE" in words:
        return "it does not speak TLS; write http:// instead of https://"
    if url.startswith("http://") and "disconnected without sending a response" in words:
        return "it closed the connection without an answer; if it serves TLS, write https:// instead of http://"
    return f"no service answers ({words}); start it with `sigmascale run`, or name another one with --url"


def _stranger(url: str, what: str) -> SigmascaleError:
    return SigmascaleError(f"{url}: answered {what}; is this the address of a sigmascale service?")


def _verification(ca: Path | None) -> Any:
    if ca is None:
        return True
    import ssl

    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"--ca {ca}: cannot be used ({error}); name a PEM file of the authority") from error


def _refusal(url: str, status: int, response: Any) -> SigmascaleError:
    try:
        problem = response.json()
        text = str(problem["detail"])
        faults = [f"{e['where']}: {e['text']}" for e in problem.get("errors", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        return _stranger(url, f"{status} without an explanation")
    if status >= 500:
        return SigmascaleError(f"{url}: {text}")
    return InputError("\n".join([text, *(f for f in faults if f not in text)]))


def connect(url: str, token_file: Path | None, ca: Path | None = None) -> Client:
    """A client with the token that the caller has: the file, the variable, or the one of a service started here."""
    if token_file is not None:
        try:
            words = token_file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--token-file {token_file}: cannot be read ({error}); name the file of a token"
            ) from error
        if len(words) != 1 or not words[0].isascii():
            raise InputError(f"--token-file {token_file}: must hold one word, the token; it holds {len(words)}")
        return Client(url, words[0], ca)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if token and (not token.isascii() or len(token.split()) != 1):
        raise InputError(f"${TOKEN_VARIABLE} must be one ASCII word, the token; set it again")
    if not token and any(f"://{host}" in url for host in ("127.0.0.1", "localhost", "[::1]")):
        try:
            found = LOCAL_TOKEN.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            found = ""
        return Client(url, found or None, ca, guessed=bool(found))
    return Client(url, token or None, ca)


def segment(text: str) -> str:
    """A name as one segment of a path."""
    return quote(text, safe="")
