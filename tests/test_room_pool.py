"""A pool's page: what it shows, that nothing on it is markup of somebody else, and what there is without a script."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.board import PoolView
from autoscaler.journal import Entry
from autoscaler.types import Decision, Judged, Launch, Memory, Outcome, Override, Plan, Reason
from tests.apiworld import ApiWorld, api_world, some_fleet
from tests.roomworld import Browser, words
from tests.worlds import NOW, OFFER, instance

EVIL = "<script>alert('x')</script>"


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def browser(world: ApiWorld) -> Browser:
    return Browser(world).sign_in("viewer")


def view(world: ApiWorld) -> PoolView:
    return world.deps.board.pools()["chat"]


def last(world: ApiWorld) -> Decision:
    found = view(world).decision
    assert found is not None
    return found


def moved(world: ApiWorld, *wants: int, first: int = 9) -> None:
    """Journals decisions of these sizes, a minute apart, after those that the world has."""
    for number, want in enumerate(wants, start=first):
        at = NOW + 60.0 * (number - first + 1)
        decision = replace(
            last(world),
            number=number,
            at=at,
            current=want - 1,
            want=want,
            reasons=(Reason("rule:x", want, f"n{number}"),),
        )
        world.deps.journal.record([Entry(decision, Plan("chat", number), (), Memory(number=number))])


def test_the_head_says_size_cost_alerts_rules_and_the_last_decision_in_words(world: ApiWorld, browser: Browser) -> None:
    page = words(browser.page("/pools/chat"))
    for said in (
        "3 ready",
        "1 pending",
        "8 wanted, of 1 to 20",
        "1 draining",
        "loaded: 60 of 30 requests/s",
        "$10.00 an hour",
        "1 alert fires",
        "critical slow since",
        "ttft99 is 9 s",
        "Last decision: 8 at",
        "load 60 needs 8 replicas",
        f"Rules: {world.rules_file}, {view(world).rules.hash}",
    ):
        assert said in page


def test_what_people_ordered_stands_in_the_head_with_its_end_author_and_reason(
    world: ApiWorld, browser: Browser
) -> None:
    world.deps.journal.put_override(Override("o1", "chat", "floor", NOW + 600, "ann", "launch day", 6))
    assert "floor 6 until" in words(browser.page("/pools/chat"))
    assert "by ann: launch day" in words(browser.page("/ui/pools/chat/head"))


def test_instances_are_listed_with_state_offer_age_address_and_price(browser: Browser) -> None:
    page = words(browser.page("/pools/chat"))
    assert "3 ready, 1 pending, 1 draining." in page
    assert re.search(r"chat-1 ready for 1 h sim/small/on_demand 1 0 1 h 6 min 10\.0\.0\.1:8000 0 2\.00", page)


def test_a_large_fleet_shows_a_hundred_instances_until_all_are_asked_for(world: ApiWorld, browser: Browser) -> None:
    fleet = replace(some_fleet(), instances=tuple(instance(n) for n in range(150)))
    world.deps.board.publish(replace(view(world), fleet=fleet))
    assert browser.page("/pools/chat").text.count('id="instance-chat-') == 100
    assert "Show 50 more" in words(browser.page("/pools/chat"))
    assert browser.page("/pools/chat?instances=all").text.count('id="instance-chat-') == 150


def test_signals_are_listed_with_value_unit_quality_and_source(browser: Browser) -> None:
    page = words(browser.page("/pools/chat"))
    assert "load 60 requests/s – fresh 0 s requests_arrived_total" in page
    assert "A replica serves 10 requests/s, as the rule file says." in page


def test_the_list_shows_changes_of_size_and_everything_only_when_asked(world: ApiWorld, browser: Browser) -> None:
    moved(world, 9, 7)
    page = words(browser.page("/pools/chat"))
    assert "8 → 9" in page
    assert "9 → 7" in page
    assert "8 stays" not in page
    assert "8 stays" in words(browser.page("/pools/chat?show=all"))
    only_in = words(browser.page("/pools/chat?way=in"))
    assert "9 → 7" in only_in
    assert "8 → 9" not in only_in


def test_older_decisions_are_a_page_away(world: ApiWorld, browser: Browser) -> None:
    moved(world, *(9 + n % 2 for n in range(40)))
    first = browser.page("/pools/chat")
    older = re.search(r'href="([^"]*before=(\d+)[^"]*)">Older', first.text)
    assert older is not None
    second = browser.page(older[1].replace("&amp;", "&"))
    assert f"n{int(older[2]) - 1}" in words(second)
    assert "n48" not in words(second)


def test_a_link_to_a_decision_shows_its_reasons_plan_and_what_became_of_it_without_a_script(
    world: ApiWorld, browser: Browser
) -> None:
    order = Launch("a9", "chat", NOW, NOW + 60, OFFER)
    decision = replace(last(world), number=9, at=NOW + 60)
    told = Outcome("a9", "chat", "failed", NOW + 70, error="capacity", text="no room in the zone")
    world.deps.journal.record([Entry(decision, Plan("chat", 9, (order,)), (), Memory(number=9))])
    after = Entry(replace(decision, number=10, at=NOW + 75), Plan("chat", 10), (told,), Memory(number=10))
    world.deps.journal.record([after])
    page = words(browser.page("/pools/chat?decision=9"))
    assert "4 → 8 rule:enough: load 60 needs 8 replicas at 8 each" in page
    assert "launch sim/small/on_demand" in page
    assert "failed: no room in the zone" in page
    assert words(browser.page("/ui/pools/chat/decisions/9")) in page


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param("4711", "Decision 4711 of pool chat is not there: the last one is 8", id="not yet"),
        pytest.param("3", "Decision 3 of pool chat is not there: it is older than the journal", id="too old"),
        pytest.param("soon", "'soon' is no number of a decision", id="no number"),
        pytest.param("9" * 40, "is no number of a decision", id="too large"),
    ],
)
def test_a_decision_that_is_not_there_is_said_so_on_the_page(browser: Browser, asked: str, said: str) -> None:
    page = browser.page(f"/pools/chat?decision={asked}")
    assert page.status_code == 200
    assert said in words(page)


def test_a_decision_that_repeated_another_shows_that_one(world: ApiWorld, browser: Browser) -> None:
    moved(world, 9, first=11)
    world.deps.board.publish(replace(view(world), decision=replace(last(world), number=12)))
    page = words(browser.page("/pools/chat?decision=10"))
    assert "Decision 10 repeated this one and has no record of its own. chat, decision 8 at" in page


def test_the_charts_stand_as_numbers_for_whoever_cannot_see_them(browser: Browser) -> None:
    page = words(browser.page("/pools/chat?span=15m"))
    assert "Replicas in replicas" in page
    assert "wanted 8 8 8" in page
    assert "capacity of ready replicas 30" in page


@pytest.mark.parametrize(
    "query", ["span=never", "show=x&way=y&before=z", "instances=1", "end=nothing&undo=x"], ids=lambda q: q
)
def test_an_address_with_mistakes_shows_the_page_as_if_they_were_not_there(browser: Browser, query: str) -> None:
    assert browser.page(f"/pools/chat?{query}").status_code == 200


def test_an_unknown_pool_is_a_page_that_names_those_there_are(browser: Browser) -> None:
    page = browser.page("/pools/%3Cscript%3Ecaht")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "There is no pool <script>caht" in words(page).replace("&lt;", "<")
    assert '<a href="/pools/chat">chat</a>' in page.text
    assert "<script>caht" not in page.text
    part = browser.page("/ui/pools/nope/head")
    assert (part.status_code, part.headers["hx-refresh"]) == (404, "true")


def test_what_labels_reasons_and_details_say_is_never_markup(world: ApiWorld, browser: Browser) -> None:
    evil = replace(
        last(world),
        number=9,
        at=NOW + 1,
        reasons=(Reason(EVIL, 8, EVIL),),
        readings={EVIL: replace(last(world).readings["load"], detail=EVIL)},
    )
    fleet = replace(some_fleet(), instances=(replace(instance(1), id=EVIL, detail=EVIL, address=EVIL),))
    alert = replace(view(world).alerts[0], name=EVIL, text=EVIL)
    world.deps.journal.put_override(Override("o1", "chat", "freeze", NOW + 600, EVIL, EVIL))
    world.deps.board.publish(replace(view(world), decision=evil, fleet=fleet, alerts=(alert,), error=EVIL))
    page = browser.page(f"/pools/chat?decision=9&instance={EVIL}&notice={EVIL}&end={EVIL}&undo={EVIL}")
    assert page.status_code == 200
    assert "alert(&#39;x&#39;)" in page.text
    assert EVIL not in page.text


@pytest.mark.parametrize(
    ("lower", "upper", "told"),
    [
        pytest.param(2.0, 9.5, "2 to 9.5", id="a band"),
        pytest.param(-4.0, 9.5, "– to 9.5", id="a bound below zero, where nothing ever is, is none"),
        pytest.param(None, 50.0, "– to 50", id="a limit from one side"),
    ],
)
def test_a_signal_is_shown_with_the_band_of_its_conditions(
    world: ApiWorld, browser: Browser, lower: float | None, upper: float, told: str
) -> None:
    found = view(world)
    assert found.decision is not None
    judged = (Judged("k", "queue", False, 3.0, lower, upper, "queue 3 is not above it"),)
    world.deps.board.publish(replace(found, decision=replace(found.decision, judged=judged)))
    page = browser.page("/pools/chat")
    assert page.status_code == 200
    assert told in words(page)


def test_a_pool_that_was_never_judged_has_a_page_too(world: ApiWorld, browser: Browser) -> None:
    world.deps.board.publish(PoolView(view(world).rules, NOW, error="the provider does not answer"))
    page = words(browser.page("/pools/chat"))
    assert "in error" in page
    assert "the provider does not answer" in page
    assert "The provider has not reported its fleet yet." in page


def test_a_journal_that_cannot_be_read_leaves_what_is_known_without_it(world: ApiWorld, browser: Browser) -> None:
    (world.rules_file.parent / "journal.db").write_bytes(b"no database")
    page = browser.page("/pools/chat")
    assert page.status_code == 200
    assert "journal" in words(page)
    assert "3 ready" in words(page)


def test_a_stranger_is_sent_to_sign_in_and_back_to_the_pool(world: ApiWorld) -> None:
    answer = Browser(world).page("/pools/chat?decision=7")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/signin?next=%2Fpools%2Fchat%3Fdecision%3D7"
