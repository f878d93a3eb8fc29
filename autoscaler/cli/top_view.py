"""What `sigmascale top` shows: rows of pools as text of a given width and height, without a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from autoscaler.words import amount, counted, seconds

Pool = Mapping[str, Any]

ORDERS = ("name", "demand", "want", "queue", "cost", "alerts")
_FIELDS = {"demand": "demand", "want": "want", "queue": "queue", "cost": "usd_per_hour", "alerts": "alerts_firing"}
STATES = {
    "steady": ("steady", ""),
    "scaling_out": ("out", "yellow"),
    "scaling_in": ("in", "yellow"),
    "blind": ("BLIND", "bold red"),
    "failing": ("FAILING", "bold red"),
    "unjudged": ("new", "dim"),
}
WIDE = 110
"""From so many columns on, the last decision stands in the row; otherwise below, for the pool that is chosen."""
LEAST_NAME, MOST_NAME = 12, 28
KEYS = "q quit  s sort: {order}  / filter{filter}  up/down choose  space pause"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the service last said, and when. problem: why it says nothing any more since `stale_since`, empty = it does.

    Instants are Unix seconds of this machine.
    """

    pools: Sequence[Pool] = ()
    at: float = 0.0
    problem: str = ""
    stale_since: float = 0.0
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """How a person wants to see it. typing: the filter is being written. paused: nothing new is asked for."""

    order: str = "name"
    matching: str = ""
    chosen: str = ""
    typing: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table. width 0: what is left."""

    title: str
    width: int
    text: Callable[[Pool], str]
    style: Callable[[Pool], str] = field(default=lambda _: "")
    left: bool = False


def rows(pools: Sequence[Pool], look: Look) -> list[Pool]:
    """The pools that match, in order: the largest first, what is not known last, names among equals."""
    found = [p for p in pools if matches(p["pool"], look.matching)]
    if look.order == "name":
        return sorted(found, key=lambda p: p["pool"])
    key = _FIELDS[look.order]
    return sorted(found, key=lambda p: (p[key] is None, -(p[key] or 0), p["pool"]))


def matches(name: str, text: str) -> bool:
    """Whether a name holds a text, or is like it where that has * or ?; letters of both sizes are the same."""
    name, text = name.lower(), text.lower()
    return fnmatchcase(name, text) if any(c in text for c in "*?") else text in name


def screen(seen: Seen, look: Look, size: tuple[int, int], now: float, url: str) -> Text:
    """The whole screen, exactly (columns, lines) large."""
    width, height = size
    found = rows(seen.pools, look)
    head = [*_head(seen, found, now, url, width), _titles(width, found)]
    about = [] if width >= WIDE else _about(found, look, width)
    foot = [*about, _foot(look, width)]
    room = max(1, height - len(head) - len(foot))
    place = next((n for n, p in enumerate(found) if p["pool"] == look.chosen), 0)
    # The chosen one stays in sight; the rows move only as far as they must.
    first = max(0, min(place - room // 2, len(found) - room))
    shown = [_row(p, width, found, chosen=p["pool"] == look.chosen) for p in found[first : first + room]]
    if not found:
        shown = [Text(_nothing(seen, look))]
    blank = [Text("")] * (room - len(shown))
    lines = [*head, *shown, *blank, *foot][:height]
    return Text("\n").join(_fitted(line, width) for line in lines)


def page(seen: Seen, look: Look, width: int, now: float, url: str) -> list[Text]:
    """The same once, for a pipe or a log: every row, with its decision."""
    found = rows(seen.pools, look)
    width = max(width, WIDE)
    lines = [*_head(seen, found, now, url, width), _titles(width, found), *(_row(p, width, found) for p in found)]
    return [*lines, *([] if found else [Text(_nothing(seen, look))])]


def _head(seen: Seen, found: Sequence[Pool], now: float, url: str, width: int) -> list[Text]:
    real = [p for p in found if not p["shadow_of"]]
    moving = sum(p["state"] in ("scaling_out", "scaling_in") for p in real)
    bad = sum(p["state"] in ("blind", "failing") for p in real)
    alerts = sum(p["alerts_firing"] for p in real)
    ready, want = (sum(p[k] or 0 for p in real) for k in ("ready", "want"))
    cost = sum(p["usd_per_hour"] or 0.0 for p in real)
    second = Text(f"{ready:,} ready of {want:,} wanted  {cost:,.2f} USD/h")
    second.append(f"  {bad} blind or failing", "bold red" if bad else "dim")
    second.append(f"  {counted(alerts, 'alert')}", "bold red" if alerts else "dim")
    where = url.partition("://")[2] or url
    lines = [Text(f"sigmascale {where}  {counted(len(real), 'pool')}, {moving} scaling"), second]
    if seen.left_out:
        lines[-1].append("  more pools than one page holds; filter on the service's side", "yellow")
    if seen.problem:
        age = seconds(max(1.0, now - seen.at)) if seen.at else "the start"
        since = f"STALE since {age} ago" if seen.at else f"nothing since {age}"
        lines.append(Text(f"{since}: {seen.problem.removeprefix(f'{url}: ')}", "bold white on red"))
    return [_fitted(line, width) for line in lines]


def _columns(width: int, found: Sequence[Pool]) -> list[Column]:
    name = max([LEAST_NAME, *(cell_len(p["pool"]) for p in found)])
    columns = [
        Column("POOL", min(name, MOST_NAME if width >= WIDE else 18), lambda p: p["pool"], left=True),
        Column("STATE", 7, lambda p: STATES[p["state"]][0], lambda p: STATES[p["state"]][1], left=True),
        Column("DEMAND/s", 8, lambda p: _amount(p["demand"])),
        Column("WANT", 5, lambda p: _count(p["want"])),
        Column("READY", 5, lambda p: _count(p["ready"]), _short),
        Column("PEND", 5, lambda p: _count(p["pending"])),
        Column("DRAIN", 5, lambda p: _count(p["draining"])),
        Column("QUEUE", 6, lambda p: _amount(p["queue"])),
        Column("USD/h", 8, lambda p: "-" if p["usd_per_hour"] is None else f"{p['usd_per_hour']:,.2f}"),
        Column("AL", 3, lambda p: str(p["alerts_firing"] or ""), lambda _: "bold red"),
    ]
    if width >= WIDE:
        columns.append(Column("LAST DECISION", 0, said, lambda p: "red" if p["error"] else "", left=True))
    return columns


def said(p: Pool) -> str:
    """The last decision without the name and time that stand elsewhere, or why there is none."""
    words = p["headline"].partition(" UTC: ")[2] or p["headline"]
    people = [f"{p['overrides']} overridden"] if p["overrides"] else []
    people += [f"roll {p['roll']}"] if p["roll"].startswith(("running", "paused", "failed")) else []
    return "; ".join([p["error"] or words or "not judged yet", *people])


def _short(p: Pool) -> str:
    return "yellow" if p["want"] is not None and p["ready"] is not None and p["ready"] < p["want"] else ""


def _titles(width: int, found: Sequence[Pool]) -> Text:
    cells = [_cell(c.title, c) for c in _columns(width, found)]
    return Text(set_cell_size(" ".join(cells), width), "reverse")


def _row(p: Pool, width: int, found: Sequence[Pool], chosen: bool = False) -> Text:
    line = Text()
    for n, column in enumerate(_columns(width, found)):
        line.append(" " if n else "")
        line.append(_cell(column.text(p), column), column.style(p))
    if p["shadow_of"]:
        line.stylize("dim")
    line = _fitted(line, width)
    if chosen:
        line.append(" " * (width - cell_len(line.plain)))
        line.stylize("bold on blue")
    return line


def _about(found: Sequence[Pool], look: Look, width: int) -> list[Text]:
    """The last decision of the chosen pool, in two lines."""
    p = next((p for p in found if p["pool"] == look.chosen), found[0] if found else None)
    if p is None:
        return []
    text = f"{p['pool']}: {said(p)}"
    first = set_cell_size(text, width).rstrip() if cell_len(text) > width else text
    return [Text(first, "bold" if not p["error"] else "red"), Text(text[len(first) :].strip())]


def _foot(look: Look, width: int) -> Text:
    if look.typing:
        return Text(f"filter: {look.matching}_  Enter takes it, Esc forgets it", "reverse")
    matching = f": {look.matching}" if look.matching else ""
    text = KEYS.format(order=look.order, filter=matching) + ("  PAUSED" if look.paused else "")
    return Text(set_cell_size(text, width), "reverse")


def _nothing(seen: Seen, look: Look) -> str:
    if look.matching and seen.pools:
        return f"no pool matches {look.matching!r}; press / to change the filter"
    if seen.at == 0.0:
        return "waiting for the first answer"
    return "no pool is in force; GET /api/v1/rules says what is wrong with the rule files"


def _cell(text: str, column: Column) -> str:
    """A text in its column; what does not fit ends in a dot, so that a number is not taken for a smaller one."""
    if not column.width:
        return text
    if cell_len(text) > column.width:
        return set_cell_size(text, column.width - 1) + "~"
    blank = " " * (column.width - cell_len(text))
    return text + blank if column.left else blank + text


def _fitted(line: Text, width: int) -> Text:
    fitted = line.copy()
    # Control characters in a name or a message move no cursor.
    fitted.plain = "".join(c if c.isprintable() else " " for c in fitted.plain)
    fitted.truncate(width)
    return fitted


def _amount(value: float | None) -> str:
    return "-" if value is None else amount(value)


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)
