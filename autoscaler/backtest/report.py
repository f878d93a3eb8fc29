"""A back-test as one HTML page that needs nothing else: figures, plots over the trace, decisions with their reasons."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest.files import Source
from autoscaler.backtest.run import Change, Tested
from autoscaler.words import amount
from autoscaler.words import seconds as span

MAX_POINTS = 20_000
MAX_MARKS = 4_000
MAX_EPISODES = 8
EPISODE_GAP_S = 600.0
GOOD_SHARE, BAD_SHARE = 0.005, 0.02
"""Where the share of violated work is told in green and in red."""


def page(tested: Tested, source: Source, notes: Sequence[str]) -> str:
    """The page. Equal back-tests give equal pages."""
    web = files("autoscaler") / "web"
    uplot = web / "vendor" / "uplot"
    law = source.policy or source.rules.pool
    parts = {
        "title": _text(f"Back-test: {law} on {source.trace_name}"),
        "subtitle": _text(_subtitle(tested, source)),
        "licence": (uplot / "LICENSE").read_text("utf-8").replace("--", "- -"),
        "uplot_css": (uplot / "uPlot.min.css").read_text("utf-8"),
        "uplot_js": (uplot / "uPlot.iife.min.js").read_text("utf-8"),
        "css": (web / "backtest" / "report.css").read_text("utf-8"),
        "js": (web / "backtest" / "report.js").read_text("utf-8"),
        "tiles": "".join(_tiles(tested)),
        "notes": _notes(notes),
        "episodes": _episodes(tested),
        "settings": "".join(_settings(tested, source)),
        "data": _data(tested),
    }
    template = (web / "backtest" / "report.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _subtitle(tested: Tested, source: Source) -> str:
    length, warm = span(tested.end_s - float(tested.timeline.at_s[0])), span(tested.setting.warmup_s)
    what = f"policy {source.policy}" if source.policy else f"rules {_rules(source)}"
    return f"{what}, column {source.column}, {length} of which the first {warm} are warm-up and do not count"


def _rules(source: Source) -> str:
    """The file by its name alone, so that the page is the same wherever it lies."""
    return source.rules.file.rpartition("/")[2]


def _tiles(tested: Tested) -> Iterator[str]:
    s = tested.score
    level = (
        ""
        if math.isnan(s.violated)
        else "good"
        if s.violated <= GOOD_SHARE
        else "bad"
        if s.violated > BAD_SHARE
        else ""
    )
    yield _tile("of the work waited over 5 s", _percent(s.violated), level)
    yield _tile("replica-hours over the clairvoyant's", "–" if math.isnan(s.cost) else f"{s.cost:.3f}")
    yield _tile(f"replica-hours; clairvoyant {amount(s.clairvoyant_hours)}", amount(s.replica_hours))
    if tested.usd:
        yield _tile("USD at the price of the first offer", f"{tested.usd:,.2f}")
    yield _tile(f"launches, {tested.changes:,} changes of the size", f"{tested.launches:,}")
    yield _tile("replicas at the peak", f"{tested.peak:,}")
    yield _tile(f"worst wait; 99 % waited at most {_seconds(s.wait_p99_s)}", _seconds(s.worst_wait_s))
    yield _tile("work left waiting at the end", amount(s.unmet), "bad" if s.unmet > 0 else "")


def _tile(label: str, value: str, level: str = "") -> str:
    return f'<div class="tile {level}"><b>{_text(value)}</b><span>{_text(label)}</span></div>'


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<section class="notes">{"".join(f"<p>{_text(note)}</p>" for note in notes)}</section>'


def _settings(tested: Tested, source: Source) -> Iterator[str]:
    setting = tested.setting
    rows = [
        ("capacity of a replica", f"{setting.capacity:g} /s"),
        ("from order to serving", span(setting.boot_s)),
        ("replicas at the start", str(setting.start)),
        ("bounds", f"{setting.low} to {setting.high}"),
        ("tick", span(setting.tick_s)),
        ("rules", f"{_rules(source)} ({source.rules.hash})" if source.policy is None else "none"),
        ("buckets", f"{len(source.trace.amount):,} of {span(source.trace.step_s)}"),
        *tested.versions.items(),
    ]
    return (f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)


def _episodes(tested: Tested) -> str:
    """The worst times: stretches with work that waited, the one with the longest queue first."""
    line = tested.timeline
    waits = np.flatnonzero(line.queue > 0)
    if not waits.size:
        return ""
    breaks = np.flatnonzero(np.diff(line.at_s[waits]) > EPISODE_GAP_S) + 1
    found = [(part, float(line.queue[part].max())) for part in np.split(waits, breaks)]
    found.sort(key=lambda one: (-one[1], int(one[0][0])))
    rows = []
    for part, queue in found[:MAX_EPISODES]:
        begin, end = float(line.at_s[part[0]]), float(line.at_s[part[-1]]) + tested.setting.tick_s
        warm = " (warm-up)" if begin < tested.count_from_s else ""
        rows.append(
            f"<tr><td>{_moment(begin)}{warm}</td><td>{_text(span(end - begin))}</td><td>{_text(amount(queue))}</td>"
            f'<td class="go"><button type="button" data-from="{begin:g}" data-to="{end:g}">show</button></td></tr>'
        )
    head = "<tr><th>from</th><th>for</th><th>most that waited</th><th></th></tr>"
    count = f"the worst {len(rows)} of {len(found)}" if len(found) > len(rows) else ""
    return (
        f"<section><h2>When work waited <small>{count}</small></h2>"
        f'<table class="plain"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></section>'
    )


def _data(tested: Tested) -> str:
    line = tested.timeline
    columns: dict[str, NDArray[np.float64]] = {
        "demand": line.demand,
        "ready": line.ready.astype(np.float64),
        "paid": (line.ready + line.pending).astype(np.float64),
        "wanted": line.wanted.astype(np.float64),
        "best": tested.clairvoyant.astype(np.float64),
        "queue": line.queue,
    }
    if tested.foreseen is not None:
        seen = tested.foreseen
        for name, values in (("ahead_median", seen.median), ("ahead_high", seen.high)):
            columns[name] = np.interp(line.at_s, seen.at_s, values, left=math.nan, right=math.nan)
    at_s, thinned = thin(line.at_s, columns, MAX_POINTS)
    found: dict[str, object] = {"ahead_median": None, "ahead_high": None}
    found |= {"at": at_s.tolist(), "end": tested.end_s, "counted": tested.count_from_s}
    found |= {"capacity": tested.setting.capacity}
    found |= {name: [_short(v) for v in values.tolist()] for name, values in thinned.items()}
    found["changes"] = [[c.at_s, c.before, c.after, c.reasons] for c in marks(tested.all_changes, MAX_MARKS)]
    # A closing tag inside a text would end the script.
    return json.dumps(found, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


def thin(
    at_s: NDArray[np.float64], columns: dict[str, NDArray[np.float64]], limit: int
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """At most `limit` points that keep the lowest and highest value of every slice of every column, in their order."""
    if len(at_s) <= limit:
        return at_s, columns
    size = math.ceil(2 * len(at_s) / limit)
    starts = np.arange(0, len(at_s), size)
    edges = np.append(starts, len(at_s))
    places = np.stack([starts, np.minimum(starts + size // 2, edges[1:] - 1)], axis=1).ravel()
    found = {}
    for name, values in columns.items():
        pairs = np.empty((len(starts), 2))
        for n, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            part = values[low:high]
            known = np.flatnonzero(~np.isnan(part))
            if not known.size:
                pairs[n] = math.nan
                continue
            ends = sorted((int(known[np.argmin(part[known])]), int(known[np.argmax(part[known])])))
            pairs[n] = part[ends]
        found[name] = pairs.ravel()
    once = np.append(True, np.diff(places) > 0)
    return at_s[places][once], {name: values[once] for name, values in found.items()}


def marks(changes: Sequence[Change], limit: int) -> list[Change]:
    """The changes to show, by time: the larger ones when there are too many."""
    if len(changes) <= limit:
        return list(changes)
    largest = sorted(changes, key=lambda c: (-abs(c.after - c.before), c.at_s))[:limit]
    return sorted(largest, key=lambda c: c.at_s)


def _short(value: float) -> float | int | None:
    if math.isnan(value):
        return None
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded


def _text(text: str) -> str:
    return html.escape(text)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.3%}" if share < 0.1 else f"{share:.1%}"


def _seconds(value: float) -> str:
    return "–" if math.isnan(value) else "0 s" if value == 0 else f"{value:.1f} s" if value < 60 else span(value)


def _moment(t_s: float) -> str:
    day, rest = divmod(round(t_s), 86_400)
    return f"day {day} {rest // 3600:02d}:{rest % 3600 // 60:02d}"
