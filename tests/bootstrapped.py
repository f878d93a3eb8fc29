"""Reads what a cloud-init document would make of a machine: its files, its units, and words as systemd splits them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def files(document: Any) -> dict[str, str]:
    """The content of each file that is written, by path."""
    return {one["path"]: one["content"] for one in document["write_files"]}


def units(document: Any) -> dict[str, dict[str, str]]:
    """The settings of each unit by its name; of those that stand more than once, the last."""
    found = {}
    for path, content in files(document).items():
        if path.startswith("/etc/systemd/system/"):
            pairs = [line.partition("=") for line in content.splitlines() if "=" in line]
            found[Path(path).stem] = {name: value for name, _, value in pairs}
    return found


def words(line: str) -> list[str]:
    """The words of a command line as systemd reads it: quotes, escapes, then specifiers and variables."""
    split = [
        re.sub(r"\\(.)", lambda m: _ESCAPES[m[1]], quoted) if quoted or not bare else bare
        for quoted, bare in _WORD.findall(line)
    ]
    return [word.replace("%%", "%").replace("$$", "$") for word in split]
