"""Conditions of the rule language: `{queue: {above: 50}}`, `all`, `any`, `at_least ... of`, nested."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from autoscaler.rulefile.section import Section, did_you_mean, key, wrong
from autoscaler.rulefile.words import Count, Duration, Level, LimitOf, PluggedIn, Spread, Within

WORDS = ("all", "any", "at_least", "of", "for")
TESTS = "(tests)"
"""The key under which a mapping's signals are kept after reading; in parentheses, so that no file can hold it."""

SEASONAL_LOOKBACK_S = 7 * 86400.0
"""A week of history is at hand in every service; four of them (`lookback: 28d`) tell the days of the week apart."""

LEAST_SEASONAL_LOOKBACK_S = 4 * 86400.0


class Deviation(Section):
    """A value against a threshold: one of above, below, outside."""

    above: LimitOf | None = Field(None, description="85%, 50, 2s, 80GiB, '3 sigma' or {use: PLUGIN}.")
    below: LimitOf | None = Field(None, description="The same, from the other side.")
    outside: LimitOf | None = Field(None, description="Either side: '3 sigma', '3 seasonal', [lower, upper].")
    lookback: Duration = key("1h", "The history that a learned threshold is taken from; a seasonal one takes 7d.")
    min_points: Count = key("20", "With fewer points a learned threshold does not judge.")
    min_width: LimitOf | None = Field(
        None, description="A learned band is at least this wide on each side; 5% = of its centre."
    )

    @model_validator(mode="after")
    def _one_direction(self) -> Deviation:
        given = [k for k in ("above", "below", "outside") if getattr(self, k) is not None]
        if len(given) != 1:
            said = f"has {' and '.join(given)}" if given else "has no threshold"
            hint = "; for two bounds write outside: [lower, upper]" if given == ["above", "below"] else ""
            raise ValueError(f"{said}; write exactly one of above, below, outside{hint}")
        limit = getattr(self, given[0])
        if given == ["outside"] and isinstance(limit, Level):
            raise wrong((("outside",), f"{limit.text!r} is one bound; write [lower, upper], or above or below"))
        if given != ["outside"] and isinstance(limit, Within):
            raise wrong(((given[0],), "is two bounds; write outside: [lower, upper]"))
        if isinstance(limit, Level | Within):
            idle = sorted({"lookback", "min_points", "min_width"} & self.model_fields_set)
            if idle:
                raise wrong(*(((k,), "has no effect with a fixed threshold; remove it") for k in idle))
        if self._seasonal and self.lookback_s < LEAST_SEASONAL_LOOKBACK_S:
            raise wrong((("lookback",), "holds no three earlier days; write 4d or more, or leave it out for 7d"))
        if self.min_width is not None and not isinstance(self.min_width, Level):
            raise wrong((("min_width",), "is not a width; write a value such as 10 or 5%"))
        return self

    @property
    def direction(self) -> str:
        """The one key of above, below and outside that is given."""
        return next(k for k in ("above", "below", "outside") if getattr(self, k) is not None)

    @property
    def lookback_s(self) -> float:
        """The lookback that was written, or the one that the threshold needs to see its seasons."""
        return self.lookback if "lookback" in self.model_fields_set or not self._seasonal else SEASONAL_LOOKBACK_S

    @property
    def _seasonal(self) -> bool:
        limit = getattr(self, self.direction)
        return (isinstance(limit, Spread) and limit.kind == "seasonal") or (
            isinstance(limit, PluggedIn) and limit.name == "seasonal"
        )


class TestSection(Deviation):
    """One signal against a threshold."""

    __test__ = False


def _tests_apart(value: Any) -> Any:
    """The same mapping with the signals, which are keys of the people's choice, below a key of their own."""
    if not isinstance(value, dict):
        return value
    tests = {k: v for k, v in value.items() if k not in WORDS}
    slips = {k: did_you_mean(k, WORDS) for k, v in tests.items() if not isinstance(v, dict)}
    if any(slips.values()):
        raise wrong(*(((k,), f"is not a known key{close}") for k, close in slips.items() if close))
    rest = {k: v for k, v in value.items() if k in WORDS}
    return {**rest, TESTS: tests} if tests else rest


def _tests_shown_in_place(schema: dict[str, Any]) -> None:
    """In the editors' schema signals are keys beside the words, as in the file."""
    tests = schema["properties"].pop(TESTS)
    schema["additionalProperties"] = tests["additionalProperties"]


class Part(Section):
    """A condition: signals (all of them), or one of all, any, at_least with of."""

    model_config = ConfigDict(json_schema_extra=_tests_shown_in_place)

    all: list[Part] | None = Field(None, description="Every part holds.")
    any: list[Part] | None = Field(None, description="One part holds.")
    at_least: Count | None = Field(None, description="This many parts of `of` hold.")
    of: list[Part] | None = Field(None, description="The parts of at_least.")
    tests: dict[str, TestSection] = Field(default_factory=dict, alias="(tests)")

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, value: Any) -> Any:
        return _tests_apart(value)

    @model_validator(mode="after")
    def _one_form(self) -> Part:
        forms = [k for k in ("all", "any", "at_least") if getattr(self, k) is not None]
        forms += [f"signal {next(iter(self.tests))}"] if self.tests else []
        if len(forms) != 1:
            said = f"mixes {' and '.join(forms)}" if forms else "is empty"
            raise ValueError(f"{said}; write signals such as {{queue: {{above: 50}}}}, or one of all, any, at_least")
        if (self.at_least is None) != (self.of is None):
            raise ValueError("needs both at_least and of; write {at_least: 2, of: [...]}")
        for word in ("all", "any", "of"):
            if getattr(self, word) == []:
                raise wrong(((word,), "is empty; write at least one condition"))
        if self.at_least is not None and not 1 <= self.at_least <= len(self.of or ()):
            raise wrong((("at_least",), f"{self.at_least} of {len(self.of or ())} cannot be; write 1 to that many"))
        return self


class When(Part):
    """A condition, and for how long it must hold without a break."""

    for_: Duration = key("0s", "How long without a break.", alias="for")
