"""Pools without rules: what is told of them, and when a release is over. Pure, but for a journal in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from autoscaler.board import Board
from autoscaler.errors import StorageError
from autoscaler.journal import Entry, Journal
from autoscaler.ownerless import RELEASE, Unattended, with_release
from autoscaler.types import Alert, Instance, Launch, Memory, Plan
from tests.test_planner import decided
from tests.worlds import NOW, OFFER, instance, rules

Found = dict[str, tuple[Instance, ...]]
CHAT: Found = {"chat": (instance(1), instance(2))}


@dataclass
class Told:
    """What follows pools without rules, and the alerts that it sent."""

    journal: Journal = field(default_factory=Journal)
    alerts: list[Alert] = field(default_factory=list)
    board: Board = field(default_factory=Board)

    def __post_init__(self) -> None:
        self.followed = Unattended(self.journal, self.board, self.alerts.extend)

    def pools(self, found: Found, at: float = NOW, told: bool = True, ruled: str = "") -> set[str]:
        """The pools that are led by rules, those of a release among them."""
        given = {ruled: rules(pool=ruled)} if ruled else {}
        return set(self.followed.rules(given, found, told, at))


@pytest.fixture
def released() -> Told:
    made = Told()
    made.journal.put_override(with_release("chat", "ada", "replaced", NOW))
    return made


def in_force(told: Told, at: float = NOW) -> list[str]:
    return [o.id for o in told.journal.overrides(at)]


def test_without_a_release_no_rules_are_made_up() -> None:
    told = Told()
    assert told.pools(CHAT) == set()
    assert told.board.ownerless["chat"].instances == CHAT["chat"]


def test_a_rule_file_that_is_replaced_alarms_nobody_and_one_that_is_gone_does_once() -> None:
    told = Told()
    for after_s in (0, 30, 59):
        told.pools(CHAT, NOW + after_s)
    assert told.alerts == []
    for after_s in (60, 75, 90):
        told.pools(CHAT, NOW + after_s)
    assert [(a.name, a.state) for a in told.alerts] == [("instances without rules", "firing")]
    told.pools({}, NOW + 120, ruled="chat")
    assert [a.state for a in told.alerts] == ["firing", "resolved"]


def test_a_release_leads_to_zero_and_names_the_providers_that_have_the_machines(released: Told) -> None:
    found = released.followed.rules({}, CHAT, True, NOW)["chat"]
    assert (found.bounds.min, found.bounds.max, [o.provider for o in found.offers]) == (0, 0, ["sim"])


@pytest.mark.parametrize(
    ("found", "told", "ruled", "over"),
    [
        pytest.param(CHAT, True, "", False, id="while machines are there it goes on"),
        pytest.param({}, False, "", False, id="before every provider has spoken nothing is called gone"),
        pytest.param({}, True, "", True, id="when all are gone it is over"),
        pytest.param({}, True, "chat", True, id="when its rules are back it is over"),
    ],
)
def test_a_release_is_over_when_nothing_is_left_or_rules_are_back(
    released: Told, found: Found, told: bool, ruled: str, over: bool
) -> None:
    released.pools(found, told=told, ruled=ruled)
    assert in_force(released) == ([] if over else [RELEASE])


def test_a_release_waits_for_an_order_that_is_still_under_way(released: Told) -> None:
    order = Launch("l1", "chat", NOW, NOW + 300, OFFER)
    released.journal.record([Entry(decided(1), Plan("chat", 1, (order,)), (), Memory(number=1))])
    assert released.pools({}) == {"chat"}
    assert in_force(released) == [RELEASE]


def test_a_release_ends_by_its_time_and_leaves_what_is_still_there(released: Told) -> None:
    assert released.pools(CHAT, NOW + 86401) == set()
    assert in_force(released, NOW + 86401) == []


def test_a_journal_that_refuses_breaks_nothing(released: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise StorageError("journal: no space left; make some")

    monkeypatch.setattr(released.journal, "end_override", refuse)
    assert released.pools({}, ruled="chat") == {"chat"}


def test_warm_machines_cost_nothing_in_what_is_told() -> None:
    told = Told()
    told.pools({"chat": (instance(1), replace(instance(2), state="warm"))})
    assert told.board.ownerless["chat"].text.startswith("2 instances of pool chat, 2 USD/h")
