"""Asks the cloud's metadata service every few seconds, on a thread of its own, and tells what it announces."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

import numpy as np
import structlog

from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.types import Batch, Labels, SeriesKey
from collectors.background import Background
from collectors.cloud import aws, azure
from collectors.cloud.exchange import Exchange, SilentError
from collectors.cloud.notices import Notices
from collectors.outbox import Outbox

log = structlog.get_logger(__name__)

Name = Literal["aws", "azure", "auto"]
CLOUDS: tuple[Name, ...] = get_args(Name)
BASE_URL = "http://169.254.169.254"
"""The address on the machine's own link that both clouds answer at."""
INTERVAL_S = 5.0
"""As often as the EC2 user guide advises to look for interruption notices."""
TIMEOUT_S = 2.0
SEARCH_S = 60.0
"""Between two searches for a cloud where none answers."""
QUEUE_LIMIT, STOP_S = 64, 0.5


@dataclass(frozen=True, slots=True)
class CloudStatus:
    """state: starting, reading, absent (nobody answers, so this is no machine of such a cloud) or failing."""

    state: Literal["starting", "reading", "absent", "failing"] = "starting"
    cloud: str = ""
    trouble: str = ""


@dataclass(eq=False)
class Cloud:
    """A collector of this machine's notices. `start` it, `collect` at every tick, `stop` it.

    cloud: whose machine this is; auto = whoever answers. labels are added to every series. base_url: of the metadata
    service. interval_s: between two questions; timeout_s: of each.
    """

    clock: Clock
    labels: Labels = ()
    wake: threading.Event | None = None
    cloud: Name = "auto"
    base_url: str = BASE_URL
    interval_s: float = INTERVAL_S
    timeout_s: float = TIMEOUT_S
    _outbox: Outbox[Batch] = field(init=False, repr=False)
    _background: Background = field(init=False, repr=False)
    _asked: aws.Aws | azure.Azure | None = field(default=None, init=False, repr=False)
    _search_at: float = field(default=-math.inf, init=False, repr=False)
    _keys: tuple[SeriesKey, ...] = field(default=(), init=False, repr=False)
    _kinds: tuple[str, ...] = field(default=(), init=False, repr=False)
    _known: str = field(default="", init=False, repr=False)
    _status: CloudStatus = field(default=CloudStatus(), init=False, repr=False)

    def __post_init__(self) -> None:
        if not is_service(self.base_url):
            raise InputError(f"cloud: base_url {self.base_url!r} is not http://HOST or http://HOST:PORT")
        if self.cloud not in CLOUDS:
            raise InputError(f"cloud: {self.cloud!r} is not one of {', '.join(CLOUDS)}")
        for name in ("interval_s", "timeout_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"cloud: {name} is {value}, but must be above 0; write one such as 5s")
        self.labels = tuple(sorted(self.labels))
        self._outbox = Outbox(QUEUE_LIMIT, self.wake)
        self._background = Background("cloud", self.clock)

    def start(self) -> None:
        """Begin to ask."""
        self._background.start(self._run)

    def stop(self) -> None:
        """Stop soon; a question under way ends by its time-out."""
        self._background.stop(STOP_S)

    def collect(self, now: float) -> tuple[Batch, ...]:
        """What was heard since the last call."""
        del now
        return self._outbox.take()

    def status(self) -> CloudStatus:
        """How it goes."""
        return self._status

    def _run(self) -> None:
        for now in self._background.rounds(self.interval_s):
            if self._asked is None and self._elapsed(now) < SEARCH_S:
                continue
            heard = self._look(now)
            if heard is not None or self._keys:
                self._outbox.put(self._batch(heard, now))

    def _elapsed(self, now: float) -> float:
        # A clock that went back must not put off the search.
        return now - self._search_at if now >= self._search_at else math.inf

    def _look(self, now: float) -> Notices | None:
        troubles, gone = [], True
        for name, one in [("", self._asked)] if self._asked is not None else self._candidates():
            assert one is not None
            try:
                heard = one.look(now)
            except SilentError as error:
                gone = gone and error.gone
                troubles.append(f"{name or self._status.cloud}: {error}")
                continue
            self._asked = one
            self._tell(CloudStatus("reading", "aws" if isinstance(one, aws.Aws) else "azure"))
            return heard
        if self._asked is None:
            self._search_at = now
        known = self._status.cloud
        absent = gone and self._asked is None
        self._tell(CloudStatus("absent" if absent else "failing", known, "; ".join(troubles)))
        return None

    def _candidates(self) -> list[tuple[str, aws.Aws | azure.Azure]]:
        exchange = Exchange(self.base_url, self.timeout_s)
        some: list[tuple[str, aws.Aws | azure.Azure]] = [("aws", aws.Aws(exchange)), ("azure", azure.Azure(exchange))]
        return [(name, one) for name, one in some if self.cloud in ("auto", name)]

    def _batch(self, heard: Notices | None, now: float) -> Batch:
        if heard is not None and heard.instance != self._known:
            self._known, self._kinds = heard.instance, aws.KINDS if self._status.cloud == "aws" else azure.KINDS
            own = {**dict(self.labels), "instance_id": heard.instance}
            self._keys = (
                _key("instance_notices_readable", own),
                _key("instance_rebalance_timestamp_seconds", own),
                *(_key("instance_interruption_timestamp_seconds", {**own, "kind": kind}) for kind in self._kinds),
            )
        if heard is None:
            # What was announced is not taken back by a silence.
            values = [0.0, *([math.nan] * (len(self._keys) - 1))]
        else:
            values = [1.0, heard.rebalance_at, *(heard.interruptions.get(kind, 0.0) for kind in self._kinds)]
        return Batch("cloud", now, self.interval_s, self._keys, np.array(values), self.labels)

    def _tell(self, status: CloudStatus) -> None:
        """Log what changed, not what goes on."""
        before, self._status = self._status, status
        if (before.state, before.trouble) == (status.state, status.trouble):
            return
        if status.state == "failing":
            log.warning("notices of the cloud cannot be read, they are asked for again", reason=status.trouble)
        elif status.state == "absent":
            log.info("no cloud answers, so there are no notices", reason=status.trouble)
        else:
            log.info("notices of the cloud are read", cloud=status.cloud)


def is_service(url: str) -> bool:
    """Whether a metadata service can be asked at a URL: plain HTTP, no user, no query."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        return False
    return good and not parts.query and not parts.fragment and url.isascii() and url.isprintable() and " " not in url


def _key(metric: str, labels: dict[str, str]) -> SeriesKey:
    return SeriesKey(metric, tuple(sorted(labels.items())))
