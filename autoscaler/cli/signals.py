"""`sigmascale signals`: what the rules read, and what there is to read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect
from autoscaler.cli.page import printable, table

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_WIDTH = 80
"""Columns of a small screen, and of a file."""
NAME_WIDTH = 37
"""As long as the longest canonical name."""
SHOWN_METRICS = 40
KINDS = {"gauge": "gauge", "counter": "count", "histogram": "hist", "event": "event"}


def signals(
    pool: Annotated[str | None, typer.Argument(help="Only this pool, and what carries no pool; default: all.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every metric, every part of a histogram, and which sources give it.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the signals of the rules with value, unit, quality and age, and the metrics that the sources give.

    A metric without a pool counts for those whose rule file matches its labels.

    Examples:

      sigmascale signals

      sigmascale signals chat --all
    """
    found = connect(url, token_file, ca).get("signals", pool=pool)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo("\n".join(map(printable, _lines(found, everything))))


def _lines(found: Mapping[str, Any], everything: bool) -> Iterator[str]:
    for pool in found["pools"]:
        yield from _pool(pool, found["metrics"])
        yield ""
    if not found["pools"]:
        yield "no pool was judged yet; GET /readyz says why"
        yield ""
    yield from _metrics(found["metrics"], everything)
    if found["more_metrics"]:
        yield f"{found['more_metrics']} more metrics are there; name a pool"


def _pool(pool: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"pool {pool['pool']}"
    units = {m["metric"]: m["unit"] for m in metrics if m["unit"]}
    cells = [("SIGNAL", "VALUE", "UNIT", "QUALITY", "AGE", "SOURCE")]
    for r in pool["readings"]:
        age = "-" if r["quality"] == "missing" else _age(r["age_s"])
        unit = r["unit"] or units.get(r["source"], "") or ""
        cells.append((r["signal"], _value(r), unit, r["quality"], age, r["source"]))
    yield from (_cut(line, _width()) for line in table(cells))
    for r in pool["readings"]:
        if r["detail"]:
            yield from _wrapped(f"{r['signal']}: {r['detail']}")
    if pool.get("learned"):
        yield from (line for text in _learned(pool["learned"]) for line in _wrapped(text))
    for f in pool["findings"]:
        yield from _wrapped(f"! {f['signal']} ({f['kind']}): {f['text']}")


def _learned(known: Mapping[str, Any]) -> Iterator[str]:
    """What is known besides the signals, a line each, with the version that decisions name."""
    for o in known["outlooks"]:
        if ":" in o["signal"]:
            continue
        late = "" if o["usable"] else ", too old to be used"
        yield f"{o['signal']}: forecast by {o['version']}, {_age(o['age_s'])} old{late}"
    c = known["capacity"]
    if c is not None:
        yield f"capacity: {c['low']:.3g} to {c['median']:.3g} {c['unit']} a replica ({c['version']})"
    for t in known["lead_times"]:
        yield f"{t['offer']}: serves after {_age(t['p50_s'])}, 90% within {_age(t['p90_s'])} ({t['version']})"
    yield from (f"! {name}: {text}" for name, text in known["moved"].items())


def _value(reading: Mapping[str, Any]) -> str:
    if reading["value"] is None:
        return "-"
    text = f"{reading['value']:.4g}"
    if reading["lower"] is not None and reading["upper"] is not None:
        return f"{text} ({reading['lower']:.3g}..{reading['upper']:.3g})"
    return text


def _metrics(metrics: Sequence[Mapping[str, Any]], everything: bool) -> Iterator[str]:
    """What the sources give, by pool; what carries no pool comes first."""
    if not metrics:
        yield "no source gives anything; see GET /api/v1/targets"
    for pool in dict.fromkeys(m["pool"] for m in metrics):
        mine = [m for m in metrics if m["pool"] == pool]
        yield f"sources of pool {pool} give" if pool else "sources give without a pool"
        yield from _every(mine) if everything else _compact(_whole(mine))
        yield ""


def _compact(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    cells = [("METRIC", "UNIT", "KIND", "SERIES", "FROM", "AGE")]
    cells += [
        (
            _cut(m["metric"], NAME_WIDTH + _width() - LEAST_WIDTH),
            m["unit"] or "",
            KINDS[m["kind"]],
            str(m["series"]),
            str(m["sources"]),
            _since(m),
        )
        for m in rows[:SHOWN_METRICS]
    ]
    yield from table(cells)
    if len(rows) > SHOWN_METRICS:
        yield f"and {len(rows) - SHOWN_METRICS} more metrics; --all shows them"


def _every(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    cells = [("METRIC", "UNIT", "KIND", "SERIES", "FROM", "AGE", "EVERY", "SOURCES")]
    for m in rows:
        more = f" and {m['sources'] - len(m['examples'])} more" if m["sources"] > len(m["examples"]) else ""
        counts = str(m["series"]), str(m["sources"])
        times = _since(m), _age(m["interval_s"])
        cells.append((m["metric"], m["unit"] or "", KINDS[m["kind"]], *counts, *times, ", ".join(m["examples"]) + more))
    yield from table(cells)


def _since(metric: Mapping[str, Any]) -> str:
    return "-" if metric["age_s"] is None else _age(metric["age_s"])


def _whole(metrics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A histogram as one row, that of its buckets, without the ending of its name."""
    units = {m["metric"]: m["unit"] for m in metrics}
    found = []
    for m in metrics:
        whole, _, part = m["metric"].rpartition("_")
        if part in ("sum", "count") and f"{whole}_bucket" in units:
            continue
        one = {**m, "metric": whole, "kind": "histogram", "unit": units.get(f"{whole}_sum")}
        found.append(one if part == "bucket" else m)
    return found


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f}s" if seconds >= 1 or seconds == 0 else f"{seconds:.1f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.0f}h"


def _width() -> int:
    return max(LEAST_WIDTH, shutil.get_terminal_size((LEAST_WIDTH, 24)).columns)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _wrapped(text: str) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(text, _width(), initial_indent="  ", subsequent_indent="    ")
