"""One pool in Chromium: charts and rows that follow the fleet, decisions that explain themselves, orders of people."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browserworld import WITHIN_S, Room, Window, Windows
from tests.peers.pages import until

pytestmark = pytest.mark.peer

DRAWN = """canvas => {
  const seen = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let n = 0; n < seen.length; n += 4) if (seen[n + 3] > 200) colours.add(seen.slice(n, n + 3).join());
  return colours.size;
}"""
"""How many solid colours a canvas shows; an empty one has none."""


def is_drawn(canvas: Locator) -> None:
    """Return when the canvas shows lines or cells."""
    expect(canvas).to_be_visible()
    until(lambda: canvas.evaluate(DRAWN) > 1, "a canvas that shows something", WITHIN_S)


def kept_open(window: Window) -> None:
    """Marks the page, so that a reload of it can be told."""
    window.page.evaluate("window.kept = true")


def changes_by_itself(window: Window, what: Locator) -> None:
    """Return when the text of an element has changed, and the page is still the one that was opened."""
    before = what.inner_text()
    expect(what).not_to_have_text(before, use_inner_text=True)
    assert window.page.evaluate("window.kept") is True, "the page was loaded anew"


def test_the_list_of_pools_follows_the_fleet_without_a_reload(windows: Windows, room: Room) -> None:
    window = windows(as_=room.token)
    page = window.open("/")
    kept_open(window)
    row = page.locator("#pools tbody[data-pool=assistant] tr").first
    changes_by_itself(window, row.locator("td.load"))
    changes_by_itself(window, page.locator("#as-of"))
    window.clean()


def test_charts_of_a_pool_are_drawn_and_its_figures_follow(windows: Windows, room: Room) -> None:
    window = windows(as_=room.token)
    with window.page.expect_response(lambda answer: "/ui/pools/assistant/series" in answer.url) as answered:
        page = window.open("/pools/assistant")
    kept_open(window)
    columns = answered.value.json()["columns"]
    assert any(value is not None for values in columns.values() for value in values)
    for chart in ("demand", "replicas"):
        is_drawn(page.locator(f"#chart-{chart} canvas").first)
    changes_by_itself(window, page.locator("#signals table").first)
    window.clean()


def test_another_span_is_a_page_of_its_own(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token).open("/pools/assistant")
    page.get_by_role("link", name="the last 15 minutes").click()
    expect(page).to_have_url(re.compile("span=15m"))
    expect(page.get_by_role("link", name="the last 15 minutes")).to_have_attribute("aria-current", "true")


def a_decision(page: Page) -> Locator:
    """The link to the newest decision of the list, when there is one."""
    found = page.locator("#decisions a[data-decision]").first
    expect(found).to_be_visible()
    return found


def test_a_click_on_a_decision_shows_every_step_and_its_address_shows_them_again(windows: Windows, room: Room) -> None:
    window = windows(as_=room.token)
    page = window.open("/pools/assistant?show=all")
    link = page.locator(f"#decisions a[data-decision='{a_decision(page).get_attribute('data-decision')}']")
    number = link.get_attribute("data-decision")
    link.click()
    why = page.locator("#decision")
    for part in ("Steps, in order", "Asked for", "Readings", "Plan, and what became of it"):
        expect(why.get_by_role("heading", name=part)).to_be_visible()
    expect(why).to_be_focused()
    expect(page).to_have_url(re.compile(rf"decision={number}\b"))
    assert why.locator("ol > li").count() > 0
    headline = why.locator("b").first.inner_text()
    told = room.ask(f"/pools/assistant/decisions/{number}")
    for reason in told["reasons"]:
        expect(why).to_contain_text(reason["text"])
    again = windows(as_=room.token).open(page.url.removeprefix(room.url))
    expect(again.locator("#decision b").first).to_have_text(headline)
    window.clean()


def test_a_decision_is_read_with_the_keyboard_alone(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token).open("/pools/assistant?show=all")
    a_decision(page).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#decision")).to_be_focused()
    expect(page.locator("#decision").get_by_role("heading", name="Steps, in order")).to_be_visible()


def override(page: Page, reason: str, replicas: str) -> None:
    """Fill in the form of an override with an end and send it."""
    page.get_by_text("Override: pin, floor, ceiling, freeze, pause").click()
    form = page.locator("#act-override form")
    form.get_by_label("Kind").select_option("floor")
    form.get_by_label("Replicas").fill(replicas)
    form.get_by_label(re.compile(r"^\s*For\b")).select_option("15m")
    form.get_by_label("Reason").fill(reason)
    form.get_by_role("button", name="Set the override").click()


def test_who_signs_in_sets_an_override_sees_it_in_force_and_ends_it(windows: Windows, room: Room) -> None:
    window = windows()
    page = window.open("/pools/embed")
    expect(page.locator("#act form")).to_have_count(0)
    page.locator("header").get_by_role("link", name="Sign in to change things").click()
    page.get_by_label("Token").fill(room.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{room.url}/pools/embed")
    override(page, "load test of the shop", "2")
    expect(page.get_by_role("status").filter(has_text=re.compile("floor", re.IGNORECASE)).first).to_be_visible()
    ordered = page.get_by_role("list", name="What people ordered")
    expect(ordered).to_contain_text("load test of the shop")
    (given,) = room.ask("/pools/embed/overrides")["overrides"]
    assert (given["kind"], given["replicas"], given["reason"]) == ("floor", 2, "load test of the shop")
    assert 0 < given["until"] - given["created_at"] <= 15 * 60 + 1
    ordered.get_by_role("link", name="End it").click()
    ending = page.locator("#act-end-override")
    ending.get_by_label("Reason").fill("the test is over")
    ending.get_by_role("button", name="End the override").click()
    expect(page.get_by_role("list", name="What people ordered")).to_have_count(0)
    assert room.ask("/pools/embed/overrides")["overrides"] == []
    window.clean()


def test_without_scripts_an_override_is_set_and_ended_too(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token, scripts=False).open("/pools/code")
    override(page, "set without scripts", "2")
    expect(page.get_by_role("list", name="What people ordered")).to_contain_text("set without scripts")
    page.get_by_role("link", name="End it").click()
    ending = page.locator("#act-end-override")
    ending.get_by_label("Reason").fill("enough")
    ending.get_by_role("button", name="End the override").click()
    expect(page.get_by_role("list", name="What people ordered")).to_have_count(0)


def test_what_is_wrong_in_a_form_is_told_in_it_and_what_was_typed_stays(windows: Windows, room: Room) -> None:
    page = windows(as_=room.token).open("/pools/code")
    override(page, "kept as typed", "99999")
    form = page.locator("#act-override form")
    expect(form.get_by_role("alert")).to_contain_text("99999")
    expect(form.get_by_label("Reason")).to_have_value("kept as typed")
    assert room.ask("/pools/code/overrides")["overrides"] == []
