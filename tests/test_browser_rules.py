"""The box of the rules page in Chromium: what is wrong in a text, and what a changed file would have done."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browserworld import Room, Window, Windows
from tests.test_browser_pool import is_drawn

pytestmark = pytest.mark.peer

RUN_MS = 100_000.0
"""How long an hour of demand, played twice, may take where everything else of the machine runs too."""


def box(window: Window, text: str, changed: str) -> str:
    """Opens the box of a pool, in which a part of its file is changed; returns the whole text."""
    area = window.open("/rules/embed").get_by_role("textbox", name="Rule file")
    before = area.input_value()
    assert text in before
    area.fill(before.replace(text, changed, 1))
    return before


def test_a_broken_text_is_told_with_its_place_and_changes_nothing(windows: Windows, room: Room) -> None:
    window = windows(as_=room.token)
    version = room.ask("/rules")["sources"]
    box(window, "limits:", "limit:")
    window.page.get_by_role("button", name="Check only").click()
    result = window.page.locator("#box-result")
    expect(result).to_contain_text("would not be taken")
    expect(result).to_contain_text(re.compile(r"embed\.yaml:\d+:\d+"))
    expect(window.page.get_by_role("textbox", name="Rule file")).to_have_value(re.compile("^limit:", re.MULTILINE))
    assert room.ask("/rules")["sources"] == version


def test_a_dry_run_shows_both_files_side_by_side_and_a_chart(windows: Windows, room: Room) -> None:
    window = windows(as_=room.token)
    version = room.ask("/rules")["sources"]
    box(window, "per_replica: auto", "per_replica: 5 requests/s")
    window.page.get_by_label("Demand of the last").fill("1h")
    window.page.get_by_role("button", name="Dry run").click()
    page = window.page
    expect(page).to_have_url(re.compile("/rules/embed/dry-runs/"))
    expect(page.locator("#result [data-state=done]")).to_be_visible(timeout=RUN_MS)
    row = page.get_by_role("row").filter(has_text=re.compile("replica.hours", re.IGNORECASE)).first
    expect(row).to_be_visible()
    for chart in ("#demand-plot", "#replicas-plot"):
        is_drawn(page.locator(f"{chart} canvas"))
    assert room.ask("/rules")["sources"] == version
    window.clean()
