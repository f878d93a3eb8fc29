"""The control room without a mouse, in Chromium."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browserworld import Room, Windows
from tests.test_browser_pool import is_drawn

pytestmark = pytest.mark.peer

MOST_TABS = 80
HELD = "document.activeElement && (document.activeElement.innerText || document.activeElement.name || '').trim()"


def tab_to(page: Page, what: str, key: str = "Tab") -> list[str]:
    """Presses Tab until an element with this text or name has the focus; returns what had it on the way."""
    passed: list[str] = []
    for _ in range(MOST_TABS):
        page.keyboard.press(key)
        held = str(page.evaluate(HELD))
        if held == what:
            return passed
        passed.append(held)
    raise AssertionError(f"{what!r} was not reached with {MOST_TABS} tabs: {passed}")


def test_the_first_stop_leads_past_the_navigation(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token).open("/")
    assert tab_to(page, "Skip to content") == []
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_tabs_reach_navigation_then_forms_and_enter_follows(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token).open("/pools/code")
    expect(page.locator("#charts canvas").first).to_be_visible()
    passed = tab_to(page, "Freeze")
    order = ["Skip to content", "sigmascale", "Pools", "Fleet", "Offers", "Alerts", "Sources", "Rules", "Reports"]
    assert [name for name in passed if name in order] == order
    assert passed[-2:] == ["reason", "author"]
    tab_to(page, "Fleet", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")


def test_a_rule_file_is_typed_with_indents_and_escape_leads_out_of_it(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token).open("/rules/code")
    area = page.get_by_role("textbox", name="Rule file")
    area.fill("")
    page.keyboard.type("limits:\n")
    page.keyboard.press("Tab")
    page.keyboard.type("max: 3")
    expect(area).to_have_value("limits:\n  max: 3")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Demand of the last")).to_be_focused()


def test_arrow_keys_go_through_the_map_of_gpus_and_say_where_they_are(windows: Windows, room: Room) -> None:
    window = windows(as_=room.token)
    page = window.open("/fleet")
    chart, says = page.locator("#gpu-map[data-ready=yes]"), page.locator("#map-says")
    is_drawn(chart.locator("canvas"))
    chart.focus()
    page.keyboard.press("ArrowRight")
    expect(says).to_have_text(re.compile(r"^GPU .+ of .+: .+\.$"))
    first = says.inner_text()
    page.keyboard.press("ArrowRight")
    expect(says).not_to_have_text(first)
    expect(page.get_by_role("complementary", name="GPU that is looked at")).to_contain_text("Temperature")
    page.keyboard.press("Home")
    expect(says).to_have_text(re.compile("^" + re.escape(first.split(":")[0])))
    with page.expect_navigation(url="**/fleet/*"):
        page.keyboard.press("Enter")
    window.clean()


def test_a_slash_leads_to_the_box_that_finds_pools(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token).open("/")
    page.keyboard.press("/")
    expect(page.get_by_label("Find")).to_be_focused()
    page.keyboard.type("embed")
    expect(page.locator("#pools tbody[data-pool]")).to_have_count(1)
    expect(page.locator("#count")).to_contain_text("1 of 4")
