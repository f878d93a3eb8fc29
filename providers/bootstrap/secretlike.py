"""Finds text that looks like a key, a password or a token, so that none is written where every process can read it.

User data can be read by any process of the machine and by everybody who may describe it in the cloud's console.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from typing import Any

SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a private key", re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})")),
    ("a GitLab token", re.compile(r"\bglpat-[\w-]{20,}")),
    ("a Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    ("an API key", re.compile(r"\bsk-[A-Za-z0-9_-]{20,}")),
    ("a Google API key", re.compile(r"\bAIza[\w-]{35}")),
    ("a Slack token", re.compile(r"\bxox[abeoprs]-[\w-]{10,}")),
    ("a signed token (JWT)", re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+")),
    ("a storage account key", re.compile(r"AccountKey=[A-Za-z0-9+/]{20,}")),
    ("a signed URL", re.compile(r"[?&](?:sig|X-Amz-Signature)=[\w%+/-]{20,}")),
    (
        "a password in a URL",
        re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s/:@'\"]{0,200}:[^\s/@'\"$%{]{1,500}@"),
    ),
    ("a bearer token", re.compile(r"\b[Bb]earer\s+[A-Za-z0-9._~+/-]{16,}")),
)
"""Prefixes are those that the issuers document for secret scanners."""
_NAME = r"(?:pass(?:word|wd|phrase)|secret|token|api_?key|access_?key|secret_?key|private_?key|credentials?)"
_NAMED = re.compile(
    rf"(?:^|[^A-Za-z]){_NAME}[\"']?\s*[=:]\s*[\"']?(?P<value>[^\s\"'$%<{{(/.\[|][^\s\"',;]{{7,}})",
    re.IGNORECASE | re.MULTILINE,
)
"""`HF_TOKEN=abc...`; a path, a variable, a placeholder or a command in its place is no secret."""
_NAME_ONLY = re.compile(rf"(?:^|[^A-Za-z]){_NAME}$", re.IGNORECASE)
_FLAG = re.compile(
    rf"(?:^|\s)--?[\w-]{{0,60}}{_NAME.replace('_?', '[_-]?')}\s+(?P<value>[^\s\"'$%<{{(/.\[|-][^\s\"',;]{{15,}})"
)
UNPACKED_BYTES = 1 << 20


def found(document: dict[str, Any]) -> Iterator[str]:
    """What looks like a secret in a document and where: words that never repeat it."""
    yield from _in(document, "")


def _in(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            way = f"{where}.{key}" if where else str(key)
            if isinstance(inner, str) and _NAME_ONLY.search(str(key)) and _plain(inner):
                yield f"{way} looks like a secret"
            else:
                yield from _in(inner, way)
        if "encoding" in value and isinstance(value.get("content"), str | bytes):
            yield from _in(_decoded(value["content"], str(value["encoding"])), f"{where}.content, decoded")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _in(inner, f"{where}[{number}]")
    elif isinstance(value, bytes):
        yield from _in(value.decode("utf-8", "replace"), where)
    elif isinstance(value, str):
        yield from (f"{where}{line} looks like {what}" for what, line in _shapes(value))


def _shapes(text: str) -> Iterator[tuple[str, str]]:
    """What a text looks like, and in which of its lines."""
    several = "\n" in text
    for number, line in enumerate(text.split("\n"), start=1):
        what = next((name for name, shape in SHAPES if shape.search(line)), "")
        what = what or ("a secret" if _NAMED.search(line) or _FLAG.search(line) else "")
        if what:
            yield what, f" line {number}" if several else ""


def _plain(text: str) -> bool:
    """Whether a value is written out, and no path, variable or command that leads to one."""
    return len(text) >= 8 and not re.match(r"[\s$%<{(/.\[|]", text) and not text.isspace()


def _decoded(content: str | bytes, encoding: str) -> str:
    """What a file of `write_files` holds, so that base64 hides nothing; empty where it cannot be read."""
    data = content.encode() if isinstance(content, str) else content
    kind = encoding.lower()
    try:
        if "b64" in kind or "base64" in kind:
            data = base64.b64decode(data)
        if "gz" in kind:
            data = zlib.decompressobj(wbits=31).decompress(data, UNPACKED_BYTES)
    except (binascii.Error, ValueError, zlib.error):
        return ""
    return data[:UNPACKED_BYTES].decode("utf-8", "replace")
