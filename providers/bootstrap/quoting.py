"""Words as systemd's unit files take them, so that nothing in them becomes a specifier, a variable or a second word."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SAFE = re.compile(r"[A-Za-z0-9_@:,./=+-]+")


def exec_line(words: Sequence[str]) -> str:
    """A command for ExecStart (systemd.service, "Command lines"). What is no absolute path is looked for on PATH."""
    if not words[0].startswith("/"):
        words = ("/usr/bin/env", *words)
    return " ".join(_quoted(word.replace("$", "$$")) for word in words)


def environment_line(name: str, value: str) -> str:
    """An assignment for Environment=."""
    return _quoted(f"{name}={value}", always=True)


def text_line(text: str) -> str:
    """A plain text for Description= and the like."""
    return text.replace("%", "%%").replace("\n", " ")


def _quoted(word: str, *, always: bool = False) -> str:
    if _SAFE.fullmatch(word) and not always:
        return word
    escaped = (
        word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n").replace("\t", "\\t")
    )
    return f'"{escaped}"'
