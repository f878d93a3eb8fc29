"""Every broken rule file has one exact message; `--rewrite-golden` writes the messages anew for review."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoscaler.rulefile.reader import check_file

BAD = Path(__file__).parent / "bad"
FILES = sorted(BAD.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_file_is_answered_with_its_exact_message(path: Path, golden: Callable[[Path, str], None]) -> None:
    checked = check_file(path, file=f"bad/{path.name}")
    assert checked.rules is None
    golden(path.with_suffix(".txt"), "".join(f"{fault}\n" for fault in checked.errors))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_message_has_a_place_and_a_next_step(path: Path) -> None:
    for fault in check_file(path).errors:
        assert fault.line >= 1
        assert fault.column >= 1
        assert ";" in fault.text or "did you mean" in fault.text, f"{fault}: says what is wrong, not what to do"


def test_the_corpus_is_complete_and_has_no_orphans() -> None:
    assert len(FILES) >= 30
    assert {p.stem for p in BAD.glob("*.txt")} == {p.stem for p in FILES}
