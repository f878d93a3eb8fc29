"""Targets that come and go: files that others write (file_sd) and lists that a server keeps (http_sd).

What was last known stays in force while a file is broken or a server is away: a list that cannot be read says nothing
about the fleet.
"""

from __future__ import annotations

import glob
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import structlog

from autoscaler.clock import monotonic
from autoscaler.errors import InputError
from autoscaler.ports import Clock
from collectors.scraping.target_groups import Manner, targets_of
from collectors.scraping.targets import Target

log = structlog.get_logger(__name__)

MAX_LIST_BYTES = 32 << 20
MAX_FILES = 1000
ANSWER_S = 10.0
LOOK_S = 0.2
STOP_S = 0.9


@dataclass(frozen=True, slots=True)
class Listing:
    """Where one list of targets is: files by patterns, or a URL; how often to look, and how its targets are scraped.

    A token is read from its file at each request, so that a rotated one is used at once.
    """

    files: tuple[str, ...] = ()
    url: str = ""
    refresh_s: float = 5.0
    manner: Manner = field(default_factory=Manner)
    token_file: Path | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.url or ", ".join(self.files)


@dataclass(frozen=True, slots=True)
class ListingStatus:
    """How a listing does: the targets in force, when it was last read whole, and why it was not since."""

    name: str
    targets: int = 0
    last_at: float | None = None
    error: str = ""


@dataclass(eq=False)
class _Followed:
    """A listing and what it said last."""

    listing: Listing
    status: ListingStatus
    due: float = 0.0
    targets: tuple[Target, ...] = ()
    seen: dict[str, tuple[tuple[int, int, int], tuple[Target, ...]]] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()


class ServiceDiscovery:
    """Follows listings on a thread of its own. `start` it, ask `targets`, `stop` it.

    `read` looks once at every listing on the caller's thread, as `start` does, so that the first targets are there.
    """

    def __init__(self, listings: Sequence[Listing], clock: Clock, changed: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._changed = changed
        self._followed = [_Followed(listing, ListingStatus(listing.name, error="not read yet")) for listing in listings]
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look at the files once and go on in the background; servers are asked there only."""
        for followed in self._followed:
            if followed.listing.files:
                self._follow(followed)
        if self._followed:
            self._thread = threading.Thread(target=self._run, name="discovery", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop within a second."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def targets(self) -> tuple[Target, ...]:
        """The targets in force; waits for nothing."""
        return tuple(target for followed in self._followed for target in followed.targets)

    def status(self) -> tuple[ListingStatus, ...]:
        """How each listing does."""
        return tuple(followed.status for followed in self._followed)

    def read(self) -> None:
        """Look at every listing whose time has come."""
        for followed in self._followed:
            if monotonic() >= followed.due and not self._stopping.is_set():
                self._follow(followed)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            self.read()

    def _follow(self, followed: _Followed) -> None:
        listing = followed.listing
        followed.due = monotonic() + listing.refresh_s
        try:
            found = self._asked(followed) if listing.url else self._found(followed)
        except InputError as error:
            if followed.status.error != str(error):
                reason = "; ".join(str(error).splitlines())
                log.warning("targets not read", reason=reason, meanwhile="the last ones stay in force")
            followed.status = replace(followed.status, error=str(error))
            return
        if followed.status.error and followed.status.last_at is not None:
            log.info("targets read again", listing=listing.name, targets=len(found))
        followed.status = ListingStatus(listing.name, len(found), self._clock.now())
        if found != followed.targets:
            followed.targets = found
            self._changed()

    def _found(self, followed: _Followed) -> tuple[Target, ...]:
        """Targets of all files. A file that is broken keeps what it said before; all faults are raised at the end."""
        matched = {pattern: glob.glob(pattern) for pattern in followed.listing.files}
        # No file is an empty list, as it is for Prometheus; but it may as well be a spelling mistake.
        empty = frozenset(pattern for pattern, paths in matched.items() if not paths)
        for pattern in sorted(empty - followed.empty):
            log.warning(
                "no list of targets", files=pattern, next_step="correct the path, or write the file; it is awaited"
            )
        followed.empty = empty
        paths = sorted(set().union(*matched.values()))[:MAX_FILES]
        seen, faults = {}, []
        for path in paths:
            try:
                seen[path] = self._file(path, followed)
            except InputError as error:
                faults.append(str(error))
                if path in followed.seen:
                    seen[path] = followed.seen[path]
        followed.seen = seen
        found = tuple(dict.fromkeys(target for _, targets in seen.values() for target in targets))
        if faults:
            followed.targets = found
            raise InputError(*faults)
        return found

    @staticmethod
    def _file(path: str, followed: _Followed) -> tuple[tuple[int, int, int], tuple[Target, ...]]:
        try:
            about = Path(path).stat()
            mark = (about.st_mtime_ns, about.st_size, about.st_ino)
            before = followed.seen.get(path)
            if before is not None and before[0] == mark:
                return before
            if about.st_size > MAX_LIST_BYTES:
                raise InputError(f"{path}: has {about.st_size} bytes, more than {MAX_LIST_BYTES >> 20} MiB; split it")
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); let this user read it") from None
        return mark, targets_of(data, path, followed.listing.manner)

    def _asked(self, followed: _Followed) -> tuple[Target, ...]:
        listing = followed.listing
        headers = {"Accept": "application/json", "X-Prometheus-Refresh-Interval-Seconds": f"{listing.refresh_s:g}"}
        if listing.token_file is not None:
            try:
                headers["Authorization"] = f"Bearer {listing.token_file.read_text(encoding='utf-8').strip()}"
            except (OSError, UnicodeDecodeError):
                raise InputError(f"{listing.url}: the token file {listing.token_file} cannot be read") from None
        return targets_of(_body(listing.url, headers), listing.url, listing.manner)


def _body(url: str, headers: dict[str, str]) -> bytes:
    """The whole answer of a server. Raises InputError for every other end."""
    deadline, body = monotonic() + ANSWER_S, bytearray()
    try:
        with httpx.stream("GET", url, headers=headers, timeout=ANSWER_S, trust_env=False) as response:
            if response.status_code != 200:
                raise InputError(f"{url}: answers {response.status_code}; a list of targets comes with 200")
            for piece in response.iter_bytes():
                body += piece
                if len(body) > MAX_LIST_BYTES or monotonic() > deadline:
                    rule = f"more than {MAX_LIST_BYTES >> 20} MiB or longer than {ANSWER_S:g} s"
                    raise InputError(f"{url}: the list takes {rule}; split it")
    except httpx.HTTPError as error:
        raise InputError(f"{url}: does not answer ({_cause(error)}); check the address") from None
    return bytes(body)


def _cause(error: httpx.HTTPError) -> str:
    """In words what ended a request: httpx keeps those of the system, and says nothing of a time-out."""
    return str(error).rpartition("] ")[2] or type(error).__name__
