"""A modeller in a process of its own: a fit takes seconds of pure Python, and no tick may wait for the interpreter.

The process is started when it is first needed, runs at a low priority, is ended when an answer takes too long, and is
started again for the next question. When the service dies its end of the connection closes, and the process ends.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

from autoscaler.aside import environment
from autoscaler.clock import monotonic
from autoscaler.foresight.modeller import Failure, Question
from autoscaler.ports import Forecaster
from autoscaler.types import Frame, Outlook

FIT_LIMIT_S = 300.0
OUTLOOK_LIMIT_S = 60.0
START_LIMIT_S = 60.0
"""A loaded machine imports numpy and scikit-learn in seconds, a starved one in many; an answer takes a tenth of one."""

BETWEEN_STARTS_S = 5.0
PROGRAM = "autoscaler.foresight.process"


@dataclass(slots=True)
class Apart:
    """One process, asked by one thread; `close` may come from another."""

    folder: Path | None = None
    fit_limit_s: float = FIT_LIMIT_S
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _line: Connection | None = None
    _started_at: float | None = None
    _closed: bool = False
    _lock: Lock = field(default_factory=Lock)

    @property
    def pid(self) -> int | None:
        """Of the process, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def fit(self, key: str, forecaster: Forecaster, history: Frame) -> Failure | None:
        answer: Failure | None = self._ask(("fit", key, forecaster, history), self.fit_limit_s)
        return answer

    def outlooks(self, key: str, question: Question) -> tuple[Outlook, ...] | Failure | None:
        answer: tuple[Outlook, ...] | Failure | None = self._ask(("outlooks", key, question), OUTLOOK_LIMIT_S)
        return answer

    def close(self) -> None:
        with self._lock:
            self._closed = True
            process = self._process
        # Whoever waits for its answer sees the line end, and closes it.
        if process is not None:
            process.kill()
            process.wait()

    def _ask(self, request: tuple[Any, ...], limit_s: float) -> Any:
        problem = self._ready()
        if problem is not None:
            return problem
        line = self._line
        try:
            assert line is not None
            line.send(request)
            if line.poll(limit_s):
                return line.recv()
            text = f"no answer within {limit_s:.0f} s; its process was ended"
        except (EOFError, OSError) as error:
            text = f"the process of the forecasts ended: {type(error).__name__}"
        except Exception as error:  # noqa: BLE001 - a plug-in whose settings or values cannot be sent
            return Failure(f"it cannot be sent to another process: {type(error).__name__}: {error}")
        self._end()
        return Failure(text)

    def _ready(self) -> Failure | None:
        """Starts the process if it does not run; a failure when that is not possible now."""
        with self._lock:
            if self._closed:
                return Failure("the service is stopping")
            if self._process is not None and self._process.poll() is None and self._line is not None:
                return None
        self._end()
        now = monotonic()
        if self._started_at is not None and now - self._started_at < BETWEEN_STARTS_S:
            return Failure(f"the process of the forecasts died, it is started again in {BETWEEN_STARTS_S:.0f} s")
        self._started_at = now
        self.starts += 1
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, str(theirs.fileno()), str(self.folder or "")],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=environment(),
            )
        except OSError as error:
            ours.close()
            return Failure(f"the process of the forecasts cannot be started: {error}")
        finally:
            theirs.close()
        with self._lock:
            self._process, self._line = process, Connection(ours.detach())
            closed = self._closed
        # It says so when it has imported everything, so that slow imports do not count as a slow answer.
        if not closed and self._greeted():
            return None
        self._end()
        return Failure("the process of the forecasts did not start")

    def _greeted(self) -> bool:
        line = self._line
        try:
            return line is not None and line.poll(START_LIMIT_S) and line.recv() == "ready"
        except (EOFError, OSError):
            return False

    def _end(self) -> None:
        with self._lock:
            process, line = self._process, self._line
            self._process = self._line = None
        if process is not None:
            process.kill()
            process.wait()
        if line is not None:
            line.close()
