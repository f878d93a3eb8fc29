"""Who is told of alerts, as the configuration says it: receivers, what each wants to hear, how hosts are bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autoscaler.configparts import Webhook, is_url
from autoscaler.types import Matcher

Kind = Literal["webhook", "alertmanager", "slack", "generic"]

GROUP_BY = ("alertname", "pool")
MAX_RECEIVERS = 50
MAX_ADDRESSES = 10
SECRET_BYTES = 8192
"""The largest file that holds a URL, a key or the value of a header."""


class UnreadableError(Exception):
    """A file of a receiver cannot be read, or holds nothing of use; the message names no secret."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where messages go: a URL, or the line of a file that holds it. Neither path nor query may be shown."""

    url: str = field(default="", repr=False)
    file: Path | None = None
    line: int = 0

    def read(self) -> str:
        """The URL; a file is read each time, so that a changed secret counts at once. Raises UnreadableError."""
        if self.file is None:
            return self.url
        lines = url_lines(self.file)
        if self.line >= len(lines) or not is_url(lines[self.line]):
            raise UnreadableError(f"{self.file} has no URL in line {self.line + 1}; write one URL a line")
        return lines[self.line]

    @property
    def host(self) -> str:
        """`scheme://host:port`: what may be shown. A file that cannot be read is shown by its name."""
        try:
            return Webhook(self.read()).host
        except UnreadableError:
            return f"(file {self.file})"


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver of alerts. addresses: more than one for the members of an Alertmanager cluster.

    match: which alerts it is for, empty = all. expires_s: how long a message is tried. headers hold no secrets,
    header_files name files that do. hmac_file: the key that messages are signed with. template: of kind generic.
    """

    name: str
    kind: Kind
    addresses: tuple[Address, ...]
    match: tuple[Matcher, ...] = ()
    group_by: tuple[str, ...] = GROUP_BY
    group_wait_s: float = 0.0
    group_interval_s: float = 30.0
    repeat_interval_s: float = 4 * 3600.0
    send_resolved: bool = True
    timeout_s: float = 10.0
    expires_s: float = 4 * 3600.0
    headers: tuple[tuple[str, str], ...] = ()
    header_files: tuple[tuple[str, Path], ...] = ()
    hmac_file: Path | None = None
    ca_file: Path | None = None
    template: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Alerting:
    """All receivers, and what holds for all of them. allowed_hosts empty = those of the receivers' URLs.

    inhibit: a firing critical alert mutes the others of its pool. external_url: where people find this service.
    """

    receivers: tuple[Receiver, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    inhibit: bool = False
    external_url: str = ""


def of_webhooks(webhooks: tuple[Webhook, ...]) -> tuple[Receiver, ...]:
    """The receivers that `webhooks` stands for: each is told of every alert, soon, under the name of its host."""
    found: list[Receiver] = []
    for webhook in webhooks:
        same = sum(r.addresses[0].host == webhook.host for r in found)
        name = f"{webhook.host}#{same + 1}" if same else webhook.host
        found.append(Receiver(name, "webhook", (Address(webhook.url),), group_interval_s=5.0))
    return tuple(found)


def secret_text(path: Path, what: str) -> str:
    """The text of a file with a secret, without blanks around it. Raises UnreadableError, which shows nothing of it."""
    try:
        with path.open("rb") as opened:
            found = opened.read(SECRET_BYTES + 1)
        text = found.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UnreadableError(f"{what} {path} cannot be read ({why}); name a file that this user may read") from None
    if not text or len(found) > SECRET_BYTES:
        rule = "is empty" if not text else f"has more than {SECRET_BYTES} bytes"
        raise UnreadableError(f"{what} {path} {rule}; write the secret into it")
    return text


def url_lines(path: Path) -> list[str]:
    """The URLs of a file, one a line; empty lines and those that start with # are left out. Raises UnreadableError."""
    lines = [line.strip() for line in secret_text(path, "url_file").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
