"""Files that a rule file names: relative ones lie beside it, wherever the service was started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

OWN = "default"
"""What stands for our own template where an offer names one."""


def locate(root: Any, file: str) -> None:
    """Makes the relative paths in a tree absolute; what has another shape is left to whoever checks it."""
    for section in _sections(root):
        name = section.get("bootstrap")
        if isinstance(name, str) and name not in ("", OWN):
            section["bootstrap"] = _beside(name, file)
    files = _inside(root, "scale_in", "drain_hook", "header_files")
    for header, name in [*files.items()] if isinstance(files, dict) else ():
        if isinstance(name, str) and name:
            files[header] = _beside(name, file)


def _sections(root: Any) -> Iterator[dict[str, Any]]:
    entries = _inside(root, "offers", "from")
    for entry in entries if isinstance(entries, list) else ():
        yield from (s for s in entry.values() if isinstance(s, dict)) if isinstance(entry, dict) else ()


def _inside(value: Any, *way: str) -> Any:
    for step in way:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _beside(name: str, file: str) -> str:
    return str((Path(file).parent / Path(name).expanduser()).absolute())
