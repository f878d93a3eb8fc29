"""The service's own configuration as a value, and the rules it must keep. `configfile.py` reads it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from autoscaler.alerting import Alerting
from autoscaler.configparts import Discovery, PlugInConfig, RateLimit, Target, Webhook, is_url
from autoscaler.errors import Fault, InputError
from autoscaler.pacing import Pace
from autoscaler.tokens import Token

DAY_S = 86400.0
LOOPBACK_NAMES = ("localhost", "ip6-localhost")
MAX_REPLICAS_LIMIT = 100_000
MAX_SERIES_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a setting was written: a file with line and column, or (line 0) the name of a variable or flag."""

    file: str
    line: int = 0
    column: int = 0


def fault_at(place: Place, where: str, text: str) -> Fault:
    """A fault of a setting; a variable or flag is the name of its setting, which is not said twice."""
    named = place.file.removeprefix("--").removeprefix("SIGMASCALE_").lower().replace("-", "_")
    return Fault(place.file, place.line, place.column, "" if where == named else where, text)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the service is told besides its rules.

    rules: files and folders of rule files. host, port: where the API listens; port 0 takes any free one. tokens: empty
    means that only this machine may ask. alerting: who is told of alerts, those of webhooks too.
    raw_window_s: raw series kept in memory. max_series, max_text_bytes: what they
    may take there. history_s: pool signals read back after a restart. retention_days: pool signals kept on disk.
    max_replicas: upper bound of pools that name none. region: for offers that name none. prices: a file of people's own
    prices, before those of the catalogue. hook_hosts: whom drain hooks may ask besides the instances. max_launches: in
    one pass over all pools. paces: of calls, by provider. rate_limit: of requests to the API. cors_origins: of pages
    elsewhere that may ask it. shadow: observe and decide, but withhold every action. places: where each setting was
    written, for messages.
    """

    data_dir: Path = Path("sigmascale-data")
    rules: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 9377
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tokens_file: Path | None = None
    tokens: tuple[Token, ...] = field(default=(), repr=False)
    webhooks: tuple[Webhook, ...] = ()
    alerting: Alerting = field(default_factory=Alerting)
    targets: tuple[Target, ...] = ()
    discovery: tuple[Discovery, ...] = ()
    providers: tuple[PlugInConfig, ...] = ()
    collectors: tuple[PlugInConfig, ...] = ()
    max_replicas: int | None = None
    region: str = ""
    prices: Path | None = None
    raw_window_s: float = 1200.0
    max_series: int = 200_000
    max_series_per_pool: int | None = None
    max_text_bytes: int = 512 << 20
    history_s: float = 7 * DAY_S
    retention_days: int = 28
    hook_hosts: tuple[str, ...] = ()
    max_launches: int = 50
    paces: Mapping[str, Pace] = field(default_factory=dict)
    rate_limit: RateLimit = field(default_factory=RateLimit)
    cors_origins: tuple[str, ...] = ()
    cors_writes: bool = False
    shadow: bool = False
    log_format: Literal["console", "json"] = "console"
    places: Mapping[str, Place] = field(default_factory=dict, repr=False, compare=False)

    @property
    def series_per_pool(self) -> int:
        """Raw series of one pool; three quarters of all, so that no pool takes the room of every other."""
        return self.max_series * 3 // 4 if self.max_series_per_pool is None else self.max_series_per_pool

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        return is_loopback(self.host)

    def check(self) -> None:
        """Raise InputError with every setting that breaks a rule, each with the next step."""
        found = self.findings()
        if found:
            raise InputError(*(self.fault(where, text) for where, text in found))

    def findings(self) -> list[Finding]:
        """Every setting that breaks a rule."""
        faults = [*_listening(self), *_paths(self), *_numbers(self), *_targets(self), *_webhooks(self)]
        return [*faults, *_discovery(self), *_collectors(self)]

    def fault(self, where: str, text: str) -> Fault:
        """A fault of the setting at a path such as `targets[0].url`, at the place where it was written."""
        nearest = where
        while nearest not in self.places and re.search(r"[.\[]", nearest):
            nearest = re.sub(r"[.\[][^.\[]*$", "", nearest)
        place = self.places.get(nearest, Place("configuration"))
        return fault_at(place, where, text)


Finding = tuple[str, str]
"""The path of a setting, and what is wrong with it."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine; other names are taken for reachable ones."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK_NAMES


def _listening(config: Config) -> Iterator[Finding]:
    if not 0 <= config.port <= 65535:
        yield "listen", f"port {config.port} is not between 0 and 65535; 9377 is the usual one"
    if not config.loopback and not config.tokens:
        rule = "can be reached from other machines, which needs tokens; set tokens_file, or listen on 127.0.0.1"
        yield "listen", f"{config.host}:{config.port} {rule}"
    if (config.tls_cert is None) != (config.tls_key is None):
        given, other = ("tls_cert", "tls_key") if config.tls_cert else ("tls_key", "tls_cert")
        yield given, f"is set without {other}; TLS needs both, plain HTTP neither"
    for name, path in (("tls_cert", config.tls_cert), ("tls_key", config.tls_key)):
        if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
            yield name, f"{path} is not a readable file; name a PEM file that this user may read"


def _paths(config: Config) -> Iterator[Finding]:
    if config.prices is not None and not (os.path.isfile(config.prices) and os.access(config.prices, os.R_OK)):
        yield "prices", f"{config.prices} is not a readable file; name a CSV file that this user may read"
    for path in config.rules:
        if not os.path.exists(path):
            yield "rules", f"{path} does not exist; name a rule file or a folder of rule files"
    if os.path.isfile(config.data_dir):
        yield "data_dir", f"{config.data_dir} is a file; name a folder, it is made when it does not exist"
    else:
        whole = config.data_dir.absolute()
        # `os.path.exists` calls a folder absent that may not be looked into, where `Path.exists` would raise.
        nearest = next(p for p in (whole, *whole.parents) if os.path.exists(p))
        if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            rule = "cannot be written by this user; change its owner or name another folder"
            yield "data_dir", f"{config.data_dir}: {nearest} {rule}"


def _numbers(config: Config) -> Iterator[Finding]:
    if config.max_replicas is not None and not 1 <= config.max_replicas <= MAX_REPLICAS_LIMIT:
        yield "max_replicas", f"{config.max_replicas} is not between 1 and {MAX_REPLICAS_LIMIT}; write another"
    if not 60 <= config.raw_window_s <= DAY_S:
        yield "raw_window", f"{config.raw_window_s:g} s is not between 1m and 1d; 20m is the default"
    if not 1000 <= config.max_series <= MAX_SERIES_LIMIT:
        yield "max_series", f"{config.max_series} is not between 1000 and {MAX_SERIES_LIMIT}; 200000 is the default"
    elif not 1 <= config.series_per_pool <= config.max_series:
        rule = f"is not between 1 and max_series, which is {config.max_series}; lower it or raise that"
        yield "max_series_per_pool", f"{config.series_per_pool} {rule}"
    if not 1 << 20 <= config.max_text_bytes <= 64 << 30:
        yield "max_text", f"{config.max_text_bytes} bytes are not between 1MiB and 64GiB; 512MiB is the default"
    if not 1 <= config.retention_days <= 3660:
        yield "retention", f"{config.retention_days} days are not between 1d and 3660d; 28d is the default"
    elif config.history_s > config.retention_days * DAY_S:
        rule = f"is longer than the {config.retention_days} days that are kept; shorten it or raise retention"
        yield "history", f"{config.history_s / DAY_S:g} days {rule}"
    if config.region and not re.fullmatch(r"[A-Za-z0-9-]{2,64}", config.region):
        yield "region", f"{config.region!r} is not the name of a region; write one such as us-east-1 or eastus"


def _targets(config: Config) -> Iterator[Finding]:
    seen: dict[tuple[str, object], int] = {}
    for number, target in enumerate(config.targets):
        where = f"targets[{number}]"
        if not is_url(target.url):
            yield f"{where}.url", f"{target.url!r} is not a page; write http://HOST:PORT/metrics"
        if not target.pool:
            yield f"{where}.labels", "names no pool; add `pool: NAME`, so that its series have an owner"
        if target.interval_s < 1 or target.interval_s > 3600:
            yield f"{where}.interval", f"{target.interval_s:g} s is not between 1s and 1h; 5s is the default"
        elif not 0 < target.timeout_s <= target.interval_s:
            rule = f"must be above 0 and at most the interval of {target.interval_s:g} s; shorten it"
            yield f"{where}.timeout", f"{target.timeout_s:g} s {rule}"
        yield from _readable(where, target, ("token_file", "ca_file"))
        first = seen.setdefault((target.url, target.labels), number)
        if first != number:
            yield where, f"is the same as targets[{first}]; delete one of them, it would count twice"


def _readable(where: str, written: object, names: tuple[str, ...]) -> Iterator[Finding]:
    for name in names:
        path = getattr(written, name)
        if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            yield f"{where}.{name}", f"{path} is not a readable file; name one that this user may read"


def _discovery(config: Config) -> Iterator[Finding]:
    for number, listing in enumerate(config.discovery):
        where = f"discovery[{number}]"
        if bool(listing.files) == bool(listing.url):
            rule = "two sources; delete one of them" if listing.url else "no source; add files or a url"
            yield where, f"names {rule}"
        if listing.url and not is_url(listing.url):
            yield f"{where}.url", f"{listing.url!r} is not the address of a list; write http://HOST:PORT/PATH"
        elif urlsplit(listing.url).password:
            yield f"{where}.url", "holds a password; write a token_file instead"
        if not 1 <= listing.refresh_s <= 3600:
            yield f"{where}.refresh", f"{listing.refresh_s:g} s is not between 1s and 1h; 5s is usual for files"
        if not 1 <= listing.interval_s <= 3600:
            yield f"{where}.interval", f"{listing.interval_s:g} s is not between 1s and 1h; 5s is the default"
        elif not 0 < listing.timeout_s <= listing.interval_s:
            rule = f"must be above 0 and at most the interval of {listing.interval_s:g} s; shorten it"
            yield f"{where}.timeout", f"{listing.timeout_s:g} s {rule}"
        if not listing.path.startswith("/"):
            yield f"{where}.path", f"{listing.path!r} must start with a slash; /metrics is usual"
        yield from _readable(where, listing, ("token_file", "page_token_file", "ca_file"))


def _collectors(config: Config) -> Iterator[Finding]:
    for collector in (c for c in config.collectors if c.plug_in == "scrape"):
        yield (
            f"collectors.{collector.name}",
            "is always at work and needs no entry; write the pages to scrape into targets",
        )


def _webhooks(config: Config) -> Iterator[Finding]:
    for number, webhook in enumerate(config.webhooks):
        if not is_url(webhook.url):
            # The text is not repeated: a URL pasted with a typo still holds its secret.
            yield f"webhooks[{number}]", "is not a URL; write http://HOST/PATH or https://HOST/PATH"
