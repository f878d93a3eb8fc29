"""What has threads of its own, at work for a test and stopped at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar


class Starts(Protocol):
    """A part with threads of its own."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


Part = TypeVar("Part", bound=Starts)


@contextmanager
def running(part: Part) -> Iterator[Part]:
    """Stopped also when the test fails: threads that are left behind disturb later tests."""
    part.start()
    try:
        yield part
    finally:
        part.stop()
