"""The text of `dcgmi dmon`: a table without end, whose two header lines repeat every 14 readings.

From DCGM 2.4 on (`#Entity`) columns are left-aligned, a field that an entity does not have is left blank, and what does
not fit ends in three dots; before (`# Entity`) they are right-aligned, nothing is left out and nothing is cut. Blanks
print as `N/A` in both. Source: dcgmi/DeviceMonitor.cpp of NVIDIA/DCGM from its first commit to 72fa3fe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from collectors.pages.grammar import VALUE_BYTES

BLANK = "N/A"
CUT = "..."
LINE_LIMIT = 64 << 10

_ENTITY = re.compile(r"\s*(GPU-CI|GPU-I|GPU|vGPU|Switch|SW|CPU Core|CPU|LINK|CX)\s+(\d+)(?:\s+LINK\s+(\d+))?(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: kind and number of the entity, the number of its link if it is one, and of each field that was told
    what was printed. `cells` holds neither blanks nor what was cut off."""

    kind: str
    number: int
    link: int | None
    cells: dict[int, str]

    @property
    def entity(self) -> tuple[str, int, int | None]:
        """What the line is about."""
        return self.kind, self.number, self.link


class Table:
    """Reads the lines of a table of these fields, in the order in which they were asked for.

    A field whose values may hold blanks (a name) must be the last one. Counted: `rejected` lines, and cells that were
    `cut`. `message`: the last line that belongs to no table, which is where dcgmi says what is wrong.
    """

    def __init__(self, fields: Sequence[int]) -> None:
        self._fields = tuple(fields)
        self._starts: tuple[int, ...] | None = None
        self._aligned: Literal["left", "right"] | None = None
        self.rejected = 0
        self.cut = 0
        self.message = ""

    def line(self, text: str) -> Row | None:
        """The row that a line is; None for headers, messages and lines that cannot be read."""
        text = text.rstrip()
        if not text or len(text) > LINE_LIMIT:
            self.rejected += bool(text)
            return None
        if text.lstrip().startswith("#"):
            self._head(text)
            return None
        found = _ENTITY.match(text)
        if found is None:
            if text.split()[0] not in ("ID", "Id"):
                self.message = text.strip()[:500]
            return None
        cells = self._cells(text, found.end())
        if cells is None:
            self.rejected += 1
            return None
        kept = {number: cell for number, cell in zip(self._fields, cells, strict=True) if cell not in ("", BLANK)}
        cut = [number for number, cell in kept.items() if cell.endswith(CUT)]
        self.cut += len(cut)
        link = None if found[3] is None else int(found[3])
        # Half a number looks like a number.
        return Row(found[1], int(found[2]), link, {n: cell for n, cell in kept.items() if n not in cut})

    def _head(self, text: str) -> None:
        self._aligned = "right" if re.match(r"\s*#\s+Entity", text) else "left"
        starts = [word.start() for word in re.finditer(r"\S+", text)]
        self._starts = tuple(starts[-len(self._fields) :]) if len(starts) > len(self._fields) else None

    def _cells(self, text: str, begin: int) -> Sequence[str] | None:
        """What stands in each column; None where that cannot be told."""
        if self._aligned is None:
            return None
        words = text[begin:].split(maxsplit=len(self._fields) - 1)
        if self._aligned == "right":
            return words if len(words) == len(self._fields) else None
        starts = self._starts
        if starts is not None and begin <= starts[0] and all(text[at - 1 : at] in ("", " ") for at in starts):
            ends = (*starts[1:], len(text))
            return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        return words if len(words) == len(self._fields) else None


def number(cell: str) -> float | None:
    """The value of a cell; None if it is no number."""
    if not cell.isascii() or cell.encode().translate(None, VALUE_BYTES):
        return None
    try:
        return float(cell)
    except ValueError:
        return None
