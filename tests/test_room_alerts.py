"""The alerts page: what fires, who silenced what, who was told, and the forms that silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from autoscaler.api.notices import Nobody
from autoscaler.notifying.status import ReceiverStatus
from autoscaler.types import Alert, Matcher, Message, Silence
from tests.apiworld import ApiWorld, api_world
from tests.roomworld import CROSS, Browser, words
from tests.worlds import NOW

EVIL = '<script>alert("x")</script>'
FORM = {"matchers": 'pool="chat"\nalertname="slow"', "for": "2h", "until": "", "author": "ada", "comment": "known"}


def alert(name: str, **changes: object) -> Alert:
    base = Alert(name, "chat", name, "warning", "firing", NOW - 60, f"{name} is 9 s", value=9.0)
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    world = api_world(tmp_path)
    some = (
        alert("odd", severity="info", state="pending"),
        alert("warm", labels=(("uuid", "GPU-1"), ("pool", "chat"))),
        alert("slow", severity="critical"),
        alert("past", state="resolved"),
        alert("calm", state="inactive"),
    )
    world.deps.board.publish(replace(world.deps.board.pools()["chat"], alerts=some))
    return world


def silences(world: ApiWorld) -> list[tuple[str, str, float]]:
    found = world.deps.journal.notified.silences(NOW)
    return [(", ".join(map(str, s.matchers)), s.author, s.ends_at - NOW) for s in found if s.ends_at > NOW]


def silenced(world: ApiWorld, name: str = "slow") -> str:
    one = Silence("abc123", (Matcher("alertname", "=", name),), NOW - 5, NOW + 600, "bob", "we know", NOW - 5)
    world.deps.journal.notified.put_silence(one)
    return one.id


def test_alerts_stand_in_the_order_of_their_urgency_and_inactive_ones_do_not(world: ApiWorld) -> None:
    page = Browser(world).sign_in("viewer").page("/ui/alerts")
    places = [page.text.index(f"<b>{name}</b>") for name in ("slow", "warm", "odd", "past")]
    assert places == sorted(places)
    assert "calm" not in words(page).replace("calm since", "")
    assert "1 critical and firing 2 firing in all 1 pending" in words(page)
    assert "critical, firing chat 2026" in words(page)
    assert "slow slow is 9 s value 9" in words(page)


@pytest.mark.parametrize(
    ("query", "there"),
    [
        pytest.param("severity=critical", {"slow"}, id="by severity"),
        pytest.param("state=pending", {"odd"}, id="by state"),
        pytest.param("q=uuid=gpu-1", {"warm"}, id="by label"),
        pytest.param("q=chat+9", {"slow", "warm", "odd", "past"}, id="by words"),
        pytest.param("silenced=yes", {"slow"}, id="silenced ones"),
        pytest.param("silenced=no&state=firing", {"warm"}, id="those that are heard"),
        pytest.param("severity=none&state=none", {"slow", "warm", "odd", "past"}, id="what is not known is no filter"),
    ],
)
def test_filters(world: ApiWorld, query: str, there: set[str]) -> None:
    silenced(world)
    text = Browser(world).sign_in("viewer").page(f"/ui/alerts?{query}").text
    assert {name for name in ("slow", "warm", "odd", "past") if f"<b>{name}</b>" in text} == there


def test_a_silenced_alert_names_the_silence_and_that_says_who_why_and_until_when(world: ApiWorld) -> None:
    name = silenced(world)
    text = words(Browser(world).sign_in("viewer").page("/ui/alerts"))
    assert f"silenced by {name}" in text
    assert 'alertname="slow" abc123 in force 1' in text
    assert "bob: we know" in text


def test_an_operator_silences_an_alert_from_its_row_and_ends_that_again(world: ApiWorld) -> None:
    browser = Browser(world).sign_in("operator")
    filled = browser.page("/alerts?silence=slow&about=chat")
    assert "alertname=&#34;slow&#34;\npool=&#34;chat&#34;</textarea>" in filled.text
    assert 'value="operator-of-test"' in filled.text
    answer = browser.send("/alerts/silences", FORM)
    assert answer.status_code == 303
    assert "it mutes 1 alert now" in unquote(answer.headers["location"])
    assert silences(world) == [('pool="chat", alertname="slow"', "ada", 7200.0)]
    name = world.deps.journal.notified.silences(NOW)[0].id
    assert browser.send(f"/alerts/silences/{name}/end", {"author": "ada"}).status_code == 303
    assert silences(world) == []
    assert "ended by ada" in words(browser.page("/alerts"))


def test_the_end_may_be_an_instant_in_utc_and_counts_before_a_duration(world: ApiWorld) -> None:
    given = FORM | {"until": "2026-09-21T15:13"}
    assert Browser(world).sign_in("operator").send("/alerts/silences", given).status_code == 303
    assert silences(world)[0][2] == 3580.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"matchers": "pool"}, "'pool' is not a matcher", id="no matcher"),
        pytest.param({"matchers": 'alertname=~"(("'}, "is not an expression", id="no expression"),
        pytest.param({"matchers": 'pool=~".*"'}, "matches every alert", id="everything"),
        pytest.param({"matchers": " \n "}, "matchers: is empty; fill it in", id="nothing"),
        pytest.param({"for": "soon"}, "'soon' is not a duration", id="no duration"),
        pytest.param({"for": ""}, "until and for are both missing", id="no end"),
        pytest.param({"for": "90d"}, "more than 30 days away", id="for ever"),
        pytest.param({"author": "  "}, "author: is empty; fill it in", id="nobody"),
        pytest.param({"comment": ""}, "comment: is empty; fill it in", id="no reason"),
    ],
)
def test_a_silence_that_breaks_a_rule_says_so_and_nothing_typed_is_lost(
    world: ApiWorld, changes: dict[str, str], says: str
) -> None:
    answer = Browser(world).sign_in("operator").send("/alerts/silences", FORM | {"comment": "known <b>"} | changes)
    assert answer.status_code == 422
    assert says in words(answer)
    assert silences(world) == []
    if "comment" not in changes:
        assert 'value="known &lt;b&gt;"' in answer.text


def test_a_silence_that_is_not_there_can_not_be_ended(world: ApiWorld) -> None:
    answer = Browser(world).sign_in("operator").send("/alerts/silences/nothing/end", {})
    assert answer.status_code == 404
    assert "there is no silence" in words(answer)


def test_a_viewer_sees_everything_and_changes_nothing(world: ApiWorld) -> None:
    name = silenced(world)
    browser = Browser(world).sign_in("viewer")
    page = browser.page("/alerts")
    assert "/alerts/silences" not in page.text
    assert "An operator or admin may silence alerts." in words(page)
    assert browser.send("/alerts/silences", FORM).status_code == 403
    refused = browser.send(f"/alerts/silences/{name}/end", {})
    assert (refused.status_code, "needs the role operator" in words(refused)) == (403, True)
    assert len(silences(world)) == 1


def test_another_site_silences_nothing(world: ApiWorld) -> None:
    name = silenced(world)
    browser = Browser(world).sign_in("operator")
    assert browser.send("/alerts/silences", FORM, CROSS).status_code == 403
    assert browser.send(f"/alerts/silences/{name}/end", {}, CROSS).status_code == 403
    assert len(silences(world)) == 1


def test_a_stranger_is_sent_to_sign_in(world: ApiWorld) -> None:
    browser = Browser(world)
    assert browser.page("/alerts").status_code == 303
    assert browser.send("/alerts/silences", FORM).status_code in (303, 401)
    assert silences(world) == []


@dataclass
class Told(Nobody):
    """Two receivers, one of them in trouble."""

    def status(self) -> Sequence[ReceiverStatus]:
        return (
            ReceiverStatus("pager", "webhook", "https://pager.example", queued=2, last_error="answers 500"),
            ReceiverStatus("chat", "slack", "https://chat.example", delivered=7, last_delivered_at=NOW - 10),
        )

    def address_of(self, message: Message) -> tuple[str, str]:
        return "webhook", f"https://{message.receiver}.example"

    def receivers_of(self, alert: Alert) -> tuple[str, ...]:
        return ("pager",)


def message(number: int, **changes: object) -> Message:
    base = Message(f"m{number}", "pager", 0, "g", f"summary {number}", 1, 0, "{}", NOW - 60 + number, NOW + 3600)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_receivers_and_messages_tell_what_waits_and_why(tmp_path: Path) -> None:
    world = api_world(tmp_path, notices=Told())
    stuck = message(1, attempts=3, next_at=NOW + 30, last_error=f"answered 500 {EVIL}")
    world.deps.journal.notified.tell([stuck, message(2, state="delivered", attempts=1)], (), ())
    browser = Browser(world).sign_in("viewer")
    page = browser.page("/alerts")
    text = words(page)
    assert "pager webhook, https://pager.example 2 0" in text
    assert "2 messages wait to be delivered" in text
    assert "waiting pager https://pager.example summary 1 1 firing, 0 resolved 3 answered 500" in text
    assert "next try 2026" in text
    assert EVIL not in page.text
    only = words(browser.page("/ui/deliveries?sent=delivered"))
    assert "summary 2" in only
    assert "summary 1" not in only


def test_messages_come_by_pages(tmp_path: Path) -> None:
    world = api_world(tmp_path, notices=Told())
    world.deps.journal.notified.tell([message(n) for n in range(40)], (), ())
    browser = Browser(world).sign_in("viewer")
    first = browser.page("/ui/deliveries")
    assert "summary 39" in first.text
    assert "summary 9 " not in words(first)
    before = first.text.partition("before=")[2].partition("#")[0]
    assert "summary 9 " in words(browser.page(f"/ui/deliveries?before={before}"))


def test_without_receivers_the_page_says_that_nobody_is_told(world: ApiWorld) -> None:
    assert "Nobody is told of alerts" in words(Browser(world).sign_in("viewer").page("/alerts"))


def test_names_texts_and_labels_stay_text(world: ApiWorld) -> None:
    some = (alert(EVIL, text=EVIL, labels=(("l", EVIL),), pool=EVIL),)
    world.deps.board.publish(replace(world.deps.board.pools()["chat"], alerts=some))
    one = Silence("abc", (Matcher("pool", "=", EVIL),), NOW - 5, NOW + 600, EVIL, EVIL, NOW - 5)
    world.deps.journal.notified.put_silence(one)
    browser = Browser(world).sign_in("operator")
    answer = browser.ask("GET", "/alerts", params={"q": EVIL, "silence": EVIL, "about": EVIL, "notice": EVIL})
    assert answer.status_code == 200
    assert EVIL not in answer.text
    assert answer.text.count("&lt;script&gt;") >= 8
