"""A comparison as it was asked for on the command line: demand and world are found, both are played and shown."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from autoscaler.backtest import files
from autoscaler.backtest.compare import Compared, compare, summary
from autoscaler.backtest.files import Source
from autoscaler.backtest.recorded import recorded
from autoscaler.backtest.run import Setting, Tested
from autoscaler.backtest.score import DEFAULT_WARMUP_S
from autoscaler.cli import compare_past
from autoscaler.cli.backtested import Asked, bar, settle
from autoscaler.cli.compare_past import PastDemand
from autoscaler.clock import SystemClock
from autoscaler.errors import InputError
from autoscaler.rulefile.reader import Defaults, read_rules
from autoscaler.ruleset import RuleSet
from autoscaler.trace import Trace, load_trace
from autoscaler.words import amount
from autoscaler.words import seconds as span
from providers.prices import read_prices

if TYPE_CHECKING:
    from autoscaler.cli.client import Client


ENOUGH_BEFORE_S = 3600.0
"""What was recorded before the span is its whole warm-up from here on; with less, the span gives some of itself."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The words of the command; None = not said. client: of the service that is asked for the past. high: the most
    replicas where a file says nothing."""

    rules_a: Path
    rules_b: Path
    since_s: float
    data: Path | None
    config: Path | None
    client: Client | None
    trace: Path | None
    column: str
    capacity: float | None
    boot_s: float | None
    start: int | None
    high: int | None
    warmup_s: float | None
    out: Path | None


@dataclass(frozen=True, slots=True)
class Demanded:
    """What is played. epoch: added to times of the trace for Unix seconds; None = they are no instants."""

    trace: Trace
    name: str
    column: str
    epoch: float | None
    warmup_s: float | None
    capacity: float | None
    boot_s: float | None
    notes: tuple[str, ...]


def run(wanted: Wanted, as_json: bool) -> None:
    """Plays both, writes the files that were asked for and prints the result. InputError for what cannot be."""
    a, b = _both(wanted)
    demanded = _demand(wanted, a, b)
    settings = _settings(wanted, demanded, a, b)
    if wanted.out is not None:
        _make(wanted.out)
    trace = demanded.trace
    with bar("comparing", 2 * (trace.end_s - float(trace.at_s[0]))) as moved:
        found = _played(demanded, a, b, settings, moved)
    told = summary(found, origin(demanded))
    if wanted.out is not None:
        _write(wanted.out / "a-timeline.csv", files.timeline_csv(found.a.timeline))
        _write(wanted.out / "b-timeline.csv", files.timeline_csv(found.b.timeline))
        _write(wanted.out / "compare.json", files.to_json(told))
    if as_json:
        Console(soft_wrap=True).out(files.to_json(told), end="", highlight=False)
        return
    _show(found, demanded)
    if wanted.out is not None:
        Console(soft_wrap=True, highlight=False).print(
            f"{wanted.out}: compare.json, a-timeline.csv, b-timeline.csv", markup=False
        )


def replayed(past: PastDemand, a: RuleSet, b: RuleSet, since: float, until: float) -> tuple[Compared, Demanded]:
    """Two rule sets on what was recorded before `until`, of which what came after `since` counts.

    Raises InputError for what cannot be compared.
    """
    unsaid = Wanted(Path(a.file), Path(b.file), until - since, *(None,) * 4, "", *(None,) * 6)
    demanded = _recorded(past, since, until, None)
    return _played(demanded, a, b, _settings(unsaid, demanded, a, b), lambda _: None), demanded


def _played(
    demanded: Demanded,
    a: RuleSet,
    b: RuleSet,
    settings: tuple[Setting, Setting],
    progress: Callable[[float], None],
) -> Compared:
    source_a, source_b = (Source(demanded.name, demanded.column, demanded.trace, rules) for rules in (a, b))
    return compare(source_a, source_b, *settings, demanded.notes, progress)


def _both(wanted: Wanted) -> tuple[RuleSet, RuleSet]:
    defaults = Defaults(wanted.high, None, True, read_prices())
    a, b = read_rules(wanted.rules_a, defaults=defaults), read_rules(wanted.rules_b, defaults=defaults)
    if a.pool != b.pool:
        raise InputError(
            f"{wanted.rules_a} is of pool {a.pool!r} and {wanted.rules_b} of pool {b.pool!r}; compare rules of one pool"
        )
    return a, b


def _demand(wanted: Wanted, a: RuleSet, b: RuleSet) -> Demanded:
    if wanted.trace is not None:
        trace = load_trace(wanted.trace, wanted.column)
        return Demanded(trace, wanted.trace.name, wanted.column, None, wanted.warmup_s, None, None, ())
    until = SystemClock().now()
    since = until - wanted.since_s
    begin = since - (DEFAULT_WARMUP_S if wanted.warmup_s is None else wanted.warmup_s)
    if wanted.client is not None:
        past = compare_past.from_service(wanted.client, a, b, begin, until)
    else:
        past = compare_past.from_data(_folder(wanted), a, b, begin, until)
    return _recorded(past, since, until, wanted.warmup_s)


def _recorded(past: PastDemand, since: float, until: float, warmup_s: float | None) -> Demanded:
    """What a service recorded, as a demand to play. warmup_s: None = what was recorded before the span, if enough."""
    found = recorded(past.at, past.rate, since, until, past.called)
    notes = [*past.notes, *found.notes]
    if warmup_s is None and found.before_s >= ENOUGH_BEFORE_S:
        warmup_s = found.before_s
    if past.signal.rate_s is not None:
        notes.append(f"demand is {past.signal.name}, a rate over {span(past.signal.rate_s)}: shorter peaks are flat")
    return Demanded(
        found.trace,
        past.called,
        past.signal.name,
        found.epoch,
        warmup_s,
        past.capacity,
        past.boot_s,
        tuple(notes),
    )


def _folder(wanted: Wanted) -> Path:
    from autoscaler.configfile import read_config

    return wanted.data if wanted.data is not None else read_config(wanted.config, os.environ).data_dir


def _settings(wanted: Wanted, demanded: Demanded, a: RuleSet, b: RuleSet) -> tuple[Setting, Setting]:
    """One world for both, and what each side's own file says: bounds and tick."""
    length_s = demanded.trace.end_s - float(demanded.trace.at_s[0])
    warmup_s = demanded.warmup_s
    if warmup_s is not None and warmup_s >= length_s:
        told = f"a warm-up of {span(warmup_s)} leaves nothing to count of {span(length_s)}"
        raise InputError(f"{demanded.name}: {told}; name a longer --since, or a shorter --warmup")
    asked = Asked(
        trace=Path(demanded.name),
        column=demanded.column,
        rules=None,
        policy=None,
        league=False,
        capacity=wanted.capacity or a.capacity or demanded.capacity or b.capacity,
        boot_s=wanted.boot_s if wanted.boot_s is not None else demanded.boot_s,
        start=wanted.start,
        low=None,
        high=None,
        tick_s=None,
        warmup_s=warmup_s,
        out=None,
    )
    first = settle(asked, demanded.trace, a, with_rules=True)
    begun = min(max(first.start, b.bounds.min), b.bounds.max) if wanted.start is None else wanted.start
    second = settle(replace(asked, boot_s=first.boot_s, start=begun), demanded.trace, b, with_rules=True)
    if warmup_s is not None and demanded.epoch is not None:
        # As it was asked for or recorded; a back-test alone takes no more than half.
        first, second = replace(first, warmup_s=warmup_s), replace(second, warmup_s=warmup_s)
    return first, second


def origin(demanded: Demanded) -> dict[str, object]:
    """Where the demand is from, as JSON's own types."""
    trace = demanded.trace
    return {
        "from": demanded.name,
        "signal": demanded.column,
        "unix_epoch": demanded.epoch,
        "bucket_s": trace.step_s,
        "buckets": len(trace.amount),
        "gaps": int(trace.missing.sum()),
    }


def _show(found: Compared, demanded: Demanded) -> None:
    console = Console(width=120, highlight=False)
    whole = Console(soft_wrap=True, highlight=False)
    counted = span(found.a.end_s - found.a.count_from_s)
    table = Table(title=f"pool {found.a.pool} on {demanded.name}: {counted} counted", title_justify="left")
    table.add_column("measure")
    for name in ("A", "B", "B - A"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows(found.a, found.b):
        table.add_row(*row)
    console.print(table)
    whole.print(f"A {found.source_a.rules.file}\nB {found.source_b.rules.file}", markup=False)
    world = found.a.setting
    whole.print(
        f"both: a replica serves {amount(world.capacity)} per second, {world.boot_s:g} s after its order", markup=False
    )
    if not found.differing:
        whole.print("both wanted the same size at every tick")
    for d in found.differing:
        whole.print(f"\nat {_instant(d.at_s, demanded)}: A {d.a}, B {d.b}", markup=False)
        whole.print(f"  A {d.why_a}\n  B {d.why_b}", markup=False)
    for prefix, some in (("", found.notes), ("A: ", found.notes_a), ("B: ", found.notes_b)):
        for note in some:
            whole.print(f"note: {prefix}{note}", markup=False)


def _instant(at_s: float, demanded: Demanded) -> str:
    if demanded.epoch is None:
        return f"{at_s:g} s of the trace"
    return datetime.fromtimestamp(demanded.epoch + at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def rows(a: Tested, b: Tested) -> Iterator[tuple[str, str, str, str, str]]:
    """What both came to: measure, the first, the second, their difference, and what it means."""
    yield _row("violated", a.score.violated, b.score.violated, lambda v: f"{v:.4%}", "of the work waited over 5 s")
    yield _row("cost", a.score.cost, b.score.cost, lambda v: f"{v:.4f}", "replica-hours over the clairvoyant's")
    hours = a.score.replica_hours, b.score.replica_hours
    yield _row("replica-hours", *hours, lambda v: f"{v:,.1f}", "ready and booting")
    if a.usd or b.usd:
        yield _row("USD", a.usd, b.usd, lambda v: f"{v:,.2f}", "at the price of the first offer")
    yield _row("launches", a.launches, b.launches, lambda v: f"{v:,.0f}", "")
    yield _row("changes", a.changes, b.changes, lambda v: f"{v:,.0f}", "of the wanted size")
    yield _row("peak", a.peak, b.peak, lambda v: f"{v:.0f}", "replicas paid for at once")
    yield _row("longest wait", a.score.worst_wait_s, b.score.worst_wait_s, lambda v: f"{v:.1f} s", "")
    yield _row("p99 wait", a.score.wait_p99_s, b.score.wait_p99_s, lambda v: f"{v:.1f} s", "")
    if a.score.unmet or b.score.unmet:
        yield _row("unmet", a.score.unmet, b.score.unmet, amount, "work that still waits at the end")


def _row(name: str, a: float, b: float, shown: Callable[[float], str], hint: str) -> tuple[str, str, str, str, str]:
    told = ["-" if math.isnan(value) else shown(value) for value in (a, b)]
    change = b - a
    sign = "+" if change > 0 else ""
    return name, told[0], told[1], "-" if math.isnan(change) else f"{sign}{shown(change)}", hint


def _make(folder: Path) -> None:
    """Before the work begins: a folder that cannot be written should not cost a minute."""
    try:
        folder.mkdir(exist_ok=True)
        (folder / "compare.json").touch()
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written ({error.strerror}); name another folder") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {path.parent}: cannot be written ({error.strerror}); name another folder") from error
