"""Overrides over the API: every one has an end, an author and a reason, and acts at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apiworld import ApiWorld, AppClient, api_world
from tests.worlds import NOW

DAY_S = 86400.0


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def client(world: ApiWorld) -> AppClient:
    return world.client()


def override(**changes: object) -> dict[str, object]:
    """An override that is right, changed; None removes a key."""
    body = {"kind": "pin", "replicas": 6, "for": "2h", "author": "ada", "reason": "launch event"} | changes
    return {key: value for key, value in body.items() if value is not None}


def test_an_override_is_journalled_shown_and_wakes_the_loop(world: ApiWorld) -> None:
    response = world.client().ask("PUT", "pools/chat/overrides/one", json=override(author=" ada "))
    assert response.status_code == 200
    expected = {
        "id": "one",
        "pool": "chat",
        "kind": "pin",
        "until": NOW + 7200,
        "author": "ada",
        "reason": "launch event",
        "replicas": 6,
        "direction": "both",
        "created_at": NOW,
    }
    assert response.json() == expected
    assert world.client().get("pools/chat/overrides").json()["overrides"] == [expected]
    assert world.deps.board.wake.is_set()


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        pytest.param({"until": NOW + 60}, NOW + 60, id="Unix seconds"),
        pytest.param({"until": "2026-09-21T15:00:00Z"}, 1790002800.0, id="ISO 8601 in UTC"),
        pytest.param({"until": "2026-09-21T23:00:00+08:00"}, 1790002800.0, id="ISO 8601 with an offset"),
        pytest.param({"for": "30d"}, NOW + 30 * DAY_S, id="the longest duration"),
    ],
)
def test_an_end_may_be_written_in_every_usual_way(client: AppClient, end: dict[str, object], expected: float) -> None:
    response = client.ask("PUT", "pools/chat/overrides/one", json=override(**{"for": None} | end))
    assert response.json()["until"] == expected


PAST = "the end 2026-09-21 14:12:20 UTC is not after now (2026-09-21 14:13:20 UTC); give a later one"
WRONG = [
    pytest.param({"for": None, "until": NOW - 60}, f"until: {PAST}", id="an end in the past"),
    pytest.param({"for": "0s"}, "is not after now", id="no time at all"),
    pytest.param({"for": "31d"}, "is more than 30 days away; end it earlier, or change", id="too far away"),
    pytest.param({"for": "soon"}, "for: 'soon' is not a duration; write 30s, 5m or 2h", id="no duration"),
    pytest.param({"for": None}, "until: until and for are both missing; give one", id="no end"),
    pytest.param({"until": NOW + 60}, "until: until and for are both given; give one", id="two ends"),
    pytest.param(
        {"for": None, "until": "tomorrow"},
        "until: 'tomorrow' is not a time; write 2030-01-31T18:00:00Z or Unix seconds",
        id="no time",
    ),
    pytest.param(
        {"for": None, "until": "2026-09-22T00:00:00"},
        "names no time zone; add Z for UTC or an offset such as +08:00",
        id="a time of no zone",
    ),
    pytest.param({"for": None, "until": 1e300}, "is not a time of this age", id="an end after the end of time"),
    pytest.param({"for": None, "until": "9999-12-31T23:59:59Z"}, "more than 30 days away", id="the year 9999"),
    pytest.param(
        {"replicas": 21}, "replicas: 21 is outside of the rule's bounds of 1 to 20, which always hold", id="above max"
    ),
    pytest.param({"replicas": 0}, "replicas: 0 is outside of the rule's bounds of 1 to 20", id="below min"),
    pytest.param({"replicas": None}, "replicas: a pin needs a count; give one between", id="a pin to nothing"),
    pytest.param({"kind": "freeze"}, "replicas: a freeze has no count; leave it out", id="a counted freeze"),
    pytest.param({"direction": "in"}, "direction: a pin has no direction; leave it out", id="a directed pin"),
]


@pytest.mark.parametrize(("changes", "expected"), WRONG)
def test_a_wrong_override_is_422_with_what_to_do(world: ApiWorld, changes: dict[str, object], expected: str) -> None:
    response = world.client().ask("PUT", "pools/chat/overrides/one", json=override(**changes))
    assert response.status_code == 422
    problem = response.json()
    assert expected in problem["detail"]
    assert problem["errors"][0]["where"] in ("until", "for", "replicas", "direction")
    assert world.deps.journal.overrides(0.0) == ()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        pytest.param({"author": None}, "body.author", id="nobody"),
        pytest.param({"author": "  "}, "body.author", id="a blank name"),
        pytest.param({"reason": None}, "body.reason", id="no reason"),
        pytest.param({"reason": "x" * 501}, "body.reason", id="a novel"),
        pytest.param({"kind": "push"}, "body.kind", id="an unknown kind"),
        pytest.param({"replicas": "six"}, "body.replicas", id="a count in words"),
        pytest.param({"replcias": 6}, "body.replcias", id="an unknown key"),
    ],
)
def test_a_shapeless_override_is_422_with_its_path(client: AppClient, changes: dict[str, object], where: str) -> None:
    response = client.ask("PUT", "pools/chat/overrides/one", json=override(**changes))
    assert response.status_code == 422
    assert [error["where"] for error in response.json()["errors"]] == [where]


def test_an_override_ends_before_its_time_with_author_and_reason(world: ApiWorld) -> None:
    client = world.client()
    client.ask("PUT", "pools/chat/overrides/one", json=override())
    assert client.ask("DELETE", "pools/chat/overrides/one").status_code == 422
    world.deps.board.wake.clear()
    response = client.ask("DELETE", "pools/chat/overrides/one", params={"author": "ada", "reason": "over"})
    assert (response.status_code, response.content) == (204, b"")
    assert world.deps.board.wake.is_set()
    assert client.get("pools/chat/overrides").json()["overrides"] == []


def test_ending_what_is_not_there_names_what_is(client: AppClient) -> None:
    client.ask("PUT", "pools/chat/overrides/one", json=override())
    response = client.ask("DELETE", "pools/chat/overrides/two", params={"author": "ada", "reason": "over"})
    assert response.status_code == 404
    assert response.json()["detail"] == "pool 'chat' has no override 'two'; in force are one"


def test_an_expired_override_is_not_shown(world: ApiWorld) -> None:
    world.client().ask("PUT", "pools/chat/overrides/one", json=override())
    world.clock.at = NOW + 7201
    assert world.client().get("pools/chat/overrides").json()["overrides"] == []
