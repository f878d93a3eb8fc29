"""The keyboard of a full-screen command: one key at a time, without Enter, and the terminal as it was afterwards."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SEQUENCES = {b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down"}
_NAMES = {b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace", b"\x1b": "escape", b" ": "space"}


class Keys:
    """Keys of a terminal; none where there is no terminal to read from."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def wait(self, seconds: float) -> list[str]:
        """The keys that are pressed within so many seconds: names such as `up`, or the characters themselves."""
        if self._descriptor is None:
            select.select([], [], [], seconds)
            return []
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return []
        data = os.read(self._descriptor, 1024)
        # A terminal that is gone has an end of file for ever.
        return list(_keys(data)) if data else ["q"]


@contextmanager
def keyboard() -> Iterator[Keys]:
    """The keys of standard input, each as it is pressed and none shown."""
    if not sys.stdin.isatty():
        yield Keys(None)
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _keys(data: bytes) -> Iterator[str]:
    while data:
        found = next((s for s in _SEQUENCES if data.startswith(s)), None)
        if found is not None:
            yield _SEQUENCES[found]
            data = data[len(found) :]
            continue
        if data.startswith((b"\x1b[", b"\x1bO")):
            # Some other key with a sequence of its own, which ends in a letter or a tilde.
            end = next((n for n, byte in enumerate(data[2:], 3) if chr(byte).isalpha() or byte == 0x7E), len(data))
            data = data[end:]
            continue
        size = 1 if data[0] < 0x80 else 2 if data[0] < 0xE0 else 3 if data[0] < 0xF0 else 4
        one, data = data[:size], data[size:]
        yield _NAMES.get(one) or one.decode("utf-8", "ignore")
