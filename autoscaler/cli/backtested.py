"""A back-test as it was asked for on the command line: what is missing is filled in, played, written and shown."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from autoscaler.backtest import files, notes, report
from autoscaler.backtest.files import Source
from autoscaler.backtest.run import Setting, Tested, backtest
from autoscaler.backtest.score import DEFAULT_WARMUP_S, warmup_of
from autoscaler.errors import InputError
from autoscaler.movement import Bounds
from autoscaler.rulefile.reader import Defaults, read_rules
from autoscaler.ruleset import RuleSet
from autoscaler.trace import Trace, load_trace
from autoscaler.words import amount
from autoscaler.words import seconds as span
from providers.prices import read_prices

MAX_TICKS = 3_000_000
DEFAULT_TICK_S = 15.0
BAR_STEPS = 400


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of the command; None = not said."""

    trace: Path
    column: str
    rules: Path | None
    policy: str | None
    league: bool
    capacity: float | None
    boot_s: float | None
    start: int | None
    low: int | None
    high: int | None
    tick_s: float | None
    warmup_s: float | None
    out: Path | None


def run(asked: Asked, as_json: bool) -> None:
    """Plays what was asked for, writes its files and prints the result. Raises InputError for what cannot be."""
    trace = load_trace(asked.trace, asked.column)
    filled = Defaults(asked.high, None, True, read_prices())
    rules = read_rules(asked.rules, defaults=filled) if asked.rules is not None else None
    ruled = rules or RuleSet("backtest", Bounds(asked.low or 0, asked.high or _needed("--max", "the most replicas")))
    setting = settle(asked, trace, ruled, with_rules=rules is not None)
    if asked.out is not None:
        _make(asked.out)
    source = Source(asked.trace.name, asked.column, trace, ruled, asked.policy)
    if asked.league:
        from autoscaler.cli import leagued

        ours = play(source, setting) if rules is not None else None
        leagued.run(source, setting, ours, asked.out, as_json=as_json)
        return
    early = tuple(notes.before(ruled, trace, setting)) if asked.policy is None else ()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not as_json:
        for note in early:
            console.print(f"note: {note}", markup=False)
    tested = play(source, setting)
    late = tuple(notes.after(tested, ruled))
    summary = files.summary(tested, source, (*early, *late))
    if asked.out is not None:
        _write(asked.out / "timeline.csv", files.timeline_csv(tested.timeline))
        _write(asked.out / "summary.json", files.to_json(summary))
        _write(asked.out / "report.html", report.page(tested, source, (*early, *late)))
    if as_json:
        Console(soft_wrap=True).out(files.to_json(summary), end="", highlight=False)
        return
    _show(tested, source, late)
    if asked.out is not None:
        Console(soft_wrap=True, highlight=False).print(
            f"{asked.out}: timeline.csv, summary.json, report.html", markup=False
        )


def settle(asked: Asked, trace: Trace, rules: RuleSet, *, with_rules: bool) -> Setting:
    """The whole setting: what was asked for, else what the rules say. Raises InputError for what contradicts itself."""
    capacity = asked.capacity or rules.capacity or _needed("--capacity", "the work per second of one replica")
    boot_s = asked.boot_s
    if boot_s is None:
        boot_s = rules.offers[0].lead_time_s if rules.offers else None
    if boot_s is None:
        boot_s = _needed("--boot", "the time from order to serving, such as 8m")
    low = rules.bounds.min if asked.low is None else asked.low
    high = rules.bounds.max if asked.high is None else asked.high
    if low > high:
        raise InputError(f"--min {low} is above --max {high}; write bounds that leave room")
    tick_s = asked.tick_s or (rules.tick_s if with_rules else DEFAULT_TICK_S)
    length_s = trace.end_s - float(trace.at_s[0])
    if length_s / tick_s > MAX_TICKS:
        raise InputError(
            f"--tick {tick_s:g}s: {length_s / tick_s:,.0f} ticks are more than {MAX_TICKS:,}; write a longer one"
        )
    if asked.warmup_s is not None and asked.warmup_s >= length_s:
        raise InputError(
            f"--warmup: {span(asked.warmup_s)} is as long as the trace ({span(length_s)}) and leaves nothing to count; "
            "write a shorter one"
        )
    warmup_s = warmup_of(trace, DEFAULT_WARMUP_S if asked.warmup_s is None else asked.warmup_s)
    start = _start(trace, capacity * rules.utilisation_target, low, high) if asked.start is None else asked.start
    if not low <= start <= high:
        raise InputError(f"--start {start} is not between --min {low} and --max {high}; write one that is")
    return Setting(capacity, boot_s, start, low, high, tick_s, warmup_s)


def _start(trace: Trace, planned: float, low: int, high: int) -> int:
    """A live pool would have been sized for the demand that the trace begins with."""
    needed = math.ceil(trace.bridged().rate_at(float(trace.at_s[0])) / planned - 1e-9)
    return min(max(needed, low), high)


def _needed(option: str, what: str) -> int:
    raise InputError(f"{option} is missing, and no rule file says it: write {what}")


def play(source: Source, setting: Setting) -> Tested:
    """The back-test of the rules, or of the policy that is to decide in their place."""
    with bar("back-testing", source.trace.end_s - float(source.trace.at_s[0])) as moved:
        first = float(source.trace.at_s[0])
        if source.policy is None:
            return backtest(source.trace, source.rules, setting, progress=lambda at: moved(at - first))
        from autoscaler.backtest.league import names_of_league
        from autoscaler.baselines import BY_NAME
        from autoscaler.baselines.adapter import Peer, peer_rules

        names_of_league([source.policy])
        if source.policy not in BY_NAME:
            raise InputError(f"--policy {source.policy}: is a bound and no law; see it with --league")
        law = Peer(source.policy, BY_NAME[source.policy].fresh())
        return backtest(source.trace, peer_rules(source.rules), setting, law, lambda at: moved(at - first))


@contextmanager
def bar(title: str, total: float) -> Iterator[Callable[[float], None]]:
    """Gives a function that moves a bar on a terminal, on stderr, so that the result can be piped."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    shown = 0.0
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)

        def move(to: float) -> None:
            # A bar that moves at every tick would take longer than the ticks.
            nonlocal shown
            if to - shown >= total / BAR_STEPS:
                shown = to
                progress.update(task, completed=to)

        yield move


def _make(folder: Path) -> None:
    """Before the work begins: a folder that cannot be written should not cost a minute."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be made ({error.strerror}); name another folder") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out {folder}: may not be written by this user; name another folder")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror}); name another folder") from error


def _show(tested: Tested, source: Source, late: tuple[str, ...]) -> None:
    s = tested.score
    console = Console(width=120, highlight=False)
    law = f"policy {source.policy}" if source.policy else f"pool {tested.pool}"
    counted = span(tested.end_s - tested.count_from_s)
    table = Table(title=f"{law} on {source.trace_name} {source.column}: {counted} counted", title_justify="left")
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("")
    for name, value, hint in _rows(tested):
        table.add_row(name, value, hint)
    console.print(table)
    if tested.usd:
        console.print(f"{tested.usd:,.2f} USD at the price of the first offer")
    if s.unmet > 0:
        console.print(f"{amount(s.unmet)} of work still waits at the end of the trace")
    for note in late:
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def _rows(tested: Tested) -> Iterator[tuple[str, str, str]]:
    s = tested.score
    violated = "-" if math.isnan(s.violated) else f"{s.violated:.4%}"
    yield "violated", violated, f"of {amount(tested.demand_work)} of work waited over 5 s"
    yield "cost", "-" if math.isnan(s.cost) else f"{s.cost:.4f}", "replica-hours over the clairvoyant's"
    yield "replica-hours", f"{s.replica_hours:,.1f}", f"clairvoyant {s.clairvoyant_hours:,.1f}"
    yield "peak", str(tested.peak), f"replicas; {tested.launches:,} launches, {tested.changes:,} changes of the size"
    waits = [f"{w:.1f} s" if not math.isnan(w) else "-" for w in (s.wait_p50_s, s.wait_p99_s, s.worst_wait_s)]
    yield "longest wait", waits[2], f"half of the work waited at most {waits[0]}, 99 % at most {waits[1]}"
