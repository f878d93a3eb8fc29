"""What a rule file says about changes that nobody here ordered."""

from __future__ import annotations

from typing import Any

from autoscaler.movement import Ownership
from autoscaler.rulefile.section import Section, key
from autoscaler.rulefile.words import Span

GRACE_S = 900.0


class ManualSection(Section):
    """What is made of a person's change of the fleet, besides telling it. `manual: ignore` = nothing."""

    adopt_for: Span = key("1h", "How long it stands: as a floor, a ceiling, or a machine that is left alone.")


class OrphansSection(Section):
    """Instances with our tags whose launch the journal does not know. `orphans: keep` = they stay."""

    after: Span = key("15m", "How long such a one is kept that the pool does not need; longer than launch.limit.")


def ignore_or_section(value: object) -> object:
    """`ignore` stands for no section at all."""
    return _word_or_section(value, "ignore")


def keep_or_section(value: object) -> object:
    """`keep` stands for no section at all."""
    return _word_or_section(value, "keep")


def or_ignore(schema: dict[str, Any]) -> None:
    """`ignore` for editors."""
    schema["anyOf"] = [o for o in schema["anyOf"] if o.get("type") != "null"] + [{"enum": ["ignore"]}]


def or_keep(schema: dict[str, Any]) -> None:
    """`keep` for editors."""
    schema["anyOf"] = [o for o in schema["anyOf"] if o.get("type") != "null"] + [{"enum": ["keep"]}]


def ownership(manual: ManualSection | None, orphans: OrphansSection | None, limit_s: float) -> Ownership:
    """The value of both sections. An order may be on its way for `limit_s`: a grace that nobody wrote is longer."""
    after_s = None if orphans is None else orphans.after
    if orphans is not None and "after" not in orphans.model_fields_set:
        after_s = max(GRACE_S, 2 * limit_s)
    return Ownership(None if manual is None else manual.adopt_for, after_s)


def grace_fault(orphans: OrphansSection | None, limit_s: float) -> str:
    """What is wrong with the grace, empty = nothing."""
    if orphans is None or "after" not in orphans.model_fields_set or orphans.after > limit_s:
        return ""
    rule = f"is not longer than launch.limit, {limit_s:g} s, in which an order of ours may still be on its way"
    return f"{orphans.after:g} s {rule}; write {2 * limit_s:g}s"


def _word_or_section(value: object, word: str) -> object:
    if isinstance(value, str) and value != word:
        raise ValueError(f"{value!r} is neither a section nor {word}; write {word}, or keys below it")
    return None if value == word else value
