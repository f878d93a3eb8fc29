"""The program of the process that `apart.py` starts: models, made and asked over a socket."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from autoscaler.foresight.modeller import Bench, Failure
from autoscaler.foresight.shelf import Shelf

NICE = 10


def serve(line: Connection, bench: Bench) -> None:
    """Answers requests until the other end closes."""
    verbs: dict[str, Callable[..., Any]] = {"fit": bench.fit, "outlooks": bench.outlooks}
    line.send("ready")
    while True:
        try:
            verb, *given = line.recv()
        except (EOFError, OSError):
            return
        except Exception as error:  # noqa: BLE001 - a plug-in that cannot be imported here
            line.send(Failure(f"it cannot be read in another process: {type(error).__name__}: {error}"))
            continue
        answer = verbs[verb](*given)
        try:
            line.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def main() -> None:
    """The number of its socket and the folder of its models are its arguments."""
    # The service decides when this process ends; a person's Ctrl-C reaches every process of the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    folder = Path(sys.argv[2]) if sys.argv[2] else None
    serve(Connection(int(sys.argv[1])), Bench(Shelf(folder)))


if __name__ == "__main__":
    main()
