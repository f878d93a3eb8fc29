"""One pushed source: samples that come in pieces, put together into one row for each of its times.

Senders cut their requests by size, not by scrape: the end of a scrape comes with the beginning of the next, and with
several shards the pieces come side by side. A row is handed on as soon as every series that is alive has a sample of
its time or a newer one; what is missing `hold_s` after the first piece is not waited for. A late piece hands the row on
again, a float's breadth later, so that the store puts it into the row that it has. A piece that was overtaken by at
most three intervals joins the newer row, as an old timestamp on a page does; one that is later is dropped and counted,
and where waiting would have helped, the source waits longer from then on.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Batch, Labels
from collectors.pages.identity import Resolve
from collectors.pages.layout import Floats, Indices
from collectors.push.cadence import Cadence
from collectors.push.rows import Piece, Row, Waiting
from collectors.push.series import PushedSeries

MAX_HOLD_S = 10.0
ALIVE_INTERVALS = 1.5
STALE_INTERVALS = 3.0
MAX_ROWS = 4096
"""Times of one source that may wait; more come only from a sender that catches up after hours."""
_SET_BACK_AFTER = 3
_CALM_ROWS = 1000
_REMEMBERED = 64
_NONE = np.zeros(0)


class Source:
    """Give it pieces with `add`, take batches with `flush` and `check`. hold_s 0: what comes together is complete.

    patience_s: silence that proves nothing, whatever the interval. gone_s: silence after which it is forgotten.
    scraped: somebody scrapes it for us, and its series `up` tells whether that worked.
    """

    def __init__(
        self,
        name: str,
        labels: Labels,
        resolve: Resolve,
        *,
        interval_s: float | None = None,
        hold_s: float = 0.0,
        patience_s: float = 0.0,
        gone_s: float = 600.0,
        scraped: bool = False,
        skipped: Counter[str] | None = None,
    ) -> None:
        self.name = name
        self.series = PushedSeries(labels, resolve)
        self.cadence = Cadence(interval_s)
        self.heard_at = -math.inf
        self.waiting = 0
        self.skipped: Counter[str] = Counter() if skipped is None else skipped
        self.down = False
        self._hold_s = self._least_hold_s = hold_s
        self._patience_s = patience_s
        self._gone_s = gone_s
        self._scraped = scraped
        self._told: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._rows: dict[float, Waiting] = {}
        self._newest = np.zeros(0)
        self._handed = np.zeros(0)
        self._row: Row | None = None
        self._last_at = -math.inf
        self._late: list[float] = []
        self._calm = 0
        self._up: int | None = None

    # --- pieces in ------------------------------------------------------------------------------------------------

    def number(self, name: str, labels: Labels, hint: str = "") -> int:
        """The number of a series. labels: without those of the source, sorted."""
        number = self.series.known(name, labels)
        if number is None:
            number = self.series.add(name, labels, hint)
            if self._scraped and name == "up" and not labels:
                self._up = number
        return number

    def add(self, series: Indices, at: Floats, values: Floats, ended: NDArray[np.bool_] | None, now: float) -> int:
        """Take samples, (samples,) each, of any times in any order; how many were taken."""
        self.heard_at = now
        more = len(self.series) - self._newest.size
        if more:
            self._newest = np.append(self._newest, np.full(more, -np.inf))
            self._handed = np.append(self._handed, np.full(more, -np.inf))
        ended = np.zeros(series.size, dtype=np.bool_) if ended is None else ended
        fresh = at > self._newest[series]
        if not fresh.all():
            if not fresh.any() and self._set_back(float(at.max())):
                fresh = np.ones(series.size, dtype=np.bool_)
            self.skipped["out_of_order"] += int(np.count_nonzero(~fresh))
            series, at, values, ended = series[fresh], at[fresh], values[fresh], ended[fresh]
            if not series.size:
                return 0
        self._late.clear()
        taken = 0
        times = [float(at[0])] if (at == at[0]).all() else np.unique(at).tolist()
        for time in times:
            if time not in self._rows and len(self._rows) >= MAX_ROWS:
                self.skipped["no_room"] += int(np.count_nonzero(at == time))
                continue
            here = slice(None) if len(times) == 1 else np.flatnonzero(at == time)
            piece = Piece(series[here], values[here], ended[here])
            self._rows.setdefault(time, Waiting(now)).pieces.append(piece)
            taken += piece.series.size
            self.skipped["duplicates"] += piece.series.size - np.unique(piece.series).size
        np.maximum.at(self._newest, series, at)
        self.waiting += taken
        return taken

    def _set_back(self, at: float) -> bool:
        """Whether samples that are all old show that the source's clock was set back; it begins anew then."""
        self._late = [*self._late, at] if not self._late or at > self._late[-1] else [at]
        if len(self._late) < _SET_BACK_AFTER:
            return False
        self._newest[:] = -np.inf
        self._handed[:] = -np.inf
        self._rows.clear()
        self._told.clear()
        self._row, self._last_at, self.waiting = None, -math.inf, 0
        return True

    # --- batches out ----------------------------------------------------------------------------------------------

    def due_at(self) -> float:
        """When `flush` must be asked again at the latest; infinite when nothing waits."""
        return min((row.since for row in self._rows.values()), default=math.inf) + self._hold_s

    def flush(self, now: float) -> Iterator[tuple[Batch, ...]]:
        """What comes of every row that is complete or has waited long enough, row by row, oldest first."""
        if not self._rows:
            return
        complete_until = self._complete_until()
        ready = [
            at
            for at, row in self._rows.items()
            if at <= complete_until or not row.since <= now < row.since + self._hold_s
        ]
        if ready:
            times = sorted(at for at in self._rows if at <= max(ready))
            for at, following in zip(times, [*times[1:], None], strict=True):
                # Whoever stops in the middle (a full queue) finds the rest still waiting.
                yield self._hand_on(at, following, now)

    def check(self, now: float) -> Batch | None:
        """What silence means by now: down, once, and later gone."""
        silent_s = now - self.heard_at
        if silent_s < 0.0 or math.isinf(silent_s):  # the clock was set back, or nothing of use has come yet
            self.heard_at = now
        elif silent_s > self._gone_s:
            return Batch(
                self.name, self._date(now, now), self.cadence.interval_s, (), _NONE, self.series.labels, "gone"
            )
        elif not self.down and silent_s > max(STALE_INTERVALS * self.cadence.interval_s, self._patience_s):
            return self._silence(now, now)
        return None

    def _complete_until(self) -> float:
        """The time up to which every living series has spoken."""
        alive = self._newest[self._newest > self._last_row_at() - ALIVE_INTERVALS * self.cadence.interval_s]
        if self._hold_s == 0.0:
            return math.inf
        return float(alive.min()) if alive.size and self._row is not None else -math.inf

    def _last_row_at(self) -> float:
        return -math.inf if self._row is None else self._row.at

    def _hand_on(self, at: float, following: float | None, now: float) -> tuple[Batch, ...]:
        """Put the pieces of a time into a row, and hand it on unless those of the next time belong to it as well."""
        waited = self._rows.pop(at)
        self.waiting -= sum(piece.series.size for piece in waited.pieces)
        before, interval_s = self._row, self.cadence.interval_s
        if before is not None and at < before.at - STALE_INTERVALS * interval_s:
            self.skipped["late"] += sum(piece.series.size for piece in waited.pieces)
            self._wait_longer(at, now)
            return ()
        self._calm += 1
        if self._calm > _CALM_ROWS:
            self._hold_s, self._calm = max(self._least_hold_s, 0.8 * self._hold_s), 0
        row = self._row_for(at, waited.pieces)
        again: tuple[Batch, ...] = ()
        if self.cadence.note(self._gaps(at, waited.pieces)) and before is not None and row is not before:
            # A store begins a source anew when its interval changes: give it the last row again, nothing is lost then.
            again = self._batch(before, now)
        if row is not before:
            self._told.append((row.at, now))
        self._row = row
        if following is not None and self._joins(following, self._rows[following].pieces):
            return again
        return (*again, *self._batch(row, now))

    def _wait_longer(self, at: float, now: float) -> None:
        """Hold rows for as long as a late piece would have needed, if that is bearable.

        It is not where a series is dated far behind its page: it comes together with newer ones, and was overtaken by
        an earlier request long ago.
        """
        needed_s = [
            now - told for row_at, told in self._told if at < row_at - STALE_INTERVALS * self.cadence.interval_s
        ]
        if needed_s and self._hold_s + needed_s[0] <= MAX_HOLD_S:
            self._hold_s, self._calm = self._hold_s + needed_s[0], 0

    def _row_for(self, at: float, pieces: list[Piece]) -> Row:
        """The row that the pieces belong to: the last one where they complete it, else a new one."""
        row = self._row if self._joins(at, pieces) else None
        if row is None:
            row = Row.empty(at, len(self.series))
        row.at = max(row.at, at)
        for piece in pieces:
            row.put(piece)
            self.series.end(piece.series, piece.ended)
        return row

    def _joins(self, at: float, pieces: list[Piece]) -> bool:
        """Whether pieces of this time belong to the last row: they are no newer, or a little and of other series."""
        row = self._row
        if row is None:
            return False
        row.widen(len(self.series))
        near = at - row.at < self.cadence.interval_s / 2.0
        return at <= row.at or (near and not any(row.present[piece.series].any() for piece in pieces))

    def _gaps(self, at: float, pieces: list[Piece]) -> Floats:
        """Seconds since each of these series was handed on before, (samples,)."""
        series = np.concatenate([piece.series for piece in pieces])
        gaps: Floats = at - self._handed[series]
        self._handed[series] = at
        return gaps

    def _batch(self, row: Row, now: float) -> tuple[Batch, ...]:
        at = self._date(row.at, now)
        alive = row.present & ~row.ended
        if not alive.any() or (self._up is not None and row.present[self._up] and not row.values[self._up] > 0.0):
            # Every series ended, or Prometheus says that the page could not be had: that is no measurement.
            return (self._silence(at, now),)
        here = self._newest > row.at - ALIVE_INTERVALS * self.cadence.interval_s
        values, unusable = self.series.fill(row.values, row.present, here)
        self.skipped["unusable"] += unusable
        self.down = False
        if not self.series.keys:
            return ()
        return (Batch(self.name, at, self.cadence.interval_s, self.series.keys, values, self.series.labels),)

    def _silence(self, at: float, now: float) -> Batch:
        self.down = True
        return Batch(self.name, self._date(at, now), self.cadence.interval_s, (), _NONE, self.series.labels, "down")

    def _date(self, at: float, now: float) -> float:
        """The time of the next batch: never ahead of our clock, always after the one before."""
        self._last_at = max(min(at, now), math.nextafter(self._last_at, math.inf))
        return self._last_at

    def forget_outdated(self) -> Indices | None:
        """Drop the series that are no more; None if all stay, else the old numbers of those that stay."""
        outdated = self.series.outdated()
        if not outdated.size or self._rows:
            return None
        keep = self.series.forget(outdated)
        keep = keep[keep < self._newest.size]
        self._newest, self._handed = self._newest[keep], self._handed[keep]
        if self._row is not None:
            self._row = self._row.only(keep[keep < self._row.values.size])
        self._up = self.series.known("up", ())
        return keep
