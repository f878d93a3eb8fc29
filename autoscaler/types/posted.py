"""What others send us: a body with its headers, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PostKind = Literal["remote_write", "json", "otlp", "alerts"]


@dataclass(frozen=True, slots=True)
class Post:
    """One request body as it came. headers: by lower-case name. pool: of what the body stamps with none."""

    kind: PostKind
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a post, as an HTTP answer. Either all of it was taken or nothing was.

    detail: why it was refused and the next step. errors: every fault, as (path in the body, text). reason: the refusal
    in one word, for counting. body: what the protocol itself wants to hear, instead of problem details.
    """

    status: int = 204
    detail: str = ""
    errors: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    retry_after_s: int | None = None
    body: bytes = b""
    media_type: str = ""
