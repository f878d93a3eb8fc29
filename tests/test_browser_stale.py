"""A service that falls silent, ends and comes back, and visitors with little to say, in Chromium."""

from __future__ import annotations

import json
import re
import signal
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browserworld import Room, Windows, end, free_port, served
from tests.peers.pages import Pages, answer

pytestmark = pytest.mark.peer

OPERATOR, VIEWER = "operator-token-of-tests", "viewer-token-of-the-tests"
RULES = """\
pool: chat
tick: 1s
replica: {gpus: 0, capacity: 5 requests/s}
limits: {min: 0, max: 4}
offers:
  choose: listed
  from:
    - local: {type: tiny, command: 'sleep 3600', lead_time: 1s}
signals:
  queue: {metric: requests_waiting}
rules:
  - name: a short queue
    target: {signal: queue, per_replica: 5}
"""
FORGED = """fields => fetch("/pools/chat/do/override", {method: "POST", body: new URLSearchParams(fields)})
  .then(answer => answer.status)"""
FREEZE = {"kind": "freeze", "for": "15m", "reason": "forged", "author": "eve"}


class Place:
    """One address and one folder, in which a service may run several times, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "rules").mkdir()
        (folder / "rules" / "chat.yaml").write_text(RULES, encoding="utf-8")
        tokens = folder / "tokens"
        tokens.touch(mode=0o600)
        tokens.write_text(f"operator {OPERATOR} olga\nviewer {VIEWER} vera\n", encoding="utf-8")
        settings = {
            "data_dir": str(folder / "data"),
            "rules": str(folder / "rules"),
            "listen": f"127.0.0.1:{free_port()}",
            "tokens_file": str(tokens),
        }
        self.config = folder / "config.yaml"
        self.config.write_text(json.dumps(settings), encoding="utf-8")

    def served(self) -> AbstractContextManager[Room]:
        return served(self.folder, self.config)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A pool that needs no machine and gets none."""
    return Place(tmp_path)


def test_a_service_that_falls_silent_is_told_and_so_is_its_return(place: Place, windows: Windows) -> None:
    with place.served() as room:
        page = windows(room, as_=VIEWER).open("/")
        banner = page.locator("#banner")
        expect(page.locator("#pools")).to_contain_text("chat")
        room.process.send_signal(signal.SIGSTOP)
        try:
            expect(banner).to_contain_text("Nothing heard from the service since")
            old = page.locator("#as-of").inner_text()
        finally:
            room.process.send_signal(signal.SIGCONT)
        expect(banner).not_to_contain_text("Nothing heard")
        expect(page.locator("#as-of")).not_to_have_text(old)


def test_after_a_restart_the_open_page_is_fresh_again_and_its_visitor_still_signed_in(
    place: Place, windows: Windows
) -> None:
    with place.served() as room:
        page = windows(room, as_=OPERATOR).open("/pools/chat")
        page.evaluate("window.kept = true")
        banner, seen = page.locator("#banner"), page.locator("#as-of")
        before = seen.inner_text()
        end(room.process)
        expect(banner).to_contain_text("Nothing heard from the service since")
        assert page.locator("body.stale").count() == 1
    with place.served() as again:
        assert again.url == room.url
        expect(banner).not_to_contain_text("Nothing heard")
        expect(page.locator("body.stale")).to_have_count(0)
        expect(seen).not_to_have_text(before)
        assert page.evaluate("window.kept") is True
        page.reload()
        expect(page.locator("header")).to_contain_text("olga")
        expect(page.get_by_role("button", name="Freeze")).to_be_visible()


def test_what_people_may_do_is_what_their_token_may(place: Place, windows: Windows) -> None:
    with ExitStack() as stack:
        room = stack.enter_context(place.served())
        stranger = windows(room).open("/pools/chat")
        expect(stranger).to_have_url(re.compile(r"/signin\?next="))
        stranger.get_by_label("Token").fill("a guess that is wrong")
        stranger.get_by_role("button", name="Sign in").click()
        expect(stranger.get_by_role("alert")).to_contain_text("not known")
        stranger.get_by_label("Token").fill(VIEWER)
        stranger.get_by_role("button", name="Sign in").click()
        expect(stranger).to_have_url(f"{room.url}/pools/chat")
        viewer = stranger
        expect(viewer.locator("header")).to_contain_text("vera (viewer)")
        for path in ("/pools/chat", "/alerts"):
            viewer.goto(room.url + path)
            expect(viewer.locator("main form[method=post]")).to_have_count(0)
        assert viewer.evaluate(FORGED, FREEZE) == 403
        viewer.get_by_role("button", name="Sign out").click()
        expect(viewer).to_have_url(re.compile(r"/signin\?next="))
        viewer.goto(f"{room.url}/pools/chat")
        expect(viewer.get_by_label("Token")).to_be_visible()
        # Another port of the same host is the same site: the browser sends the operator's cookie along.
        operator = windows(room, as_=OPERATOR)
        trap = "".join(f'<input name="{name}" value="{value}">' for name, value in FREEZE.items())
        trap = f'<form method="post" action="{room.url}/pools/chat/do/override">{trap}<button>Win</button></form>'
        evil = stack.enter_context(Pages({"/": answer(trap.encode(), content_type="text/html")}))
        operator.page.goto(evil.url("/"))
        with operator.page.expect_response("**/do/override") as answered:
            operator.page.get_by_role("button", name="Win").click()
        assert answered.value.status == 403
        assert room.ask("/pools/chat/overrides", OPERATOR)["overrides"] == []
