"""The control room's shell: who may see it, how people sign in, and what no page may do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.api.app import create_app
from autoscaler.api.room.session import LASTS_S
from autoscaler.api.room.signin import own_path
from autoscaler.tokens import session_key
from tests.apiworld import LOCAL, SECRETS, ApiWorld, api_world
from tests.roomworld import CROSS, Browser, words


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def browser(world: ApiWorld) -> Browser:
    return Browser(world)


def links(text: str) -> Iterable[str]:
    return re.findall(r'(?:href|src|action)="([^"]*)"', text)


def test_a_page_of_a_guarded_service_sends_a_stranger_to_sign_in_and_back(browser: Browser) -> None:
    answer = browser.page("/?sort=cost")
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=%2F%3Fsort%3Dcost")
    form = browser.page(answer.headers["location"])
    assert 'name="next" value="/?sort=cost"' in form.text
    entered = browser.send("/signin", {"token": SECRETS["viewer"], "next": "/?sort=cost"})
    assert (entered.status_code, entered.headers["location"]) == (303, "/?sort=cost")
    assert "viewer-of-test" in words(browser.page("/"))


def test_a_fragment_tells_a_page_whose_session_ended_to_load_itself_anew(browser: Browser) -> None:
    answer = browser.page("/ui/pools")
    assert (answer.status_code, answer.headers["hx-refresh"]) == (401, "true")


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_can_use(browser: Browser) -> None:
    cookie = browser.send("/signin", {"token": SECRETS["operator"], "next": "/"}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert SECRETS["operator"] not in cookie


@pytest.mark.parametrize("given", ["", "no-such-token", "x" * 2000, "\x00"], ids=["none", "unknown", "long", "binary"])
def test_a_token_that_is_not_known_is_told_and_signs_nobody_in(browser: Browser, given: str) -> None:
    answer = browser.send("/signin", {"token": given, "next": "/"})
    assert answer.status_code == 401
    assert "This token is not known here." in words(answer)
    assert "set-cookie" not in answer.headers
    assert given == "" or given not in answer.text


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        pytest.param("/pools/chat?decision=3", "/pools/chat?decision=3", id="a page of ours"),
        pytest.param("https://evil.example/", "/", id="another site"),
        pytest.param("//evil.example/", "/", id="another host"),
        pytest.param("/\\evil.example/", "/", id="what browsers read as another host"),
        pytest.param("javascript:alert(1)", "/", id="a script"),
        pytest.param("/a\r\nset-cookie: x", "/", id="a header of its own"),
        pytest.param("", "/", id="nothing"),
    ],
)
def test_signing_in_leads_only_to_pages_of_ours(path: str, taken: str) -> None:
    assert own_path(path) == taken


def test_a_session_acts_with_the_role_of_its_token(browser: Browser) -> None:
    browser.sign_in("viewer")
    override = {"kind": "freeze", "for": "1h", "author": "ada", "reason": "test"}
    put = "/api/v1/pools/chat/overrides/one"
    refused = browser.ask("PUT", put, json=override)
    assert (refused.status_code, "needs the role operator" in refused.json()["detail"]) == (403, True)
    browser.sign_in("operator")
    assert browser.ask("PUT", put, json=override).status_code == 200


def test_another_site_can_use_nobody_s_session(browser: Browser) -> None:
    browser.sign_in("operator")
    override = {"kind": "freeze", "for": "1h", "author": "ada", "reason": "test"}
    for headers in (CROSS, {"sec-fetch-site": "same-site"}, {"origin": "http://127.0.0.1:1"}):
        answer = browser.ask("PUT", "/api/v1/pools/chat/overrides/one", json=override, headers=headers)
        assert answer.status_code == 403, headers
    assert browser.send("/signout", {}, CROSS).status_code == 403
    assert browser.send("/signin", {"token": SECRETS["admin"], "next": "/"}, CROSS).status_code == 403


def test_a_session_ends_by_itself_by_signing_out_and_with_its_token(world: ApiWorld) -> None:
    browser = Browser(world).sign_in("operator")
    without = create_app(replace(world.deps, tokens=tuple(t for t in world.deps.tokens if t.role != "operator")))
    assert Browser(replace(world, app=without), browser.cookies).page("/").status_code == 303
    left = Browser(world, browser.cookies)
    world.clock.at += LASTS_S - 60
    assert left.page("/").status_code == 200
    world.clock.at += 61
    assert left.page("/").status_code == 303
    again = Browser(world).sign_in("operator")
    assert "Max-Age=0" in again.send("/signout", {}).headers["set-cookie"]


def test_a_restart_signs_nobody_out_and_another_service_knows_no_session_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    world = api_world(tmp_path, session_key=session_key(folder))
    cookies = Browser(world).sign_in("viewer").cookies
    restarted = create_app(replace(world.deps, session_key=session_key(folder)))
    assert Browser(replace(world, app=restarted), cookies).page("/").status_code == 200
    other = create_app(replace(world.deps, session_key=b"another key of thirty-two bytes."))
    assert Browser(replace(world, app=other), cookies).page("/").status_code == 303
    assert (folder / "session-key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("spoil", ["name", "end", "mac"])
def test_a_forged_session_is_nobody_s(browser: Browser, spoil: str) -> None:
    browser.sign_in("viewer")
    ((cookie, value),) = browser.cookies.items()
    name, end, mac = value.split(".")
    parts = {"name": name, "end": end, "mac": mac}
    parts[spoil] = {"name": "YWRtaW4tb2YtdGVzdA", "end": str(int(end) + 9), "mac": "0" * 64}[spoil]
    browser.cookies[cookie] = ".".join(parts.values())
    assert browser.page("/").status_code == 303


def test_on_this_machine_everybody_reads_and_the_local_token_signs_in(tmp_path: Path) -> None:
    browser = Browser(api_world(tmp_path, tokens=False))
    assert "Sign in to change things" in words(browser.page("/"))
    assert "data/token" in words(browser.page("/signin"))
    assert browser.send("/signin", {"token": LOCAL, "next": "/"}).status_code == 303
    assert "local (operator)" in words(browser.page("/"))


def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(browser: Browser) -> None:
    page = browser.sign_in("viewer").page("/")
    assert all(link.startswith("/") or link.startswith("#") for link in links(page.text))
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", page.text)
    for link in {link for link in links(page.text) if link.startswith("/static/")}:
        found = browser.page(link)
        assert (found.status_code, "immutable" in found.headers["cache-control"]) == (200, True), link


@pytest.mark.parametrize(
    "path",
    ["/static/room/static/nothing.css", "/static/room/static/..", "/static/vendor/uplot/LICENSE", "/static/a/b/c.js"],
)
def test_only_styles_scripts_and_pictures_of_pages_are_served(browser: Browser, path: str) -> None:
    assert browser.page(path).status_code == 404
