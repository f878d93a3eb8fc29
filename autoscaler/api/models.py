"""What requests say and responses show, where that is not one of the core's own values."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from autoscaler.api.learned_models import LearnedView
from autoscaler.api.operations_models import MarkView
from autoscaler.types import Decision, Instance, Override, Plan, Quality

Instant = Annotated[float, Query(ge=0, le=1e11, allow_inf_nan=False, description="Unix seconds")]


class RulesInForce(BaseModel):
    """Which rule file decides."""

    file: str
    hash: str


PoolState = Literal["steady", "scaling_out", "scaling_in", "blind", "failing", "unjudged"]


class PoolSummary(BaseModel):
    """One pool as its last tick left it. Counts are replicas; null = not known yet."""

    pool: str
    at: float = Field(description="when the last tick ran")
    state: PoolState = Field(description="blind: the fleet is unknown; failing: the last tick could not decide")
    demand: float | None = Field(description="work that comes each second, in the unit of its signal")
    queue: float | None = Field(description="requests that wait")
    want: int | None
    current: int | None = Field(description="the size in force before the last decision")
    ready: int | None
    pending: int | None
    draining: int | None
    warm: int | None
    warm_wanted: int | None = Field(description="what the warm pool should hold, null = there is none")
    failed: int | None
    min: int
    max: int
    usd_per_hour: float | None
    fleet_observed_at: float | None
    alerts_firing: int
    overrides: int
    cordoned: int = Field(description="instances that people took out of service")
    replacing: int = Field(description="instances that are to be replaced, by a roll too")
    roll: str = Field(description="how the pool's last roll stands, empty when there was none")
    next_change_at: float | None
    headline: str = Field(description="the last decision in one sentence")
    error: str = Field(description="why the last tick could not decide, empty when it did")
    rules: RulesInForce
    shadow_of: str = Field(description="not empty: this is that pool's candidate, and its fleet is imagined")


class PoolDetail(PoolSummary):
    """A pool with its instances and what is planned for them."""

    instances: list[Instance]
    plan: Plan | None
    overrides_in_force: list[Override]
    marks: list[MarkView] = Field(description="cordons and replacements in force")


class Pools(BaseModel):
    """Pools. next_after: for `after`, null = the end."""

    pools: list[PoolSummary]
    next_after: str | None


class EndpointGroup(BaseModel):
    """One routable replica in the format of Prometheus's HTTP service discovery."""

    targets: list[str]
    labels: dict[str, str]


class SignalReading(BaseModel):
    """A signal's value as of the last decision. value null = unknown, which is not zero."""

    signal: str
    source: str = Field(description="metric, query or forecast that it is made from")
    unit: str | None = Field(description="null where the metric is not one of ours, or a query answers")
    value: float | None
    lower: float | None
    upper: float | None
    quality: Quality
    at: float
    age_s: float
    detail: str


class SignalFinding(BaseModel):
    """What is wrong with a signal: nothing gives it, it disappeared, or its values cannot be what its name says."""

    signal: str
    kind: Literal["absent", "disappeared", "unit", "kind"]
    text: str


class Signals(BaseModel):
    """Every reading that the last decision used, and what the self-check finds wrong with signals."""

    pool: str
    decision: int | None
    readings: list[SignalReading]
    learned: LearnedView | None = Field(None, description="what is known besides the signals")
    findings: list[SignalFinding]


class RawMetric(BaseModel):
    """One metric as sources give it. pool "": its series carry no pool. unit null: the metric is not one of ours."""

    pool: str
    metric: str
    unit: str | None
    kind: Literal["gauge", "counter", "histogram", "event"]
    series: int = Field(description="how many there are, its cardinality")
    sources: int
    examples: list[str] = Field(description="the first of the sources, by name")
    interval_s: float
    newest_at: float | None
    age_s: float | None


class AllSignals(BaseModel):
    """What the rules read and what there is to read. more_metrics: so many metrics come on later pages."""

    pools: list[Signals]
    metrics: list[RawMetric]
    more_metrics: int
    next_after: str | None


class SignalHistory(BaseModel):
    """A signal's past. `thinned`: only every n-th point is shown, so that a page stays small."""

    pool: str
    signal: str
    since: float
    until: float
    at: list[float]
    values: list[float | None]
    thinned: int


class Decisions(BaseModel):
    """Journalled decisions, newest first. next_before: what `before` must be for the next page, null = the end."""

    pool: str
    decisions: list[Decision]
    next_before: int | None


class Explanation(BaseModel):
    """A decision in plain words and as data."""

    pool: str
    number: int
    text: str
    decision: Decision
    plan: Plan | None


class OverrideIn(BaseModel):
    """A person's word over a pool: exactly one of `until` and `for` says when it ends."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    kind: Literal["pin", "floor", "ceiling", "freeze", "pause"]
    replicas: int | None = Field(default=None, ge=0, le=100_000, description="for pin, floor and ceiling")
    direction: Literal["out", "in", "both"] | None = Field(default=None, description="what a pause stops; default both")
    until: float | str | None = Field(default=None, description="Unix seconds or ISO 8601 with a zone")
    for_: str | None = Field(default=None, alias="for", max_length=40, description="such as 30m, 2h or 1d")
    author: str = Field(min_length=1, max_length=100, pattern=r"\S")
    reason: str = Field(min_length=1, max_length=500, pattern=r"\S")


class Overrides(BaseModel):
    """Overrides in force, oldest first. next_after: for `after`, null = the end."""

    pool: str | None = Field(description="null = of every pool")
    overrides: list[Override]
    next_after: str | None


class FaultOut(BaseModel):
    """One thing that is wrong or doubtful in a rule file, and the next step. line 0: the file as a whole."""

    file: str
    line: int
    column: int
    where: str
    text: str
    severity: str


class RuleSource(BaseModel):
    """A rule file in force and what the linter says about it; lints null: the file has changed since."""

    pool: str
    file: str
    hash: str
    lints: list[FaultOut] | None


class Rules(BaseModel):
    """The rules in force. problems: what keeps newer versions of files from being taken. next_after: for `after`."""

    sources: list[RuleSource]
    problems: list[FaultOut]
    next_after: str | None


class RuleText(BaseModel):
    """A rule file to check; nothing is applied."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(description="the YAML")
    file: str = Field(default="rules.yaml", max_length=200, pattern=r"^[\w./ -]+$", description="its name in messages")


class RuleCheck(BaseModel):
    """What `sigmascale check` says about the text. valid: it would be taken."""

    valid: bool
    pool: str | None
    hash: str | None
    faults: list[FaultOut]


class Target(BaseModel):
    """How one scraped page does."""

    url: str
    labels: dict[str, str]
    up: bool
    last_at: float | None
    error: str
    rejected: int = Field(description="lines of the last page that are not samples")


class Targets(BaseModel):
    """Scraped pages. next_after: for `after`, null = the end."""

    targets: list[Target]
    next_after: str | None


class Health(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"
    version: str


class Readiness(BaseModel):
    """Whether the service does its work. reasons: what keeps it from that, empty when ready."""

    ready: bool
    reasons: list[str]
    warnings: list[str] = Field(
        default=[], description="what rules ask for and cannot have, absent when nothing; holds pools, not the service"
    )
