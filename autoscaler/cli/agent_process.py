"""The agent's process, told everything by SIGMASCALE_AGENT_* variables: `python -m autoscaler.cli.agent_process`.

It imports neither Typer nor anything of the service. Memory is promised: see benchmarks/agent.py.
"""

from __future__ import annotations

import os
import socket
import sys

from autoscaler.ending import asked_to_end
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
    # Before anything is loaded: whoever starts and stops an agent at once also gets a clean end.
    with asked_to_end() as asked:
        from autoscaler.agent.settings import read_settings, words

        settings = read_settings(words(os.environ), socket.gethostname())

        from autoscaler.agent.agent import Agent
        from autoscaler.agent.build import caps, collectors
        from autoscaler.cli.logs import set_up_logging
        from autoscaler.clock import SystemClock

        set_up_logging(settings.log_format)
        clock = SystemClock()
        made = collectors(settings, clock)
        agent = Agent(settings, clock, made, caps(settings, clock, made))
        try:
            if not asked.is_set():
                agent.start()
            asked.wait()
        finally:
            agent.stop()


if __name__ == "__main__":
    main()
