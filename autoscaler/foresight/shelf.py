"""Fitted models by key: the last used ones in memory, all of them in a folder, so that a restart fits nothing anew."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from autoscaler import __version__
from autoscaler.ports import Model

IN_MEMORY = 32
"""A model of trees takes about 10 MB."""

ON_DISK = 2000
MADE_WITH = ("numpy", "scikit-learn")


@dataclass(slots=True)
class Shelf:
    """`folder` None = in memory only, as many as there are. The folder belongs to the service alone: what is in it is
    loaded as code would be. Raises OSError when it cannot be written."""

    folder: Path | None = None
    _held: OrderedDict[str, Model] = field(default_factory=OrderedDict)

    def put(self, key: str, model: Model) -> None:
        """Keep the model of a key in place of the one before."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = self._file(key)
            new = file.with_suffix(".new")
            new.write_bytes(pickle.dumps((_made_with(), key, model), protocol=5))
            new.replace(file)
            self._tidy()
        self._hold(key, model)

    def get(self, key: str) -> Model | None:
        """The model of a key; None without one, or when other releases made it."""
        held = self._held.get(key)
        if held is None and self.folder is not None:
            held = self._loaded(key)
        if held is not None:
            self._hold(key, held)
        return held

    def _hold(self, key: str, model: Model) -> None:
        self._held[key] = model
        self._held.move_to_end(key)
        while self.folder is not None and len(self._held) > IN_MEMORY:
            self._held.popitem(last=False)

    def _loaded(self, key: str) -> Model | None:
        file = self._file(key)
        if not file.is_file():
            return None
        try:
            made_with, of, model = pickle.loads(file.read_bytes())  # noqa: S301 - our own folder, mode 0700
        except Exception:  # noqa: BLE001 - half a file, or classes that are gone: it is made anew
            made_with, of, model = None, None, None
        if made_with == _made_with() and of == key:
            found: Model = model
            return found
        file.unlink(missing_ok=True)
        return None

    def _tidy(self) -> None:
        assert self.folder is not None
        files = list(self.folder.glob("*.model"))
        if len(files) > ON_DISK:
            for file in sorted(files, key=lambda f: f.stat().st_mtime)[: len(files) - ON_DISK]:
                file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.model"


def _made_with() -> tuple[str, ...]:
    return (__version__, *(version(name) for name in MADE_WITH))
