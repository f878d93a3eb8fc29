"""Columns of several rows out of a ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoscaler.store.source import Indices


def gather_all(ring: NDArray[np.float32], newest: int, columns: Indices, into: NDArray[np.float32]) -> None:
    """Fetch columns of the rows up to the slot `newest`; those of many equal sources lie evenly, and are sliced."""
    first, slots = newest - into.shape[0] + 1, ring.shape[0]
    spans = [(first, newest + 1, 0)] if first >= 0 else [(first + slots, slots, 0), (0, newest + 1, -first)]
    even = evenly(columns)
    for begin, end, place in spans:
        rows, target = ring[begin:end], into[place : place + end - begin]
        if even is None:
            for row, out in zip(rows, target, strict=True):
                np.take(row, columns, out=out, mode="clip")
        else:
            width, step, repeats = even
            # Copied as items of one run each, which takes two thirds of the time of as many numbers.
            run = np.dtype((np.void, 4 * width))
            strides = (rows.strides[0], 4 * step)
            source = np.ndarray((len(rows), repeats), run, rows, 4 * int(columns[0]), strides)
            np.copyto(target.view(run), source)


def gather_some(
    ring: NDArray[np.float32], newest: int, members: Indices, columns: Indices, into: NDArray[np.float32]
) -> None:
    """The same for `columns` that stand at the places `members` of `into`."""
    count = into.shape[0]
    for i in range(count):
        into[i, members] = ring[(newest - (count - 1 - i)) % ring.shape[0]][columns]


def evenly(columns: Indices) -> tuple[int, int, int] | None:
    """Width, distance and number of equal runs of neighbours that the columns consist of; None if they do not."""
    breaks = np.flatnonzero(np.diff(columns) != 1) + 1
    width = int(breaks[0]) if breaks.size else columns.size
    if columns.size % width:
        return None
    runs = columns.reshape(-1, width)
    step = int(runs[1, 0] - runs[0, 0]) if len(runs) > 1 else width
    if step < width:
        return None
    even = runs[0, 0] + step * np.arange(len(runs))[:, None] + np.arange(width)
    return (width, step, len(runs)) if np.array_equal(even, runs) else None
