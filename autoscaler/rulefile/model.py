"""The rule file's long language as pydantic models: every key with its kind, default and meaning.

The models check one section each; what connects sections (names, units, bounds) is checked in `agreement`. The
reference page and the editors' schema are generated from here (`ruledocs`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from autoscaler.rulefile.actions import RuleSection
from autoscaler.rulefile.conditions import Deviation, When
from autoscaler.rulefile.consolidation import ConsolidateSection
from autoscaler.rulefile.disruption import DisruptionSection
from autoscaler.rulefile.drainhook import DrainHookSection
from autoscaler.rulefile.offers import Offers
from autoscaler.rulefile.owned import (
    ManualSection,
    OrphansSection,
    grace_fault,
    ignore_or_section,
    keep_or_section,
    or_ignore,
    or_keep,
)
from autoscaler.rulefile.replica import Replica
from autoscaler.rulefile.section import Section, key, wrong
from autoscaler.rulefile.signals import Data, SignalSection
from autoscaler.rulefile.warm import WarmPoolSection
from autoscaler.rulefile.words import (
    Count,
    DayMoney,
    Duration,
    Labels,
    Money,
    Number,
    PoolName,
    Ratio,
    SeverityOf,
    Share,
    SignalName,
    Span,
    Text,
    Tolerance,
    Whole,
    choice,
    off_or_section,
)


def _or_off(schema: dict[str, Any]) -> None:
    """Editors whose YAML is of version 1.1 take `off` for false."""
    schema["anyOf"] = [o for o in schema["anyOf"] if o.get("type") != "null"] + [{"enum": ["off", False]}]


class Limits(Section):
    """The bounds of the pool; they hold whatever the rules ask."""

    min: Count = key("1", "Fewest replicas; 0 = the pool may go to zero and come back on demand.")
    max: Count | None = key(None, "Most replicas. Without it the service needs a default bound.")
    budget: Money | None = key(None, "Money per hour that growth may not pass.")
    budget_per_day: DayMoney | None = key(None, "Money per day, in UTC, that growth may not pass.")
    on_exceeded: Annotated[str, *choice("hold", "shrink")] = key(
        "hold", "What a pool that costs more than a budget does: hold = grow no more, shrink = give machines back."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if self.max is not None and self.min > self.max:
            raise wrong((("min",), f"{self.min} is more than max {self.max}; lower min or raise max"))
        if self.max == 0:
            raise wrong((("max",), "0 is a pool that can never serve; write 1 or more"))
        return self


class AlertSection(Deviation):
    """An alert on each raw series of a metric by itself."""

    each: Text = Field(description="The metric whose series are judged one by one.", examples=["gpu_power_watts"])
    name: Text | None = key(None, "Name of the alert; default: metric, direction and threshold.")
    where: Labels = key({}, "Only series with these labels.")
    for_: Duration = key("0s", "How long without a break.", alias="for")
    keep_firing_for: Duration = key("0s", "How long it goes on firing after the condition ended.")
    silence: Duration = key("10m", "A firing alert is told again only after this long.")
    severity: SeverityOf = key("warning", "Severity of the alert.")


class OutRate(Section):
    """At most max(replicas, percent of the size) more per period."""

    replicas: Count = key("4", "This many.")
    percent: Ratio = key("100%", "Or this share of the present size, whichever is more.")
    per: Span = key("15s", "The period.")


class InRate(Section):
    """At most max(replicas, percent of the size) fewer per period."""

    replicas: Count = key("1", "This many.")
    percent: Ratio = key("10%", "Or this share of the present size, whichever is more.")
    per: Span = key("60s", "The period.")


class Burst(Section):
    """Recent demand for more than `ratio` times ready and pending replicas: until served, the size may only rise."""

    window: Span = key("30s", "The recent demand that is looked at.")
    ratio: Number = key("2", "How many times the size.")
    hold: Duration = key("60s", "How long it lasts after demand was last over the mark.")


class Out(Section):
    """Limits on growth."""

    window: Duration = key("0s", "The least that was wanted in this window counts; 0s = at once.")
    tolerance: Tolerance = key("10%", "Growth within this share of the target is left alone.")
    rate: OutRate = key({}, "Speed limit.")
    max_move: Count = key("8", "Most replicas ordered at once.")
    burst: Annotated[Burst | None, BeforeValidator(off_or_section)] = key(
        {}, "Burst guard; off = none.", json_schema_extra=_or_off
    )


class In(Section):
    """Limits on shrinking, and how an instance leaves."""

    stabilization: Duration = key("300s", "The most that was wanted in this window counts.")
    tolerance: Tolerance = key("10%", "Shrinking within this share of the target is left alone.")
    rate: InRate = key({}, "Speed limit.")
    cool_off: Duration = key("600s", "No shrinking for this long after a launch.")
    drain: Duration = key("300s", "How long an instance may finish its requests before it is stopped.")
    settle: Duration = key("5s", "Idle counts only this long after routers could read that it is leaving.")
    victim: Annotated[str, *choice("least_in_flight", "newest", "oldest")] = key("least_in_flight", "Who goes first.")
    when: When | None = key(None, "Shrink while this holds; for pools without a target.")
    by: Count = key("1", "How many fewer each time `when` holds.")
    to_zero_after: Duration = key("300s", "With min 0: how long demand must be a true zero before the last one goes.")
    drain_hook: DrainHookSection | None = key(None, "Called when an instance leaves routing.")


class FlapSection(Section):
    """At most so many changes of size per period, starts and stops together."""

    moves: Count = key("60", "This many.")
    per: Span = key("1h", "The period.")


class LaunchSection(Section):
    """How long an order may take, and how long an offer that could not be had is left alone."""

    limit: Span = key("300s", "An order not accepted by then has failed.")
    register_: Span = key("900s", "An instance that does not serve by then is given up.", alias="register")
    shortage: Duration = key("180s", "An offer that could not be had is left alone this long, doubling each time.")
    shortage_max: Duration = key("30m", "The doubling ends here.")
    shortage_reset: Duration = key("3h", "After this long without a miss it starts anew.")
    per_hour: Count = key("120", "Most orders of the pool in any hour.")
    shortage_most: Count = key("16", "After so many were had in a row an offer is no longer short.")
    quota: Span = key("1h", "An offer at its quota is tried again this often, one machine at a time.")
    sick_count: Count = key("3", "While more machines than this are sick,")
    sick_share: Share = key(
        "45%", "and more than this share, none is removed or replaced and one launch at a time probes."
    )
    repair_share: Share = key("20%", "While more than this share is sick, one at a time is replaced.")


class ShadowSection(Section):
    """A candidate that is run beside these rules on the same signals, with a fleet that is only imagined."""

    file: Text = Field(
        description="The candidate's rule file, relative to this file; of the same pool.",
        examples=["candidates/chat-next.yaml"],
    )


class PoolFile(Section):
    """One pool: the whole file."""

    pool: PoolName = Field(description="Name of the pool; one file owns it.", examples=["chat-70b"])
    match: Labels = key({}, "Labels of the scrape targets that belong to the pool.")
    priority: Whole = key("0", "Who is served first when pools share quota or budget; higher first.")
    tick: Span = key("15s", "How often the pool is decided.")
    utilisation_target: Share = key("80%", "Share of the capacity that we plan to use.")
    replica: Replica = key({}, "What one replica is.")
    limits: Limits = key({}, "Bounds of the pool.")
    offers: Offers = key({}, "What may be launched.")
    data: Data = key({}, "How old a value may be.")
    signals: dict[SignalName, SignalSection] = key({}, "Named numbers that rules speak about.")
    rules: list[RuleSection] = key([], "What to do, and when.")
    alerts: list[AlertSection] = key([], "Alerts on each series of a metric.")
    scale_out: Out = key({}, "Limits on growth.")
    scale_in: In = key({}, "Limits on shrinking.")
    flap: FlapSection = key({}, "Limit on changes of either direction.")
    launch: LaunchSection = key({}, "Limits on orders.")
    warm_pool: WarmPoolSection = key({}, "Machines kept ready.")
    disruption: DisruptionSection = key({}, "How instances that serve may be replaced.")
    consolidate: ConsolidateSection | None = key(None, "Moves to cheaper machines; off without this section.")
    manual: Annotated[ManualSection | None, BeforeValidator(ignore_or_section)] = key(
        {}, "Changes of the fleet by a person; ignore = only told.", json_schema_extra=or_ignore
    )
    orphans: Annotated[OrphansSection | None, BeforeValidator(keep_or_section)] = key(
        {}, "Instances that the journal does not know; keep = for good.", json_schema_extra=or_keep
    )
    shadow: ShadowSection | None = key(None, "Rules to be compared with these, live.")

    @model_validator(mode="after")
    def _patient(self) -> PoolFile:
        fault = grace_fault(self.orphans, self.launch.limit)
        if fault:
            raise wrong((("orphans", "after"), fault))
        return self
