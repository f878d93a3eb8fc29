"""The `disruption` section: how fast, and when, instances that serve may be replaced by others."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from autoscaler.movement import Disruption
from autoscaler.rulefile.section import Section, key, wrong
from autoscaler.rulefile.words import Count, Duration, choice, one_or_list, word
from autoscaler.windows import Window, next_open, window

MAX_WINDOWS = 50
WindowOf = Annotated[Window, word(window, "02:00-05:00"), WithJsonSchema({"title": "window", "type": "string"})]


class DisruptionSection(Section):
    """How `sigmascale roll` may go through the pool."""

    max_unavailable: Count = key("0", "Most instances that may be missing while others are replaced.")
    max_surge: Count = key("1", "Most instances that may be there besides those that are needed.")
    per_hour: Count = key("30", "Most replacements begun in any hour.")
    canary: Duration = key("5m", "How long the first new instance must serve before others are replaced.")
    windows: Annotated[
        list[WindowOf],
        BeforeValidator(one_or_list),
        WithJsonSchema(
            {"title": "one or a list", "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        ),
    ] = key([], "Only then, such as `mon-fri 22:00-05:00 Europe/Berlin`; a day without a zone is of UTC.")

    rebalance: Annotated[str, *choice("tell", "replace")] = key(
        "tell", "Whether instances that their cloud advises to move away from are replaced, or only told."
    )

    @model_validator(mode="after")
    def _possible(self) -> DisruptionSection:
        if self.max_unavailable == 0 and self.max_surge == 0:
            raise wrong((("max_surge",), "0 with max_unavailable 0 lets nothing be replaced; raise one of the two"))
        if self.per_hour == 0:
            raise wrong((("per_hour",), "0 lets nothing be replaced; write 1 or more"))
        if len(self.windows) > MAX_WINDOWS:
            raise wrong((("windows",), f"has {len(self.windows)} entries, more than {MAX_WINDOWS}; put some together"))
        shut = [(("windows", n), f"{w.text!r} never opens") for n, w in enumerate(self.windows) if never(w)]
        if shut:
            raise wrong(*shut)
        return self


def disruption(section: DisruptionSection) -> Disruption:
    """What the section means."""
    return Disruption(
        max_unavailable=section.max_unavailable,
        max_surge=section.max_surge,
        per_hour=section.per_hour,
        canary_s=section.canary,
        windows=tuple(section.windows),
        rebalance=section.rebalance,  # type: ignore[arg-type]
    )


def never(one: Window) -> bool:
    """Whether a window opens at no time at all."""
    # Any instant will do: what opens at all opens every week.
    return next_open([[one]], 0.0) is None
