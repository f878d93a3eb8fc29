"""The providers' reports, split by pool, and which pools a new report concerns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from autoscaler.clock import SimClock
from autoscaler.dispatch import Dispatch, Inline, Unavailable
from autoscaler.errors import UnreachableError
from autoscaler.reports import Reports
from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Fleet, Instance, Offer, Outcome
from tests.worlds import NOW, instance, rules

OTHER = Offer("other", "box")


@dataclass
class Told:
    """A provider that reports what a test says; None = it cannot be asked."""

    report: Fleet | None

    def observe(self) -> Fleet:
        if self.report is None:
            raise UnreachableError("cut off")
        return self.report

    def apply(self, action: Action) -> Outcome:
        raise NotImplementedError


def listed(*instances: Instance, at: float = NOW) -> Fleet:
    return Fleet(at, instances)


def heard(**told: Told | None) -> Reports:
    """Reports of some providers by name, each asked whenever it is looked at; None is one that is not installed."""
    hands: dict[str, Dispatch] = {
        name: Unavailable("not installed") if one is None else Inline(one, SimClock(NOW)) for name, one in told.items()
    }
    return Reports(hands)


def of(reports: Reports, ruled: RuleSet) -> list[str] | None:
    """The ids of one pool's fleet."""
    fleet = reports.of(ruled, NOW)
    return None if fleet is None else [i.id for i in fleet.instances]


CHAT, CODE = instance(1), instance(2, pool="code")
BOTH = rules(offers=(Offer("sim", "small"), OTHER))


def test_a_pool_sees_its_own_instances_only() -> None:
    reports = heard(sim=Told(listed(CHAT, CODE)))
    assert of(reports, rules()) == ["chat-1"]
    assert of(reports, rules(pool="code")) == ["chat-2"]
    assert of(reports, rules(pool="idle")) == [], "a pool without instances is empty, not unknown"


def test_a_fleet_is_unknown_until_each_provider_of_its_offers_was_heard() -> None:
    other = Told(None)
    reports = heard(sim=Told(listed(CHAT)), other=other)
    assert of(reports, rules()) == ["chat-1"], "a provider that the pool does not use keeps nobody waiting"
    assert of(reports, BOTH) is None
    other.report = listed(instance(7, offer=OTHER.key))
    assert sorted(of(reports, BOTH) or []) == ["chat-1", "chat-7"]


def test_a_fleet_stays_unknown_while_a_provider_of_its_offers_is_missing() -> None:
    assert of(heard(sim=Told(listed(CHAT)), other=None), BOTH) is None
    assert of(heard(sim=Told(listed(CHAT))), BOTH) is None


def test_a_provider_that_falls_silent_leaves_its_last_report_with_its_age() -> None:
    told = Told(listed(CHAT))
    reports = heard(sim=told)
    assert reports.changed() == {"chat"}
    told.report = None
    assert reports.changed() == set()
    assert reports.of(rules(), NOW) == listed(CHAT)


def test_instances_of_a_provider_that_the_rules_name_no_more_still_count() -> None:
    reports = heard(sim=Told(listed(CHAT)), other=Told(listed(instance(7, offer=OTHER.key))))
    reports.changed()
    assert sorted(of(reports, rules()) or []) == ["chat-1", "chat-7"]


def test_the_first_report_concerns_every_pool_in_it() -> None:
    reports = heard(sim=Told(listed(CHAT, CODE)), other=Told(listed()))
    assert reports.changed() == {"chat", "code"}
    assert reports.changed() == set(), "and nobody as long as it is the last one"


def test_a_new_report_concerns_the_pools_whose_instances_differ() -> None:
    told = Told(listed(CHAT, CODE))
    reports = heard(sim=told)
    reports.changed()
    told.report = listed(CHAT, CODE, at=NOW + 5)
    assert reports.changed() == set(), "a later report of the same changes nothing"
    told.report = listed(CHAT, replace(CODE, state="draining"), at=NOW + 10)
    assert reports.changed() == {"code"}
    told.report = listed(replace(CODE, state="draining"), at=NOW + 15)
    assert reports.changed() == {"chat"}, "one that vanished concerns its pool"
    told.report = listed(replace(CODE, state="draining"), instance(3, pool="new"), at=NOW + 20)
    assert reports.changed() == {"new"}


def test_a_tick_sees_the_newest_report_that_was_looked_at() -> None:
    told = Told(listed(CHAT))
    reports = heard(sim=told)
    reports.changed()
    told.report = listed(CHAT, instance(5), at=NOW + 5)
    assert of(reports, rules()) == ["chat-1"], "every pool of a pass sees the same report"
    reports.changed()
    assert of(reports, rules()) == ["chat-1", "chat-5"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param({}, [], id="without a provider there is nothing"),
        pytest.param(
            {"sim": Told(listed(CHAT, CODE)), "other": Told(listed())}, ["chat-1"], id="what is left of before"
        ),
        pytest.param({"sim": Told(None)}, None, id="a provider that did not report may have some"),
        pytest.param({"sim": Told(listed()), "other": None}, None, id="and so may one that cannot be asked"),
    ],
)
def test_rules_without_offers_ask_every_provider(told: dict[str, Told | None], expected: list[str] | None) -> None:
    assert of(heard(**told), rules(offers=())) == expected


def test_a_pool_with_more_to_route_to_is_told_once_and_one_with_less_is_not() -> None:
    told = Told(listed(CHAT))
    reports = heard(sim=told)
    reports.changed()
    assert reports.risen() == {"chat"}
    assert reports.risen() == set()
    told.report = listed(replace(CHAT, state="draining"), at=NOW + 5)
    reports.changed()
    assert reports.risen() == set()
    told.report = listed(CHAT, at=NOW + 10)
    reports.changed()
    assert reports.risen() == {"chat"}
