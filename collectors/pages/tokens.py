"""Numbers in the bytes of a line, read without the strict grammar: what is odd in any way is no number here."""

from __future__ import annotations

from collectors.pages.grammar import VALUE_BYTES


def last_words(raw: bytes) -> tuple[int, int]:
    """Where the last word of a line starts, and the one before it; 0 without a blank before."""
    cut = raw.rfind(b" ") + 1
    return cut, raw.rfind(b" ", 0, cut - 1) + 1 if cut else 0


def plain_number(token: bytes) -> float | None:
    """The value that the token is, in the format's sense."""
    if token.translate(None, VALUE_BYTES):
        return None
    try:
        return float(token)
    except ValueError:
        return None


def plain_time(token: bytes, openmetrics: bool) -> float | None:
    """The time that the token is, in Unix seconds."""
    if openmetrics:
        return plain_number(token)
    return int(token) / 1000.0 if len(token) <= 20 and token.isdigit() else None
