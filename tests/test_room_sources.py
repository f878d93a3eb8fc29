"""The sources page: who answers and who does not, and what is wrong with signals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoscaler.counts import Counts
from autoscaler.presence import Finding
from tests.apiworld import Page, api_world
from tests.roomworld import Browser, words

EVIL = "<script>alert(1)</script>"


def test_targets_that_are_down_come_first_and_show_no_password(tmp_path: Path) -> None:
    page = Browser(api_world(tmp_path)).sign_in("viewer").page("/sources")
    text = words(page)
    assert "2 targets 1 targets do not answer" in text
    assert page.text.index("10.0.0.2") < page.text.index("10.0.0.1")
    assert "pw@" not in page.text


def test_findings_say_what_is_wrong_and_filters_find_them(tmp_path: Path) -> None:
    found = {"chat": (Finding("chat", "load", "absent", "no target gives it; add one"),)}
    browser = Browser(api_world(tmp_path, findings=lambda: found)).sign_in("viewer")
    assert "no target gives it; add one" in words(browser.page("/sources"))
    assert "queue" in words(browser.page("/ui/sources"))
    trouble = words(browser.page("/ui/sources?only=trouble"))
    assert "load" in trouble
    assert "queue" not in trouble
    assert "No signal matches." in words(browser.page("/ui/sources?q=nothing"))


def test_what_targets_say_stays_text(tmp_path: Path) -> None:
    down = Page(f"http://h/{EVIL}", False, (("l", EVIL),), error=EVIL)
    world = api_world(tmp_path, counts=lambda: Counts(targets=(down,)), problems=lambda: (EVIL,))
    page = Browser(world).sign_in("viewer").page("/sources")
    assert EVIL not in page.text
    assert page.text.count("&lt;script&gt;") >= 3


def test_many_targets_come_by_pages(tmp_path: Path) -> None:
    pages = tuple(replace(Page("x", True), url=f"http://10.0.0.1:{n}/metrics") for n in range(9000, 9120))
    browser = Browser(api_world(tmp_path, counts=lambda: Counts(targets=pages))).sign_in("viewer")
    assert "Page 3 of 3, 120 targets" in words(browser.page("/sources?page=77"))


def test_a_stranger_sees_none_of_it(tmp_path: Path) -> None:
    assert Browser(api_world(tmp_path)).page("/sources").status_code == 303
