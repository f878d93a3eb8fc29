"""What comes back for a request: a whole answer, or one of the ways in which it fails to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class Unanswered(Exception):  # noqa: N818 (what happened, not a failure of the program)
    """The connection ended before an answer began; another one may do better."""


class NotHttp(Exception):  # noqa: N818
    """What came is no HTTP/1 answer; the message says what is wrong with it."""


class BrokenOff(Exception):  # noqa: N818
    """The connection ended within the answer."""


class TooLarge(Exception):  # noqa: N818
    """The answer is larger than its reader allows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, as it was encoded. `framed`: it said itself where it ends. Names of `headers` are lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    framed: bool
