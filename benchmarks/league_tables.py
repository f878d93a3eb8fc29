"""What the league's rows say: the three figures, and the tables of docs/league.md."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoscaler.backtest.league import BOUNDS, Row
from autoscaler.baselines import BY_NAME, NOT_RUN

OURS = "rules/default.yaml"
LIMITS = (0.005, 0.02)
LEAST = 0.0001
"""Hindsight may violate as much as we do, but at least 0.01 %: below, single minutes decide who is compared."""

BEGIN, END = "<!-- begin: python -m benchmarks league -->", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy with one setting, its mean cost and its worst violation over all workloads."""

    policy: str
    value: float
    cost: float
    worst: float

    def __str__(self) -> str:
        return self.policy if math.isnan(self.value) else f"{self.policy} at {self.value:g}"


@dataclass(frozen=True, slots=True)
class Figures:
    """The result at one boot time.

    cheapest: by limit on the violation of every workload, the cheapest single setting of any peer. hindsight: by
    workload, our row and the cheapest row of any peer that violates at most as much as we do there; None where no peer
    does.
    """

    boot_s: float
    cheapest: dict[float, Choice | None]
    hindsight: dict[str, tuple[Row, Row | None]]

    def cheapest_cost(self, limit: float) -> float | None:
        """The cost of the cheapest peer with a single setting."""
        choice = self.cheapest[limit]
        return choice.cost if choice else None

    @property
    def own_worst(self) -> float:
        """Our worst violation; NaN when we did not play."""
        return max((ours.violated for ours, _ in self.hindsight.values()), default=math.nan)

    @property
    def own_cost(self) -> float:
        """Our mean cost."""
        return _mean(ours.cost for ours, _ in self.hindsight.values())

    @property
    def excess_ratio(self) -> float:
        """Our mean excess over that of peers tuned in hindsight, where there is one."""
        pairs = [(ours.cost - 1.0, peer.cost - 1.0) for ours, peer in self.hindsight.values() if peer]
        peers = _mean(peer for _, peer in pairs)
        return _mean(ours for ours, _ in pairs) / peers if pairs and peers > 0 else math.nan


def figures(rows: Iterable[Row], boot_s: float) -> Figures:
    """The figures of one boot time from the rows of the workloads that count."""
    here = [row for row in rows if row.boot_s == boot_s]
    peers = [row for row in here if row.policy in BY_NAME and BY_NAME[row.policy].peer]
    hindsight = {}
    for ours in (row for row in here if row.policy == OURS):
        allowed = max(ours.violated, LEAST)
        able = [row for row in peers if row.trace == ours.trace and row.violated <= allowed]
        hindsight[ours.trace] = (ours, min(able, key=lambda row: row.cost, default=None))
    return Figures(boot_s, {limit: cheapest(peers, limit) for limit in LIMITS}, hindsight)


def cheapest(rows: Iterable[Row], limit: float) -> Choice | None:
    """The cheapest policy with a single setting that keeps a limit on every workload."""
    return min((c for c in single_settings(rows) if c.worst <= limit), key=lambda c: c.cost, default=None)


def without_hardest(rows: Sequence[Row], limit: float) -> tuple[str, Choice] | None:
    """The workload that costs the cheapest peer most, and who is cheapest without it."""
    names = dict.fromkeys(row.trace for row in rows)
    peers = [row for row in rows if row.policy in BY_NAME and BY_NAME[row.policy].peer]
    tried = [(name, cheapest([row for row in peers if row.trace != name], limit)) for name in names]
    able = [(name, choice) for name, choice in tried if choice]
    return min(able, key=lambda pair: pair[1].cost, default=None)


def single_settings(rows: Iterable[Row]) -> list[Choice]:
    """Each policy with each setting over all workloads that are there; one that lacks a workload is left out."""
    by_setting: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_setting[row.policy, f"{row.value:g}"].append(row)
    most = max((len(some) for some in by_setting.values()), default=0)
    return [
        Choice(some[0].policy, some[0].value, _mean(r.cost for r in some), max(r.violated for r in some))
        for some in by_setting.values()
        if len(some) == most
    ]


def page(text: str, rows: Sequence[Row]) -> str:
    """A page with its generated part made anew."""
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    boots = sorted({row.boot_s for row in rows})
    parts = [part for boot_s in boots for part in _of_boot(rows, boot_s)]
    parts += ["## Not run", "", *(f"- {name}: {why}." for name, why in NOT_RUN.items()), ""]
    return f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}"


def _of_boot(rows: Sequence[Row], boot_s: float) -> list[str]:
    found = figures(rows, boot_s)
    here = [row for row in rows if row.boot_s == boot_s]
    lines = [f"## Boot {boot_s / 60:g} min", "", "Cheapest single setting of any peer that keeps every workload:", ""]
    for limit, choice in found.cheapest.items():
        told = f"{choice}, mean cost {choice.cost:.3f}, worst {100 * choice.worst:.2f} %" if choice else "none does"
        rest = without_hardest(here, limit)
        told += f"; without {rest[0]}: {rest[1]}, {rest[1].cost:.3f}" if rest else ""
        lines.append(f"- at or under {100 * limit:g} %: {told}")
    lines += ["", *_policies(here), ""]
    if found.hindsight:
        lines += [
            f"Our mean cost is {found.own_cost:.3f}, our worst violation {100 * found.own_worst:.2f} %; our excess is "
            f"{found.excess_ratio:.2f} times that of the cheapest peer of each workload.",
            "",
        ]
    return [*lines, *_workloads(here, found), ""]


def _policies(here: Sequence[Row]) -> list[str]:
    """One line a policy: its cheapest settings at both limits, and its best when it keeps neither."""
    lines = [
        "| policy | cost at <= 0.5 % | setting | cost at <= 2 % | setting | least worst violation | its cost |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    by_policy: dict[str, list[Choice]] = defaultdict(list)
    for choice in single_settings(here):
        by_policy[choice.policy].append(choice)
    order = sorted(by_policy, key=lambda name: (_cost(by_policy[name], 0.005), _cost(by_policy[name], 0.02)))
    for name in order:
        cells = [name]
        for limit in LIMITS:
            kept = min((c for c in by_policy[name] if c.worst <= limit), key=lambda c: c.cost, default=None)
            cells += [f"{kept.cost:.3f}", _value(kept.value)] if kept else ["-", ""]
        calmest = min(by_policy[name], key=lambda c: (c.worst, c.cost))
        cells += [f"{100 * calmest.worst:.2f} %", f"{calmest.cost:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cost(choices: Iterable[Choice], limit: float) -> float:
    return min((c.cost for c in choices if c.worst <= limit), default=math.inf)


def _workloads(here: Sequence[Row], found: Figures) -> list[str]:
    """One line for us and for the chosen peers on each workload."""
    lines = [
        "| workload | policy | violated % | bad time % | cost | replica-h | launches | changes | worst shortage |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    kept = [choice for choice in found.cheapest.values() if choice]
    for trace in dict.fromkeys(row.trace for row in here):
        some = [row for row in here if row.trace == trace]
        shown = [row for row in some if row.policy in (OURS, *BOUNDS)]
        ours, peer = found.hindsight.get(trace, (None, None))
        shown += [peer] if ours and peer else []
        shown += [row for c in kept for row in some if row.policy == c.policy and row.value == c.value]
        lines += [_line(row, "" if row is not peer else ", in hindsight") for row in dict.fromkeys(shown)]
    return lines


def _line(row: Row, note: str) -> str:
    name = row.policy if math.isnan(row.value) else f"{row.policy} at {row.value:g}"
    cells = (
        row.trace,
        name + note,
        f"{100 * row.violated:.2f}",
        f"{100 * row.bad_time:.2f}",
        f"{row.cost:.3f}",
        f"{row.replica_hours:,.0f}",
        f"{row.launches:,}",
        f"{row.changes:,}",
        f"{row.worst_shortage:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _value(value: float) -> str:
    return "" if math.isnan(value) else f"{value:g}"


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan
