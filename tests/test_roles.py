"""Every route that changes something refuses who may not, those that are added tomorrow too."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from autoscaler.api.crosssite import READING
from autoscaler.configparts import RateLimit
from tests.apiworld import SECRETS, ApiWorld, api_world

FOR_VIEWERS = {
    ("POST", "/api/v1/rules/check"): "judges a text and applies nothing",
    ("POST", "/rules/{pool}/check"): "the same on a page",
    ("POST", "/rules/{pool}/dry-runs"): "plays a text against the past and applies nothing",
}
"""What takes a token of any role, and why."""

FOR_ANYBODY = {
    ("POST", "/signin"): "is how a browser gets a session; it takes a token in its form",
    ("POST", "/signout"): "ends the caller's own session",
}
"""What takes no token, and why. Pages of other sites are refused all the same."""


def changing(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route of the app that is not for reading."""
    for route in app.routes:
        found = route.effective_route_contexts() if hasattr(route, "effective_route_contexts") else [route]
        for one in found:
            for method in sorted(set(getattr(one, "methods", None) or ()) - READING):
                yield method, str(getattr(one, "path", ""))


UNHURRIED = RateLimit(1e6, 1_000_000, 1e6, 1_000_000, 1e6)
"""So many refusals in a row would end in 429, which is not what is asked here."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ApiWorld:
    return api_world(tmp_path_factory.mktemp("roles"), rate_limit=UNHURRIED)


def filled(path: str) -> str:
    """A path whose pool is there, so that a refusal is not one of an unknown name."""
    return re.sub(r"\{\w+\}", "chat", path)


@pytest.fixture(scope="module")
def routes(world: ApiWorld) -> list[tuple[str, str]]:
    found = list(changing(world.app))
    assert len(found) >= 20, "the walk over the routes does not find them any more"
    return found


def test_every_exception_is_a_route_that_is_there(routes: list[tuple[str, str]]) -> None:
    assert {*FOR_VIEWERS, *FOR_ANYBODY} <= set(routes)


def test_without_a_token_nothing_can_be_changed(world: ApiWorld, routes: list[tuple[str, str]]) -> None:
    for method, path in routes:
        if (method, path) not in FOR_ANYBODY:
            response = world.client(None).ask(method, filled(path))
            # A page sends a browser to where it can sign in; a program is told 401.
            signs_in = response.status_code == 303 and response.headers["location"].startswith("/signin")
            assert response.status_code == 401 or (signs_in and not path.startswith("/api/")), (method, path)


def test_a_token_that_is_not_known_changes_nothing(world: ApiWorld, routes: list[tuple[str, str]]) -> None:
    for method, path in routes:
        if (method, path) not in FOR_ANYBODY:
            response = world.client("some-other-secret-000").ask(method, filled(path))
            assert response.status_code in (303, 401), (method, path)


def test_a_viewer_changes_nothing(world: ApiWorld, routes: list[tuple[str, str]]) -> None:
    for method, path in routes:
        if (method, path) not in {**FOR_VIEWERS, **FOR_ANYBODY}:
            response = world.client(SECRETS["viewer"]).ask(method, filled(path))
            assert response.status_code == 403, (method, path, response.text)


def test_what_a_page_of_another_site_asks_for_is_refused_with_any_token(
    world: ApiWorld, routes: list[tuple[str, str]]
) -> None:
    for method, path in routes:
        headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        response = world.client(SECRETS["admin"]).ask(method, filled(path), headers=headers)
        assert (response.status_code, "another origin" in response.text) == (403, True), (method, path)
