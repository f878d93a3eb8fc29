"""What people do to a pool by forms: who may, what is asked once more, and that nothing typed is lost."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from autoscaler.api.operations import in_force
from autoscaler.journal import Entry
from autoscaler.types import Memory, Plan
from tests.apiworld import ApiWorld, api_world
from tests.roomworld import CROSS, Browser, words
from tests.worlds import NOW

WHO = {"author": "ann", "reason": "a test of ours"}


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def browser(world: ApiWorld) -> Browser:
    return Browser(world).sign_in("operator")


def overrides(world: ApiWorld) -> list[tuple[str, int | None, str, float]]:
    return [(o.kind, o.replicas, o.direction, o.until - NOW) for o in world.deps.journal.overrides(NOW)]


def asked(text: str) -> str:
    """The sentence that the form wants to be confirmed."""
    found = re.search(r'name="confirm" value="([^"]*)"', text)
    assert found is not None, text
    return unescape(found[1])


def test_an_override_is_set_by_its_form_told_and_ended_again(world: ApiWorld, browser: Browser) -> None:
    given = {"kind": "floor", "replicas": "6", "direction": "both", "for": "2h", "until": "", **WHO}
    answer = browser.send("/pools/chat/do/override", given)
    assert answer.status_code == 303
    assert overrides(world) == [("floor", 6, "both", 7200.0)]
    assert world.deps.board.wake.is_set()
    shown = browser.page(answer.headers["location"])
    assert "The floor 6 is in force until" in words(shown)
    name = re.search(r'<option value="(floor-[^"]+)"', shown.text)
    assert name is not None
    ended = browser.send("/pools/chat/do/end-override", {"id": name[1], **WHO})
    assert ended.status_code == 303
    assert overrides(world) == []


def test_the_end_may_be_an_instant_in_utc(world: ApiWorld, browser: Browser) -> None:
    given = {"kind": "floor", "replicas": "6", "for": "", "until": "2026-09-21T15:13", **WHO}
    assert browser.send("/pools/chat/do/override", given).status_code == 303
    assert overrides(world) == [("floor", 6, "both", 3580.0)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"replicas": "99"}, "99 is outside of the rule's bounds of 1 to 20", id="beyond the bounds"),
        pytest.param({"replicas": "many"}, "replicas: should be a valid integer", id="no number"),
        pytest.param({"replicas": ""}, "a floor needs a count", id="no count"),
        pytest.param({"for": "soon"}, "for: 'soon' is not a duration", id="no duration"),
        pytest.param({"for": "90d"}, "more than 30 days away", id="too long"),
        pytest.param({"for": ""}, "until and for are both missing", id="no end"),
        pytest.param({"until": "2030-01-01T00:00"}, "until and for are both given", id="two ends"),
        pytest.param({"kind": "destroy"}, "kind: should be 'pin', 'floor'", id="no such kind"),
        pytest.param({"reason": "  "}, "reason: is empty; fill it in", id="no reason"),
        pytest.param({"author": ""}, "author: is empty; fill it in", id="no author"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    world: ApiWorld, browser: Browser, changed: dict[str, str], said: str
) -> None:
    given = {"kind": "floor", "replicas": "6", "for": "30m", "author": "ann", "reason": "<i>why</i> & more", **changed}
    answer = browser.send("/pools/chat/do/override", given)
    assert answer.status_code == 422
    assert said in words(answer)
    assert overrides(world) == []
    assert "Nothing was done." in words(answer)
    assert '<details id="act-override" open>' in answer.text
    if "reason" not in changed:
        assert 'value="&lt;i&gt;why&lt;/i&gt; &amp; more"' in answer.text
    if "author" not in changed:
        assert 'name="author" required maxlength="100" value="ann"' in answer.text


@pytest.mark.parametrize(
    ("given", "question", "kept"),
    [
        pytest.param({"quick": "freeze"}, "the pool orders nothing", ("freeze", None, "both"), id="a freeze"),
        pytest.param({"quick": "out"}, "the pool orders nothing", ("pause", None, "out"), id="no more scale-out"),
        pytest.param(
            {"kind": "pin", "replicas": "2"}, "1 of 3 ready replicas drain and go", ("pin", 2, "both"), id="a small pin"
        ),
        pytest.param(
            {"kind": "ceiling", "replicas": "5"}, "The rules ask for 8 replicas", ("ceiling", 5, "both"), id="a ceiling"
        ),
    ],
)
def test_what_may_leave_users_waiting_is_done_only_after_a_yes_to_that_very_sentence(
    world: ApiWorld, browser: Browser, given: dict[str, str], question: str, kept: tuple[str, int | None, str]
) -> None:
    sent = {"for": "30m", **WHO, **given}
    first = browser.send("/pools/chat/do/override", sent)
    assert first.status_code == 200
    assert question in asked(first.text)
    assert "Nothing was done yet." in words(first)
    other = browser.send("/pools/chat/do/override", {**sent, "confirm": "something else"})
    assert question in asked(other.text)
    assert overrides(world) == []
    assert browser.send("/pools/chat/do/override", {**sent, "confirm": asked(first.text)}).status_code == 303
    assert overrides(world) == [(*kept, 1800.0)]


def test_a_pause_of_scale_in_harms_nobody_and_is_done_at_once(world: ApiWorld, browser: Browser) -> None:
    assert browser.send("/pools/chat/do/override", {"quick": "in", "for": "1h", **WHO}).status_code == 303
    assert overrides(world) == [("pause", None, "in", 3600.0)]


def test_faults_are_told_before_anybody_is_asked_to_confirm(browser: Browser) -> None:
    answer = browser.send("/pools/chat/do/override", {"kind": "freeze", "for": "90d", **WHO})
    assert "more than 30 days away" in words(answer)
    assert 'name="confirm"' not in answer.text


def test_a_viewer_sees_no_form_and_cannot_send_one(world: ApiWorld) -> None:
    viewer = Browser(world).sign_in("viewer")
    page = viewer.page("/pools/chat")
    assert "/do/" not in page.text
    assert "An operator may change this pool" in words(page)
    answer = viewer.send("/pools/chat/do/override", {"kind": "floor", "replicas": "6", "for": "1h", **WHO})
    assert answer.status_code == 403
    assert "needs the role operator" in words(answer)
    assert overrides(world) == []


def test_a_stranger_who_sends_a_form_is_sent_to_sign_in_and_back_to_the_pool(world: ApiWorld, browser: Browser) -> None:
    answer = Browser(world).send("/pools/chat/do/override", {"kind": "freeze", **WHO})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/signin?next=")
    assert browser.page("/pools/chat/do/override").headers["location"] == "/pools/chat"
    assert overrides(world) == []


def test_a_form_of_another_site_is_refused_whoever_is_signed_in(world: ApiWorld, browser: Browser) -> None:
    given = {"kind": "floor", "replicas": "6", "for": "1h", **WHO}
    assert browser.send("/pools/chat/do/override", given, CROSS).status_code == 403
    assert overrides(world) == []


def test_a_rollback_says_what_it_would_do_and_then_does_it(world: ApiWorld, browser: Browser) -> None:
    last = world.deps.board.pools()["chat"].decision
    assert last is not None
    smaller = replace(last, number=9, at=NOW + 15, current=8, want=3)
    world.deps.journal.record([Entry(smaller, Plan("chat", 9), (), Memory(number=9))])
    world.deps.board.publish(replace(world.deps.board.pools()["chat"], decision=smaller))
    first = browser.send("/pools/chat/do/rollback", {"undo": "9", "for": "1h", **WHO})
    assert "Decision 9 would be undone: back to the 8 replicas of decision 8, as a floor" in asked(first.text)
    assert overrides(world) == []
    done = browser.send("/pools/chat/do/rollback", {"undo": "9", "for": "1h", "confirm": asked(first.text), **WHO})
    assert done.status_code == 303
    assert overrides(world) == [("floor", 8, "both", 3600.0)]


@pytest.mark.parametrize(
    ("undo", "said"),
    [
        pytest.param("x", "is no number of a decision", id="no number"),
        pytest.param("5", "nothing is known from before decision 5", id="before the journal"),
        pytest.param("8", "there is nothing to undo", id="the same size"),
    ],
)
def test_a_rollback_to_nowhere_says_why(browser: Browser, undo: str, said: str) -> None:
    answer = browser.send("/pools/chat/do/rollback", {"undo": undo, "for": "1h", **WHO})
    assert answer.status_code in (404, 409, 422)
    assert said in words(answer)
    assert f'name="undo" inputmode="numeric" value="{undo}"' in answer.text


def test_an_instance_is_cordoned_shown_as_such_and_given_back(world: ApiWorld, browser: Browser) -> None:
    given = {"instance": "chat-1", "for": "1h", **WHO}
    first = browser.send("/pools/chat/do/cordon", given)
    assert "chat-1 leaves routing" in asked(first.text)
    assert browser.send("/pools/chat/do/cordon", {**given, "confirm": asked(first.text)}).status_code == 303
    assert "cordoned chat-1 until" in words(browser.page("/pools/chat"))
    assert browser.send("/pools/chat/do/uncordon", given).status_code == 303
    assert in_force(world.deps, "chat") == []


def test_a_replacement_is_confirmed_ordered_and_taken_back(world: ApiWorld, browser: Browser) -> None:
    given = {"instance": "chat-2", "for": "1d", **WHO}
    first = browser.send("/pools/chat/do/replace", given)
    assert browser.send("/pools/chat/do/replace", {**given, "confirm": asked(first.text)}).status_code == 303
    assert [m.kind for m in in_force(world.deps, "chat")] == ["replace"]
    assert browser.send("/pools/chat/do/keep", given).status_code == 303
    assert in_force(world.deps, "chat") == []


def test_an_instance_that_is_not_there_is_named_with_the_closest_one(browser: Browser) -> None:
    answer = browser.send("/pools/chat/do/cordon", {"instance": "chat-12", "for": "1h", **WHO})
    assert answer.status_code == 404
    assert "did you mean" in words(answer)
    assert 'value="chat-12"' in answer.text


def test_a_roll_is_confirmed_begun_and_taken_back(world: ApiWorld, browser: Browser) -> None:
    given = {"for": "1d", "max_surge": "1", "max_unavailable": "0", "canary": "", "everything": "yes", **WHO}
    first = browser.send("/pools/chat/do/roll", given)
    assert asked(first.text) == "Every instance of chat is replaced, a few at a time."
    done = browser.send("/pools/chat/do/roll", {**given, "confirm": asked(first.text)})
    assert done.status_code == 303, words(done)
    assert world.deps.journal.operations.roll("chat") is not None
    assert browser.send("/pools/chat/do/abort-roll", WHO).status_code == 303
    assert world.deps.journal.operations.roll("chat") is None


def test_a_form_that_there_is_not_and_one_that_is_too_large_change_nothing(world: ApiWorld, browser: Browser) -> None:
    assert browser.send("/pools/chat/do/destroy", WHO).status_code == 404
    assert browser.send("/pools/chat/do/override", {"reason": "x" * (2 << 20)}).status_code == 413
    assert overrides(world) == []


def test_links_of_the_page_fill_the_forms_that_they_lead_to(browser: Browser) -> None:
    assert 'value="chat-2"' in browser.page("/pools/chat?instance=chat-2").text
    assert '<details id="act-rollback" open>' in browser.page("/pools/chat?undo=8").text
