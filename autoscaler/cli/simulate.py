"""`sigmascale simulate`: what a rule file would do to a fleet that never existed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from autoscaler.ruleset import RuleSet
    from autoscaler.sim import Demand
    from autoscaler.simulation import Simulation


def simulate(
    rules: Annotated[Path, typer.Argument(help="A rule file.")],
    demand: Annotated[
        str,
        typer.Option(
            "--demand",
            "-d",
            help="Requests per second: a number, `step:LOW,HIGH`, `flapping:LOW,HIGH`, `ramp:LOW,HIGH`, "
            "`daily:MEAN,SWING`, or the path of a trace (CSV or gzip).",
        ),
    ] = "step:8,40",
    column: Annotated[str, typer.Option("--column", help="Column of the trace.")] = "requests",
    scale: Annotated[float, typer.Option("--scale", help="Multiplies the trace.")] = 1.0,
    lasts: Annotated[str, typer.Option("--for", help="Simulated time.")] = "2h",
    boot: Annotated[str, typer.Option("--boot", help="Median time from request to serving.")] = "2m",
    capacity: Annotated[
        float | None, typer.Option("--capacity", help="Requests per second of one replica; default: the rule file's.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal runs.")] = 1,
    max_replicas: Annotated[int | None, typer.Option("--max", help="Upper bound, if the file gives none.")] = None,
    journal: Annotated[Path | None, typer.Option("--journal", help="Keep the journal in this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Run a rule file against a simulated cluster, with the engine and loop of the live service.

    Two hours take a few seconds. The simulated pool exports requests_arrived_total, requests_waiting, requests_running,
    time_to_first_token_seconds and GPU ratios; rules on other metrics see missing data.

    Examples:

      sigmascale simulate rules/chat.yaml --demand step:8,60 --boot 10m

      sigmascale simulate rules/chat.yaml --demand day.csv.gz --column requests --for 24h --seed 7
    """
    from autoscaler import units
    from autoscaler.errors import InputError
    from autoscaler.rulefile.reader import Defaults, read_rules

    if journal is not None and journal.exists():
        raise InputError(f"--journal {journal} exists; name a new file, a simulation never adds to a journal")
    ruled = read_rules(rules, defaults=Defaults(max_replicas, None, True))
    try:
        seconds, boot_s = units.duration_s(lasts), units.duration_s(boot)
    except ValueError as error:
        raise InputError(f"--for, --boot: {error}") from error
    shape = read_demand(demand, column, scale, seconds)
    simulation = play(ruled, shape, seconds, boot_s, capacity, seed, journal)
    if as_json:
        typer.echo(result_json(simulation, ruled.pool))
    else:
        show(simulation, ruled.pool, seconds)


def read_demand(text: str, column: str, scale: float, seconds: float) -> Demand:
    """The demand that a person named. Raises InputError."""
    from autoscaler import sim_demand
    from autoscaler.errors import InputError
    from autoscaler.simulation import START
    from autoscaler.trace import load_trace

    name, _, rest = text.partition(":")
    shapes: dict[str, Callable[[float, float], Demand]] = {
        "step": lambda low, high: sim_demand.step(low, high, START + seconds * 0.25, START + seconds * 0.6),
        "flapping": lambda low, high: sim_demand.flapping(low, high, 600.0),
        "ramp": lambda low, high: sim_demand.ramp(low, high, START + seconds * 0.1, START + seconds * 0.8),
        "daily": sim_demand.daily,
    }
    try:
        if not rest and name.replace(".", "", 1).isdigit():
            return sim_demand.constant(float(name))
        if name in shapes:
            first, second = (float(part) for part in rest.split(","))
            return shapes[name](first, second)
    except ValueError as error:
        raise InputError(f"--demand {text!r}: write {name}:8,40 with two numbers of requests/s") from error
    path = Path(text)
    if not path.is_file():
        known = ", ".join(f"{shape}:..." for shape in shapes)
        raise InputError(f"--demand {text!r} is neither a number, nor one of {known}, nor the path of a trace")
    return sim_demand.replayed(load_trace(path, column), START, scale)


def play(
    ruled: RuleSet,
    demand: Demand,
    seconds: float,
    boot_s: float,
    capacity: float | None,
    seed: int,
    journal: Path | None,
) -> Simulation:
    """The simulation, run to its end."""
    from dataclasses import replace

    from autoscaler.journal import Journal
    from autoscaler.sim import SimCluster, Workload
    from autoscaler.simulation import START, Simulation
    from autoscaler.types import Offer
    from collectors.sim import SimCollector
    from providers.sim import SimProvider

    if not ruled.offers:
        ruled = replace(ruled, offers=(Offer("sim", "machine"),))
    per_replica = capacity or ruled.capacity or 4.0
    service_s = 2.0
    load = Workload(demand, slots=max(1, round(per_replica * service_s)), service_s=service_s)
    cluster = SimCluster({ruled.pool: load}, seed=seed, start=START, boot_s=boot_s, boot_sigma=0.3)
    kept = Journal(f"sqlite:///{journal}" if journal is not None else "sqlite://")
    simulation = Simulation({ruled.pool: ruled}, cluster, SimProvider, SimCollector, journal=kept)
    simulation.run(seconds)
    return simulation


def result_json(simulation: Simulation, pool: str) -> str:
    """Score and decisions, one JSON object."""
    import dataclasses
    import json

    decisions = [
        {"at": d.at, "from": d.current, "want": d.want, "reasons": [r.text for r in d.reasons]}
        for d in reversed(simulation.journal.decisions(pool, limit=100_000))
        if d.want != d.current
    ]
    return json.dumps({"score": dataclasses.asdict(simulation.score(pool)), "changes": decisions})


def show(simulation: Simulation, pool: str, seconds: float) -> None:
    """Every change with its reason, then the score."""
    from rich.console import Console
    from rich.table import Table

    from autoscaler.simulation import START
    from autoscaler.words import seconds as span

    console = Console()
    table = Table(title=f"Changes of pool {pool} in {span(seconds)}", title_justify="left")
    for heading in ("at", "from", "to", "why"):
        table.add_column(heading, justify="left" if heading == "why" else "right")
    for d in reversed(simulation.journal.decisions(pool, limit=100_000)):
        if d.want != d.current:
            table.add_row(span(d.at - START), str(d.current), str(d.want), "; ".join(r.text for r in d.reasons[1:]))
    console.print(table)
    score = simulation.score(pool)
    lost = score.requests_lost + score.requests_aborted
    console.print(
        f"{score.requests_sent:,} requests, {lost:,} lost ({lost / max(1, score.requests_sent):.2%}), "
        f"{score.replica_seconds / 3600:.1f} replica-hours, peak {score.peak_replicas}, "
        f"{score.launches} launches, {score.removals} removals, {score.usd:.2f} USD"
    )
