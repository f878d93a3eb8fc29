"""The journal: what is written is there, what cannot be written is said, what an older release wrote is read."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.errors import StorageError
from autoscaler.journal import Entry, Journal
from autoscaler.journal_learned import KEPT, Lesson
from autoscaler.journal_schema import SCHEMA_VERSION
from autoscaler.types import Alert, Decision, Launch, Memory, Outcome, Override, Plan, Reading, Reason, Shortage
from tests.worlds import NOW, OFFER


def entry(number: int, want: int = 4, ordered: bool = False, ended: tuple[str, ...] = (), at: float = 0.0) -> Entry:
    when = NOW + (at or 15.0 * number)
    decision = Decision(
        "chat", number, when, 4, want, 4, 0, (Reason("rule:load", want, "because"),),
        readings={"load": Reading(when, 41.5, "partial", 40.0, None, "2 of 3 targets answer")},
    )  # fmt: skip
    actions = (Launch(f"a{number}", "chat", when, when + 300, OFFER),) if ordered else ()
    outcomes = tuple(Outcome(a, "chat", "done", when, "i-1") for a in ended)
    memory = Memory(
        number=number,
        want=want,
        highs=((when, want),),
        cooldown_until={"queue": when + 5},
        shortages={OFFER.key: Shortage(OFFER.key, when, 2, when)},
        alerts={"hot": Alert("hot", "chat", "hot", "critical", "firing", when, "too hot", (("gpu", "0"),), 91.5)},
    )
    return Entry(decision, Plan("chat", number, actions, (Reason("launch", want, "one"),)), outcomes, memory)


def url(path: Path) -> str:
    return f"sqlite:///{path / 'journal.db'}"


def test_what_was_recorded_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Journal(url(tmp_path))
    made = entry(1, ordered=True)
    first.record([made])
    first.close()
    again = Journal(url(tmp_path))
    assert again.load() == {"chat": made.memory}
    assert again.decision("chat", 1) == made.decision
    assert again.plan("chat", 1) == made.plan
    assert again.open_intents() == made.plan.actions
    again.close()


def test_an_intent_is_open_until_its_outcome_is_final() -> None:
    journal = Journal()
    journal.record([entry(1, ordered=True)])
    accepted = replace(entry(2), outcomes=(Outcome("a1", "chat", "accepted", NOW),))
    journal.record([accepted])
    assert [a.id for a in journal.open_intents()] == ["a1"]
    journal.record([entry(3, ended=("a1",))])
    assert journal.open_intents() == ()
    assert [o.status for o in journal.outcomes("chat")] == ["done", "accepted"]


def test_decisions_are_written_on_change_and_every_five_minutes() -> None:
    journal = Journal()
    for number in range(1, 42):
        journal.record([entry(number, want=4 if number < 31 else 5)])
    assert [d.number for d in journal.decisions("chat")] == [31, 21, 1]
    assert journal.load()["chat"].number == 41, "memory is written at every tick"


def test_decisions_are_paged_newest_first() -> None:
    journal = Journal()
    for number in range(1, 11):
        journal.record([entry(number, want=number)])
    assert [d.number for d in journal.decisions("chat", limit=3)] == [10, 9, 8]
    assert [d.number for d in journal.decisions("chat", before=8, limit=2)] == [7, 6]
    assert [d.number for d in journal.decisions("chat", since=NOW + 45, until=NOW + 75)] == [4, 3]
    assert journal.decisions("nobody") == []


def test_overrides_end_replace_and_survive(tmp_path: Path) -> None:
    journal = Journal(url(tmp_path))
    pin = Override("show", "chat", "pin", NOW + 60, "ada", "demo", 9, created_at=NOW)
    journal.put_override(pin)
    journal.put_override(replace(pin, replicas=7, created_at=NOW + 1))
    journal.put_override(replace(pin, id="other", until=NOW + 5))
    journal.close()
    again = Journal(url(tmp_path))
    assert [(o.id, o.replicas) for o in again.overrides(NOW + 10)] == [("show", 7)], "expired ones have no say"
    assert again.end_override("chat", "show", "bob", "over", NOW + 20)
    assert not again.end_override("chat", "show", "bob", "over", NOW + 20)
    assert again.overrides(NOW + 21) == ()
    told = [line for line in again.dump() if line.startswith("overrides")]
    assert len(told) == 3, "nothing is ever deleted"
    assert "'bob', 'over'" in told[1]
    again.close()


def test_one_transaction_or_nothing() -> None:
    journal = Journal()
    journal.record([entry(1, ordered=True)])
    twice = entry(2, want=9)
    clash = replace(twice, plan=replace(twice.plan, actions=entry(1, ordered=True).plan.actions))
    with pytest.raises(StorageError):
        journal.record([entry(3, want=7), clash])
    assert journal.load()["chat"].number == 1
    assert [d.number for d in journal.decisions("chat")] == [1]
    journal.record([entry(4, want=7)])
    assert journal.load()["chat"].number == 4


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced by another file"])
def test_a_journal_whose_file_is_gone_is_not_written_as_if_it_were_there(tmp_path: Path, replaced: bool) -> None:
    """SQLite would accept every write, and a restart would know of none."""
    file = tmp_path / "journal.db"
    journal = Journal(f"sqlite:///{file}")
    journal.check()
    file.rename(tmp_path / "elsewhere.db")
    if replaced:
        file.touch()
    for write in (journal.check, lambda: journal.put_override(Override("a", "chat", "freeze", 9e9, "ada", "test"))):
        with pytest.raises(StorageError, match="cannot write: its file was deleted or replaced while it was open; put"):
            write()
    assert journal.overrides(0.0) == ()
    file.unlink(missing_ok=True)
    (tmp_path / "elsewhere.db").rename(file)
    journal.check()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot open: unable to open database file; check that the folder exists"):
        Journal(url(tmp_path / "absent"))


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("this was never a database, it is a letter to somebody" * 40)
    with pytest.raises(StorageError, match="file is not a database"):
        Journal(url(tmp_path))


def test_a_read_only_journal_refuses_and_says_what_to_do(tmp_path: Path) -> None:
    Journal(url(tmp_path)).close()
    journal = Journal(f"sqlite:///file:{tmp_path / 'journal.db'}?mode=ro&uri=true")
    with pytest.raises(StorageError, match="readonly database; check that the folder"):
        journal.record([entry(1)])
    journal.close()


def test_a_full_disk_refuses_and_the_journal_works_again_when_there_is_space(tmp_path: Path) -> None:
    script = f"""
        import resource, signal
        from autoscaler.errors import StorageError
        from autoscaler.journal import Journal
        from tests.test_journal import entry
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        journal = Journal({url(tmp_path)!r})
        journal.record([entry(1, want=1)])
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
        written = 1
        try:
            for number in range(2, 500):
                journal.record([entry(number, want=number)])
                written = number
        except StorageError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        journal.record([entry(written + 1, want=written + 1)])
        assert journal.load()["chat"].number == written + 1
        assert len(journal.decisions("chat", limit=1000)) == written + 1
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "cannot write" in done.stdout
    assert "nothing is launched or removed" in done.stdout
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000


def test_a_kill_in_the_middle_of_writing_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    script = f"""
        from autoscaler.journal import Journal
        from tests.test_journal import entry
        journal = Journal({url(tmp_path)!r})
        for number in range(1, 100_000):
            journal.record([entry(number, want=number, ordered=True)])
            print(number, flush=True)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = 0
    for line in child.stdout:
        acknowledged = int(line)
        if acknowledged == 50:
            os.kill(child.pid, signal.SIGKILL)
            break
    rest = child.stdout.read().split()
    child.stdout.close()
    child.wait()
    acknowledged = int(rest[-1]) if rest else acknowledged
    journal = Journal(url(tmp_path))
    last = journal.load()["chat"].number
    assert last in (acknowledged, acknowledged + 1)
    assert len(journal.open_intents()) == last
    journal.close()


def test_a_journal_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    Journal(url(tmp_path)).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("update meta set version = ?", (SCHEMA_VERSION + 1,))
    db.close()
    with pytest.raises(StorageError, match="upgrade sigmascale or start with another data folder"):
        Journal(url(tmp_path))


def test_a_journal_of_an_older_release_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(url(tmp_path)).close()
    monkeypatch.setattr("autoscaler.journal_schema.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    step = {SCHEMA_VERSION: ("alter table decisions add column note text",)}
    monkeypatch.setattr("autoscaler.journal_schema.MIGRATIONS", step)
    Journal(url(tmp_path)).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert db.execute("select version from meta").fetchone() == (SCHEMA_VERSION + 1,)
        assert "note" in [column[1] for column in db.execute("pragma table_info(decisions)")]
    db.close()


def test_threads_that_read_and_write_do_not_disturb_each_other(tmp_path: Path) -> None:
    journal = Journal(url(tmp_path))
    problems: list[Exception] = []

    def override(author: str) -> None:
        try:
            for n in range(20):
                journal.put_override(Override(f"{author}-{n}", "chat", "pin", NOW + 99, author, "load", n))
                journal.decisions("chat")
        except StorageError as error:
            problems.append(error)

    threads = [threading.Thread(target=override, args=(name,)) for name in ("ada", "bob", "eve")]
    for thread in threads:
        thread.start()
    for number in range(1, 40):
        journal.record([entry(number, want=number)])
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(journal.overrides(NOW)) == 60
    journal.close()


def lesson(n: int, key: str = "ahead", pool: str = "chat") -> Lesson:
    return Lesson(pool, "outlook", key, f"v{n}", NOW + n, f'{{"n": {n}}}')


def test_the_newest_version_of_every_learned_value_is_found_after_a_restart(tmp_path: Path) -> None:
    journal = Journal(url(tmp_path))
    journal.teach([lesson(1), lesson(2), lesson(7, "other"), lesson(3, pool="docs")])
    journal.teach([lesson(4)])
    journal.close()
    again = Journal(url(tmp_path))
    assert set(again.lessons()) == {lesson(4), lesson(7, "other"), lesson(3, pool="docs")}
    assert again.versions("chat", "outlook", "ahead") == (lesson(4), lesson(2), lesson(1))
    again.close()


def test_old_versions_of_learned_values_are_dropped_so_that_the_table_is_bounded() -> None:
    journal = Journal()
    for n in range(100):
        journal.teach([lesson(n), lesson(n, "other")])
    assert [one.version for one in journal.versions("chat", "outlook", "ahead")] == [f"v{n}" for n in range(99, 79, -1)]
    assert len(list(journal.dump())) == 2 * KEPT


def test_a_journal_without_learned_values_gets_a_table_for_them(tmp_path: Path) -> None:
    """Schema version 1, as the release before foresight wrote it."""
    Journal(url(tmp_path)).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("drop table learned")
        db.execute("update meta set version = 1")
    db.close()
    journal = Journal(url(tmp_path))
    journal.teach([lesson(1)])
    assert journal.lessons() == (lesson(1),)
    journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert db.execute("select version from meta").fetchone() == (SCHEMA_VERSION,)
        indices = [row[1] for row in db.execute("pragma index_list(learned)")]
    db.close()
    assert indices == ["learned_by_key"]


def test_a_refused_lesson_leaves_none_of_its_transaction() -> None:
    journal = Journal()
    broken = Lesson("chat", "outlook", "ahead", None, NOW, "")  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="cannot write"):
        journal.teach([lesson(1), broken])
    assert journal.lessons() == ()
