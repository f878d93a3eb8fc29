"""Every key of the service's configuration file, as pydantic reads it: words in, values of the right kind out."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autoscaler import units
from autoscaler.alertingmodel import AlertingIn
from autoscaler.config import DAY_S
from autoscaler.configparts import RateLimit
from autoscaler.pacing import USUAL

ENVIRONMENT_PREFIX = "SIGMASCALE_"
STRUCTURED = ("targets", "discovery", "providers", "collectors", "paces", "rate_limit", "alerting")
"""Settings with a structure, which a variable holds as JSON."""
CLIENT_VARIABLES = {
    "SIGMASCALE_CONFIG": "the configuration file of `run`",
    "SIGMASCALE_URL": "the service that `explain` and `override` ask",
    "SIGMASCALE_TOKEN": "the bearer token that they send",
}
"""Variables of the command line that are no settings of the service."""


def _listed(value: object) -> object:
    """A single word stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _days(text: str) -> int:
    if text.isascii() and text.isdigit():
        raise ValueError(f"{text!r} has no unit; write {text}d")
    seconds = units.duration_s(text)
    if seconds % DAY_S:
        raise ValueError(f"{text!r} is not a whole number of days; write one such as 28d")
    return int(seconds / DAY_S)


def _size(text: str) -> int:
    return int(units.size_bytes(text))


def _calls(text: str) -> float:
    rate = units.number(text)
    if not 0.01 <= rate <= 10_000:
        raise ValueError(f"{text!r} is not between 0.01 and 10000; 20 is the default")
    return rate


def _many(text: str) -> int:
    count = units.count(text)
    if not 1 <= count <= 500:
        raise ValueError(f"{text!r} is not between 1 and 500; leave it out for the default")
    return count


def _burst(text: str) -> int:
    count = units.count(text)
    if not 1 <= count <= 100_000:
        raise ValueError(f"{text!r} is not between 1 and 100000; leave it out for the default")
    return count


Duration = Annotated[float, BeforeValidator(units.duration_s)]
Days = Annotated[int, BeforeValidator(_days)]
Count = Annotated[int, BeforeValidator(units.count)]
Calls = Annotated[float, BeforeValidator(_calls)]
Many = Annotated[int, BeforeValidator(_many)]
Burst = Annotated[int, BeforeValidator(_burst)]
Size = Annotated[int, BeforeValidator(_size)]
Flag = Annotated[bool, BeforeValidator(units.flag)]
Words = Annotated[list[str], BeforeValidator(_listed)]


def _hosts(value: object) -> object:
    listed = _listed(value)
    for host in listed if isinstance(listed, list) else ():
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:]{2,39}", str(host)):
            raise ValueError(f"{host!r} is not a host; write one such as drain.example.com, without a port")
    return listed


Hosts = Annotated[list[str], BeforeValidator(_hosts)]


def _origins(value: object) -> object:
    listed = _listed(value)
    for origin in listed if isinstance(listed, list) else ():
        if not re.fullmatch(r"https?://([a-z0-9.-]{1,253}|\[[0-9a-f:]{2,39}\])(:[0-9]{1,5})?", str(origin)):
            rule = "is not an origin; write exactly what browsers send, such as https://grafana.example.com"
            raise ValueError(f"{origin!r} {rule}: no path, no `*`, small letters")
    return listed


Origins = Annotated[list[str], BeforeValidator(_origins)]


class TargetIn(BaseModel):
    """One page to scrape."""

    model_config = ConfigDict(extra="forbid")
    url: str = Field(description="the page, such as http://10.0.0.7:9400/metrics")
    labels: dict[str, str] = Field(default={}, description="added to every series; `pool` is mandatory")
    interval: Duration = Field(default=5.0, description="time between two scrapes")
    timeout: Duration | None = Field(default=None, description="longest wait for the page; 3s, at most the interval")
    token_file: str | None = Field(default=None, description="file with the bearer token that the page wants")
    ca_file: str | None = Field(default=None, description="PEM file of the authority that signed an https page")


class DiscoveryIn(BaseModel):
    """One list of pages to scrape that others keep, in Prometheus's file_sd or http_sd format."""

    model_config = ConfigDict(extra="forbid")
    files: Words = Field(default=[], description="files with lists, JSON or YAML; the last part may hold `*`")
    url: str | None = Field(default=None, description="a server that answers with such a list, instead of files")
    refresh: Duration | None = Field(default=None, description="time between two looks; 5s for files, 1m for a server")
    labels: dict[str, str] = Field(default={}, description="added to every series; labels of the list win")
    path: str = Field(default="/metrics", description="path of the pages, unless `__metrics_path__` says otherwise")
    interval: Duration = Field(default=5.0, description="time between two scrapes; `__scrape_interval__` wins")
    timeout: Duration | None = Field(default=None, description="longest wait for a page; `__scrape_timeout__` wins")
    token_file: str | None = Field(default=None, description="file with the bearer token for `url`")
    page_token_file: str | None = Field(default=None, description="file with the bearer token for the pages")
    ca_file: str | None = Field(default=None, description="PEM file of the authority that signed https pages")


class PaceIn(BaseModel):
    """What the service allows itself with one provider."""

    model_config = ConfigDict(extra="forbid")
    max_launches: Count | None = Field(default=None, description="machines ordered in one pass over all pools")
    calls_per_second: Calls = Field(default=USUAL.calls_per_s, description="calls, reports and actions together")
    burst: Many = Field(default=USUAL.burst, description="calls that may come at once after a pause")
    parallel: Many = Field(default=USUAL.parallel, description="actions at the same time")


class RateLimitIn(BaseModel):
    """How often one token, or one address without a token, may ask the API."""

    model_config = ConfigDict(extra="forbid")
    reads_per_second: Calls = Field(default=RateLimit().reads_per_s, description="GET requests")
    read_burst: Burst = Field(default=RateLimit().read_burst, description="GET requests at once after a pause")
    writes_per_second: Calls = Field(default=RateLimit().writes_per_s, description="requests that change something")
    write_burst: Burst = Field(default=RateLimit().write_burst, description="such requests at once after a pause")
    failures_per_second: Calls = Field(
        default=RateLimit().failures_per_s, description="wrong tokens of one address, after 30 at once"
    )


class Settings(BaseModel):
    """Every key of the configuration file. Each may also be a variable, in capitals behind SIGMASCALE_."""

    model_config = ConfigDict(extra="forbid")
    data_dir: str = Field(default="sigmascale-data", description="folder of journal, metrics and the local token")
    rules: Words = Field(default=[], description="rule files and folders of rule files")
    listen: str = Field(default="127.0.0.1:9377", description="HOST:PORT of the API; without tokens only this machine")
    tls_cert: str | None = Field(default=None, description="PEM file of the certificate chain; with tls_key")
    tls_key: str | None = Field(default=None, description="PEM file of the private key; with tls_cert")
    tokens_file: str | None = Field(
        default=None, description="file of mode 0600 with lines `role token-or-sha256:HEX name`"
    )
    webhooks: Words = Field(default=[], description="URLs that alerts are posted to (Alertmanager's format, version 4)")
    webhooks_file: str | None = Field(default=None, description="file with one such URL a line, when they are secret")
    alerting: AlertingIn | None = Field(
        default=None, description="who is told of alerts, in which form, grouped how; see docs/alerts.md"
    )
    targets: list[TargetIn] = Field(default=[], description="pages to scrape that no provider launched")
    discovery: list[DiscoveryIn] = Field(
        default=[], description="lists of such pages that others keep, as files or on a server"
    )
    providers: dict[str, dict[str, object]] = Field(default={}, description="settings of providers, by provider name")
    collectors: dict[str, dict[str, object]] = Field(
        default={},
        description="collectors beside the scraper, by name, each with its settings, `{}` for none; with "
        "`use: PLUG-IN` the name is free, so that one plug-in can be there twice",
    )
    max_replicas: Count | None = Field(default=None, description="upper bound of pools whose file gives none")
    region: str = Field(default="", description="region of offers that name none")
    prices: str | None = Field(
        default=None, description="CSV file of your own prices: provider, type, usd_per_hour, region, purchase"
    )
    raw_window: Duration = Field(default=1200.0, description="how long raw series stay in memory")
    max_series: Count = Field(default=200_000, description="raw series in memory; what is beyond is refused and told")
    max_series_per_pool: Count | None = Field(default=None, description="of one pool; three quarters of max_series")
    max_text: Size = Field(default=512 << 20, description="what names and labels of all pages' series may take")
    history: Duration = Field(default=7 * DAY_S, description="how much of the pools' signals a restart reads back")
    retention: Days = Field(default=28, description="how many days of the pools' signals stay on disk")
    hook_hosts: Hosts = Field(
        default=[], description="hosts that drain hooks of rule files may call, besides the instance that drains"
    )
    max_launches: Count = Field(default=50, description="machines ordered in one pass over all pools")
    paces: dict[str, PaceIn] = Field(
        default={}, description="how fast providers may be called and ordered from, by provider name"
    )
    rate_limit: RateLimitIn | None = Field(
        default=None, description="how often one token, or one address without a token, may ask the API"
    )
    cors_origins: Origins = Field(
        default=[], description="origins whose pages may read the API with a token, such as https://grafana.example.com"
    )
    cors_writes: Flag = Field(default=False, description="such pages may also change things, with a token that may")
    shadow: Flag = Field(default=False, description="observe and decide, but withhold every action")
    log_format: Literal["console", "json"] = Field(default="console", description="log lines for people or machines")
