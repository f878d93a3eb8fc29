"""How a program is told to end: signals set an event, and whoever runs looks at it.

A handler does nothing else. One that raises breaks into whatever runs just then: into an import, whose lock then stays
taken for every other thread, or between two steps of which the second takes back the first.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKED = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def asked_to_end(
    numbers: tuple[signal.Signals, ...] = ASKED, *, second_kills: bool = True
) -> Iterator[threading.Event]:
    """An event that these signals set, instead of ending the process; afterwards they do what they did before.

    second_kills: the second one ends the process at once, for somebody in a hurry. On another thread than the main one
    nothing is changed, since signals are the caller's affair there.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        # A handler may interrupt the main thread inside `asked.wait`, while that holds the lock which `set` takes: set
        # here, it would wait for itself for ever. The bare thread takes no lock to be started.
        _thread.start_new_thread(asked.set, ())
        if second_kills:
            signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
