"""The warm pool's section of a rule file, and what it means as a value."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from autoscaler.movement import Refill, WarmPool
from autoscaler.rulefile.disruption import WindowOf, never
from autoscaler.rulefile.section import Section, key, wrong
from autoscaler.rulefile.words import Count, Duration, Span, choice, one_or_list
from autoscaler.units import duration_text

HOUR_S = 3600.0
"""Launches are remembered for an hour."""


class RefillSection(Section):
    """When and how fast new machines are launched into the warm pool."""

    machines: Count = key("1", "At most this many launches per period.")
    per: Span = key("10m", "The period, at most 1h; launches into service count too.")
    between: Annotated[
        list[WindowOf],
        BeforeValidator(one_or_list),
        WithJsonSchema(
            {"title": "one or a list", "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        ),
    ] = key([], "Only then, such as `22:00-06:00 Asia/Shanghai`; else whenever demand is not expected to rise.")

    @model_validator(mode="after")
    def _possible(self) -> RefillSection:
        if self.machines == 0:
            raise wrong((("machines",), "0 never refills the pool; write 1 or more"))
        if self.per > HOUR_S:
            text = f"{duration_text(self.per)} is more than the hour for which launches are counted; write 1h or less"
            raise wrong((("per",), text))
        shut = [(("between", n), f"{w.text!r} never opens") for n, w in enumerate(self.between) if never(w)]
        if shut:
            raise wrong(*shut)
        return self


class WarmPoolSection(Section):
    """Machines kept ready but not serving: started before anything is bought, refilled in quiet hours."""

    size: Annotated[str, *choice("fixed", "forecast")] = key("fixed", "forecast = as many as the forecast asks for.")
    min: Count = key("0", "At least this many replicas.")
    max: Count | None = key(None, "At most this many replicas; 0 = empty the pool.")
    state: Annotated[str, *choice("stopped", "hibernated", "running")] = key("stopped", "What they wait as.")
    keep: Duration = key("1h", "One leaves only when fewer were wanted for this long.")
    max_age: Span | None = key(None, "Machines ordered longer ago are replaced, one at a time.")
    refill: RefillSection = key({}, "When new machines are launched into it.")

    @model_validator(mode="after")
    def _ordered(self) -> WarmPoolSection:
        if self.max is not None and self.min > self.max:
            raise wrong((("min",), f"{self.min} is more than max {self.max}; lower min or raise max"))
        return self


def warm_pool(section: WarmPoolSection) -> WarmPool:
    """The warm pool that the section means."""
    refill = Refill(section.refill.machines, section.refill.per, tuple(section.refill.between))
    return WarmPool(
        min=section.min,
        size=section.size,  # type: ignore[arg-type]
        state=section.state,  # type: ignore[arg-type]
        max=section.max,
        keep_s=section.keep,
        max_age_s=section.max_age,
        refill=refill,
    )
