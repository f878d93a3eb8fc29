"""`sigmascale backtest`: what rules would have done with a recorded workload, and what that would have cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.client import JsonOption
from autoscaler.cli.durations import between
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.cli.backtested import Asked

MAX_BOOT_S = 86_400.0
MIN_TICK_S, MAX_TICK_S = 1.0, 3600.0
MAX_WARMUP_S = 3660 * 86_400.0


def backtest(
    trace: Annotated[Path, typer.Argument(help="A trace: CSV, plain or gzip, whose first column is t_s.")],
    column: Annotated[str, typer.Option("--column", help="Column of the trace.")] = "requests",
    rules: Annotated[Path | None, typer.Option("--rules", "-r", help="The rule file that decides.")] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", help="A baseline that decides in place of the rules; see below.")
    ] = None,
    league: Annotated[
        bool, typer.Option("--league", help="Run every baseline with a sweep of its setting, and the clairvoyant.")
    ] = False,
    capacity: Annotated[
        float | None,
        typer.Option("--capacity", help="Work per second that one replica serves; default: the rule file's."),
    ] = None,
    boot: Annotated[
        str | None,
        typer.Option("--boot", help="Time from order to serving; default: the lead_time of the file's first offer."),
    ] = None,
    start: Annotated[
        int | None,
        typer.Option("--start", min=0, help="Replicas that serve at the start; default: what the demand needs then."),
    ] = None,
    low: Annotated[int | None, typer.Option("--min", min=0, help="Fewest replicas; default: the rule file's.")] = None,
    high: Annotated[int | None, typer.Option("--max", min=1, help="Most replicas; default: the rule file's.")] = None,
    tick: Annotated[
        str | None, typer.Option("--tick", help="Time between two decisions; default: the rule file's, or 15s.")
    ] = None,
    warmup: Annotated[
        str | None,
        typer.Option("--warmup", help="Played and not counted; at most half of the trace counts. Default: 3d."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for timeline.csv, summary.json and report.html, or for league.csv."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Play a recorded workload through the ordinary loop on a simulated clock, and score what it decides.

    Demand is what the trace says: amount / width of the bucket. A replica ordered at a tick serves one boot later and
    is paid from the order on; work waits in one queue. Told are the share of the work that waited over 5 s, and
    replica-hours over those of a clairvoyant who orders exactly what comes. One simulated offer takes the place of the
    rule file's offers; the pool exports requests_arrived_total, request_success_total, requests_waiting,
    requests_running, gpu_busy_ratio, gpu_sm_active_ratio, gpu_saturation_ratio and the time that work waits
    (request_queue_time_seconds, time_to_first_token_seconds, e2e_request_latency_seconds). Rules on anything else are
    named before it starts. Nothing is random: equal input gives equal files, byte for byte.

    Baselines for --policy are our own code after other autoscalers' published behaviour: hpa, keda, kpa, aws-tracking,
    aws-predictive, crane, and more; a wrong name lists all.

    Examples:

      sigmascale backtest week.csv.gz --rules rules/chat.yaml --capacity 4 --boot 8m --start 10 --max 200 --out result

      sigmascale backtest week.csv.gz --policy keda --capacity 4 --boot 8m --max 200

      sigmascale backtest week.csv.gz --league --capacity 4 --boot 8m --max 200 --out league
    """
    from autoscaler.cli import backtested
    from autoscaler.cli.backtested import Asked

    asked = Asked(
        trace=trace,
        column=column,
        rules=rules,
        policy=policy,
        league=league,
        capacity=capacity,
        boot_s=None if boot is None else between("--boot", boot, 0.0, MAX_BOOT_S),
        start=start,
        low=low,
        high=high,
        tick_s=None if tick is None else between("--tick", tick, MIN_TICK_S, MAX_TICK_S),
        warmup_s=None if warmup is None else between("--warmup", warmup, 0.0, MAX_WARMUP_S),
        out=out,
    )
    _check(asked)
    backtested.run(asked, as_json=as_json)


def _check(asked: Asked) -> None:
    if asked.rules is None and asked.policy is None and not asked.league:
        raise InputError("what decides? name a rule file with --rules, or a baseline with --policy, or use --league")
    if asked.policy is not None and asked.league:
        raise InputError("--league runs every baseline; leave --policy out, or leave --league out")
    if asked.rules is not None and asked.rules.is_dir():
        raise InputError(f"--rules {asked.rules}: is a folder; name one rule file in it, a back-test has one pool")
    if asked.trace.is_dir():
        raise InputError(f"{asked.trace}: is a folder; name one trace in it, a CSV file")
    if asked.capacity is not None and not 0 < asked.capacity <= 1e15:
        raise InputError(f"--capacity: {asked.capacity:g} is not above 0; write the work per second of one replica")
    if asked.out is not None and asked.out.exists() and not asked.out.is_dir():
        raise InputError(f"--out {asked.out}: is a file; name a folder, it is made if need be")
    if asked.out is not None and not asked.out.absolute().parent.is_dir():
        raise InputError(f"--out {asked.out}: the folder that it would lie in does not exist; make it or name another")
