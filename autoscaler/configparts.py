"""What the configuration names one by one: pages to scrape, lists of them, plug-ins and receivers of alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Target:
    """One page to scrape at an interval. `labels` are added to each of its series and hold the label `pool`."""

    url: str
    labels: tuple[tuple[str, str], ...] = ()
    interval_s: float = 5.0
    timeout_s: float = 3.0
    token_file: Path | None = None
    ca_file: Path | None = None

    @property
    def pool(self) -> str:
        """The pool that the series belong to; empty when the label is missing, which `Config.check` refuses."""
        return dict(self.labels).get("pool", "")


@dataclass(frozen=True, slots=True)
class Discovery:
    """A list of pages that others keep, in files by patterns or on a server, and how its pages are scraped."""

    files: tuple[str, ...] = ()
    url: str = ""
    refresh_s: float = 5.0
    labels: tuple[tuple[str, str], ...] = ()
    path: str = "/metrics"
    interval_s: float = 5.0
    timeout_s: float = 3.0
    token_file: Path | None = None
    page_token_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class PlugInConfig:
    """The settings of one provider or collector under its name in the configuration.

    They may hold credentials and stay out of every repr. `folder`: what relative paths among them start from. `use`:
    its entry-point name where that differs, so that one plug-in can be configured several times.
    """

    name: str
    settings: Mapping[str, object] = field(default_factory=dict, repr=False)
    folder: Path = Path()
    use: str = ""

    @property
    def plug_in(self) -> str:
        """The entry-point name."""
        return self.use or self.name


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often one token, or one address without a token, may ask; bursts are what may come at once after a pause.

    The defaults are twice what 50 routers that ask for endpoints every second and 20 open pages need with one token.
    failures_per_s: wrong tokens of one address.
    """

    reads_per_s: float = 200.0
    read_burst: int = 400
    writes_per_s: float = 10.0
    write_burst: int = 50
    failures_per_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of alerts. The path and query of its URL are often a secret; only `host` may be shown."""

    url: str = field(repr=False)

    @property
    def host(self) -> str:
        """`scheme://host:port`, without user, path and query: what a log may say."""
        if not is_url(self.url):
            return "(not a URL)"
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_url(text: str) -> bool:
    """Whether a text is an http or https URL with a host and, if it has one, a port that exists."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
