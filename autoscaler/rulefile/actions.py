"""The `rules` section: a condition, and what to do while it holds."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from functools import cache

from cronsim import CronSim, CronSimError
from pydantic import ConfigDict, Field, model_validator

from autoscaler.rulefile.conditions import When
from autoscaler.rulefile.section import Faults, Section, did_you_mean, key, wrong
from autoscaler.rulefile.words import AmountOf, Count, Duration, PerReplica, SeverityOf, Share, SignalName, Span, Text


class Adding(Section):
    """How many more replicas a rule asks for while its condition holds."""

    by: AmountOf = Field(description="A number of replicas, or a share of the present size.", examples=["2"])


class TargetSection(Section):
    """Sizes the pool so that each replica carries its share of a signal; grows and shrinks it."""

    signal: SignalName = Field(description="The signal that is shared out.", examples=["load"])
    per_replica: PerReplica = key("auto", "What one replica should carry; auto = its capacity x utilisation_target.")
    backlog: SignalName | None = key(None, "A signal of waiting work, which counts as demand on top.")
    clear: Span = key("2m", "The time in which the backlog is to be worked off.")


class ScheduleSection(Section):
    """A time window that moves the limits of the pool."""

    cron: Text = Field(description="When it starts: minute hour day month weekday.", examples=["'0 8 * * mon-fri'"])
    lasts: Span = Field(description="How long it lasts.", examples=["12h"])
    timezone: Text = key("UTC", "IANA name; the clock of that place counts, daylight-saving changes included.")

    @model_validator(mode="after")
    def _readable(self) -> ScheduleSection:
        faults: Faults = []
        reason = _cron_fault(self.cron)
        if reason:
            text = f"{self.cron!r} is not a cron expression ({reason}); write '0 8 * * mon-fri'"
            faults.append((("cron",), text))
        try:
            zoneinfo.ZoneInfo(self.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            close = did_you_mean(self.timezone, _zones_like(self.timezone)) or "; write a name such as Europe/Berlin"
            faults.append((("timezone",), f"{self.timezone!r} is not a time zone{close}"))
        if faults:
            raise wrong(*faults)
        return self


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _zones_like(name: str) -> list[str]:
    """Zones whose place begins with the same letter: comparing with all 600 takes 10 ms."""
    initial = name.rpartition("/")[2][:1].lower()
    return sorted(z for z in _zones() if z.rpartition("/")[2][:1].lower() == initial)


def _cron_fault(cron: str) -> str:
    """Why a text is not a cron expression of five fields that ever starts; empty if it is one."""
    if len(cron.split()) != 5:
        return "not five fields: minute hour day month weekday"
    try:
        next(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        return str(error)
    except StopIteration:
        return "it never starts"
    return ""


class ScheduledLimits(Section):
    """The bounds while a schedule lasts; what is not given stays as it is."""

    min: Count | None = key(None, "Fewest replicas meanwhile.")
    max: Count | None = key(None, "Most replicas meanwhile.")

    @model_validator(mode="after")
    def _ordered(self) -> ScheduledLimits:
        if self.min is None and self.max is None:
            raise ValueError("sets no bound; write min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise wrong((("min",), f"{self.min} is more than max {self.max}; lower min or raise max"))
        return self


class PolicyPlugIn(Section):
    """A policy that was installed as a plug-in."""

    model_config = ConfigDict(extra="allow")

    use: Text = Field(description="Its entry-point name.", examples=["NAME"])


class RuleSection(Section):
    """When something holds, change the size or raise an alert."""

    name: Text = Field(description="Quoted in decisions and alerts; unique in the pool.", examples=["saturation"])
    when: When | None = key(None, "The condition; without one the rule always acts.")
    scale_out: Adding | None = key(None, "Add replicas while the condition holds.")
    target: TargetSection | None = key(None, "Size the pool by demand.")
    schedule: ScheduleSection | None = key(None, "Move the limits for some hours.")
    limits: ScheduledLimits | None = key(None, "The limits of the schedule.")
    policy: PolicyPlugIn | None = key(None, "An installed policy: {use: NAME, setting: value}.")
    alert: SeverityOf | None = key(None, "Raise an alert of this severity while the condition holds.")
    cooldown: Duration = key(
        "0s", "After it acted the rule asks for no more for this long; while it holds, nothing shrinks."
    )
    keep_firing_for: Duration = key("0s", "How long its alert goes on firing after the condition ended.")
    silence: Duration = key("10m", "A firing alert is told again only after this long.")
    stages: list[Share] = key(["100%"], "Shares of a planned growth, ordered one after the other; ends with 100%.")

    @model_validator(mode="after")
    def _one_action(self) -> RuleSection:
        faults: Faults = []
        actions = [k for k in ("scale_out", "target", "schedule", "policy") if getattr(self, k) is not None]
        if len(actions) > 1:
            faults.append(((actions[1],), f"is a second action beside {actions[0]}; split them into two rules"))
        if not actions and self.alert is None:
            faults.append(((), "does nothing; add scale_out, target, schedule or alert"))
        if self.alert is not None and self.when is None:
            faults.append((("alert",), "has no condition; add 'when: {queue: {above: 50}}'"))
        if self.alert is None and self.keep_firing_for:
            faults.append((("keep_firing_for",), "belongs to an alert; add 'alert: warning', or delete it"))
        if self.schedule is not None and self.limits is None:
            faults.append((("schedule",), "moves no limits; add 'limits: {min: 6}'"))
        if self.limits is not None and self.schedule is None:
            faults.append((("limits",), "belongs to a schedule; add one, or set the pool's limits at the top"))
        if any(b <= a for a, b in zip([0.0, *self.stages], self.stages, strict=False)) or self.stages[-1:] != [1.0]:
            faults.append((("stages",), "must rise and end with 100%; write [25%, 50%, 100%]"))
        if faults:
            raise wrong(*faults)
        return self
