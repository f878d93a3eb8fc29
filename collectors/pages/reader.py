"""Pages of one target, read at more than a million lines a second once its series are known.

The text before the value of a line is the same scrape after scrape. So the exact prefix `name{...}` is looked up in a
dictionary, and what is left is one number; where the lines even kept their order, it is only compared in its place.
Only the strict grammar may add a prefix, and only one that ends where the series ends; then a hit proves that the rest
of the line is the value. Whatever is odd (a timestamp, an exemplar, a tab) misses and is read strictly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Batch, Labels, SeriesKey
from collectors.dcgm.counters import Missing, missing_families
from collectors.derived import Derived
from collectors.pages import grammar
from collectors.pages.grammar import VALUE_BYTES, Exemplar, Malformed, Sample, parse, samples
from collectors.pages.identity import Resolve
from collectors.pages.known import KnownSeries, Limits, Room
from collectors.pages.layout import Layout, Ratchet, arrange
from collectors.pages.resolve import COMBINATIONS, resolve
from collectors.pages.shape import Indices, Shape, Tokens, tokens_in_place
from collectors.pages.tokens import last_words, plain_number, plain_time

__all__ = ["Exemplar", "Limits", "Malformed", "PageReader", "Room", "Sample", "parse", "samples"]

NAN = float("nan")
STALE_INTERVALS = 3.0

_Printed = tuple[NDArray[np.float64], Indices, float]
"""Printed values (series,), the series that were printed, and the time of the batch."""
_DEFAULT_LIMITS = Limits()


class PageReader:
    """Reads the pages of one target into batches.

    After each `read`, for that page: `lines` (neither blank nor comment), `rejected` of them and the first of these in
    `first_rejected`, `duplicates` (a series printed again: the last one counts), `sentinels` (values that say
    "no value", and infinite ones).
    """

    def __init__(
        self,
        source: str,
        labels: Labels,
        interval_s: float,
        resolve: Resolve = resolve,
        limits: Limits = _DEFAULT_LIMITS,
        room: Room | None = None,
    ) -> None:
        self._source = source
        self._labels = tuple(sorted(labels))
        self._interval_s = interval_s
        self._limits = limits
        self._known = KnownSeries(resolve, limits, room or Room())
        self._shape: Shape | None = None
        self._order: list[int] = []
        self._in_place = False
        self._settled: Shape | None = None
        self._layout: Layout | None = None
        self._keys: tuple[SeriesKey, ...] = ()
        self._ratchet = Ratchet()
        self._derived = Derived()
        self._scrape = 0
        self._comments: list[bytes] | None = None
        self._indented = False
        self._terminated = False
        self._start_count()

    def __len__(self) -> int:
        """Series known."""
        return len(self._known)

    def read(self, page: bytes, at: float, openmetrics: bool = False) -> Batch:
        """The values of a page that was fetched at `at`.

        When every sample carries a timestamp, the batch is dated with the newest of them (never later than `at`): a
        page served twice is then one point, not two. Samples over three intervals older than the batch are missing.
        """
        self._start_count()
        self._scrape += 1
        self._in_place = False
        if len(page) > self._limits.page_bytes:
            self.lines = 1
            self._reject(page[:200], f"is part of a page of {len(page)} bytes; the limit is {self._limits.page_bytes}")
            return self._batch(np.full(len(self._known), NAN), np.zeros(0, dtype=np.int64), at)
        printed, present, at = self._read_in_place(page, at) or self._read_lines(page, at, openmetrics)
        self._known.mark(present, self._scrape)
        batch = self._batch(printed, present, at)
        # Where room is scarce, what is not printed any more makes way for what is.
        patience = 1 if batch.unread else self._limits.evict_after
        if self._scrape % patience == 0 and self._known.evict(self._scrape, patience):
            self._shape, self._order = None, []
        return batch

    def close(self) -> None:
        """Give back the room that the target's series took up; the reader is of no use afterwards."""
        self._known.close()

    def lacking(self) -> tuple[Missing, ...]:
        """What a page of dcgm-exporter does not carry that it could; nothing for other pages."""
        cut = any(key.label("gi_id") is not None for key in self._keys)
        return missing_families(self._known.names(), mig=cut)

    # --- the warm path ------------------------------------------------------------------------------------------

    def _read_in_place(self, page: bytes, at: float) -> _Printed | None:
        """Values of a page that differs from the one before in nothing but values. None if there is more to it."""
        found = None if self._shape is None else tokens_in_place(page, self._shape)
        read = None if found is None else self._numbers(found, at)
        self._in_place = read is not None
        return read

    def _read_lines(self, page: bytes, at: float, openmetrics: bool) -> _Printed:
        lines = self._whole_lines(page)
        # One comparison finds comments, blank and indented lines: '#', space and tab sort before '$', names after it.
        plain = [line for line in lines if line >= b"$"]
        self._note_comments([line for line in lines if line < b"$"])
        found = None if self._indented else self._by_prefix(lines, plain)
        return (found and self._numbers(found, at)) or self._read_any(lines, at, openmetrics)

    def _numbers(self, found: Tokens, at: float) -> _Printed | None:
        """Values of tokens; None if one of them is no number in the format's sense."""
        tokens, series, repeats = found
        # `float` takes more than the format does; what all tokens consist of is checked in one go.
        if tokens.translate(None, VALUE_BYTES + b"\n"):
            return None
        try:
            values = np.fromiter(map(float, tokens.split(b"\n")[:-1]), np.float64, len(series))
        except ValueError:
            return None
        printed = np.full(len(self._known), NAN)
        printed[series] = values
        self.lines += len(series)
        self.duplicates = repeats
        return printed, series, at

    def _by_prefix(self, lines: Sequence[bytes], plain: Sequence[bytes]) -> Tokens | None:
        """What follows the last blank of each line, if what precedes it is a known prefix."""
        cuts = [line.rfind(b" ") + 1 for line in plain]
        index = self._known.index
        order = [n for line, cut in zip(plain, cuts, strict=True) if (n := index.get(line[:cut])) is not None]
        if len(order) < len(plain):
            return None
        # An exporter that shuffles its lines never shows one order twice, and its order is not worth keeping.
        known, self._order = self._order, order
        self._shape = self._known.shape(lines[:-1], order) if order and order == known and not lines[-1] else None
        tokens = b"".join([line[cut:] + b"\n" for line, cut in zip(plain, cuts, strict=True)])
        return tokens, np.array(order, dtype=np.int64), len(order) - len(set(order))

    # --- the thorough path --------------------------------------------------------------------------------------

    def _read_any(self, lines: Sequence[bytes], at: float, openmetrics: bool) -> _Printed:
        """Values of any page, line by line and in order, so that of a series printed twice the last one counts."""
        values = [NAN] * len(self._known)
        times: dict[int, float] = {}
        present: list[int] = []
        for raw in lines:
            if grammar.blank_or_comment(raw):
                continue
            self.lines += 1
            try:
                series, value, time = self._read_line(raw, openmetrics)
            except Malformed as why:
                self._reject(raw, str(why))
                continue
            if series == len(values):
                values.append(NAN)
            values[series] = value
            present.append(series)
            if time is None:
                times.pop(series, None)
            else:
                times[series] = time
        distinct = set(present)
        self.duplicates = len(present) - len(distinct)
        self._order = present
        self._shape = None
        if present and not (lines[-1] or times or self.rejected or self._indented):
            self._shape = self._known.shape(lines[:-1], present)
            # The shape has the comments too; on a page with others they are read again.
            self._comments = None
            self._known.rest()
        if times:
            if len(times) == len(distinct):
                at = min(at, max(times.values()))
            for series, time in times.items():
                if not time >= at - STALE_INTERVALS * self._interval_s:
                    values[series] = NAN
        return np.array(values, dtype=np.float64), np.array(present, dtype=np.int64), at

    def _read_line(self, raw: bytes, openmetrics: bool) -> tuple[int, float, float | None]:
        """Series, value and source time of one line. Raises Malformed."""
        cut, before = last_words(raw)
        series = self._known.index.get(raw[:cut])
        if series is not None and (value := plain_number(raw[cut:])) is not None:
            return series, value, None
        series = self._known.index.get(raw[:before])
        if series is not None:
            value, time = plain_number(raw[before : cut - 1]), plain_time(raw[cut:], openmetrics)
            if value is not None and time is not None:
                return series, value, time
        return self._read_strictly(raw, openmetrics)

    def _read_strictly(self, raw: bytes, openmetrics: bool) -> tuple[int, float, float | None]:
        if len(raw) > self._limits.line_bytes:
            raise Malformed(f"has {len(raw)} bytes; the limit is {self._limits.line_bytes}")
        cut, before = last_words(raw)
        named = self._known.named(raw[:cut])
        if named is not None and (value := plain_number(raw[cut:])) is not None:
            series = self._known.number(*named)
            self._known.remember(raw[:cut], series)
            return series, value, None
        text = grammar.text_of(raw)
        sample, end = grammar.parse_line(text, openmetrics)
        series = self._known.number(sample.name, sample.labels)
        if sample.exemplar is None:
            prefix = raw[: cut if sample.timestamp is None else before]
            # The prefix must end where the series ends, give or take blanks: only then is the rest one value.
            if prefix.endswith(b" ") and prefix.rstrip(b" \t") == text[:end].encode():
                self._known.remember(prefix, series)
        return series, sample.value, sample.timestamp

    # --- around both --------------------------------------------------------------------------------------------

    def _batch(self, printed: NDArray[np.float64], present: Indices, at: float) -> Batch:
        layout = self._layout
        # The same lines as before have the same winners as before.
        if layout is None or self._known.changed or not self._in_place or self._settled is not self._shape:
            here = np.zeros(len(self._known), dtype=np.bool_)
            here[present] = True
            if layout is None or self._known.changed or (present.size and not layout.standing(here)):
                layout = self._arrange(here)
            self._settled = self._shape if self._in_place else None
            if self._in_place:
                self._known.rest()
        values, self.sentinels = layout.fill(printed, self._ratchet)
        # A line that could not be read may be the GPU's that seems to be missing.
        keys, values = self._derived.extend(layout.keys, values, at, complete=not self.rejected)
        unread = self._known.unread.counts()
        return Batch(self._source, at, self._interval_s, keys, values, self._labels, unread=unread)

    def _arrange(self, here: NDArray[np.bool_]) -> Layout:
        layout = arrange(self._known.meanings(), self._labels, here, COMBINATIONS, self._known.seen)
        if layout.keys == self._keys:
            layout = replace(layout, keys=self._keys)
        self._layout, self._keys = layout, layout.keys
        self._ratchet.keep(self._keys)
        self._known.changed = False
        return layout

    def _whole_lines(self, page: bytes) -> list[bytes]:
        """The page's lines, without a last one that was cut off.

        A page need not end in a line feed. But a target that ends its pages with one and now does not was cut off, and
        half a number looks like a number.
        """
        lines = grammar.split(page)
        if page.endswith(b"\n"):
            self._terminated = True
        elif self._terminated and not grammar.blank_or_comment(lines[-1]):
            self.lines += 1
            self._reject(lines.pop(), "is the cut-off end of the page")
        return lines

    def _note_comments(self, comments: list[bytes]) -> None:
        if comments != self._comments:
            self._comments = comments
            self._indented = not all(map(grammar.blank_or_comment, comments))
            self._known.declare(grammar.types_of(comments))

    def _start_count(self) -> None:
        self.lines = 0
        self.rejected = 0
        self.first_rejected = ""
        self.duplicates = 0
        self.sentinels = 0
        self._known.unread.start()

    def _reject(self, raw: bytes, why: str) -> None:
        self.rejected += 1
        if not self.first_rejected:
            self.first_rejected = f"the line {grammar.shortened(raw)!r} {why}"
