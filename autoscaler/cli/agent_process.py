"""The agent's process, told everything by SIGMASCALE_AGENT_* variables: `python -m autoscaler.cli.agent_process`.

It imports neither Typer nor anything of the service. Memory is promised: see benchmarks/agent.py.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from autoscaler.errors import InputError, SigmascaleError


def main() -> None:
    """Run until SIGTERM or SIGINT; exit code 0 then, 2 for a mistake of a person, 1 for a failure."""
    # BLAS would reserve memory for a thread on each core, for sums of a few hundred numbers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # structlog takes Rich for tracebacks in colour if it is there: 6 MB for something that no log of a node shows.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        _run()
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except SigmascaleError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def _run() -> None:
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        stopping.set()
        # A second signal ends the process at once.
        signal.signal(number, signal.SIG_DFL)

    # Before anything is loaded: whoever starts and stops an agent at once also gets a clean end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    from autoscaler.agent.settings import read_settings, words

    settings = read_settings(words(os.environ), socket.gethostname())

    from autoscaler.agent.agent import Agent
    from autoscaler.agent.build import collectors
    from autoscaler.cli.logs import set_up_logging
    from autoscaler.clock import SystemClock

    set_up_logging(settings.log_format)
    clock = SystemClock()
    agent = Agent(settings, clock, collectors(settings, clock))
    agent.start()
    try:
        stopping.wait()
    finally:
        agent.stop()


if __name__ == "__main__":
    main()
