"""`sigmascale compare`: what two rule files would have done with the same demand, or do right now side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect
from autoscaler.cli.durations import between
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.cli.compared import Wanted

DAY_S = 86_400.0
MIN_SINCE_S, MAX_SINCE_S = 3600.0, 366 * DAY_S


def compare(
    rules_a: Annotated[Path | None, typer.Argument(help="The rules as they are.")] = None,
    rules_b: Annotated[Path | None, typer.Argument(help="The rules as they might be, of the same pool.")] = None,
    since: Annotated[str, typer.Option("--since", help="How much of the recorded past counts, 1h to 366d.")] = "7d",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data folder of the service that recorded it; default: the configuration's."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", envvar="SIGMASCALE_CONFIG", help="The service's YAML file, for its data folder."
        ),
    ] = None,
    server: Annotated[
        bool, typer.Option("--server", help="Ask the running service (--url) instead of reading its data folder.")
    ] = False,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="A trace instead of what was recorded, as `backtest` takes it.")
    ] = None,
    column: Annotated[str, typer.Option("--column", help="Column of the trace.")] = "requests",
    live: Annotated[
        str | None,
        typer.Option("--live", help="Name a pool: compare its rules with the candidate that runs beside them now."),
    ] = None,
    capacity: Annotated[
        float | None,
        typer.Option(
            "--capacity", help="Work per second of one replica; default: A's, else what was learned, else B's."
        ),
    ] = None,
    boot: Annotated[
        str | None,
        typer.Option("--boot", help="Order to serving; default: as learned, else the lead_time of A's first offer."),
    ] = None,
    start: Annotated[
        int | None,
        typer.Option("--start", min=0, help="Replicas that serve at the start; default: what the demand needs then."),
    ] = None,
    high: Annotated[
        int | None, typer.Option("--max", min=1, help="Upper bound of files that give none, as for `run`.")
    ] = None,
    warmup: Annotated[
        str | None,
        typer.Option(
            "--warmup", help="Played and not counted. Default: up to 3d before --since, else as for `backtest`."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for compare.json, a-timeline.csv and b-timeline.csv.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play recorded demand under two rule files in the same world, and tell what each would have left waiting and cost.

    Demand is what came from outside: the signal that a target of the rules divides, if it is a rate or a query, or what
    it looks ahead on, else a rate of requests_arrived_total. Everything that depends on the fleet (queues, busy GPUs,
    waits) is made anew for each side by the simulated pool of `sigmascale backtest`; what that cannot give is named,
    with the rules that are not judged for it. Both sides have the same capacity and boot; each has its own bounds and
    tick.

    With --live nothing is replayed: the pool's rules and the candidate of `shadow:` have run side by side since the
    candidate began, on the same signals, the candidate with an imagined fleet.

    Examples:

      sigmascale compare rules/chat.yaml rules/candidates/chat-next.yaml --since 7d

      sigmascale compare rules/chat.yaml next.yaml --trace week.csv.gz --column requests --capacity 4 --boot 8m

      sigmascale compare --live chat
    """
    if live is not None:
        from autoscaler.cli import compared_live

        if rules_a is not None:
            raise InputError("--live asks a running service about its own rules; leave the rule files out")
        compared_live.run(connect(url, token_file, ca), live, as_json=as_json)
        return
    if rules_a is None or rules_b is None:
        raise InputError("two rule files are compared; name both, or a pool with --live POOL")
    from autoscaler.cli import compared
    from autoscaler.cli.compared import Wanted

    wanted = Wanted(
        rules_a=_file(rules_a),
        rules_b=_file(rules_b),
        since_s=between("--since", since, MIN_SINCE_S, MAX_SINCE_S),
        data=data,
        config=config,
        client=connect(url, token_file, ca) if server else None,
        trace=trace,
        column=column,
        capacity=capacity,
        boot_s=None if boot is None else between("--boot", boot, 0.0, DAY_S),
        start=start,
        high=high,
        warmup_s=None if warmup is None else between("--warmup", warmup, 0.0, MAX_SINCE_S),
        out=out,
    )
    _check(wanted)
    compared.run(wanted, as_json=as_json)


def _check(wanted: Wanted) -> None:
    sources = [name for name, given in (("--trace", wanted.trace), ("--server", wanted.client)) if given is not None]
    if wanted.data is not None:
        sources.append("--data")
    if len(sources) > 1:
        raise InputError(f"{' and '.join(sources)}: demand has one source; leave all but one out")
    if wanted.capacity is not None and not 0 < wanted.capacity <= 1e15:
        raise InputError(f"--capacity: {wanted.capacity:g} is not above 0; write the work per second of one replica")
    if wanted.out is not None and wanted.out.exists() and not wanted.out.is_dir():
        raise InputError(f"--out {wanted.out}: is a file; name a folder, it is made if need be")
    if wanted.out is not None and not wanted.out.absolute().parent.is_dir():
        raise InputError(f"--out {wanted.out}: the folder that it would lie in does not exist; make it or name another")


def _file(path: Path) -> Path:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name one rule file in it")
    return path
