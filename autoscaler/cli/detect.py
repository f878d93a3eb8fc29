"""`sigmascale detect`: where a recorded series is out of its ordinary, and where an alert would have fired."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.detect.detector import Detected
    from autoscaler.stamped import Stamped

ADDED = ("lower", "upper", "anomaly_score", "anomalous")
MAX_SHOWN = 20


def detect(
    data: Annotated[
        Path, typer.Argument(help="CSV, plain or gzip, with a column timestamp (or t_s) and one of values.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the rows with what was found to this CSV file.")
    ] = None,
    column: Annotated[str, typer.Option("--column", help="Column of the values.")] = "value",
) -> None:
    """Judge every row of a series by that row and those before it, with one configuration for all series.

    Columns of --out: those of the input, then `lower` and `upper` (between these the row alone is no reason for an
    alert; empty at the start and in gaps), `anomaly_score` from 0 to 1 (above 0.5 a row is rare enough for an alert),
    and `anomalous`: 1 on the rows where an alert fires, which is the first row of what is rare; then it is silent for 9
    hours, unless things get notably worse. Times are ISO 8601, seconds or milliseconds; empty values and NaN are gaps.

    Examples:

      sigmascale detect latency.csv --out found.csv

      sigmascale detect day.csv.gz --column requests
    """
    from autoscaler.stamped import parse_stamped
    from autoscaler.trace import text_of

    if data.is_dir():
        raise InputError(f"{data}: is a folder; name one CSV file in it")
    if out is not None and not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: its folder does not exist; make it or name another file")
    stamped = parse_stamped(text_of(data), str(data), column)
    taken = [name for name in ADDED if name in stamped.header]
    if taken:
        raise InputError(
            f"{data}: has a column {taken[0]} already, which is what is added; rename it, or name the input"
        )
    found = _found(stamped)
    if out is not None:
        _write(out, stamped, found)
    _show(data.name, stamped, found)
    if out is not None:
        typer.echo(f"{out}: {len(stamped.rows)} rows")


def _found(stamped: Stamped) -> Detected:
    """What the detector says, with a bar on a terminal; it goes to stderr, so that the result can be piped."""
    from rich.console import Console
    from rich.progress import Progress

    from autoscaler.detect.detector import detect as judge

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("detecting", total=len(stamped.rows))
        return judge(stamped.at_s, stamped.values, progress=lambda rows: bar.update(task, completed=rows))


def _write(path: Path, stamped: Stamped, found: Detected) -> None:
    import csv
    import gzip
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*stamped.header, *ADDED))
    judged = zip(
        found.lower.tolist(), found.upper.tolist(), found.score.tolist(), found.anomalous.tolist(), strict=True
    )
    for cells, (lower, upper, score, anomalous) in zip(stamped.rows, judged, strict=True):
        writer.writerow((*cells, _cell(lower), _cell(upper), f"{score:.4f}", int(anomalous)))
    content = text.getvalue().encode()
    try:
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror}); name another file") from error


def _cell(value: float) -> str:
    return "" if value != value else f"{value:.9g}"  # noqa: PLR0124 - only NaN differs from itself


def _show(name: str, stamped: Stamped, found: Detected) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from autoscaler.detect.settings import VIEWS

    fired = np.flatnonzero(found.anomalous)
    gaps = int(np.count_nonzero(np.isnan(stamped.values)))
    notes = [
        f"{number} {words}"
        for number, words in (
            (gaps, "without a value"),
            (stamped.repeats, "with the time of the row before"),
            (stamped.back_steps, "older than a row before, judged where they stand"),
        )
        if number
    ]
    console = Console(width=120, highlight=False)
    said = f" ({', '.join(notes)})" if notes else ""
    console.print(f"{name}: {len(stamped.rows)} rows{said}, {len(fired)} alert{'' if len(fired) == 1 else 's'}")
    if not fired.size:
        return
    table = Table("alert at", "seen in")
    for heading in ("value", "lower", "upper", "score"):
        table.add_column(heading, justify="right")
    place = next(stamped.header.index(c) for c in ("timestamp", "t_s") if c in stamped.header)
    for row in fired[:MAX_SHOWN].tolist():
        view = VIEWS[int(found.view[row])]
        numbers = (f"{part[row]:.5g}" for part in (stamped.values, found.lower, found.upper))
        table.add_row(
            stamped.rows[row][place],
            f"{view.name}, {'higher' if view.sign > 0 else 'lower'}",
            *numbers,
            f"{found.score[row]:.2f}",
        )
    console.print(table)
    if len(fired) > MAX_SHOWN:
        console.print(f"and {len(fired) - MAX_SHOWN} more; --out has them all")
