"""The functions that the stand-in has, in the order of their call counters."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parent / "source"
SYMBOLS: tuple[str, ...] = tuple(re.findall(r"^CALL\((\w+)\)", (SOURCE / "calls.h").read_text(), re.MULTILINE))
_NUMBER = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def number(call: str) -> int:
    """The number of a function; a name without its version, such as nvmlDeviceGetCount, finds the newest version."""
    versions = [symbol for symbol in SYMBOLS if symbol == call or re.fullmatch(re.escape(call) + r"_v\d", symbol)]
    if not versions:
        raise ValueError(f"the stand-in has no function {call}; add it to source/calls.h and write it in C")
    return _NUMBER[call if call in versions else max(versions)]
