"""The environment of a process that computes beside the service, so that no tick waits for it."""

from __future__ import annotations

import os
import sys

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment() -> dict[str, str]:
    """Ours, with what plug-ins are imported from. One thread: several that wait for each other on a busy machine take a
    hundred times as long to ask a few trees, and the other processors belong to the ticks."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | dict.fromkeys(THREADS, "1")
