"""An ordinary page but for its values: what its lines begin with, in order, so that the next page is only compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LINE_FEED = 10

Indices = NDArray[np.int64] | NDArray[np.int32]
Tokens = tuple[bytes, Indices, int]
"""The value of each line as printed, each with its line feed; the line's series; how many lines repeat a series."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What every line of a page begins with.

    pieces (piece,): runs of comment lines, and of each sample its name and then its labels with the blank behind them;
    piece_lines, piece_offsets: the line that each begins at, and where in it. lines, lengths (value,): which lines are
    samples, and where in them the value begins. feeds: line feeds of the page. series (value,): what the values are of.
    repeats: lines of series that occur again.
    """

    pieces: Sequence[bytes]
    piece_lines: NDArray[np.int32]
    piece_offsets: NDArray[np.int32]
    lines: NDArray[np.int32]
    lengths: NDArray[np.int32]
    feeds: int
    series: NDArray[np.int32]
    repeats: int


def shape_of(
    lines: Sequence[bytes], series: Sequence[int], pieces: Callable[[int, bytes], tuple[bytes, bytes] | None]
) -> Shape | None:
    """The shape of a page with these lines, whose samples are of these series. pieces: name and labels of the proven
    prefix of a series that a line begins with, None = of none; then the page has no shape."""
    runs: list[tuple[int, list[bytes]]] = []
    samples: list[int] = []
    for place, line in enumerate(lines):
        if line >= b"$":
            samples.append(place)
        elif runs and runs[-1][0] + len(runs[-1][1]) == place:
            runs[-1][1].append(line)
        else:
            runs.append((place, [line]))
    heads, tails = [], []
    for place, number in zip(samples, series, strict=True):
        found = pieces(number, lines[place])
        if found is None:
            return None
        heads.append(found[0])
        tails.append(found[1])
    behind = [len(head) for head in heads]
    return Shape(
        pieces=(*(b"\n".join((*run, b"")) for _, run in runs), *heads, *tails),
        piece_lines=np.array([*(place for place, _ in runs), *samples, *samples], dtype=np.int32),
        piece_offsets=np.array([*([0] * (len(runs) + len(heads))), *behind], dtype=np.int32),
        lines=np.array(samples, dtype=np.int32),
        lengths=np.array([one + len(tail) for one, tail in zip(behind, tails, strict=True)], dtype=np.int32),
        feeds=len(lines),
        series=np.array(series, dtype=np.int32),
        repeats=len(series) - len(set(series)),
    )


def tokens_in_place(page: bytes, shape: Shape) -> Tokens | None:
    """What follows the prefixes of a page that has every piece of the shape in its place."""
    text = np.frombuffer(page, np.uint8)
    feeds = np.flatnonzero(text == LINE_FEED)
    if feeds.size != shape.feeds or feeds[-1] != len(page) - 1:
        return None
    starts = np.empty_like(feeds)
    starts[0] = 0
    np.add(feeds[:-1], 1, out=starts[1:])
    if not all(map(page.startswith, shape.pieces, (starts[shape.piece_lines] + shape.piece_offsets).tolist())):
        return None
    begin = starts[shape.lines] + shape.lengths
    widths = feeds[shape.lines] + 1 - begin
    ends = np.cumsum(widths)
    # One gathering copies all values; a slice for each of them would take half as long again.
    places = np.arange(ends[-1]) + np.repeat(begin + widths - ends, widths)
    return text[places].tobytes(), shape.series, shape.repeats
