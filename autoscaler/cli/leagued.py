"""`sigmascale backtest --league`: every baseline on one trace, as a table for people and a row each for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autoscaler.backtest.files import Source
from autoscaler.backtest.league import Row, league, names_of_league, row_of, runs_of
from autoscaler.backtest.run import Setting, Tested
from autoscaler.cli.backtested import bar
from autoscaler.errors import InputError

LIMITS = (0.005, 0.02)
"""Shares of violated work that the table asks the cheapest setting for."""


def run(source: Source, setting: Setting, ours: Tested | None, out: Path | None, *, as_json: bool) -> None:
    """Plays all of them, writes league.csv, prints the cheapest setting of each. ours: the rules, a row beside them."""
    total = sum(map(runs_of, names_of_league()))
    with bar("the league", total) as moved:
        rows = league(source.trace, [setting], name=source.trace_name, jobs=-1, progress=lambda done, _: moved(done))
    if ours is not None:
        rows = [row_of(source.trace_name, f"rules:{ours.pool}", ours), *rows]
    if out is not None:
        _write(out / "league.csv", rows)
    if as_json:
        found = [{k: None if v != v else v for k, v in asdict(row).items()} for row in rows]  # noqa: PLR0124 - NaN
        Console(soft_wrap=True).out(json.dumps(found, indent=2), highlight=False)
        return
    _show(rows, source.trace_name)


def _write(path: Path, rows: Sequence[Row]) -> None:
    names = [field.name for field in fields(Row)]
    lines = [",".join(names)]
    lines += [",".join(_cell(getattr(row, name)) for name in names) for row in rows]
    try:
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror}); name another folder") from error


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return f'"{value}"' if "," in value else value
    return "" if math.isnan(value) else f"{value:.9g}"


def cheapest(rows: Sequence[Row], limit: float) -> dict[str, Row]:
    """By policy the row of lowest cost that keeps the limit on violated work; those that never do are left out."""
    found: dict[str, Row] = {}
    for row in rows:
        known = found.get(row.policy)
        if row.violated <= limit and not math.isnan(row.cost) and (known is None or row.cost < known.cost):
            found[row.policy] = row
    return found


def _show(rows: Sequence[Row], title: str) -> None:
    console = Console(width=120, highlight=False)
    table = Table(title=f"{title}: the cheapest setting of each policy, tuned in hindsight", title_justify="left")
    table.add_column("policy")
    for limit in LIMITS:
        table.add_column(f"cost at {limit:.1%}", justify="right")
        table.add_column("setting", justify="right")
        table.add_column("violated", justify="right")
    best = [cheapest(rows, limit) for limit in LIMITS]
    names = dict.fromkeys(row.policy for row in rows)
    last = {name: min((row.violated for row in rows if row.policy == name), default=math.nan) for name in names}
    for name in sorted(names, key=lambda n: (best[0][n].cost if n in best[0] else math.inf, last[n])):
        cells = [name]
        for found in best:
            row = found.get(name)
            cells += (
                ["-", "-", f"{last[name]:.2%}"] if row is None else [_cost(row), _value(row), f"{row.violated:.2%}"]
            )
        table.add_row(*cells)
    console.print(table)
    console.print("cost: replica-hours over the clairvoyant's. Without one: no setting that was tried keeps the limit;")
    console.print("the least that any violated is shown.")


def _cost(row: Row) -> str:
    return f"{row.cost:.3f}"


def _value(row: Row) -> str:
    return "" if math.isnan(row.value) else f"{row.value:g}"
