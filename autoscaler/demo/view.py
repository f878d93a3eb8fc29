"""What the demo shows while it runs: a live screen on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoscaler.demo.driver import Progress
from autoscaler.demo.trail import Trail, bars, highest
from autoscaler.types import Decision, Fleet

LINE_EVERY_S = 5.0
DECISIONS_SHOWN = 7
TRAIL_SLOTS = 60
NARROW = 76
"""Columns below which the numbers stand in a text that wraps, instead of a table whose headings would be cut."""
FIXED_ROWS = 18
"""Rows of the screen beside the decisions; on a low terminal the oldest decisions go first."""
ORDINARY = ConsoleDimensions(120, 40)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be seen at one moment; None = not known (yet). `news`: decisions journalled since the last scene."""

    progress: Progress | None
    fleet: Fleet | None
    decision: Decision | None
    news: tuple[Decision, ...] = ()
    error: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(slots=True)
class View:
    """Shows scenes; as a context manager it leaves the terminal as it found it. `live` False prints plain lines.

    about: what there is to be seen, in sentences; shown before everything else.
    """

    console: Console
    live: bool
    about: tuple[str, ...] = ()
    _decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=DECISIONS_SHOWN))
    _screen: Live | None = None
    _line_at: float | None = None
    _trail: Trail | None = None

    def __enter__(self) -> Self:
        if self.live:
            self._screen = Live(console=self.console, auto_refresh=False, transient=True)
            self._screen.start()
        else:
            for line in self.about:
                self.say(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._screen is not None:
            self._screen.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, scene: Scene) -> None:
        """Draw the scene, or print what is new in it."""
        new = [decision for decision in scene.news if self._remember(decision)]
        self._follow(scene)
        if self._screen is not None:
            shown = render(scene, tuple(self._decisions), self._trail, self.about, self.console.size)
            self._screen.update(shown, refresh=True)
            return
        for decision in new:
            self.say(decision_line(decision))
        elapsed_s = scene.progress.elapsed_s if scene.progress else 0.0
        if scene.progress and (self._line_at is None or elapsed_s - self._line_at >= LINE_EVERY_S):
            self._line_at = elapsed_s
            self.say(status_line(scene))

    def _follow(self, scene: Scene) -> None:
        if scene.progress is None:
            return
        if self._trail is None:
            self._trail = Trail(scene.progress.duration_s / TRAIL_SLOTS)
        wanted = None if scene.decision is None else float(scene.decision.want)
        ready = None if scene.fleet is None else float(scene.fleet.ready)
        at_s = min(scene.progress.elapsed_s, scene.progress.duration_s)
        self._trail.see(at_s, _value(scene, "load"), wanted, ready, _value(scene, "queue"))

    def _remember(self, decision: Decision) -> bool:
        """Keep a decision that changes the size, or stays for another reason than the one before it."""
        if self._decisions and _topic(self._decisions[-1]) == _topic(decision):
            return False
        self._decisions.append(decision)
        return True


def _topic(decision: Decision) -> tuple[object, ...]:
    changed = decision.number if decision.want != decision.current else None
    return (decision.want, decision.reasons[-1].source, changed)


def decision_line(decision: Decision) -> str:
    """A decision with the step that set its number, in one line."""
    d, last = decision, decision.reasons[-1]
    sign = "out" if d.want > d.current else "in " if d.want < d.current else "   "
    size = f"{d.current} -> {d.want}" if d.want != d.current else f"stay at {d.want}"
    return f"#{d.number:<4} {sign} {size:<9} {last.source}: {last.text}"


def status_line(scene: Scene) -> str:
    """The numbers of a scene in one line."""
    facts = _facts(scene)
    elapsed_s = scene.progress.elapsed_s if scene.progress else 0.0
    return f"{elapsed_s:4.0f} s  " + "  ".join(f"{name} {value}" for name, value in facts)


def render(
    scene: Scene,
    decisions: tuple[Decision, ...],
    trail: Trail | None = None,
    about: tuple[str, ...] = (),
    size: ConsoleDimensions = ORDINARY,
) -> RenderableType:
    """The whole screen; the newest decision is the lowest."""
    parts: list[RenderableType] = [Text(line, style="dim") for line in about if size.height > FIXED_ROWS]
    parts.append(_bar(scene, size.width))
    facts = _facts(scene)
    if size.width < NARROW:
        parts.append(Text("  ".join(f"{name} {value}" for name, value in facts)))
    else:
        table = Table(*(name for name, _ in facts), expand=False)
        table.add_row(*(value for _, value in facts))
        parts.append(table)
        if trail is not None:
            parts.append(_trail(trail))
    rows = max(3, min(DECISIONS_SHOWN, size.height - FIXED_ROWS - len(scene.gpus)))
    lines = Text(no_wrap=True, overflow="ellipsis")
    for d in decisions[-rows:]:
        style = "bold green" if d.want > d.current else "bold cyan" if d.want < d.current else "dim"
        lines.append(("\n" if lines else "") + decision_line(d), style)
    parts.append(Panel(lines or Text("none yet"), title="decisions, the newest last", title_align="left"))
    if scene.gpus:
        parts.append(Panel(Text("\n".join(scene.gpus)), title="GPUs of this machine", title_align="left"))
    if scene.error:
        parts.append(Text(scene.error, style="red"))
    return Group(*parts)


def _bar(scene: Scene, width: int) -> RenderableType:
    if scene.progress is None:
        return Text("starting the first replica, which boots like a server that loads a model ...")
    left_s = max(0.0, scene.progress.duration_s - scene.progress.elapsed_s)
    bar = ProgressBar(total=scene.progress.duration_s, completed=scene.progress.elapsed_s, width=min(60, width - 22))
    line = Table.grid(padding=(0, 2))
    line.add_row("load", bar, f"{left_s:.0f} s left")
    return line


def _trail(trail: Trail) -> RenderableType:
    """Where the pool stood over the load, the present at the right end of the bars."""
    most, busiest, longest = highest(trail.wanted, trail.ready), highest(trail.demand), highest(trail.queue)
    table = Table.grid(padding=(0, 2))
    for name, values, top, meaning in (
        ("demand", trail.demand, busiest, f"at most {busiest:.0f} requests/s so far"),
        ("wanted", trail.wanted, most, f"at most {most:.0f} replicas so far"),
        ("ready", trail.ready, most, "the same scale"),
        ("queue", trail.queue, longest, f"at most {longest:.0f} requests so far"),
    ):
        table.add_row(name, bars(values, top).ljust(TRAIL_SLOTS), meaning)
    return table


def _facts(scene: Scene) -> tuple[tuple[str, str], ...]:
    fleet, progress = scene.fleet, scene.progress
    counts = tuple(
        (name, "?" if fleet is None else str(fleet.count(name))) for name in ("ready", "pending", "draining")
    )
    return (
        ("demand", _reading(scene, "load", "/s", ".1f")),
        *counts,
        ("queue", _reading(scene, "queue", "", ".0f")),
        (
            "latency p99",
            "-" if progress is None or progress.latency_p99_s is None else f"{progress.latency_p99_s:.1f} s",
        ),
        ("sent", "0" if progress is None else str(progress.sent)),
        ("lost", "0" if progress is None else str(progress.lost)),
    )


def _reading(scene: Scene, signal: str, unit: str, form: str) -> str:
    value = _value(scene, signal)
    return "?" if value is None else f"{value:{form}}{unit}"


def _value(scene: Scene, signal: str) -> float | None:
    reading = scene.decision.readings.get(signal) if scene.decision is not None else None
    return None if reading is None else reading.value
