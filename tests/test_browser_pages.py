"""Every page of the control room in Chromium: loads, asks nobody else, fits a phone, can be read by everybody."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from tests.browserworld import Room, Scheme, Window, Windows

pytestmark = pytest.mark.peer

PAGES = {
    "/": "Pools",
    "/pools/assistant": "assistant",
    "/fleet": "Fleet",
    "/offers": "Offers",
    "/alerts": "Alerts",
    "/sources": "Sources and signals",
    "/rules": "Rules",
    "/rules/assistant": "Rules of assistant",
    "/reports": "Reports",
    "/signin": "Sign in",
}
"""Path and headline."""

every_page = pytest.mark.parametrize("path", PAGES)
both_schemes = pytest.mark.parametrize("scheme", ["light", "dark"])


def drawn(window: Window, path: str) -> Page:
    """A page whose scripts have done what they do at once."""
    page = window.open(path)
    expect(page.get_by_role("heading", level=1)).to_contain_text(PAGES[path])
    if path == "/fleet":
        expect(page.locator("#gpu-map[data-ready=yes]")).to_be_visible()
    if path.startswith("/pools/"):
        expect(page.locator("#charts canvas").first).to_be_visible()
    return page


def faults(page: Page) -> list[str]:
    """What axe-core finds that keeps people from reading or using the page."""
    # Evaluated, not added as an element: the page's own policy refuses scripts from elsewhere.
    page.evaluate(AXE_SCRIPT)
    found: dict[str, Any] = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{fault['impact']}: {fault['help']}: {node['html'][:200]} {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@both_schemes
@every_page
def test_a_page_says_no_error_asks_nobody_else_and_can_be_read_by_everybody(
    windows: Windows, room: Room, path: str, scheme: Scheme
) -> None:
    window = windows(as_=room.token, scheme=scheme)
    page = drawn(window, path)
    assert faults(page) == []
    window.clean()


@every_page
def test_a_page_fits_a_phone_and_stays_readable(windows: Windows, room: Room, path: str) -> None:
    window = windows(as_=room.token, width=390)
    page = drawn(window, path)
    wide, room_for = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room_for, "the page scrolls to the side"
    assert faults(page) == []
    window.clean()


def test_a_machine_of_the_fleet_has_a_page_of_its_own(windows: Windows, room: Room) -> None:
    window = windows(as_=room.token)
    page = drawn(window, "/fleet")
    with page.expect_navigation(url="**/fleet/*"):
        page.locator("#gpu-table tbody a[href^='/fleet/']").first.click()
    expect(page.get_by_role("heading", level=1)).not_to_be_empty()
    assert faults(page) == []
    window.clean()


@every_page
def test_without_scripts_a_page_says_the_same(windows: Windows, room: Room, path: str) -> None:
    page = windows(as_=room.token, scripts=False).open(path)
    expect(page.get_by_role("heading", level=1)).to_contain_text(PAGES[path])
    main = page.get_by_role("main")
    if path in ("/reports", "/signin"):
        expect(main.locator("section").first).to_be_visible()
    elif path == "/rules/assistant":
        expect(main.get_by_role("textbox", name="Rule file")).to_have_value(re.compile("pool: assistant"))
    elif path == "/alerts":
        expect(main.get_by_role("button", name="Silence")).to_be_visible()
    else:
        expect(main.locator("table tbody tr").locator("visible=true").first).to_be_visible()


def test_a_page_that_does_not_exist_says_so_with_the_way_back(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token).open("/pools/nothing")
    expect(page.get_by_role("main")).to_contain_text("nothing")
    assert faults(page) == []
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Pools").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pools")
