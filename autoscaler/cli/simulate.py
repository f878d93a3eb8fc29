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
    context: typer.Context,
    rules: Annotated[
        list[Path] | None,
        typer.Argument(help="A rule file; with --serve any number of files and folders, none = a fleet of ours."),
    ] = None,
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
    serving: Annotated[
        bool, typer.Option("--serve", help="Real time: service, page and API over a simulated fleet, until Ctrl-C.")
    ] = False,
    listen: Annotated[
        str, typer.Option("--listen", help="With --serve: HOST:PORT of the service, port 0 = any free one.")
    ] = "127.0.0.1:9377",
    pages: Annotated[
        str, typer.Option("--pages", help="With --serve: HOST:PORT of the simulated machines' pages.")
    ] = "127.0.0.1:9378",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="With --serve: a new folder for the service's data; default: none kept."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option("--speed", help="With --serve: of demand, boots and incidents; at 1 a day takes 10 minutes."),
    ] = 1.0,
    pools: Annotated[
        int | None, typer.Option("--pools", help="With --serve: a generated fleet of so many pools, up to 500.")
    ] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", help="With --serve: of so many GPUs, up to 10000.")] = None,
    calm: Annotated[bool, typer.Option("--calm", help="With --serve: nothing goes wrong.")] = False,
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

      sigmascale simulate --serve

    The last one serves the control room at http://127.0.0.1:9377 over a simulated fleet with GPUs; see
    docs/simulate.md.
    """
    _check_words(context, serving=serving)
    if serving:
        from autoscaler.cli.simulate_serve import Words, serve

        serve(Words(tuple(rules or ()), listen, pages, data, seed, speed, pools, gpus, max_replicas, as_json, calm))
        return
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
    file = _one_file(rules or [])
    ruled = read_rules(file, defaults=Defaults(max_replicas, None, True, read_prices()))
    wanted = read_demand(demand, column, scale, seconds)
    played = _play(ruled, Setting(wanted, seconds, boot_s, capacity, start, seed, journal))
    typer.echo(simulated_view.to_json(played) if as_json else simulated_view.text(played))


OF_SERVE = ("listen", "pages", "data", "speed", "pools", "gpus", "calm")
NOT_OF_SERVE = {"demand": "--demand", "column": "--column", "scale": "--scale", "lasts": "--for", "boot": "--boot"}
NOT_OF_SERVE |= {"capacity": "--capacity", "start": "--start", "journal": "--journal"}


def _check_words(context: typer.Context, *, serving: bool) -> None:
    """Raise InputError for flags of the other way to simulate: they would be ignored."""
    foreign = NOT_OF_SERVE if serving else {name: f"--{name}" for name in OF_SERVE}
    # The enumeration is that of the Click that Typer brings, which has no name here.
    given = [
        flag
        for name, flag in foreign.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if given and serving:
        raise InputError(f"{', '.join(given)}: has no meaning with --serve, which runs on real time; leave it out")
    if given:
        raise InputError(f"{', '.join(given)}: only means something with --serve; add that, or leave it out")


def _one_file(rules: list[Path]) -> Path:
    if not rules:
        raise InputError("no rule file is given; name one, such as rules/chat.yaml, or add --serve for a whole fleet")
    if len(rules) > 1:
        raise InputError(f"{rules[1]}: is one file too many, a simulation has one pool; add --serve for several")
    if rules[0].is_dir():
        raise InputError(f"{rules[0]}: is a folder; name one rule file in it, a simulation has one pool")
    return rules[0]


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
