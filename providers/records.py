"""What the local provider remembers of each launch, one file each: written before the process is started.

A record outlives its process for a while, so that a launch whose id comes again is recognised and not repeated.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from autoscaler.errors import ProviderError
from autoscaler.types import Instance, InstanceState
from providers.process import Identity

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Phase = Literal["ordered", "running", "stopping", "ended"]
Role = Literal["serving", "draining", "warm"]


@dataclass(frozen=True, slots=True)
class Record:
    """One launch. `action` is its id and the mark of its process.

    phase: ordered (written down, perhaps not started), running, stopping (told to end, killed at `stop_by`), ended.
    role: what it is kept for while it runs. since: when the instance entered the state it is reported in. applied: ids
    of the last actions on it. died: it ended without being told to; told: that was reported for long enough.
    """

    action: str
    instance: str
    pool: str
    offer: str
    host: str
    port: int
    ready_path: str
    requested_at: float
    since: float
    replicas: int = 1
    usd_per_hour: float = 0.0
    gpus: tuple[str, ...] = ()
    phase: Phase = "ordered"
    role: Role = "serving"
    process: Identity | None = None
    ready: bool = False
    stop_by: float | None = None
    ended_at: float | None = None
    died: bool = False
    told: bool = False
    detail: str = ""
    applied: tuple[str, ...] = ()
    made_of: str = ""

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def alive(self) -> bool:
        """It holds a port, perhaps GPUs, and a place among the processes."""
        return self.phase != "ended"

    @property
    def state(self) -> InstanceState | None:
        """How it is reported; None = not at all."""
        match self.phase:
            case "ended":
                return "failed" if self.died and not self.told else None
            case "stopping":
                return "stopping"
        match self.role:
            case "draining":
                return "draining"
            case "warm":
                return "warm"
        return "ready" if self.ready else "pending"

    def seen(self) -> Instance | None:
        """The instance as the fleet lists it."""
        if self.state is None:
            return None
        return Instance(
            id=self.instance,
            pool=self.pool,
            offer=self.offer,
            state=self.state,
            since=self.since,
            replicas=self.replicas,
            requested_at=self.requested_at,
            address=self.address,
            action=self.action,
            usd_per_hour=self.usd_per_hour,
            detail=self.detail,
            made_of=self.made_of,
            rests=self.state == "warm",
        )

    def after(self, action: str, role: Role, at: float) -> Record:
        """This record after an action gave it a role; it entered another state only if the role is new."""
        applied = (*self.applied, action)[-32:]
        return replace(self, applied=applied, role=role, since=self.since if role == self.role else at)


def instance_id(pool: str, action: str) -> str:
    """The name of the instance that a launch makes: always the same, fit for a file name, and readable."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", pool)[:40].strip("-") or "pool"
    return f"{slug}-{hashlib.sha256(action.encode()).hexdigest()[:10]}"


@dataclass
class RecordFiles:
    """The records in a directory that one provider owns at a time."""

    directory: Path
    _lock: IO[str] | None = field(default=None, init=False, repr=False)

    def open(self) -> list[Record]:
        """Take the directory and read what is in it. Raises ProviderError: not writable, taken, not readable."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.fdopen(os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
        except OSError as error:
            raise ProviderError(
                f"{self.directory}: cannot keep the state of local processes here: {error.strerror}; "
                "give the provider a directory that this user may write"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise ProviderError(
                f"{self.directory}: another local provider manages the processes of this directory; "
                "stop that service, or give this one a directory of its own"
            ) from error
        try:
            # Made here, because it takes a while and the first launch should not.
            _adapter()
            return self._read_all()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def log(self, record: Record) -> Path:
        """What its process prints."""
        return self.directory / f"{record.instance}.log"

    def state(self, record: Record) -> Path:
        """Where the record is kept; also what marks its process."""
        return self.directory / f"{record.instance}.json"

    def save(self, record: Record) -> None:
        """Whole or not at all, and on the disk when this returns. Raises ProviderError."""
        path = self.state(record)
        draft = path.with_suffix(".tmp")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_adapter().dump_json(record))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            self._sync_directory()
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise ProviderError(
                f"{path}: cannot write down the state of a process: {error.strerror}; free or repair the disk"
            ) from error

    def remove(self, record: Record) -> None:
        """Forget a record and what its worker printed."""
        for path in (self.state(record), self.log(record)):
            with suppress(OSError):
                path.unlink()

    def _read_all(self) -> list[Record]:
        for draft in self.directory.glob("*.tmp"):
            draft.unlink()
        return [self._read(path) for path in sorted(self.directory.glob("*.json"))]

    def _read(self, path: Path) -> Record:
        try:
            return _adapter().validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise ProviderError(
                f"{path}: not a readable state of a process ({first}); "
                "restore the file, or end its process by hand and delete it"
            ) from error

    def _sync_directory(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@cache
def _adapter() -> TypeAdapter[Record]:
    from pydantic import TypeAdapter

    return TypeAdapter(Record)
