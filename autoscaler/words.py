"""Numbers as people read them, for every text that explains something."""

from __future__ import annotations

from datetime import UTC, datetime


def amount(value: float) -> str:
    """Four significant digits, or whole thousands: `0.85`, `412`, `30`, `12,345`, `1.2e-07`."""
    if 1000 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """`1 file`, `14 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def replicas(count: int) -> str:
    """`1 replica`, `14 replicas`."""
    return counted(count, "replica")


def seconds(duration_s: float) -> str:
    """`45 s`, `10 min`, `1 h 30 min`, `2 d`: the two largest units."""
    left = round(duration_s)
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or f"{duration_s:.2g} s"


def instant(at: float) -> str:
    """`2030-01-31 18:00 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
