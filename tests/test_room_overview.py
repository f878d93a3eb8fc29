"""The control room's first page: how pools stand, what is listed in which order, and what of it is new."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoscaler.api.room.pools.glance import Glance, LastChange, glance, in_words
from autoscaler.api.room.pools.glances import Glances
from autoscaler.api.room.pools.listing import Wish, listed, totals, wish
from autoscaler.api.room.pools.page import _draw
from autoscaler.api.room.pools.spark import HEIGHT, LEAST_S, SPAN_S, spark
from autoscaler.api.room.pools.standing import WORDS, standing
from autoscaler.board import Ownerless, PoolView
from autoscaler.engine import decide
from autoscaler.journal import Entry
from autoscaler.policies.target import Target
from autoscaler.rulefile.watch import RuleBook
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.types import (
    Alert,
    Fleet,
    Learned,
    Memory,
    Outlook,
    Override,
    Past,
    Plan,
    Quota,
    Rolling,
    Shortage,
    Spending,
    Standing,
)
from tests.apiworld import ApiWorld, api_world
from tests.roomworld import Browser, words
from tests.worlds import NOW, OFFER, fleet, frame, instance, rules, settled, world

PAIRS = replace(fleet(3), instances=tuple(replace(i, replicas=2) for i in fleet(3).instances))
FREEZE = Override("f", "chat", "freeze", NOW + 600, "anna", "incident 12", created_at=NOW)


def view(
    load: float = 40.0,
    there: Fleet | None = None,
    memory: Memory | None = None,
    law: RuleSet | None = None,
    **more: object,
) -> PoolView:
    """A pool that was really judged: `load` / 10 replicas are needed, four are there unless told."""
    law, there, memory = law or rules(), there or fleet(4), memory or settled(4)
    decision = decide(law, world(load=load, queue=3.0, there=there), memory)
    made = PoolView(law, NOW, decision, Plan("chat", decision.number), there, memory=memory)
    return replace(made, **more)  # type: ignore[arg-type]


def row(shown: PoolView | None = None, **more: object) -> Glance:
    found = glance(shown or view(), (), (), None, Learned(), None, NOW)
    return replace(found, **more)  # type: ignore[arg-type]


SHORT = Memory(
    want=4, watched_since=NOW - 3600, last_at=NOW - 15, shortages={OFFER.key: Shortage(OFFER.key, NOW + 60, 2, NOW)}
)
FULL = replace(SHORT, shortages={}, quotas={"small": Quota("small", OFFER.key, 4, 4, NOW + 60, NOW, "ask for more")})


@pytest.mark.parametrize(
    ("shown", "orders", "word", "why"),
    [
        pytest.param(view(), (), "ok", "", id="as many as are needed are there"),
        pytest.param(view(80.0), (), "growing", "to 8", id="more are wanted than are there"),
        pytest.param(view(there=fleet(3, 1)), (), "growing", "to 4", id="what was ordered does not serve yet"),
        pytest.param(view(50.0, PAIRS, settled(5)), (), "ok", "", id="a sixth replica that no machine has alone"),
        pytest.param(
            view(there=Fleet(NOW, (*fleet(4).instances, instance(9, "draining")))),
            (),
            "shrinking",
            "to 4",
            id="a drain",
        ),
        pytest.param(
            view(20.0, memory=replace(settled(4), watched_since=NOW)), (), "held", "stabilization until", id="a window"
        ),
        pytest.param(view(500.0), (), "at its limit", "50 would be needed: at most 20", id="the rules' maximum"),
        pytest.param(view(0.0, fleet(0), settled(0)), (), "scaled to zero", "", id="nothing wanted, nothing there"),
        pytest.param(view(80.0, memory=SHORT), (), "short of machines", "could not be had", id="a shortage"),
        pytest.param(view(80.0, memory=FULL), (), "short of machines", "quota reached", id="a quota"),
        pytest.param(view(there=fleet(4), memory=SHORT), (), "ok", "", id="a shortage of what nobody wants"),
        pytest.param(view(), (FREEZE,), "frozen", "by anna: incident 12", id="a freeze"),
        pytest.param(
            view(), (replace(FREEZE, kind="pause", direction="in"),), "paused", "scale in, until", id="a pause"
        ),
        pytest.param(view(fleet=None), (), "blind", "", id="the provider was never heard"),
        pytest.param(view(there=fleet(4, at=NOW - 3600)), (), "blind", "last report", id="an old report"),
        pytest.param(view(at=NOW - 3600), (), "not judged", "1 h ago", id="a loop that does not tick"),
        pytest.param(view(error="rule x breaks"), (FREEZE,), "in error", "rule x breaks", id="an error beats a freeze"),
    ],
)
def test_a_pool_stands_as_its_worst_trouble_says(
    shown: PoolView, orders: tuple[Override, ...], word: str, why: str
) -> None:
    found = standing(shown, orders, NOW)
    assert found.word == word
    assert why in found.why


def test_a_pool_whose_signal_says_nothing_is_blind_and_one_without_replicas_is_not() -> None:
    law = rules()
    there = fleet(4)
    decision = decide(law, world(load=frame(quality="missing"), queue=3.0, there=there), settled(4))
    seen = PoolView(law, NOW, decision, Plan("chat", 1), there, memory=settled(4))
    assert standing(seen, (), NOW).why == "no usable value of load"
    empty = decide(law, world(load=frame(quality="missing"), queue=3.0, there=fleet(0)), settled(0))
    assert standing(replace(seen, decision=empty, fleet=fleet(0)), (), NOW).word != "blind"


def test_every_word_has_a_shape_of_its_own_in_the_styles() -> None:
    style = (Path(__file__).parent.parent / "autoscaler/web/room/static/overview.css").read_text()
    for word in WORDS:
        assert f".mark.{word.replace(' ', '-')} " in style


def test_a_row_has_the_numbers_of_its_pool() -> None:
    memory = replace(settled(4), spending=Spending(int(NOW // 86400), 12.5, NOW, 8.0))
    found = row(view(38.0, memory=memory, alerts=(Alert("k", "chat", "slow", "critical", "firing", NOW, ""),)))
    assert (found.ready, found.pending, found.wanted, found.queue) == (4, 0, 4, 3.0)
    assert (found.demand, found.capacity, found.load_percent, found.unit) == (38.0, 40.0, 95, " requests/s")
    assert (found.usd_per_hour, found.usd_today, found.gpus) == (8.0, 12.5, 4)
    assert (found.firing, found.critical) == (1, 1)


def test_the_decision_is_told_without_what_the_row_says_already() -> None:
    decision = view(80.0).decision
    assert decision is not None
    assert in_words(decision) == "out from 4 to 8: load: load 80 needs 8 replicas at 10 each"


def test_the_forecast_says_what_will_be_needed_at_its_horizon() -> None:
    law = rules()
    ahead = Signal("ahead", forecast="load", ahead_s=360.0, quantile=0.9)
    law = replace(law, signals=(*law.signals, ahead), rules=(*law.rules, Rule("ahead", Target("ahead", 10.0))))
    outlook = Outlook(NOW, "v", "peak", (300.0, 360.0), (0.5, 0.9), ((1.0, 1.2), (1.5, 2.0)), level=40.0)
    seen = replace(world(load=40.0, queue=3.0, there=fleet(4)), outlooks={"ahead": outlook})
    decision = decide(law, seen, settled(4))
    found = row(PoolView(law, NOW, decision, None, fleet(4))).ahead
    assert found is not None
    assert (found.replicas, found.in_s) == (8, 360.0)


def test_what_people_ordered_is_noted_beside_the_name() -> None:
    floor = replace(FREEZE, id="g", kind="floor", replicas=6)
    rolling = Rolling("r", "running", "waits for a canary", old=("a", "b"), gone=1)
    notes = glance(view(rolling=rolling), (FREEZE, floor), (), None, Learned(), None, NOW).notes
    assert [n.word for n in notes] == ["freeze", "floor 6", "roll running"]
    assert "1 instance gone, 2 left: waits for a canary" in notes[2].text


# --- the line of recent demand ---------------------------------------------------------------------------------------


def test_a_spark_shows_the_highest_of_each_slot_and_the_capacity() -> None:
    at = NOW - np.arange(240)[::-1] * 15.0
    values = np.where(np.arange(240) == 100, 90.0, 30.0)
    drawn = spark(at, values, NOW, 60.0, " requests/s")
    assert drawn is not None
    heights = [float(point.split(",")[1]) for point in drawn.line[0].split()]
    assert min(heights) == 2.0
    assert drawn.limit == pytest.approx(HEIGHT - 2 - (HEIGHT - 4) * 60 / 90, abs=0.1)
    assert drawn.text == "last 1 h: 30 to 90 requests/s, now 30"


@pytest.mark.parametrize(
    ("at", "values"),
    [
        pytest.param([], [], id="nothing is known"),
        pytest.param([NOW - 10.0], [4.0], id="one point"),
        pytest.param([NOW - 30.0, NOW - 10.0], [np.nan, np.inf], id="no point is a number"),
        pytest.param([NOW - SPAN_S - 60.0, NOW - SPAN_S - 10.0], [1.0, 2.0], id="all of it is long ago"),
    ],
)
def test_without_two_points_there_is_no_spark(at: list[float], values: list[float]) -> None:
    assert spark(np.array(at), np.array(values), NOW, 10.0, "") is None


def test_a_gap_is_not_drawn_over_and_a_young_pool_fills_the_width() -> None:
    at = np.array([NOW - LEAST_S + 4.0 * n for n in range(16) if not 5 < n < 10])
    drawn = spark(at, np.full(at.size, 5.0), NOW, None, "")
    assert drawn is not None
    assert len(drawn.line) == 2
    assert drawn.line[0].startswith("0,")


# --- the list --------------------------------------------------------------------------------------------------------

SOME = (
    row(pool="calm"),
    row(pool="loud", firing=1),
    row(pool="dear", usd_per_hour=90.0, queue=7.0, change=LastChange(3, NOW, 1, 2)),
    row(view(error="broken"), pool="ill"),
    row(view(), pool="iced", state=standing(view(), (FREEZE,), NOW)),
    row(pool="burning", firing=3, critical=1),
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, ["ill", "burning", "iced", "loud", "calm", "dear"], id="trouble first, then names"),
        pytest.param({"sort": "name"}, ["burning", "calm", "dear", "iced", "ill", "loud"], id="by name"),
        pytest.param({"sort": "cost", "q": "a"}, ["dear", "calm"], id="by cost, of those with an a"),
        pytest.param({"sort": "change", "q": "ca de"}, [], id="every word must fit"),
        pytest.param({"sort": "queue", "state": "ok", "q": "D"}, ["dear", "loud"], id="queue, letters of any case"),
        pytest.param({"state": "alerts"}, ["burning", "loud"], id="with alerts"),
        pytest.param({"state": "frozen"}, ["iced"], id="in one state"),
        pytest.param({"q": "FROZEN"}, ["iced"], id="the state as a text"),
        pytest.param(
            {"sort": "shoe size", "state": "blue"}, ["ill", "burning", "iced", "loud", "calm", "dear"], id="old links"
        ),
    ],
)
def test_the_query_says_which_pools_and_in_what_order(query: dict[str, str], expected: list[str]) -> None:
    assert [g.pool for g in listed(SOME, wish(query))] == expected


def test_a_query_is_cut_to_a_length_that_people_type() -> None:
    assert wish({"q": "x" * 5000}) == Wish("x" * 200)


def test_totals_are_of_all_pools() -> None:
    found = totals(SOME, ())
    assert (found.pools, found.ready, found.firing, found.critical) == (6, 24, 4, 1)
    assert found.usd_per_hour == pytest.approx(5 * 8.0 + 90.0)


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def room(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def browser(room: ApiWorld) -> Browser:
    return Browser(room).sign_in("viewer")


def test_the_page_shows_each_pool_its_numbers_and_what_was_decided(browser: Browser) -> None:
    page = browser.page("/")
    said = words(page)
    assert page.status_code == 200
    assert 'href="/pools/chat"' in page.text
    assert "60 / 30" in said
    assert "Alerts firing 1 1 critical" in said
    assert "out from 4 to 8: enough: load 60 needs 8 replicas" in said
    assert "chat, decision 8" not in said


def test_the_form_keeps_what_was_chosen_and_works_by_get(browser: Browser) -> None:
    page = browser.page("/?q=nothing+like+it&sort=cost&state=frozen")
    assert 'value="nothing like it"' in page.text
    assert '<option value="cost" selected>' in page.text
    assert "<option selected>frozen</option>" in page.text
    assert 'href="/pools/chat"' not in page.text
    assert "0 of 1 pools" in words(page)


def test_names_and_texts_of_others_stay_text(room: ApiWorld, browser: Browser) -> None:
    hostile = '<script>alert(1)</script>"onload="x'
    seen = room.deps.board.pools()["chat"]
    room.deps.board.publish(replace(seen, rules=replace(seen.rules, pool=hostile), error=hostile))
    room.deps.journal.put_override(replace(FREEZE, reason=hostile))
    for page in (browser.page("/"), browser.page("/?q=%3Cscript%3E%22")):
        assert "<script>alert" not in page.text
        assert 'onload="x' not in page.text.replace("&#34;", "")


def test_what_needs_a_person_is_told_with_the_page_that_helps(room: ApiWorld, browser: Browser) -> None:
    board = room.deps.board
    board.ownerless = {"gone": Ownerless("gone", (instance(1),), "1 instance of pool gone, no rules")}
    seen = board.pools()["chat"]
    assert seen.fleet is not None
    told = replace(seen.fleet, standings=(Standing("chat", "aws/p4d", NOW, "no such type here", "provider"),))
    board.publish(replace(seen, fleet=told, memory=FULL))
    page = browser.page("/")
    said = words(page)
    assert "gone 1 instance of pool gone, no rules" in said
    assert "offer aws/p4d: no such type here" in said
    assert "quota reached at 4 machines of small: ask for more" in said
    assert {"/fleet", "/offers?pool=chat"} <= set(re.findall(r'href="([^"]*)">look', page.text))
    assert "Need a person 2" in said


def test_a_pool_that_nobody_can_watch_is_in_the_banner(room: ApiWorld, browser: Browser) -> None:
    seen = room.deps.board.pools()["chat"]
    room.deps.board.publish(replace(seen, fleet=None))
    assert "1 pool is blind and stays as found: chat" in words(browser.page("/"))


def test_without_rules_the_page_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("pool: code\nlimitz: {max: 3}\n", encoding="utf-8")
    room = api_world(tmp_path, rulebook=RuleBook(tmp_path / "broken.yaml"))
    room.deps.board.remove("chat")
    page = Browser(room).sign_in("viewer").page("/")
    assert "No rule file is in force, so nothing is scaled" in words(page)
    assert "rule file refused" in words(page)
    assert "broken.yaml:2:1: limitz" in words(page)
    assert "<table" not in page.text


def test_a_candidate_stands_under_its_pool_and_not_among_the_pools(room: ApiWorld, browser: Browser) -> None:
    seen = room.deps.board.pools()["chat"]
    room.deps.board.publish(replace(seen, rules=replace(seen.rules, pool="chat~shadow", shadow_of="chat")))
    page = browser.page("/")
    assert page.text.count("<tbody") == 1
    assert "candidate of chat" in words(page)
    assert "Pools 1 " in words(page)


# --- what is new -----------------------------------------------------------------------------------------------------


def news(browser: Browser, since: str = "", **query: str) -> dict[str, object]:
    answer = browser.ask("GET", "/ui/pools", params={"since": since, **query})
    assert answer.status_code == 200
    return dict(json.loads(answer.text))


def test_a_page_is_told_only_of_rows_that_changed_since_its_own(room: ApiWorld, browser: Browser) -> None:
    board = room.deps.board
    seen = board.pools()["chat"]
    board.publish(replace(seen, rules=replace(seen.rules, pool="code")))
    shown = re.search(r'data-version="([^"]*)"', browser.page("/").text)
    assert shown is not None
    assert news(browser, shown[1])["rows"] == {}
    board.publish(replace(seen, alerts=()))
    changed = news(browser, shown[1])
    assert list(changed["rows"]) == ["chat"]  # type: ignore[call-overload]
    assert changed["order"] == ["chat", "code"] or changed["order"] == ["code", "chat"]
    assert news(browser, str(changed["version"]))["rows"] == {}


def test_a_tick_that_changes_nothing_to_be_seen_sends_no_row(room: ApiWorld, browser: Browser) -> None:
    version = str(news(browser)["version"])
    room.deps.board.publish(replace(room.deps.board.pools()["chat"], at=NOW))
    assert news(browser, version)["rows"] == {}


def test_an_override_changes_the_row_without_a_tick(room: ApiWorld, browser: Browser) -> None:
    version = str(news(browser)["version"])
    room.deps.journal.put_override(FREEZE)
    changed = news(browser, version)
    assert "frozen" in changed["rows"]["chat"]  # type: ignore[index]


@pytest.mark.parametrize(
    "since", ["", "another-3", "0", "-", "x" * 40], ids=["none", "foreign", "bare", "dash", "long"]
)
def test_a_page_of_another_process_is_given_every_row(browser: Browser, since: str) -> None:
    assert list(news(browser, since)["rows"]) == ["chat"]  # type: ignore[call-overload]


def test_the_last_change_is_found_in_the_journal_and_asked_for_once(
    room: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board's decision changes nothing, so that the journal has to know."""
    journal = room.deps.journal
    seen = room.deps.board.pools()["chat"]
    assert seen.decision is not None
    calm = replace(seen.decision, number=9, at=NOW + 15, current=8, want=8, reasons=seen.decision.reasons)
    small = replace(seen.decision, number=4, at=NOW - 1200, current=4, want=4)
    journal.record([Entry(small, Plan("chat", 4), (), Memory())])
    room.deps.board.publish(replace(seen, decision=calm))
    glances = Glances()
    found = glances.fresh(room.deps, _draw)["chat"].glance.change
    assert found is not None
    assert (found.number, found.before, found.after) == (5, 4, 8)
    assert found.text.startswith("enough: load 60 needs")
    monkeypatch.setattr(journal, "changes", None)
    room.deps.board.publish(replace(seen, decision=replace(calm, number=10)))
    assert glances.fresh(room.deps, _draw)["chat"].glance.change == found


def test_recent_demand_is_drawn_from_memory(room: ApiWorld, browser: Browser) -> None:
    at = NOW - np.arange(100)[::-1] * 15.0
    room.deps.store.fill(Past("chat", "load", at, np.linspace(10.0, 60.0, 100)))
    assert "last 25 min: 10 to 60 requests/s, now 60" in browser.page("/").text
