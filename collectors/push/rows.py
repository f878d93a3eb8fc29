"""Samples of one time: the pieces that come, and the row that they make."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collectors.pages.layout import Floats, Indices


@dataclass(slots=True)
class Piece:
    """Samples of one time: series, values, whether the series ended; (samples,) each."""

    series: Indices
    values: Floats
    ended: NDArray[np.bool_]


@dataclass(slots=True)
class Waiting:
    """The pieces of one time, and when the first of them came by our clock."""

    since: float
    pieces: list[Piece] = field(default_factory=list)


@dataclass(slots=True)
class Row:
    """All series of a source at one time, (series,) each: value, whether there is a sample, whether it is the end."""

    at: float
    values: Floats
    present: NDArray[np.bool_]
    ended: NDArray[np.bool_]

    @staticmethod
    def empty(at: float, size: int) -> Row:
        """A row into which nothing was put yet."""
        return Row(at, np.full(size, np.nan), np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_))

    def widen(self, size: int) -> None:
        """Make room for series that were not known before."""
        more = Row.empty(self.at, size - self.values.size)
        if more.values.size:
            self.values = np.append(self.values, more.values)
            self.present = np.append(self.present, more.present)
            self.ended = np.append(self.ended, more.ended)

    def put(self, piece: Piece) -> None:
        """Take in a piece; its samples replace those that are there."""
        self.values[piece.series], self.ended[piece.series] = piece.values, piece.ended
        self.present[piece.series] = True

    def only(self, series: Indices) -> Row:
        """The row without the series that are not listed."""
        return Row(self.at, self.values[series], self.present[series], self.ended[series])
