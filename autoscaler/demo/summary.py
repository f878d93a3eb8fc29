"""What a demo came to: the numbers that are printed at its end and written to a JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from autoscaler.types import Decision, Fleet
from autoscaler.words import replicas, seconds

if TYPE_CHECKING:
    from rich.table import Table

    from autoscaler.demo.driver import Score


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcome of a demo.

    requests_lost: sent and without a 2xx within 30 s. Latencies are of all requests, None without one.
    replica_seconds: of every replica that ran, from its order to its end. scale_outs, scale_ins: decisions that
    changed the size after the load had begun. peak_replicas: most that served at once. decisions: rows in the journal.
    """

    duration_s: float
    seed: int
    requests_sent: int
    requests_ok: int
    requests_lost: int
    latency_p50_s: float | None
    latency_p99_s: float | None
    replica_seconds: float
    scale_outs: int
    scale_ins: int
    peak_replicas: int
    decisions: int

    @property
    def fixed_replica_seconds(self) -> float:
        """What a fleet that always has the peak's size takes for the duration of the load alone."""
        return self.peak_replicas * self.duration_s

    def to_json(self) -> str:
        """One JSON object, its keys as above."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def table(self) -> Table:
        """The same for people."""
        from rich.table import Table

        shown = Table("What", "Result", title="The demo in numbers", title_justify="left")
        shown.columns[1].justify = "right"
        for what, result in (
            ("Duration of the load", seconds(self.duration_s)),
            ("Requests sent", f"{self.requests_sent:,}"),
            ("Requests answered", f"{self.requests_ok:,}"),
            ("Requests lost (no answer within 30 s)", f"{self.requests_lost:,}"),
            ("Latency, median", _latency(self.latency_p50_s)),
            ("Latency, 99th percentile", _latency(self.latency_p99_s)),
            ("Most replicas serving at once", str(self.peak_replicas)),
            ("Replica-seconds, start and end included", f"{self.replica_seconds:,.0f}"),
            (f"The same with {replicas(self.peak_replicas)} all the time", f"{self.fixed_replica_seconds:,.0f}"),
            ("Decisions to scale out", str(self.scale_outs)),
            ("Decisions to scale in", str(self.scale_ins)),
            ("Decisions in the journal", str(self.decisions)),
        ):
            shown.add_row(what, result)
        return shown


@dataclass(slots=True)
class Usage:
    """Adds up replica-seconds from the fleet as it is seen now and then."""

    replica_seconds: float = 0.0
    peak_replicas: int = 0
    _at: float | None = None
    _replicas: int = 0

    def see(self, now: float, fleet: Fleet) -> None:
        """The fleet at `now`; what was seen last counts for the time since then."""
        if self._at is not None:
            self.replica_seconds += self._replicas * max(0.0, now - self._at)
        self._at, self._replicas = now, fleet.count("pending", "ready", "draining", "stopping")
        self.peak_replicas = max(self.peak_replicas, fleet.ready)


def moves(decisions: Iterable[Decision], since: float) -> tuple[int, int]:
    """How many decisions from `since` on raised the size, and how many lowered it."""
    changed = [d for d in decisions if d.at >= since and d.want != d.current]
    return sum(d.want > d.current for d in changed), sum(d.want < d.current for d in changed)


def summarise(
    score: Score, usage: Usage, decisions: Sequence[Decision], since: float, duration_s: float, seed: int
) -> Summary:
    """The summary of a demo whose load began at `since`."""
    scale_outs, scale_ins = moves(decisions, since)
    return Summary(
        duration_s=duration_s,
        seed=seed,
        requests_sent=score.sent,
        requests_ok=score.ok,
        requests_lost=score.lost,
        latency_p50_s=score.quantile(0.50),
        latency_p99_s=score.quantile(0.99),
        replica_seconds=round(usage.replica_seconds, 1),
        scale_outs=scale_outs,
        scale_ins=scale_ins,
        peak_replicas=usage.peak_replicas,
        decisions=len(decisions),
    )


def _latency(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s:.2f} s"
