"""What outlives a crash besides Azure's own tags: what was ordered from, and the operations that were begun."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from autoscaler.errors import StorageError
from providers.azure.orders import Terms
from providers.azure.settings import SetRef


@dataclass
class Records:
    """A file of the data folder: the scale sets that were ordered from, their terms, and the newest operation of each.

    Without it the tags of Azure tell nearly all; with it a restarted service also knows a scale set again whose tags
    somebody removed, and hears why an operation failed.
    """

    directory: Path
    _sets: dict[SetRef, Terms] = field(default_factory=dict, init=False, repr=False)
    _tokens: dict[SetRef, str] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def file(self) -> Path:
        return self.directory / "scale-sets.json"

    def open(self) -> None:
        """Reads the file. One that cannot be understood is put aside: the tags tell the rest."""
        try:
            rows = json.loads(self.file.read_text(encoding="utf-8"))
            for row in rows:
                ref = SetRef(*(str(part) for part in row["ref"]))
                self._sets[ref] = Terms(**row["terms"])
                if row.get("token"):
                    self._tokens[ref] = str(row["token"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            with contextlib.suppress(OSError):
                self.file.replace(self.file.with_suffix(".unreadable"))
        except OSError as error:
            raise StorageError(f"{self.file}: cannot be read ({error.strerror}); check its permissions") from error

    def sets(self) -> dict[SetRef, Terms]:
        """Scale sets that were ordered from, and what their machines are."""
        with self._lock:
            return dict(self._sets)

    def named(self, group: str, name: str) -> SetRef | None:
        """The scale set of that name."""
        return next((ref for ref in self.sets() if (ref.group, ref.name) == (group, name)), None)

    def know(self, ref: SetRef, terms: Terms) -> None:
        """Keeps it, before anything is ordered there."""
        with self._lock:
            if self._sets.get(ref) != terms:
                self._sets[ref] = terms
                self._keep()

    def token(self, ref: SetRef) -> str | None:
        """The continuation token of the newest growth."""
        with self._lock:
            return self._tokens.get(ref)

    def began(self, ref: SetRef, token: str | None) -> None:
        """A growth began, or (None) the last one is over."""
        with self._lock:
            if self._tokens.get(ref) == token:
                return
            self._tokens.pop(ref, None)
            if token is not None:
                self._tokens[ref] = token
            self._keep()

    def _keep(self) -> None:
        rows: list[dict[str, Any]] = [
            {"ref": [ref.subscription, ref.group, ref.name], "terms": asdict(terms), "token": self._tokens.get(ref)}
            for ref, terms in self._sets.items()
        ]
        new = self.file.with_suffix(".new")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with open(new, "w", encoding="utf-8") as stream:
                json.dump(rows, stream)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(self.file)
        except OSError as error:
            raise StorageError(f"{self.file}: cannot be written ({error.strerror}); free the disk") from error
