"""`sigmascale demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoscaler import units

NEXT = """\
Every replica has been drained and ended; nothing is left running. Next:
  rules/demo.yaml                                            the rules that decided
  sigmascale simulate rules/demo.yaml --demand step:8,30     the same rules on a simulated fleet
  sigmascale run --rules rules/ --shadow                     your rules on your metrics, touching nothing"""


def _duration(text: str) -> float:
    try:
        return units.duration_s(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def demo(
    duration: Annotated[
        float, typer.Option(parser=_duration, metavar="TIME", help="How long the load lasts: 90s, 5m.")
    ] = "5m",  # type: ignore[assignment] # typer parses defaults too
    speed: Annotated[float, typer.Option(help="Speed of the recorded load; 2 plays it twice in the same time.")] = 1.0,
    headless: Annotated[bool, typer.Option("--headless", help="Plain lines instead of a live screen.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers of the end to FILE.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which requests of the recorded load are sent.")] = 1,
) -> None:
    """Watch a pool grow and shrink on this machine: real processes, a recorded load, no cloud, no GPU needed.

    Starts the ordinary service with rules/demo.yaml over inference stand-ins, sends them 38 minutes of recorded
    chat traffic in five minutes, shows every decision with its reason, and leaves nothing running.
    """
    import logging

    import structlog
    from rich.console import Console

    from autoscaler.cli.logs import set_up_logging
    from autoscaler.demo.run import DemoOptions, run_demo

    set_up_logging("console")
    # What the service does is on the screen already.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = Console()
    try:
        summary = run_demo(DemoOptions(duration, speed, headless, json_path, seed), console)
    except KeyboardInterrupt:
        typer.echo("stopped; nothing is left running", err=True)
        raise typer.Exit(130) from None
    console.print(summary.table())
    console.print(NEXT, markup=False, highlight=False, soft_wrap=True)
