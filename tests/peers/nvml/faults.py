"""What goes wrong with calls: an error code, a call that blocks, both from the n-th call on."""

from __future__ import annotations

from collections.abc import Iterable

from tests.peers.nvml import layout
from tests.peers.nvml.symbols import number

EVERY = "*"
"""Every function but nvmlShutdown, nvmlErrorString and the two that free memory."""


class Fault:
    """One fault that was set; `clear` takes it back, which also lets calls go on that it blocks."""

    def __init__(self, data: layout.FaultData) -> None:
        self.data = data

    @property
    def seen(self) -> int:
        """Matching calls since it was set, those before from_call included."""
        return int(self.data.seen)

    def clear(self) -> None:
        self.data.active = 0


def add(
    slots: Iterable[layout.FaultData],
    call: str,
    code: int,
    block_s: float,
    gpu: int | None,
    between: range,
    metric: int,
) -> Fault:
    """Write a fault into a free slot. between: the matching calls that it hits, counted from 1 since it is set."""
    free = next((slot for slot in slots if not slot.active), None)
    if free is None:
        raise ValueError(f"there are {layout.FAULTS} faults already; clear one before you set another")
    if between.start < 1 or not between:
        raise ValueError(
            f"from_call is {between.start}, until_call {between.stop}: count from 1, and end after it began"
        )
    free.seen, free.block_us, free.code = 0, round(block_s * 1e6), code
    free.call = layout.ANY if call == EVERY else number(call)
    free.gpu = layout.ANY if gpu is None else gpu
    free.from_call, free.until_call, free.metric = between.start, between.stop, metric
    free.active = 1
    return Fault(free)
