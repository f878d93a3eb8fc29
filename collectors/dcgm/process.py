"""`dcgmi dmon` as a source: a program that prints a table for as long as it runs."""

from __future__ import annotations

import math
import os
import selectors
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autoscaler.clock import monotonic
from autoscaler.types import Labels
from collectors.dcgm.dmon import LINE_LIMIT, Row, Table, number
from collectors.dcgm.fields import NAME, UUID
from collectors.dcgm.lanes import GAUGES, NEW, PROFILING, REASONS, SLOW
from collectors.dcgm.reading import METRICS, NAMES, Reading, Value
from collectors.dcgm.source import UnreachableError
from collectors.nvml.device import MetricState

LANE = "dmon"
START_S = 10.0
"""How long the first row may take: dmon waits for a whole round of updates."""
SILENT_ROUNDS = 5
END_S = 0.5
LONGEST_WAIT_S = 0.2
ASK_AGAIN_S = 600.0
"""After a refusal, how soon profiling is asked for again: a profiler that held the counters may have ended."""
LEAST_DELAY_MS = 100
"""DCGM's floor for profiling fields."""
_FIELDS = tuple(n for n in (*GAUGES, *REASONS, *PROFILING, *SLOW) if n not in NEW)


@dataclass
class Dmon:
    """Runs dcgmi and reads what it prints; a round is complete when the next one begins or nothing follows for a while.

    command: the program and whatever stands before `dmon`. address: of the host engine; empty = dcgmi's default. Where
    dmon ends over the profiling fields, it is started again without them.
    """

    command: Sequence[str]
    address: str
    interval_s: float
    host: str = ""
    name: str = "dcgmi dmon"
    waits: bool = True
    note: str = ""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _table: Table = field(default_factory=lambda: Table(()), init=False)
    _rest: bytes = field(default=b"", init=False)
    _rows: list[Row] = field(default_factory=list, init=False)
    _rows_at: float = field(default=0.0, init=False)
    _rounds: list[tuple[float, list[Row]]] = field(default_factory=list, init=False)
    _heard_at: float = field(default=0.0, init=False)
    _begun: bool = field(default=False, init=False)
    _rejected: int = field(default=0, init=False)
    _profiling: bool = field(default=True, init=False)
    _refused: str = field(default="", init=False)
    _refused_at: float = field(default=0.0, init=False)

    def open(self) -> None:
        """Start dcgmi."""
        asked = tuple(n for n in _FIELDS if self._profiling or n not in PROFILING)
        # The name may hold blanks, so it stands last (see Table).
        columns = (UUID, *asked, NAME)
        delay_ms = max(LEAST_DELAY_MS, round(1000 * self.interval_s))
        host = ("--host", self.address) if self.address else ()
        words = (*self.command, "dmon", *host, "-e", ",".join(map(str, columns)), "-d", str(delay_ms))
        self._table, self._rest, self._rows, self._rounds = Table(columns), b"", [], []
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            raise UnreachableError(
                f"{words[0]} cannot be started ({error.strerror}); install DCGM", missing=missing
            ) from None
        self._heard_at, self._begun, self._rejected = monotonic(), False, 0

    def read(self, now: float) -> Iterable[Reading]:
        """The newest round that was printed since; waits a quarter of an interval for more, and not long in all."""
        if not self._profiling and monotonic() > self._refused_at + ASK_AGAIN_S:
            self._again(profiling=True)
        self._take(now, min(self.interval_s / 4, LONGEST_WAIT_S))
        rounds, self._rounds = self._rounds, []
        if not rounds:
            return ()
        whole, self._rejected = self._table.rejected == self._rejected, self._table.rejected
        at, rows = rounds[-1]
        return (Reading(LANE, self.interval_s, at, tuple(self._values(rows)), whole),)

    def states(self) -> tuple[MetricState, ...]:
        """The profiling metrics, where dmon runs without them."""
        if self._profiling:
            return ()
        why = f"DCGM refused to profile: {self._refused}"
        return tuple(MetricState("", METRICS[n], "unsupported", why) for n in PROFILING)

    def close(self) -> None:
        """End dcgmi: politely, then at once."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _take(self, now: float, wait_s: float) -> None:
        process = self._process
        if process is None or process.stdout is None:
            raise UnreachableError("dmon was not started")
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            if not ready.select(wait_s):
                self._finish_round()
                silent_s = monotonic() - self._heard_at
                if silent_s > max(0.0 if self._begun else START_S, SILENT_ROUNDS * self.interval_s):
                    raise UnreachableError(f"dmon printed nothing for {silent_s:.1f} s; it is started again")
                return
        printed = os.read(process.stdout.fileno(), 1 << 20)
        if not printed:
            self._ended(process)
            return
        *lines, self._rest = (self._rest + printed).split(b"\n")
        if len(self._rest) > LINE_LIMIT:
            raise UnreachableError(f"dmon printed a line of more than {LINE_LIMIT} bytes; it is started again")
        for line in lines:
            row = self._table.line(line.decode("utf-8", "replace"))
            if row is not None:
                self._note(row, now)

    def _note(self, row: Row, now: float) -> None:
        self._heard_at, self._begun = monotonic(), True
        if any(known.entity == row.entity for known in self._rows):
            self._finish_round()
        self._rows.append(row)
        self._rows_at = now

    def _finish_round(self) -> None:
        if self._rows:
            self._rounds.append((self._rows_at, self._rows))
            self._rows = []

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        said = self._table.message or "nothing"
        if self._begun or not self._profiling:
            raise UnreachableError(f"dmon ended with code {code}; it said: {said}")
        # Before its first row dmon ends when one field cannot be watched; mostly that is profiling.
        self._again(profiling=False)
        self._refused, self._refused_at = said, monotonic()

    def _again(self, *, profiling: bool) -> None:
        self.close()
        self._profiling = profiling
        self.open()

    def _values(self, rows: Sequence[Row]) -> Iterable[Value]:
        board: dict[str, str] = {}
        for row in rows:
            labels = self._labels(row, board)
            if labels is None:
                continue
            for identifier, cell in row.cells.items():
                if identifier in NAMES:
                    told = number(cell)
                    yield Value(NAMES[identifier], labels, math.nan if told is None else told)

    def _labels(self, row: Row, board: dict[str, str]) -> Labels | None:
        """Labels as dcgm-exporter prints them. MIG instances follow their GPU; dmon knows them by DCGM's own number,
        not by the driver's, and that is told apart in the label."""
        if row.kind == "GPU" and row.link is None:
            board.clear()
            board.update(
                {"gpu": str(row.number), "UUID": row.cells.get(UUID, ""), "modelName": row.cells.get(NAME, "")}
            )
            return self._told(board)
        if not board.get("UUID"):
            return None
        if row.kind == "GPU":
            return self._told({**board, "nvlink": str(row.link)})
        return self._told({**board, "GPU_I_ID": f"dcgm-{row.number}"}) if row.kind == "GPU-I" else None

    def _told(self, labels: dict[str, str]) -> Labels | None:
        if not labels["UUID"]:
            return None
        return tuple(sorted((name, value) for name, value in {**labels, "Hostname": self.host}.items() if value))
