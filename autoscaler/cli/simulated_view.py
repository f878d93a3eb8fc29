"""What a simulation came to, for people (a chart, the changes, the score) and for scripts (JSON)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from autoscaler.cli.simulated import Played, Point
from autoscaler.simulation import START
from autoscaler.types import Decision
from autoscaler.words import amount, replicas
from autoscaler.words import seconds as span

COLUMNS = 64
ROWS = 10
CHANGES_SHOWN = 30
TIMELINE_POINTS = 500


@dataclass(frozen=True, slots=True)
class Column:
    """A slice of the simulation: replicas that its demand needed, replicas that were ready, whether it lost any."""

    needed: float
    ready: int
    lost: bool


def columns(played: Played, count: int = COLUMNS) -> tuple[Column, ...]:
    """The simulation in `count` slices of equal length, or fewer when it has fewer points."""
    ends = played.points[:: max(1, len(played.points) // count)]
    if len(ends) < 2:
        return ()
    return tuple(
        Column(
            needed=(after.sent - before.sent) / max(1e-9, after.at_s - before.at_s) / played.per_replica,
            ready=after.ready,
            lost=after.lost > before.lost,
        )
        for before, after in pairwise(ends)
    )


def chart(played: Played) -> str:
    """Demand in replicas as dots over the ready replicas as bars; x where requests were lost."""
    found = columns(played)
    if not found:
        return ""
    top = max(1, *(c.ready for c in found), *(math.ceil(c.needed) for c in found))
    step = max(1, math.ceil(top / ROWS))
    lines = [f"replicas   • needed at {amount(played.per_replica)} requests/s each   ▒ ready   x requests lost"]
    levels = range(math.ceil(top / step) * step, 0, -step)
    lines += [f"{level:8} │" + "".join(_cell(c, level - step, level) for c in found).rstrip() for level in levels]
    lines.append(" " * 9 + "└" + "─" * len(found))
    if any(c.lost for c in found):
        lines.append(" " * 10 + "".join("x" if c.lost else " " for c in found).rstrip())
    begin, end = "0 s", span(played.seconds)
    lines.append(" " * 10 + begin + end.rjust(max(len(end) + 1, len(found) - len(begin))))
    return "\n".join(lines)


def _cell(column: Column, low: float, high: float) -> str:
    if low < column.needed <= high or (low == 0 and column.needed == 0 and column.ready == 0):
        return "•"
    return "▒" if column.ready > low else " "


def changes(played: Played) -> Iterator[str]:
    """Every change of the size with the step that set it, oldest first."""
    shown = played.changes[:CHANGES_SHOWN]
    for d in shown:
        yield f"{span(d.at - START):>12}  {'out' if d.want > d.current else 'in ':<3} {_size(d):<9} {_why(d)}"
    if len(shown) < len(played.changes):
        yield f"{'...':>12}  and {len(played.changes) - len(shown)} more; --json has them all"


def _size(decision: Decision) -> str:
    return f"{decision.current} -> {decision.want}"


def _why(decision: Decision) -> str:
    last = decision.reasons[-1]
    return f"{last.source}: {last.text}"


def verdict(played: Played) -> Iterator[str]:
    """What users and the bill noticed, in sentences."""
    s = played.score
    lost = s.requests_lost + s.requests_aborted
    share = f" ({lost / s.requests_sent:.2%})" if lost else ""
    waited = s.wait_s / max(1, s.requests_ok)
    yield f"{s.requests_sent:,} requests, {lost:,} lost{share}, mean wait for a slot {waited:.2f} s"
    hours, fixed = s.replica_seconds / 3600, s.peak_replicas * played.seconds / 3600
    saved = f", {1 - hours / fixed:.0%} less than {replicas(s.peak_replicas)} all the time" if hours < fixed else ""
    yield f"{hours:.1f} replica-hours{saved}; peak {s.peak_replicas}, {s.launches} launches, {s.removals} removals"
    if s.usd:
        yield f"{s.usd:,.2f} USD at the offers' prices"
    yield from (f"note: {note}" for note in played.notes)


def text(played: Played) -> str:
    """The whole result for people; the same on every terminal."""
    headline = (
        f"Pool {played.pool} for {span(played.seconds)}, from {replicas(played.start)}; a boot takes about "
        f"{span(played.boot_s)}"
    )
    kept = f"--journal {played.journal}" if played.journal else "--journal FILE"
    keep = "" if played.journal else f"keep the journal with {kept}, then "
    why = f"Why? {keep}sigmascale explain {played.pool} {kept} --decision {_first(played.changes)}"
    found = list(changes(played))
    parts = [
        headline,
        chart(played),
        "\n".join(["Changes of the size:", *found] if found else ["The size never changed."]),
        "\n".join([*verdict(played), *([why] if found else [])]),
    ]
    return "\n\n".join(part for part in parts if part)


def _first(found: Sequence[Decision]) -> int:
    return found[0].number if found else 1


def to_json(played: Played) -> str:
    """One JSON object: score, changes, notes, and the pool over time in at most some hundred points."""
    step = max(1, math.ceil(len(played.points) / TIMELINE_POINTS))
    kept: Sequence[Point] = played.points[(len(played.points) - 1) % step :: step] if played.points else ()
    found = [
        {
            "decision": d.number,
            "at": d.at,
            "at_s": round(d.at - START, 3),
            "from": d.current,
            "want": d.want,
            "reasons": [f"{r.source}: {r.text}" for r in d.reasons],
        }
        for d in played.changes
    ]
    return json.dumps(
        {
            "pool": played.pool,
            "simulated_s": played.seconds,
            "boot_s": played.boot_s,
            "start_replicas": played.start,
            "score": asdict(played.score),
            "changes": found,
            "notes": played.notes,
            "timeline": [asdict(point) for point in kept],
        }
    )
