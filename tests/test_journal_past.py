"""The journal in short: which decisions changed the size, found without reading any in full."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.journal import Entry, Journal
from autoscaler.journal_past import Direction
from autoscaler.types import Decision, Launch, Memory, Outcome, Plan, Reason
from tests.worlds import NOW, OFFER

WANTS = (4, 4, 6, 6, 5, 5, 8)


def decision(number: int, want: int) -> Decision:
    return Decision("chat", number, NOW + 300 * number, want, want, want, 0, (Reason(f"r{number}", want, "because"),))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    for number, want in enumerate(WANTS, start=1):
        one = decision(number, want)
        made.record([Entry(one, Plan("chat", number), (), Memory(number=number))])
        other = replace(one, pool="other", want=9)
        made.record([Entry(other, Plan("other", number), (), Memory(number=number))])
    return made


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        pytest.param(None, [7, 6, 5, 4, 3, 2, 1], id="all"),
        pytest.param("both", [7, 5, 3], id="changes"),
        pytest.param("out", [7, 3], id="scale out"),
        pytest.param("in", [5], id="scale in"),
    ],
)
def test_decisions_come_newest_first(journal: Journal, only: Direction | None, expected: list[int]) -> None:
    assert [s.number for s in journal.past.short("chat", only=only)] == expected


def test_a_page_begins_where_the_last_one_ended_and_knows_what_was_before_it(journal: Journal) -> None:
    first = journal.past.short("chat", only="both", limit=2)
    assert [(s.number, s.before, s.want) for s in first] == [(7, 5, 8), (5, 6, 5)]
    rest = journal.past.short("chat", only="both", before=first[-1].number, limit=2)
    assert [(s.number, s.before, s.want) for s in rest] == [(3, 4, 6)]


@pytest.mark.parametrize(("number", "expected"), [(1, 3), (3, 5), (4, 5), (5, 7), (7, None)])
def test_the_next_change_after_a_decision_is_found(journal: Journal, number: int, expected: int | None) -> None:
    found = journal.past.next_change("chat", number)
    assert (found.number if found is not None else None) == expected


def test_a_span_of_time_bounds_what_is_told_and_not_what_was_before(journal: Journal) -> None:
    found = journal.past.short("chat", since=NOW + 900, until=NOW + 1500)
    assert [(s.number, s.before) for s in found] == [(4, 6), (3, 4)]


def test_the_first_decision_of_a_journal_changes_nothing(journal: Journal) -> None:
    assert [s.changes for s in journal.past.short("chat")] == [True, False, True, False, True, False, False]


def test_some_are_read_in_full_by_their_numbers(journal: Journal) -> None:
    assert journal.past.full("chat", [3, 5, 99]) == {3: decision(3, 6), 5: decision(5, 5)}


def test_what_became_of_actions_is_told_in_order(journal: Journal) -> None:
    order = Launch("a1", "chat", NOW, NOW + 60, OFFER)
    told = tuple(Outcome("a1", "chat", status, NOW) for status in ("accepted", "unknown", "done"))
    one = Entry(decision(8, 9), Plan("chat", 8, (order,)), told, Memory(number=8))
    journal.record([one])
    assert journal.past.outcomes_of(["a1", "a2"]) == {"a1": list(told)}


def test_changes_are_found_in_an_index_alone(journal: Journal) -> None:
    with sqlite3.connect(journal.url.removeprefix("sqlite:///")) as db:
        plan = db.execute(
            "explain query plan select number, at, want from decisions where pool = 'chat' order by number desc"
        ).fetchall()
    assert any("COVERING INDEX decisions_in_short" in row[3] for row in plan)
