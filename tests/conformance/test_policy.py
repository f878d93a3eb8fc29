"""What every policy must do. A new one adds one line to SUBJECTS: one of it, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import plugins
from autoscaler.errors import InputError
from autoscaler.policies.schedule import Schedule
from autoscaler.policies.step import Step
from autoscaler.policies.target import CAPACITY, Target
from autoscaler.ports import Policy
from autoscaler.types import Proposal, Quality, Reading, Sense
from tests.worlds import NOW, fleet

NAN = float("nan")
DAY_S = 86_400.0
LESSER: tuple[Quality, ...] = ("partial", "stale", "frozen", "missing")


@dataclass(frozen=True, slots=True)
class Subject:
    """A policy under test, which reads `load` if it reads anything. nonsense: settings that it must refuse."""

    policy: Policy
    nonsense: tuple[dict[str, Any], ...]


SUBJECTS = {
    "step": Subject(Step(2), ({"by": -1}, {"by_ratio": NAN})),
    "target": Subject(
        Target("load", 10.0),
        ({"per_replica": 0.0}, {"per_replica": NAN}, {"tolerance_in": 1.0}, {"utilisation_target": 0.0}),
    ),
    "schedule": Subject(
        Schedule("0 8 * * *", 12 * 3600.0, min=2, max=9),
        ({"cron": "soon"}, {"lasts_s": 0.0}, {"timezone": "Mars/Base"}, {"min": 10}, {"min": -1}),
    ),
}
each_policy = pytest.mark.parametrize("policy", [pytest.param(SUBJECTS[n].policy, id=n) for n in sorted(SUBJECTS)])
values = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1e4))


def reading(value: float | None, quality: Quality = "fresh") -> Reading:
    return Reading(NOW, value, quality)


def asked(policy: Policy, readings: Mapping[str, Reading], current: int, now: float = NOW) -> tuple[Proposal, ...]:
    """Its proposals for a pool at its size; the readings cannot be written to."""
    return policy.propose(now, MappingProxyType(dict(readings)), fleet(current, at=now), current)


def legal(proposals: tuple[Proposal, ...]) -> None:
    assert isinstance(proposals, tuple)
    for p in proposals:
        assert p.sense in get_args(Sense)
        assert type(p.replicas) is int, "whole replicas, so neither infinite nor not a number"
        assert p.replicas >= 0
        assert p.source == "", "the engine fills in the rule's name"
        assert p.text, "a person wants to know why"


def lowers(proposals: tuple[Proposal, ...], current: int) -> bool:
    return any(p.sense in ("size", "lower") and p.replicas < current for p in proposals)


def test_every_installed_policy_is_tried_here() -> None:
    assert set(plugins.names("policies")) == set(SUBJECTS)


@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_what_is_installed_under_its_name_is_what_is_tried(name: str) -> None:
    assert isinstance(SUBJECTS[name].policy, plugins.load("policies", name))


@each_policy
def test_it_fits_its_plug_and_is_a_value(policy: Policy) -> None:
    assert isinstance(policy, Policy)
    assert dataclasses.is_dataclass(policy)
    assert hash(policy) == hash(dataclasses.replace(policy))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(policy, dataclasses.fields(policy)[0].name, None)


@each_policy
@settings(derandomize=True, max_examples=150)
@given(
    load=values,
    capacity=values,
    quality=st.sampled_from(get_args(Quality)),
    current=st.integers(0, 40),
    now=st.floats(NOW - 400 * DAY_S, NOW + 400 * DAY_S),
)
def test_whatever_it_reads_its_proposals_are_legal_and_the_same_each_time(
    policy: Policy, load: float | None, capacity: float | None, quality: Quality, current: int, now: float
) -> None:
    readings = {"load": reading(load, quality), CAPACITY: reading(capacity, quality)}
    proposals = asked(policy, readings, current, now)
    legal(proposals)
    assert asked(policy, readings, current, now) == proposals
    assert asked(dataclasses.replace(policy), readings, current, now) == proposals  # type: ignore[type-var]


@each_policy
@settings(derandomize=True, max_examples=100)
@given(load=values, quality=st.sampled_from(LESSER), current=st.integers(0, 40))
def test_nothing_less_than_fresh_lowers(policy: Policy, load: float | None, quality: Quality, current: int) -> None:
    assert not lowers(asked(policy, {"load": reading(load, quality)}, current), current)


@each_policy
@pytest.mark.parametrize(
    "readings",
    [
        pytest.param({}, id="no reading at all"),
        pytest.param({"other": reading(5.0)}, id="only a signal that it does not know"),
        *[pytest.param({"load": reading(None, quality)}, id=quality) for quality in LESSER],
        *[pytest.param({"load": reading(value)}, id=f"{value}") for value in (math.inf, -math.inf, NAN)],
    ],
)
@pytest.mark.parametrize("current", [0, 1, 5, 40])
def test_what_cannot_be_known_neither_shrinks_the_pool_nor_blows_it_up(
    policy: Policy, readings: dict[str, Reading], current: int
) -> None:
    proposals = asked(policy, readings, current)
    legal(proposals)
    assert not lowers(proposals, current)
    assert all(p.replicas <= 2 * current + 10 for p in proposals)


@each_policy
def test_it_keeps_nothing_from_one_call_to_the_next(policy: Policy) -> None:
    first = asked(policy, {"load": reading(45.0)}, 5)
    asked(policy, {"load": reading(4000.0)}, 39, NOW + DAY_S / 2)
    assert asked(policy, {"load": reading(45.0)}, 5) == first


NONSENSE = [
    pytest.param(name, bad, id=f"{name} {bad}") for name, subject in SUBJECTS.items() for bad in subject.nonsense
]


@pytest.mark.parametrize(("name", "bad"), NONSENSE)
def test_it_refuses_settings_that_make_no_sense(name: str, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(SUBJECTS[name].policy, **bad)  # type: ignore[type-var]
