"""One attempt at one message: its address, headers and signature are read now, its answer becomes a verdict."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from autoscaler.alerting import Address, Receiver, UnreadableError, secret_text
from autoscaler.notifying import signing
from autoscaler.notifying.bodies import alertmanager
from autoscaler.notifying.hosts import HostRules
from autoscaler.types import Message

if TYPE_CHECKING:
    from autoscaler.notifying.exchange import Reply

AGAIN = (408, 425, 429)
"""Refusals that pass, besides a server's own trouble."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an attempt. failed: it is tried again. refused: the receiver never wants it."""

    became: Literal["delivered", "refused", "failed"]
    error: str = ""
    retry_after_s: float | None = None


def attempt(receiver: Receiver, address: Address, message: Message, rules: HostRules, now: float) -> Verdict:
    """Sends a message once. No text of the verdict holds a path, a query or a secret."""
    import httpcore

    from autoscaler.notifying.exchange import RefusedAddressError, post

    body = message.body.encode()
    try:
        url, headers = _without_user(target(receiver, address.read()))
        headers |= _headers(receiver, message, body, now)
        reply = post(url, body, headers, timeout_s=receiver.timeout_s, rules=rules, ca_file=receiver.ca_file)
    except (UnreadableError, RefusedAddressError) as error:
        return Verdict("failed", str(error))
    except (httpcore.ConnectError, ssl.SSLError) as error:
        return Verdict("failed", f"{type(error).__name__}: {_plain(str(error), address)}".removesuffix(": "))
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
        OSError,
        ValueError,
    ) as error:
        # Only the class: the text of some errors repeats the URL.
        return Verdict("failed", type(error).__name__)
    return _judged(reply, address)


def _judged(reply: Reply, address: Address) -> Verdict:
    """What an answer means for the message."""
    if 200 <= reply.status < 300:
        return Verdict("delivered")
    if 300 <= reply.status < 400:
        # Never followed: a receiver that moved must be told to us by a person, not by whoever answers. Tried again, so
        # that nothing is lost until that person comes.
        return Verdict("failed", f"HTTP {reply.status}: redirects are not followed; write the new address into url")
    text = _plain(reply.text, address)
    # As Alertmanager does: a server's trouble passes, a client's does not.
    again = reply.status >= 500 or reply.status < 200 or reply.status in AGAIN
    said = f"HTTP {reply.status}" + (f": {text}" if text else "")
    return Verdict("failed" if again else "refused", said, reply.retry_after_s)


def target(receiver: Receiver, url: str) -> str:
    """The URL that is posted to: an Alertmanager is named by its address alone."""
    if receiver.kind != "alertmanager" or urlsplit(url).path.endswith(alertmanager.PATH):
        return url
    return url.rstrip("/") + alertmanager.PATH


def _without_user(url: str) -> tuple[str, dict[str, str]]:
    """A URL without user and password, and the header that says them."""
    parts = urlsplit(url)
    user, found, host = parts.netloc.rpartition("@")
    if not found:
        return url, {}
    name, _, password = user.partition(":")
    coded = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {coded}"}


def _headers(receiver: Receiver, message: Message, body: bytes, now: float) -> dict[str, str]:
    found = dict(receiver.headers)
    for name, path in receiver.header_files:
        found[name] = secret_text(path, f"header {name}:")
        if not found[name].isascii() or not found[name].isprintable():
            raise UnreadableError(f"header {name}: {path} is not one line of ASCII text; correct the file")
    found |= {"X-Sigmascale-Delivery": message.id, "Idempotency-Key": message.id}
    found["X-Sigmascale-Attempt"] = str(message.attempts + 1)
    if receiver.hmac_file is not None:
        key = secret_text(receiver.hmac_file, "hmac_secret_file").encode()
        found[signing.HEADER] = signing.signature(key, now, body)
    return found


def _plain(text: str, address: Address) -> str:
    """What a receiver or the system said, unless it repeats what must not be shown."""
    try:
        parts = urlsplit(address.read())
    except UnreadableError:
        return ""
    secrets = [s for s in (*parts.path.split("/"), parts.query, parts.password or "") if len(s) > 3]
    return "" if any(s in text for s in secrets) else text
