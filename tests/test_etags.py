"""Entity tags: what has not changed is not sent again, and what has changed is not overwritten unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.api.etags import listed
from tests.apiworld import ApiWorld, AppClient, api_world
from tests.worlds import NOW

OVERRIDE = {"kind": "freeze", "for": "1h", "author": "ada", "reason": "test"}
EVENT = "pools/chat/overrides/event"


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def client(world: ApiWorld) -> AppClient:
    return world.client()


@pytest.mark.parametrize(
    ("header", "weakly", "expected"),
    [
        pytest.param('"a"', False, True, id="the tag itself"),
        pytest.param('"b", "a"', False, True, id="one of several"),
        pytest.param("*", False, True, id="a star is any"),
        pytest.param('W/"a"', True, True, id="a weak one where weak ones count"),
        pytest.param('W/"a"', False, False, id="a weak one where they do not"),
        pytest.param('"b"', True, False, id="another one"),
        pytest.param("a", True, False, id="one without quotes"),
        pytest.param("", True, False, id="an empty header"),
    ],
)
def test_a_tag_is_found_in_a_header(header: str, weakly: bool, expected: bool) -> None:
    assert listed(header, '"a"', weakly=weakly) is expected


def test_an_answer_that_the_client_has_is_left_out(client: AppClient) -> None:
    first = client.get("pools")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    again = client.ask("GET", "pools", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert "content-length" not in again.headers
    assert client.ask("GET", "pools", headers={"If-None-Match": '"other"'}).json() == first.json()


def test_another_answer_has_another_tag(client: AppClient) -> None:
    before = client.get("pools").headers["etag"]
    assert client.get("pools").headers["etag"] == before
    client.ask("PUT", EVENT, json=OVERRIDE)
    assert client.get("pools").headers["etag"] != before


@pytest.mark.parametrize("path", ["/metrics", "pools/none", "/"])
def test_what_is_no_json_or_no_success_has_no_tag(client: AppClient, path: str) -> None:
    assert "etag" not in client.ask("GET", path).headers


def test_a_large_answer_is_sent_without_a_tag(client: AppClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoscaler.api.etags.MAX_BODY_BYTES", 10)
    response = client.get("pools")
    assert ("etag" in response.headers, len(response.json()["pools"])) == (False, 1)


# --- writes ---------------------------------------------------------------------------------------------------------


def test_an_override_is_only_made_where_there_is_none(client: AppClient) -> None:
    only_new = {"If-None-Match": "*"}
    assert client.ask("PUT", EVENT, json=OVERRIDE, headers=only_new).status_code == 200
    refused = client.ask("PUT", EVENT, json=OVERRIDE | {"author": "bob"}, headers=only_new)
    assert refused.status_code == 412
    assert "is there already; choose another name" in refused.json()["detail"]
    assert client.get(EVENT).json()["author"] == "ada"


def test_of_two_who_change_the_same_the_second_is_told(world: ApiWorld, client: AppClient) -> None:
    client.ask("PUT", EVENT, json=OVERRIDE)
    seen = client.get(EVENT).headers["etag"]
    world.clock.at = NOW + 1
    changed = client.ask("PUT", EVENT, json=OVERRIDE | {"for": "2h"}, headers={"If-Match": seen})
    assert changed.status_code == 200
    late = client.ask("PUT", EVENT, json=OVERRIDE | {"for": "3h"}, headers={"If-Match": seen})
    assert (late.status_code, late.headers["etag"]) == (412, changed.headers["etag"])
    assert "has been changed since you read it" in late.json()["detail"]
    words = {"author": "bob", "reason": "not needed"}
    assert client.ask("DELETE", EVENT, params=words, headers={"If-Match": seen}).status_code == 412
    now = client.get(EVENT).headers["etag"]
    assert now == changed.headers["etag"]
    assert client.ask("DELETE", EVENT, params=words, headers={"If-Match": now}).status_code == 204
    gone = client.ask("PUT", EVENT, json=OVERRIDE, headers={"If-Match": now})
    assert (gone.status_code, "any more" in gone.json()["detail"]) == (412, True)
    assert client.get(EVENT).status_code == 404
