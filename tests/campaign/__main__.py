"""Plays many schedules and says which failed: `python -m tests.campaign --seeds 10000`. Exit 1 when one did."""

from __future__ import annotations

import argparse
import logging
import sys

import structlog
from joblib import Parallel, delayed
from rich.progress import track

from tests.campaign.schedules import draw
from tests.campaign.worlds import live, shorter


def played(seed: int) -> tuple[int, list[str]]:
    """A seed and what was wrong with it; what the service says meanwhile is not looked at."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return seed, live(draw(seed))


def main() -> int:
    """Plays the seeds that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many schedules (default 10000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=-1, help="processes (default: one a core)")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    results = Parallel(n_jobs=asked.jobs, return_as="generator_unordered")(delayed(played)(seed) for seed in seeds)
    failed = sorted((seed, wrong) for seed, wrong in track(results, "playing", len(seeds), transient=True) if wrong)
    for seed, wrong in failed:
        print(f"seed {seed}: {'; '.join(wrong)}")
    if failed:
        print("\nthe first, without whatever it fails without:\n", shorter(draw(failed[0][0])), sep="")
    print(f"{len(seeds)} schedules, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
