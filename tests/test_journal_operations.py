"""Marks, rolls and rollbacks in the journal: they survive, they end, and an older journal gets room for them."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.journal import Journal
from autoscaler.journal_operations import RETURN_S
from autoscaler.journal_schema import SCHEMA_VERSION
from autoscaler.types import Mark, Roll, Undone
from tests.worlds import NOW

MARK = Mark("chat-1", "chat", "cordon", NOW + 600, "ada", "evidence", NOW)
ROLL = Roll("r1", "chat", NOW, NOW + 600, "ada", "driver", windows=("02:00-05:00",), to=(("image", "new"),))
UNDONE = Undone("chat", NOW, 11, 9, "rollback", "floor", 6, NOW + 600, "ada", "dead exporter", "a", "b")

SCHEMA_2 = (Path(__file__).parent / "data" / "journal-schema-2.sql").read_text(encoding="utf-8")


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'journal.db'}"


@pytest.fixture
def journal() -> Journal:
    return Journal()


def test_a_mark_is_told_until_its_end_and_a_little_longer(journal: Journal) -> None:
    operations = journal.operations
    operations.put_mark(MARK)
    assert operations.marks(NOW, "chat") == operations.marks(NOW) == (MARK,)
    assert operations.marks(NOW, "other") == ()
    assert operations.marks(MARK.until + RETURN_S - 1) == (MARK,), "so that what it held comes back"
    assert operations.marks(MARK.until + RETURN_S) == ()


def test_one_instance_has_one_mark(journal: Journal) -> None:
    later = replace(MARK, kind="replace", created_at=NOW + 5)
    journal.operations.put_mark(MARK)
    journal.operations.put_mark(later)
    assert journal.operations.marks(NOW) == (later,)
    assert "cordon" in "".join(journal.dump()), "the first is kept as history"


def test_an_ended_mark_says_by_whom_and_cannot_be_ended_twice(journal: Journal) -> None:
    journal.operations.put_mark(MARK)
    assert journal.operations.end_mark("chat", "chat-1", "bob", "it is well", NOW + 9) == MARK
    assert journal.operations.end_mark("chat", "chat-1", "bob", "it is well", NOW + 10) is None
    assert [m.until for m in journal.operations.marks(NOW + 10)] == [NOW + 9]
    assert [line for line in journal.dump() if line.startswith("marks ") and "'bob', 'it is well'" in line]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    journal = Journal(url(tmp_path))
    other = replace(MARK, instance="chat-2")
    journal.operations.put_mark(MARK)
    journal.operations.put_mark(other)
    journal.operations.end_mark("chat", "chat-2", "bob", "it is well", NOW + 9)
    journal.operations.put_roll(ROLL)
    journal.operations.put_roll(replace(ROLL, id="r2", pool="docs"))
    journal.operations.end_roll("docs", "ada", "no", NOW)
    journal.operations.put_undone(UNDONE)
    journal.close()
    again = Journal(url(tmp_path))
    assert again.operations.marks(NOW + 10) == (MARK, replace(other, until=NOW + 9))
    assert again.operations.roll("chat") == ROLL
    assert again.operations.roll("docs") is None
    assert again.operations.undone("chat") == (UNDONE,)
    again.close()


def test_a_pool_has_one_roll_and_the_last_one_counts(journal: Journal) -> None:
    journal.operations.put_roll(ROLL)
    journal.operations.put_roll(replace(ROLL, id="r2"))
    found = journal.operations.roll("chat")
    assert found is not None
    assert found.id == "r2"
    assert journal.operations.end_roll("chat", "ada", "no", NOW)
    assert not journal.operations.end_roll("chat", "ada", "no", NOW)
    assert sum(line.startswith("rolls ") for line in journal.dump()) == 2


def test_rollbacks_are_told_newest_first(journal: Journal) -> None:
    for number in (1, 2, 3):
        journal.operations.put_undone(replace(UNDONE, decision=number))
    assert [u.decision for u in journal.operations.undone("chat", limit=2)] == [3, 2]


def test_a_journal_of_schema_2_gets_the_tables_and_keeps_what_it_has(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.executescript(SCHEMA_2)
    db.close()
    journal = Journal(url(tmp_path))
    assert journal.load()["chat"].want == 4
    assert [o.id for o in journal.overrides(NOW)] == ["event"]
    assert journal.operations.marks(NOW) == ()
    assert journal.operations.first_decision("chat") == (7, NOW - 60)
    journal.operations.put_mark(MARK)
    journal.operations.put_roll(ROLL)
    journal.operations.put_undone(UNDONE)
    journal.close()
    again = Journal(url(tmp_path))
    assert (again.operations.marks(NOW), again.operations.roll("chat")) == ((MARK,), ROLL)
    again.close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert db.execute("select version from meta").fetchone() == (SCHEMA_VERSION,)
    db.close()
