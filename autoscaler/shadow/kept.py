"""What a candidate leaves to the next process: its imagined fleet and the account, one JSON file each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from autoscaler.errors import StorageError
from autoscaler.shadow.account import Account
from autoscaler.types import Instance


@dataclass(frozen=True, slots=True)
class Kept:
    """The state of one candidate at a time."""

    format: Literal[1]
    at: float
    pool: str
    instances: tuple[Instance, ...]
    account: Account | None


KEPT: TypeAdapter[Kept] = TypeAdapter(Kept)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The files of one folder, by active pool. directory None = nothing is kept."""

    directory: Path | None

    def read(self, pool: str) -> Kept | None:
        """What was kept, None if nothing was. StorageError when it cannot be read."""
        if self.directory is None:
            return None
        path = self._path(pool)
        try:
            return KEPT.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else f"{error.error_count()} parts are not as expected"
            raise StorageError(f"{path}: cannot be read ({why}); delete it, the candidate starts afresh") from error

    def write(self, pool: str, kept: Kept) -> None:
        """Keep it, whole or not at all. Raises StorageError."""
        if self.directory is None:
            return
        path = self._path(pool)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            new.write_bytes(KEPT.dump_json(kept))
            os.replace(new, path)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error.strerror}); free or mend the disk") from error

    def pools(self) -> set[str]:
        """Pools that something is kept of."""
        return {path.stem for path in self.directory.glob("*.json")} if self.directory is not None else set()

    def drop(self, pool: str) -> None:
        """Forget it; what cannot be deleted is overwritten by the next candidate."""
        if self.directory is not None:
            try:
                self._path(pool).unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{self._path(pool)}: cannot be deleted ({error.strerror}); delete it") from error

    def _path(self, pool: str) -> Path:
        assert self.directory is not None
        return self.directory / f"{pool}.json"
