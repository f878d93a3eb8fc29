"""What the demo shows while it runs: a live screen on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoscaler.demo.driver import Progress
from autoscaler.types import Decision, Fleet

LINE_EVERY_S = 5.0
DECISIONS_SHOWN = 7


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
    """Shows scenes; as a context manager it leaves the terminal as it found it. `live` False prints plain lines."""

    console: Console
    live: bool
    _decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=DECISIONS_SHOWN))
    _screen: Live | None = None
    _line_at: float | None = None

    def __enter__(self) -> Self:
        if self.live:
            self._screen = Live(console=self.console, auto_refresh=False, transient=True)
            self._screen.start()
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
        if self._screen is not None:
            self._screen.update(render(scene, tuple(self._decisions)), refresh=True)
            return
        for decision in new:
            self.say(decision_line(decision))
        elapsed_s = scene.progress.elapsed_s if scene.progress else 0.0
        if scene.progress and (self._line_at is None or elapsed_s - self._line_at >= LINE_EVERY_S):
            self._line_at = elapsed_s
            self.say(status_line(scene))

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


def render(scene: Scene, decisions: tuple[Decision, ...]) -> RenderableType:
    """The whole screen; the newest decision is the lowest."""
    parts: list[RenderableType] = []
    if scene.progress is None:
        parts.append(Text("starting the first replica ..."))
    else:
        left_s = max(0.0, scene.progress.duration_s - scene.progress.elapsed_s)
        bar = ProgressBar(total=scene.progress.duration_s, completed=scene.progress.elapsed_s, width=50)
        line = Table.grid(padding=(0, 2))
        line.add_row("load", bar, f"{left_s:.0f} s left")
        parts.append(line)
    facts = _facts(scene)
    table = Table(*(name for name, _ in facts), expand=False)
    table.add_row(*(value for _, value in facts))
    parts.append(table)
    lines = Text("\n".join(decision_line(d) for d in decisions) or "no decision yet", overflow="ellipsis", no_wrap=True)
    parts.append(Panel(lines, title="decisions", title_align="left"))
    if scene.gpus:
        parts.append(Panel(Text("\n".join(scene.gpus)), title="GPUs of this machine", title_align="left"))
    if scene.error:
        parts.append(Text(scene.error, style="red"))
    return Group(*parts)


def _facts(scene: Scene) -> tuple[tuple[str, str], ...]:
    fleet, progress = scene.fleet, scene.progress
    counts = tuple(
        (name, "?" if fleet is None else str(fleet.count(name))) for name in ("ready", "pending", "draining")
    )
    return (
        ("demand", _reading(scene, "load", "/s")),
        *counts,
        ("queue", _reading(scene, "queue", "")),
        ("p99", "-" if progress is None or progress.latency_p99_s is None else f"{progress.latency_p99_s:.1f} s"),
        ("sent", "0" if progress is None else str(progress.sent)),
        ("lost", "0" if progress is None else str(progress.lost)),
    )


def _reading(scene: Scene, signal: str, unit: str) -> str:
    reading = scene.decision.readings.get(signal) if scene.decision is not None else None
    return "?" if reading is None or reading.value is None else f"{reading.value:.1f}{unit}"
