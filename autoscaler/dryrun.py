"""What a changed rule file would have done: asked in a process of its own, so that no tick waits for a replay.

The service knows the demand that it recorded and both rule sets; the process replays the demand under both, at a low
priority and within a limit, and answers with JSON. One runs at a time, and the last ones are remembered.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Any, Literal

import structlog

from autoscaler.aside import environment
from autoscaler.ports import Clock
from autoscaler.ruleset import RuleSet, Signal

log = structlog.get_logger(__name__)
PROGRAM = "autoscaler.cli.dry_run"
LIMIT_S = 180.0
MAX_ANSWER_BYTES = 16 << 20
REMEMBERED = 20

State = Literal["running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Question:
    """Two rule sets of one pool, and its recorded demand: (point,) Unix seconds and work per second, NaN in a gap.

    What came before `since` only warms up. capacity, boot_s: of the world that both are played in, as the service
    learned them; None = as the rules say. called: where the demand is from, in words.
    """

    now: RuleSet
    changed: RuleSet
    at: tuple[float, ...]
    rate: tuple[float, ...]
    signal: Signal
    called: str
    since: float
    until: float
    capacity: float | None = None
    boot_s: float | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """One dry run. text: the changed rule file, as it was given. answer: what the process found, when `done`.
    problem: why it found nothing, when `failed`."""

    id: str
    pool: str
    text: str
    since: float
    began_at: float
    state: State = "running"
    ended_at: float | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


class DryRuns:
    """The dry runs of a service; any thread may ask."""

    def __init__(self, clock: Clock, limit_s: float = LIMIT_S) -> None:
        self._clock, self._limit_s = clock, limit_s
        self._runs: OrderedDict[str, DryRun] = OrderedDict()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self, question: Question, text: str) -> DryRun | None:
        """Begins one; None while another is under way."""
        run = DryRun(token_hex(6), question.now.pool, text, question.since, self._clock.now())
        with self._lock:
            if any(r.state == "running" for r in self._runs.values()) or self._closed:
                return None
            self._runs[run.id] = run
            while len(self._runs) > REMEMBERED:
                self._runs.popitem(last=False)
        threading.Thread(target=self._run, args=(run, question), name="dry run", daemon=True).start()
        return run

    def get(self, run_id: str) -> DryRun | None:
        """The dry run of this id, if it is still remembered."""
        with self._lock:
            return self._runs.get(run_id)

    def of(self, pool: str) -> tuple[DryRun, ...]:
        """Those of a pool, newest first."""
        with self._lock:
            return tuple(run for run in reversed(self._runs.values()) if run.pool == pool)

    def close(self) -> None:
        """Ends the one under way."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()

    def _run(self, run: DryRun, question: Question) -> None:
        answer, problem = self._asked(question)
        state: State = "failed" if problem else "done"
        ended = replace(run, state=state, ended_at=self._clock.now(), answer=answer, problem=problem)
        with self._lock:
            if run.id in self._runs:
                self._runs[run.id] = ended
        log.info("dry run ended", pool=run.pool, state=state, problem=problem)

    def _asked(self, question: Question) -> tuple[Mapping[str, Any], str]:
        """The answer, or why there is none."""
        # A file, not a pipe: a process that is ended before it has read everything leaves nothing to be written.
        with tempfile.TemporaryFile() as asked:
            pickle.dump(question, asked)
            asked.seek(0)
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", PROGRAM],
                    stdin=asked,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment(),
                )
            except OSError as error:
                return {}, f"its process cannot be started: {error.strerror}"
        with self._lock:
            self._process = process
            if self._closed:
                process.kill()
        try:
            said, _ = process.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return {}, f"it took longer than {self._limit_s:g} s and was ended; choose a shorter span"
        finally:
            with self._lock:
                self._process = None
        if process.returncode != 0 or len(said) > MAX_ANSWER_BYTES:
            return {}, f"its process ended without an answer (exit status {process.returncode})"
        answer: dict[str, Any] = json.loads(said)
        return answer, str(answer.get("problem", ""))
