"""Rules are followed while running; a bad file never makes things worse."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autoscaler.errors import InputError
from autoscaler.rulefile.watch import Change, RuleBook


def write(folder: Path, name: str, most: int | str, pool: str | None = None) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"pool: {pool or name}\nlimits: {{max: {most}}}\n")
    return path


def settle(book: RuleBook) -> list[tuple[str, str]]:
    """(kind, pool) of what two polls, which is what a change needs, report."""
    return [(c.kind, c.pool) for _ in range(2) for c in book.poll()]


def bounds(book: RuleBook) -> dict[str, int]:
    return {pool: rules.bounds.max for pool, rules in book.current().items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "a", 1)
    write(tmp_path, "b", 2)
    return tmp_path


def test_a_folder_is_read_at_once_and_polls_report_nothing_while_it_stands_still(folder: Path) -> None:
    book = RuleBook(folder)
    assert bounds(book) == {"a": 1, "b": 2}
    before = book.current()
    assert settle(book) == []
    assert book.current() is before


def test_a_changed_file_is_in_force_once_it_was_seen_twice(folder: Path) -> None:
    book = RuleBook(folder)
    old = book.current()["a"].hash
    path = write(folder, "a", 5)
    assert book.poll() == ()
    assert bounds(book)["a"] == 1
    assert book.poll() == (Change("changed", "a", str(path)),)
    assert bounds(book)["a"] == 5
    assert book.current()["a"].hash != old


def test_a_file_that_goes_on_changing_is_not_taken_until_it_rests(folder: Path) -> None:
    """A writer that is slower than the polls: each prefix is itself good YAML, and none of them is taken."""
    book = RuleBook(folder)
    whole = "pool: a\nlimits: {max: 7}\nsignals: {queue: {metric: requests_waiting}}\n"
    for end in range(8, len(whole), 9):
        (folder / "a.yaml").write_text(whole[:end])
        assert book.poll() == ()
        assert bounds(book)["a"] == 1
    (folder / "a.yaml").write_text(whole)
    assert settle(book) == [("changed", "a")]
    assert bounds(book)["a"] == 7


def test_a_broken_file_keeps_the_last_good_rules_and_says_so_once(folder: Path) -> None:
    book = RuleBook(folder)
    path = write(folder, "a", "many")
    assert settle(book) == [("broken", "a")]
    assert bounds(book) == {"a": 1, "b": 2}
    assert [str(f) for f in book.problems] == [
        f"{path}:2:15: limits.max: 'many' is not a number; write digits such as 50 or 0.5"
    ]
    assert settle(book) == []
    write(folder, "a", 1)
    assert settle(book) == [("mended", "a")]
    assert list(book.problems) == []


def test_a_broken_file_does_not_touch_other_pools(folder: Path) -> None:
    book = RuleBook(folder)
    write(folder, "a", "many")
    write(folder, "b", 9)
    assert sorted(settle(book)) == [("broken", "a"), ("changed", "b")]
    assert bounds(book) == {"a": 1, "b": 9}


def test_a_file_that_is_broken_at_start_leaves_only_its_own_pool_out(folder: Path) -> None:
    write(folder, "a", "many")
    book = RuleBook(folder)
    assert bounds(book) == {"b": 2}
    assert len(book.problems) == 1
    write(folder, "a", 4)
    assert settle(book) == [("added", "a")]
    assert bounds(book) == {"a": 4, "b": 2}


def test_files_come_and_go(folder: Path) -> None:
    book = RuleBook(folder)
    write(folder, "c", 3)
    assert settle(book) == [("added", "c")]
    (folder / "a.yaml").unlink()
    assert settle(book) == [("removed", "a")]
    assert bounds(book) == {"b": 2, "c": 3}


def test_an_editor_that_replaces_a_file_is_not_a_removal(folder: Path) -> None:
    book = RuleBook(folder)
    (folder / "a.yaml").rename(folder / "a.yaml~")
    assert book.poll() == ()
    write(folder, "a", 6)
    assert settle(book) == [("changed", "a")]
    assert bounds(book)["a"] == 6


def test_a_pool_that_changes_its_name_leaves_and_comes(folder: Path) -> None:
    book = RuleBook(folder)
    write(folder, "a", 1, pool="z")
    assert settle(book) == [("removed", "a"), ("added", "z")]
    assert bounds(book) == {"b": 2, "z": 1}


def test_a_second_owner_of_a_pool_is_kept_out_until_the_first_one_goes(folder: Path) -> None:
    book = RuleBook(folder)
    write(folder, "c", 8, pool="a")
    assert settle(book) == [("broken", "")]
    assert bounds(book) == {"a": 1, "b": 2}
    assert "pool 'a' is also owned by" in str(book.problems[0])
    (folder / "a.yaml").unlink()
    assert settle(book) == [("removed", "a")]
    assert settle(book) == [("added", "a")]
    assert bounds(book) == {"a": 8, "b": 2}


def test_two_owners_at_start_are_both_left_out(folder: Path) -> None:
    write(folder, "c", 8, pool="a")
    book = RuleBook(folder)
    assert bounds(book) == {"b": 2}
    assert len(book.problems) == 2


def test_a_folder_that_vanishes_keeps_every_rule(folder: Path) -> None:
    """An unmounted disk is not a wish to stop managing every pool."""
    book = RuleBook(folder)
    shutil.rmtree(folder)
    assert settle(book) == []
    assert bounds(book) == {"a": 1, "b": 2}
    assert "is neither a file nor a folder" in str(book.problems[0])


def test_a_source_that_never_existed_is_an_error_at_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is neither a file nor a folder; check the path"):
        RuleBook(tmp_path / "nowhere")


def test_files_and_folders_may_be_followed_together(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = write(tmp_path_factory.mktemp("other"), "c", 3)
    book = RuleBook([folder, other])
    assert bounds(book) == {"a": 1, "b": 2, "c": 3}
    other.unlink()
    assert settle(book) == []
    assert bounds(book)["c"] == 3
