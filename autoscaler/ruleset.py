"""What a rule file means, as values: the one form that the long language and both short dialects are read into.

Every default of the decision law is a default here, under the name that the rule file uses. Durations are seconds,
shares are ratios, sizes are replicas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from autoscaler.conditions import Condition, leaves
from autoscaler.movement import (
    Bounds,
    Consolidation,
    Disruption,
    Flap,
    LaunchLimits,
    Ownership,
    ScaleIn,
    ScaleOut,
    WarmPool,
)
from autoscaler.ports import Forecaster, Policy, Threshold
from autoscaler.types import Labels, Of, Offer, Severity

STALE_FLEET_TICKS = 4

SHADOW = "~shadow"
"""Ends the name of a candidate's pool, and names the provider that only imagines. No pool of people has a tilde."""

Aggregate = Literal["sum", "mean", "max", "min", "count", "quantile"]


@dataclass(frozen=True, slots=True)
class Signal:
    """How one number of a pool comes from raw series, a query or a forecast.

    metric: canonical or original name; `where` keeps series with these labels. rate_s: increase per second of a
    counter over a window. quantile with over_s: from histogram buckets; quantile with aggregate="quantile": across
    series. forecast: the signal to look ahead on, `ahead_s` seconds (None = one lead time), `of` the mean around that
    time or the peak until then, by this forecaster (None = `select`); steered: its quantile follows what users had to
    wait (`risk.py`); unusual: (since, until) of what it does not learn from. max_age_s None means three sampling
    intervals. fallback: signals asked in order when this one is missing; they may only raise.
    """

    name: str
    metric: str | None = None
    where: Labels = ()
    aggregate: Aggregate = "sum"
    rate_s: float | None = None
    quantile: float | None = None
    over_s: float | None = None
    promql: str | None = None
    forecast: str | None = None
    ahead_s: float | None = None
    of: Of = "peak"
    steered: bool = False
    forecaster: Forecaster | None = None
    unusual: tuple[tuple[float, float], ...] = ()
    max_age_s: float | None = None
    max_hold_s: float = 300.0
    fallback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """When `when` holds, `policy` proposes; then nothing more from this rule for `cooldown_s`.

    A rule without a condition proposes at every tick; a rule without a policy only raises its alert.
    """

    name: str
    policy: Policy | None = None
    when: Condition | None = None
    cooldown_s: float = 0.0
    alert: Severity | None = None
    keep_firing_for_s: float = 0.0
    silence_s: float = 600.0
    stages: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class SeriesAlert:
    """An alert on each raw series of a metric by itself, judged in one call however many there are."""

    name: str
    metric: str
    direction: Literal["above", "below", "outside"]
    threshold: Threshold
    lookback_s: float
    for_s: float = 0.0
    keep_firing_for_s: float = 0.0
    silence_s: float = 600.0
    severity: Severity = "warning"
    where: Labels = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Hosted:
    """What a replica runs and what its users are promised, from which its capacity follows before it was measured.

    model empty = not said. Goals: mean time between tokens, time to the first token, p95 of a whole answer; None = no
    such goal. input_tokens, output_tokens: of the mean request until it is known. max_sequences: in one batch.
    """

    model: str = ""
    precision: str = ""
    gpu: str = ""
    tensor_parallel: int = 1
    itl_s: float | None = 0.05
    ttft_s: float | None = None
    latency_s: float | None = None
    input_tokens: float = 1000.0
    output_tokens: float = 300.0
    max_sequences: int = 256


@dataclass(frozen=True, slots=True)
class Objective:
    """How long a request may wait for a replica, and which share of all may wait longer."""

    wait_s: float = 5.0
    late_ratio: float = 0.35 / 100


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Everything that people said about one pool. `hash` is of the file's bytes and of the defaults that filled it.

    shadow: the rule file of a candidate, relative to this one; empty = none. shadow_of: the pool whose demand a
    candidate reads while its own fleet is imagined; empty = this is no candidate.
    """

    pool: str
    bounds: Bounds
    match: Labels = ()
    gpus_per_replica: int = 1
    capacity: float | None = None
    capacity_unit: str = ""
    hosted: Hosted = field(default_factory=Hosted)
    objective: Objective = field(default_factory=Objective)
    utilisation_target: float = 0.80
    tick_s: float = 15.0
    priority: int = 0
    choose: Literal["cheapest", "listed"] = "cheapest"
    offers: tuple[Offer, ...] = ()
    signals: tuple[Signal, ...] = ()
    rules: tuple[Rule, ...] = ()
    alerts: tuple[SeriesAlert, ...] = ()
    scale_out: ScaleOut = field(default_factory=ScaleOut)
    scale_in: ScaleIn = field(default_factory=ScaleIn)
    flap: Flap = field(default_factory=Flap)
    launch: LaunchLimits = field(default_factory=LaunchLimits)
    warm_pool: WarmPool = field(default_factory=WarmPool)
    disruption: Disruption = field(default_factory=Disruption)
    consolidate: Consolidation | None = None
    ownership: Ownership = field(default_factory=Ownership)
    shadow: str = ""
    shadow_of: str = ""
    hash: str = ""
    file: str = ""

    @property
    def workload(self) -> str:
        """The pool whose series are read."""
        return self.shadow_of or self.pool

    def signal(self, name: str) -> Signal | None:
        """The signal of that name."""
        return next((s for s in self.signals if s.name == name), None)

    @property
    def patience_s(self) -> float:
        """Seconds after which a provider's last report no longer tells what is there."""
        return max(30.0, STALE_FLEET_TICKS * self.tick_s)

    @property
    def lookback_s(self) -> float:
        """The longest history that anything in the file asks for."""
        tests = [t for c in self.conditions for t in leaves(c.test)]
        return max([0.0, *(t.lookback_s for t in tests)])

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of the rules and of scale-in."""
        found = [r.when for r in self.rules if r.when is not None]
        return (*found, self.scale_in.when) if self.scale_in.when is not None else tuple(found)
