"""`sigmascale simulate`: what a rule file would do to a fleet that never existed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.client import JsonOption
from autoscaler.cli.durations import between
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.cli.simulated import Played, Setting
    from autoscaler.ruleset import RuleSet

MIN_S, MAX_S = 60.0, 31 * 86400.0
MAX_BOOT_S = 86400.0


def simulate(
    rules: Annotated[Path, typer.Argument(help="A rule file.")],
    demand: Annotated[
        str,
        typer.Option(
            "--demand",
            "-d",
            help="Requests per second: a number, `step:LOW,HIGH`, `flapping:LOW,HIGH`, `ramp:LOW,HIGH`, "
            "`daily:MEAN,SWING` with a swing from 0 to 1, or the path of a trace (CSV, plain or gzip, whose first "
            "column is t_s).",
        ),
    ] = "step:8,40",
    column: Annotated[str, typer.Option("--column", help="Column of the trace.")] = "requests",
    scale: Annotated[float, typer.Option("--scale", help="Multiplies the trace.")] = 1.0,
    lasts: Annotated[str, typer.Option("--for", help="Simulated time, 1m to 31d.")] = "2h",
    boot: Annotated[
        str | None,
        typer.Option("--boot", help="Median time from order to serving; default: the lead_time of the first offer."),
    ] = None,
    capacity: Annotated[
        float | None, typer.Option("--capacity", help="Requests per second of one replica; default: the rule file's.")
    ] = None,
    start: Annotated[
        int | None,
        typer.Option("--start", min=0, help="Replicas that serve at the start; default: what the demand needs then."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal runs.")] = 1,
    max_replicas: Annotated[
        int | None, typer.Option("--max", min=1, help="Upper bound, if the file gives none.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", help="Keep the journal in this new file, for `explain --journal`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a rule file against a simulated cluster, with the engine and loop of the live service.

    Two hours take a few seconds. Shows demand against ready replicas, every change with its reason, and what users and
    the bill noticed. The simulated pool exports requests_arrived_total, requests_rejected_total, requests_waiting,
    requests_running, time_to_first_token_seconds, kv_cache_used_ratio, gpu_busy_ratio and gpu_sm_active_ratio; rules
    on other metrics see missing data, which is noted below the result.

    Examples:

      sigmascale simulate rules/chat.yaml --demand step:8,60 --boot 10m

      sigmascale simulate rules/chat.yaml --demand day.csv.gz --column requests --for 24h --seed 7

      sigmascale simulate rules/chat.yaml --journal try.db && sigmascale explain chat-70b --journal try.db
    """
    from autoscaler.cli import simulated_view
    from autoscaler.cli.demand import read_demand
    from autoscaler.cli.simulated import Setting
    from autoscaler.rulefile.reader import Defaults, read_rules
    from providers.prices import read_prices

    _check_journal(journal)
    seconds = between("--for", lasts, MIN_S, MAX_S)
    boot_s = None if boot is None else between("--boot", boot, 0.0, MAX_BOOT_S)
    if capacity is not None and not 0 < capacity <= 1e6:
        raise InputError(f"--capacity: {capacity:g} requests/s is not above 0; leave it out to take the rule file's")
    if rules.is_dir():
        raise InputError(f"{rules}: is a folder; name one rule file in it, a simulation has one pool")
    ruled = read_rules(rules, defaults=Defaults(max_replicas, None, True, read_prices()))
    wanted = read_demand(demand, column, scale, seconds)
    played = _play(ruled, Setting(wanted, seconds, boot_s, capacity, start, seed, journal))
    typer.echo(simulated_view.to_json(played) if as_json else simulated_view.text(played))


def _check_journal(path: Path | None) -> None:
    if path is None:
        return
    if path.exists():
        raise InputError(f"--journal {path} exists; name a new file, a simulation never adds to a journal")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--journal {path}: its folder does not exist; make it or name another file")


def _play(ruled: RuleSet, given: Setting) -> Played:
    """The simulation, with a bar on a terminal; it goes to stderr, so that the result can be piped."""
    from rich.console import Console
    from rich.progress import Progress

    from autoscaler.cli.simulated import play

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("simulating", total=given.seconds)
        return play(ruled, given, lambda at_s: bar.update(task, completed=at_s))
