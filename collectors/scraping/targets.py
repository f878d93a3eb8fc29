"""Which pages to scrape: those that the configuration names, and one for each instance that a provider launched."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from autoscaler.errors import InputError
from autoscaler.types import Fleet, Labels

SCRAPED_STATES = ("ready", "draining")


@dataclass(frozen=True, slots=True)
class Target:
    """One page, asked for every `interval_s`; it must have arrived whole within `timeout_s`.

    `labels` are merged into every series of the page. token_file: holds the bearer token that is sent. ca_file: the
    certificates, PEM, that an https page is believed by; None = the machine's own. Raises InputError for what cannot
    be scraped.
    """

    url: str
    labels: Labels = ()
    interval_s: float = 5.0
    timeout_s: float = 3.0
    token_file: Path | None = None
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"target {self.url!r} is not the address of a page; write http://HOST:PORT/metrics")
        if not self.interval_s > 0:
            raise InputError(f"target {self.url}: interval of {self.interval_s:g} s must be above 0; 5 s is usual")
        if not self.timeout_s > 0:
            raise InputError(f"target {self.url}: time-out of {self.timeout_s:g} s must be above 0; 3 s is usual")

    @property
    def source(self) -> str:
        """The target's name: its address with its labels, since one page may be read on behalf of two pools."""
        labels = ",".join(f'{name}="{value}"' for name, value in self.labels)
        return f"{self.url}{{{labels}}}" if labels else self.url

    @property
    def phase(self) -> float:
        """Where in its interval the target is asked, 0 to 1: fixed by its name, so that a restart moves nobody."""
        return zlib.crc32(self.source.encode()) / 2**32


class Written(Protocol):
    """A target as the configuration holds it."""

    @property
    def url(self) -> str: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def interval_s(self) -> float: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def token_file(self) -> Path | None: ...
    @property
    def ca_file(self) -> Path | None: ...


def static_targets(written: Iterable[Written]) -> tuple[Target, ...]:
    """The configured targets, each with the label `instance` (host:port of its address) unless it has one."""
    return tuple(
        Target(
            t.url,
            _labels({"instance": urlsplit(t.url).netloc.rpartition("@")[2], **dict(t.labels)}),
            t.interval_s,
            t.timeout_s,
            t.token_file,
            t.ca_file,
        )
        for t in written
    )


def instance_targets(
    fleet: Fleet, path: str = "/metrics", interval_s: float = 5.0, timeout_s: float = 3.0
) -> tuple[Target, ...]:
    """One target for each ready or draining instance that has an address.

    Labels are pool, instance (host:port) and offer. A draining instance is still asked: its requests in flight decide
    when it may stop. The time-out is never longer than the interval.
    """
    return tuple(
        Target(
            f"http://{i.address}{path}",
            _labels({"pool": i.pool, "instance": i.address, "offer": i.offer}),
            interval_s,
            min(timeout_s, interval_s),
        )
        for i in fleet.instances
        if i.state in SCRAPED_STATES and i.address
    )


def _labels(pairs: dict[str, str]) -> Labels:
    return tuple(sorted(pairs.items()))
