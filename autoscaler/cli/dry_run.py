"""The program of a dry run's process: a question on its standard input, the answer as JSON on its standard output."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest.run import Tested
from autoscaler.cli.compare_past import PastDemand
from autoscaler.cli.compared import origin, replayed, rows
from autoscaler.dryrun import Question
from autoscaler.errors import SigmascaleError

NICE = 10
MAX_POINTS = 1500


def main() -> None:
    """Answers one question, in one line."""
    # The service decides when this process ends; a person's Ctrl-C reaches every process of the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    question = pickle.load(sys.stdin.buffer)  # noqa: S301 - the service that started this process wrote it
    assert isinstance(question, Question)
    try:
        found = answer(question)
    except SigmascaleError as error:
        found = {"problem": str(error)}
    sys.stdout.write(json.dumps(found, allow_nan=False))


def answer(question: Question) -> Mapping[str, object]:
    """What both would have done, as JSON's own types. Raises InputError for what cannot be compared."""
    q = question
    at, rate = np.array(q.at), np.array(q.rate)
    past = PastDemand(at, rate, q.signal, q.called, q.capacity, q.boot_s, ())
    found, demanded = replayed(past, q.now, q.changed, q.since, q.until)
    epoch = demanded.epoch or 0.0
    return {
        "problem": "",
        "demand": origin(demanded),
        "counted_s": found.a.end_s - found.a.count_from_s,
        "capacity": found.a.setting.capacity,
        "boot_s": found.a.setting.boot_s,
        "rows": [list(row) for row in rows(found.a, found.b)],
        "differing": [
            {"at": epoch + d.at_s, "now": d.a, "changed": d.b, "why_now": d.why_a, "why_changed": d.why_b}
            for d in found.differing
        ],
        "notes": {"both": list(found.notes), "now": list(found.notes_a), "changed": list(found.notes_b)},
        "plot": plot(found.a, found.b, epoch),
    }


def plot(a: Tested, b: Tested, epoch: float) -> Mapping[str, list[float | None]]:
    """Columns over at most `MAX_POINTS` times, evenly apart; sizes are the most of each interval, so that no peak is
    lost between two points."""
    since, until = a.count_from_s, a.end_s
    edges = np.linspace(since, until, min(MAX_POINTS, max(2, int((until - since) // a.setting.tick_s))) + 1)
    columns: dict[str, list[float | None]] = {"at": [epoch + float(t) for t in edges[:-1]]}
    columns["demand"] = _most(a, a.timeline.demand.astype(float), edges)
    for name, tested in (("now", a), ("changed", b)):
        columns[f"wanted_{name}"] = _most(tested, tested.timeline.wanted.astype(float), edges)
        columns[f"ready_{name}"] = _most(tested, tested.timeline.ready.astype(float), edges)
        columns[f"queue_{name}"] = _most(tested, tested.timeline.queue.astype(float), edges)
    return columns


def _most(tested: Tested, values: NDArray[np.float64], edges: NDArray[np.float64]) -> list[float | None]:
    """The most of each interval between two edges; a value holds until the next tick."""
    at_s = tested.timeline.at_s
    first = np.clip(np.searchsorted(at_s, edges[:-1], side="right") - 1, 0, None)
    end = np.maximum(np.searchsorted(at_s, edges[1:], side="left"), first + 1)
    most = np.maximum.reduceat(np.append(values, -np.inf), np.column_stack((first, end)).ravel())[::2]
    return [round(float(value), 6) if math.isfinite(value) else None for value in most]


if __name__ == "__main__":
    main()
