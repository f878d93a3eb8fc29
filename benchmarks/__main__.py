"""Runs what we claim: `python -m benchmarks [NAME ...]`, one table each; without a name all but those of hours."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import platform
from importlib.metadata import version

import structlog

from autoscaler import __version__
from benchmarks import prometheus
from benchmarks.table import show

NAMES = (
    "agent",
    "bands",
    "choice",
    "clouds",
    "detect",
    "forecast",
    "ingest",
    "launch",
    "league",
    "parser",
    "push",
    "reaction",
    "room",
    "scrape",
    "sigma",
    "store",
    "tick",
)
LONG = ("league",)
"""Run only when named."""

LIBRARIES = ("numpy", "duckdb", "aiohttp", "sqlalchemy", "httpx")


def facts() -> str:
    """What a figure means nothing without: the machine, and the versions of what ran on it."""
    cores = len(os.sched_getaffinity(0))
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    return "\n".join(
        (
            f"sigmascale {__version__} on {platform.system()} {platform.release()} {platform.machine()}, {cores} cores",
            f"{platform.python_implementation()} {platform.python_version()}; "
            + ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
            f"peers: {prometheus.versions()}",
            f"load before the start (1, 5, 15 min): {load}; other work on the machine shows in the figures",
        )
    )


def main() -> None:
    """Import and run the benchmarks one after the other; a module is imported only when its turn comes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; default: not the long")
    given = parser.parse_args().names
    unknown = [name for name in given if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    # One core is what is claimed; BLAS must know before the first benchmark loads numpy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What hangs on purpose would fill the screen with warnings.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(facts(), flush=True)
    for name in given or (name for name in NAMES if name not in LONG):
        show(importlib.import_module(f"benchmarks.{name}").run(), name)


if __name__ == "__main__":
    main()
