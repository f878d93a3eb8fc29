"""`sigmascale forecast`: how well a recorded workload could have been foreseen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.rolling import Course, Rolled
    from autoscaler.skill import Skill
    from autoscaler.trace import Trace

MIN_S, MAX_S = 1.0, 7 * 86400.0
MAX_QUANTILES = 20
MAX_ROWS = 200_000


def forecast(
    trace: Annotated[Path, typer.Argument(help="A trace: CSV, plain or gzip, whose first column is t_s.")],
    column: Annotated[str, typer.Option("--column", help="Column of the trace.")] = "requests",
    horizon: Annotated[str, typer.Option("--horizon", help="How far to look ahead.")] = "15m",
    every: Annotated[str, typer.Option("--every", help="Time between two forecasts.")] = "5m",
    start: Annotated[
        str, typer.Option("--from", help="The part before is only learned from: a share, or a time such as 3d.")
    ] = "70%",
    quantiles: Annotated[str, typer.Option("--quantiles", help="Quantiles, separated by commas.")] = "0.5,0.95",
    model: Annotated[str, typer.Option("--model", help="An installed forecaster.")] = "select",
    out: Annotated[Path | None, typer.Option("--out", help="Write every forecast to this CSV file.")] = None,
) -> None:
    """Forecast a recorded workload again and again, each time from what was known then, and say how good it was.

    Only buckets that ended by `issued_at_s` are seen. The target is the mean of the five minutes that end at
    `target_at_s`, in the trace's unit per bucket. Columns of --out: issued_at_s, target_at_s, actual, last (the mean of
    the last five minutes), and one for each quantile; `actual` is empty where the trace has a gap.

    Examples:

      sigmascale forecast day.csv.gz --horizon 10m --out forecasts.csv

      sigmascale forecast day.csv.gz --model drift --from 3d --every 1m
    """
    from autoscaler import plugins
    from autoscaler.rolling import Course
    from autoscaler.skill import skill
    from autoscaler.trace import load_trace

    levels = _quantiles(quantiles)
    horizon_s, every_s = _duration("--horizon", horizon), _duration("--every", every)
    if out is not None and not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: its folder does not exist; make it or name another file")
    forecaster = plugins.build("forecasters", model, {})
    if trace.is_dir():
        raise InputError(f"{trace}: is a folder; name one trace in it, a CSV file")
    loaded = load_trace(trace, column)
    course = Course(horizon_s, every_s, float(loaded.at_s[0]) + _start(start, loaded), levels)
    if (loaded.end_s - course.start_s) / every_s > MAX_ROWS:
        raise InputError(f"--every {every}: would give more than {MAX_ROWS} forecasts; write a longer time")
    rolled = _roll(loaded, forecaster, course)
    if out is not None:
        _write(out, rolled)
    _show(skill(rolled), f"{trace.name} {column}, {horizon} ahead, {model}, learned {rolled.fits} times")
    if out is not None:
        typer.echo(f"{out}: {len(rolled.actual)} forecasts")


def _duration(option: str, text: str) -> float:
    from autoscaler import units

    try:
        found = units.duration_s(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from error
    if not MIN_S <= found <= MAX_S:
        raise InputError(f"{option}: {text} is not between 1s and 7d; write another")
    return found


def _start(text: str, trace: Trace) -> float:
    """Seconds from the start of the trace."""
    from autoscaler import units

    length_s = trace.end_s - float(trace.at_s[0])
    try:
        found = units.duration_s(text) if text[-1:].isalpha() else units.ratio(text) * length_s
    except ValueError as error:
        raise InputError(f"--from: {error}") from error
    if found >= length_s:
        raise InputError(f"--from: {text} leaves nothing of a trace of {length_s:g} s to forecast; begin earlier")
    return found


def _quantiles(text: str) -> tuple[float, ...]:
    from autoscaler import units

    try:
        found = tuple(units.ratio(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--quantiles: {error}") from error
    wrong = [f"{q:g}" for q in found if not 0.0 < q < 1.0]
    if wrong:
        raise InputError(f"--quantiles: {', '.join(wrong)} is not between 0 and 1; write such as 0.5,0.95")
    if len(set(found)) != len(found) or len(found) > MAX_QUANTILES:
        raise InputError(f"--quantiles: {text} repeats one or has more than {MAX_QUANTILES}; write each once")
    return tuple(sorted(found))


def _roll(trace: Trace, forecaster: object, course: Course) -> Rolled:
    """All forecasts, with a bar on a terminal; it goes to stderr, so that the result can be piped."""
    from typing import cast

    from rich.console import Console
    from rich.progress import Progress

    from autoscaler.ports import Forecaster
    from autoscaler.rolling import roll

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("forecasting", total=trace.end_s - course.start_s)
        return roll(
            trace, cast(Forecaster, forecaster), course, lambda at: bar.update(task, completed=at - course.start_s)
        )


def _write(path: Path, rolled: Rolled) -> None:
    lines = [",".join(["issued_at_s", "target_at_s", "actual", "last", *(f"q{q:g}" for q in rolled.quantiles)])]
    columns = [rolled.issued_at, rolled.target_at, rolled.actual, rolled.naive["last"], *rolled.said]
    lines += [",".join(_cell(value) for value in row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror}); name another file") from error


def _cell(value: float) -> str:
    return "" if value != value else f"{value:.12g}"  # noqa: PLR0124 - only NaN differs from itself


def _show(found: Skill, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    best, best_error = found.best_naive
    table = Table("forecast")
    table.add_column("WAPE", justify="right")
    table.add_column("ratio", justify="right")
    table.add_row(f"q{found.middle:g}", f"{found.error_ratio:.2%}", f"{found.error_ratio / best_error:.3f}")
    for name, error in found.naive_error_ratios.items():
        words = f"{name}, the best naive one" if name == best else name
        table.add_row(words, f"{error:.2%}", f"{error / best_error:.3f}")
    console = Console(width=120, highlight=False)
    console.print(title)
    console.print(table)
    tail = f"q{found.tail:g}"
    console.print(
        f"pinball loss of {tail}: {found.loss:.4g}, {found.loss / found.naive_loss:.3f} x that of the last value times "
        f"its own growth quantile ({found.naive_loss:.4g})"
        if found.naive_loss > 0
        else f"pinball loss of {tail}: {found.loss:.4g}"
    )
    shares = ", ".join(f"{share:.1%} at or below q{q:g}" for q, share in found.covered_ratios.items())
    console.print(f"outcomes: {shares}; {found.judged} of {found.rows} forecasts judged, the others lie in gaps")
