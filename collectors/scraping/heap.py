"""Memory that Python has freed and the C library keeps, given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


@cache
def _trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim` (man 3 malloc_trim); other C libraries have none, and none of them keeps as much."""
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found


def give_back() -> bool:
    """Return whole free pages inside the heap to the system; whether there were any.

    Reading hundreds of pages for the first time leaves holes between what is kept, and the heap only shrinks at its
    end by itself. Takes milliseconds when there is much to return, and less than one when there is not.
    """
    trim = _trim()
    return trim is not None and bool(trim(0))
