"""The `consolidate` section: when machines that serve are replaced by a cheaper mix."""

from __future__ import annotations

from pydantic import model_validator

from autoscaler.movement import Consolidation
from autoscaler.rulefile.section import Section, key, wrong
from autoscaler.rulefile.words import Count, Number, Span


class ConsolidateSection(Section):
    """Machines are replaced by cheaper ones that serve the same need; without this section they never are."""

    min_ratio: Number = key("2", "What is saved must be so many times what the move costs.")
    per_hour: Count = key("8", "Most machines that begin to be replaced in any hour.")
    kept: Span = key("4h", "How long the machines are expected to stay, which is how long they save.")

    @model_validator(mode="after")
    def _worth_it(self) -> ConsolidateSection:
        if self.min_ratio < 1:
            text = f"{self.min_ratio:g} lets a move cost more than it saves; write 1 or more, 2 is the default"
            raise wrong((("min_ratio",), text))
        return self


def consolidation(section: ConsolidateSection | None) -> Consolidation | None:
    """What the section means; None = it is not there."""
    return None if section is None else Consolidation(section.min_ratio, section.per_hour, section.kept)
