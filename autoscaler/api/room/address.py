"""Where people find the control room and what they sign in with, in one line; never a token itself."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not bound
"""Whoever listens on every address of this machine is found on the one that a browser here can open."""


def address(url: str, tokens_file: Path | None, local_file: Path) -> str:
    """`control room: http://127.0.0.1:9377/, ...`. url: of the API. tokens_file: None = only this machine is heard."""
    parts = urlsplit(url)
    host = EVERYWHERE.get(parts.hostname or "")
    place = url if host is None else f"{parts.scheme}://{host}:{parts.port}"
    if tokens_file is not None:
        return f"control room: {place}/, sign in with a token of {tokens_file}"
    return f"control room: {place}/, to change things sign in with the token in the file {local_file}"
