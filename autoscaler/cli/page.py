"""`sigmascale page`: what we make of one exposition page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from autoscaler.cli.client import JsonOption
from autoscaler.errors import InputError, SigmascaleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from autoscaler.types import Labels
    from collectors.pages.account import Account, Dropped, Series, Taken
    from collectors.scraping.fetch import Page

MAX_PAGE_BYTES = 64 << 20
SHOWN_REASONS = 5
SHOWN_MISSING = 5


def page(
    source: Annotated[str, typer.Argument(metavar="FILE|URL", help="A page: a file, also gzipped, a URL, or - .")],
    openmetrics: Annotated[
        bool, typer.Option("--openmetrics", help="Read a file as OpenMetrics; a URL's answer says what it is.")
    ] = False,
    engine: Annotated[
        str, typer.Option("--engine", help="nim: the page is NVIDIA NIM's, whose names carry no prefix.")
    ] = "",
    labels: Annotated[
        list[str] | None, typer.Option("--labels", metavar="NAME=VALUE", help="Labels of the target; repeatable.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, max=600, help="Seconds that a URL may take.")
    ] = 10.0,
    everything: Annotated[bool, typer.Option("--all", help="Every series and every dropped line.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print every line of an exposition page as sigmascale reads it: metric, labels, value in base units, or why not.

    Needs no service. Exit code 1 when a URL cannot be had, 2 when what was asked is wrong.

    Examples:

      sigmascale page http://10.0.0.7:9400/metrics

      curl -s http://10.0.0.7:8000/metrics | sigmascale page - --json
    """
    from collectors.pages.account import account

    if engine not in ("", "nim"):
        raise InputError(f"--engine {engine}: is not known; only nim has to be named, others are recognised")
    found = _fetched(source, timeout_s) if _is_url(source) else _read(source, openmetrics)
    told = account(found.body, _labels(labels or []), engine, found.openmetrics)
    if as_json:
        typer.echo(json.dumps(_plain(source, found, told), allow_nan=False))
    else:
        typer.echo("\n".join(map(printable, _lines(source, found, told, engine, everything))))


# --- where the page comes from --------------------------------------------------------------------------------------


def _is_url(source: str) -> bool:
    return "://" in source


def _read(source: str, openmetrics: bool) -> Page:
    from collectors.scraping.fetch import Page

    try:
        if source == "-":
            body = sys.stdin.buffer.read(MAX_PAGE_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                body = file.read(MAX_PAGE_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{source}: {error.strerror}; name a file, a URL such as http://HOST:PORT/metrics, or -"
        ) from (error)
    if body[:2] == b"\x1f\x8b":
        body = _unpacked(source, body)
    if len(body) > MAX_PAGE_BYTES:
        raise InputError(f"{source}: is larger than {MAX_PAGE_BYTES >> 20} MiB, more than a page may be")
    if b"\0" in body[:4096]:
        raise InputError(f"{source}: is not text; name an exposition page, plain or gzipped")
    return Page(body, openmetrics)


def _unpacked(source: str, body: bytes) -> bytes:
    import gzip
    import io
    import zlib

    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            return packed.read(MAX_PAGE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{source}: begins like gzip and cannot be unpacked ({error}); fetch it again") from error


def _fetched(source: str, timeout_s: float) -> Page:
    import asyncio

    from collectors.scraping.fetch import PageError, fetch, open_session
    from collectors.scraping.targets import Target

    target = Target(source, timeout_s=timeout_s)

    async def once() -> Page:
        async with open_session() as session:
            return await fetch(session, target, MAX_PAGE_BYTES)

    try:
        return asyncio.run(once())
    except PageError as error:
        raise SigmascaleError(f"{_shown_url(source)}: {error}") from error


def _shown_url(source: str) -> str:
    """A source without the user and password that a URL may hold."""
    if not _is_url(source):
        return source
    parts = urlsplit(source)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _labels(given: Iterable[str]) -> Labels:
    pairs = {}
    for text in given:
        for pair in text.split(","):
            name, equals, value = pair.partition("=")
            if not equals or not name.strip():
                raise InputError(f"--labels {text}: {pair!r} is not NAME=VALUE; write --labels pool=chat")
            pairs[name.strip()] = value.strip().strip('"')
    return tuple(sorted(pairs.items()))


# --- JSON -----------------------------------------------------------------------------------------------------------


def _plain(source: str, found: Page, told: Account) -> dict[str, Any]:
    return {
        "source": _shown_url(source),
        "format": "openmetrics" if found.openmetrics else "text",
        "engine": [
            {
                "engine": e.engine,
                "version": e.version or None,
                "since": e.since or None,
                "until": e.until or None,
                "proof": list(e.proof),
            }
            for e in told.engines
        ],
        "lines": told.lines,
        "accepted": told.accepted,
        "rejected": told.rejected,
        "duplicates": told.duplicates,
        "samples": [_sample(taken) for taken in told.samples],
        "dropped": [{"line": d.line, "text": d.text, "why": d.why} for d in told.dropped],
        "derived": [_series(series) for series in told.derived],
        "missing": [{"metric": m.metric, "field": m.line.partition(",")[0], "csv_line": m.line} for m in told.missing],
    }


def _sample(taken: Taken) -> dict[str, Any]:
    first, *others = taken.series
    printed = taken.printed
    shown: dict[str, Any] = {"line": taken.line, "name": printed.name, **_series(first)}
    if printed.timestamp is not None:
        shown["timestamp"] = printed.timestamp
    if others:
        shown["also"] = [_series(series) for series in others]
    if taken.note:
        shown["note"] = taken.note
    return shown | {"from": {"name": printed.name, "labels": dict(printed.labels), "value": _finite(printed.value)}}


def _series(series: Series) -> dict[str, Any]:
    return {
        "metric": series.metric,
        "labels": dict(series.labels),
        "value": series.value,
        "unit": series.unit or None,
        "kind": series.kind,
    }


def _finite(value: float) -> float | str:
    """JSON has no NaN and no infinity; they stand there as the page prints them."""
    import math

    return value if math.isfinite(value) else "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


# --- text for people ------------------------------------------------------------------------------------------------


def _lines(source: str, found: Page, told: Account, engine: str, everything: bool) -> Iterable[str]:
    from autoscaler.words import counted

    origin = "dcgm-exporter" if told.missing else "no engine recognised"
    engines = ", ".join(fact.text for fact in told.engines) or origin
    yield f"{_shown_url(source)}: {'OpenMetrics' if found.openmetrics else 'text format'}, {engines}"
    what = f"{counted(told.lines, 'line')}: {told.accepted} accepted, {told.rejected} rejected"
    yield f"{what}, {told.duplicates} printed twice; {counted(len(told.samples), 'sample')} kept"
    if not engine and any(fact.engine == "nim" for fact in told.engines):
        yield "This is a page of NVIDIA NIM, whose names carry no prefix: add --engine nim."
    rows: list[_Row] = [(s, t.printed.name, t.printed.value) for t in told.samples for s in t.series]
    rows += [(s, "(derived)", None) for s in told.derived]
    yield ""
    yield from _every(rows) if everything else _compact(rows)
    yield from _dropped(told.dropped, everything)
    if lacks := told.missing:
        yield ""
        yield f"This page lacks {counted(len(lacks), 'metric')} of dcgm-exporter; lines for its counters CSV:"
        yield from (f"  {m.line}" for m in (lacks if everything else lacks[:SHOWN_MISSING]))
        yield from _more(len(lacks) - SHOWN_MISSING, everything)


_Row = tuple["Series", str, "float | None"]


def _every(rows: list[_Row]) -> Iterable[str]:
    for series, name, printed in rows:
        labels = ",".join(f'{key}="{_quoted(value)}"' for key, value in series.labels)
        was = "" if name == series.metric and printed == series.value else f"   <- {name}"
        was += f" {printed:.10g}" if was and printed is not None and printed != series.value else ""
        yield f"{series.metric}{f'{{{labels}}}' if labels else ''} {_value(series.value)} {series.unit}".rstrip() + was


def _compact(rows: list[_Row]) -> Iterable[str]:
    """A row for each metric: how many series, the value or its range, unit, and the name on the page."""
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row[0].metric, row[1]), []).append(row)
    cells = [("METRIC", "SERIES", "VALUE", "UNIT", "PRINTED AS")]
    for (metric, name), some in groups.items():
        values = [s.value for s, _, _ in some if s.value is not None]
        ranged = _value(None) if not values else _value(min(values))
        if values and min(values) != max(values):
            ranged += f" .. {_value(max(values))}"
        cells.append((metric, str(len(some)), ranged, some[0][0].unit, "" if name == metric else name))
    yield from table(cells)


def _dropped(dropped: tuple[Dropped, ...], everything: bool) -> Iterable[str]:
    if not dropped:
        return
    yield ""
    yield "Dropped:"
    if everything:
        for d in dropped:
            yield f"  line {d.line}: {d.text}"
            yield f"    {d.why}"
        return
    groups: dict[str, list[Dropped]] = {}
    for d in dropped:
        # Reasons that differ in nothing but a number of a line or character are one for a reader.
        groups.setdefault("".join(c for c in d.why if not c.isdigit()), []).append(d)
    largest = sorted(groups.values(), key=len, reverse=True)
    for some in largest[:SHOWN_REASONS]:
        lines = f"line {some[0].line}" if len(some) == 1 else f"{len(some)} lines, the first is {some[0].line}"
        yield f"  {lines}: {some[0].text}"
        yield f"    {some[0].why}"
    yield from _more(len(largest) - SHOWN_REASONS, everything, "reasons")


def _more(count: int, everything: bool, what: str = "") -> Iterable[str]:
    if count > 0 and not everything:
        yield f"  and {count} more{' ' + what if what else ''}; --all shows them"


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _quoted(value: str) -> str:
    """A label's value as a page has it between its quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def printable(line: str) -> str:
    """A line fit for a terminal: whoever writes a page may write what moves its cursor or turns its text round."""
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def table(cells: Sequence[tuple[str, ...]]) -> Iterable[str]:
    """Rows of text in columns, the first row the heads; the last column is not padded."""
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
