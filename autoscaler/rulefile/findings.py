"""A finding is a place in a rule file and what is wrong there; and every test of a condition, with its place."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.rulefile.conditions import TESTS, Part, TestSection
from autoscaler.rulefile.model import PoolFile
from autoscaler.yamltree import Way

Finding = tuple[Way, str]


def tests(model: PoolFile) -> Iterator[tuple[Way, str, TestSection]]:
    """Every test of the rules and of scale-in: where it stands, its signal, what it says."""
    for index, rule in enumerate(model.rules):
        if rule.when is not None:
            yield from tests_of(rule.when, ("rules", index, "when"))
    if model.scale_in.when is not None:
        yield from tests_of(model.scale_in.when, ("scale_in", "when"))


def tests_of(part: Part, way: Way) -> Iterator[tuple[Way, str, TestSection]]:
    """The tests of one condition."""
    for name, test in part.tests.items():
        yield (*way, TESTS, name), name, test
    for word in ("all", "any", "of"):
        for index, inner in enumerate(getattr(part, word) or ()):
            yield from tests_of(inner, (*way, word, index))
