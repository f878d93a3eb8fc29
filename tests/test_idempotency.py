"""A request that is sent twice with one key is carried out once, and told the same."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import httpx
import pytest

from autoscaler.journal_requests import KEPT_S, MAX_KEPT
from tests.apiworld import SECRETS, ApiWorld, AppClient, api_world
from tests.worlds import NOW

CORDON = {"instance": "chat-1", "author": "ada", "reason": "vendor looks at it"}
KEY = {"Idempotency-Key": "6f1c2f0e-one"}


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def client(world: ApiWorld) -> AppClient:
    return world.client()


def test_the_second_request_gets_the_first_answer_again(world: ApiWorld, client: AppClient) -> None:
    first = client.ask("POST", "cordons", json=CORDON, headers=KEY)
    world.clock.at = NOW + 60
    again = client.ask("POST", "cordons", json=CORDON, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["content-type"] == first.headers["content-type"]
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    # Without the key it is another request, which finds the instance cordoned.
    assert client.ask("POST", "cordons", json=CORDON).status_code == 409
    assert len(world.deps.journal.operations.marks(NOW)) == 1


def test_the_answer_outlives_a_restart(tmp_path: Path, client: AppClient) -> None:
    first = client.ask("POST", "cordons", json=CORDON, headers=KEY)
    later = api_world_again(tmp_path)
    again = later.client().ask("POST", "cordons", json=CORDON, headers=KEY)
    assert (again.status_code, again.json()) == (201, first.json())


def api_world_again(folder: Path) -> ApiWorld:
    """Another process over the same journal."""
    from autoscaler.journal import Journal

    other = folder / "again"
    other.mkdir()
    return api_world(other, journal=Journal(f"sqlite:///{folder / 'journal.db'}"))


def test_another_body_with_the_same_key_is_refused(client: AppClient) -> None:
    client.ask("POST", "cordons", json=CORDON, headers=KEY)
    other = client.ask("POST", "cordons", json=CORDON | {"instance": "chat-2"}, headers=KEY)
    assert other.status_code == 422
    assert "another body was sent with this idempotency key before; use a new key" in other.json()["detail"]


def test_keys_belong_to_a_token_and_a_path(client: AppClient, world: ApiWorld) -> None:
    client.ask("POST", "cordons", json=CORDON, headers=KEY)
    assert world.client(SECRETS["operator"]).ask("POST", "cordons", json=CORDON, headers=KEY).status_code == 409
    replaced = client.ask("POST", "replacements", json=CORDON, headers=KEY)
    assert replaced.status_code == 201


def test_what_was_refused_may_be_sent_again_with_its_key(client: AppClient, world: ApiWorld) -> None:
    unknown = CORDON | {"instance": "chat-77"}
    assert [client.ask("POST", "cordons", json=unknown, headers=KEY).status_code for _ in range(2)] == [404, 404]
    assert world.client(SECRETS["viewer"]).ask("POST", "cordons", json=CORDON, headers=KEY).status_code == 403
    assert world.client(None).ask("POST", "cordons", json=CORDON, headers=KEY).status_code == 401
    assert client.ask("POST", "cordons", json=CORDON, headers=KEY).status_code == 201


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * 201, id="too long"),
        pytest.param("two words", id="two words"),
        pytest.param("\xfc", id="not ASCII"),
    ],
)
def test_a_key_that_is_none_is_refused_and_nothing_is_done(client: AppClient, world: ApiWorld, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    response = client.ask("POST", "cordons", json=CORDON, headers=headers)
    assert response.status_code == 422
    assert "must be one word of at most 200 ASCII characters" in response.json()["detail"]
    assert world.deps.journal.operations.marks(NOW) == ()


def test_a_crash_in_the_middle_is_told_as_what_it_is(client: AppClient, world: ApiWorld, tmp_path: Path) -> None:
    client.ask("POST", "cordons", json=CORDON, headers=KEY)
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert db.execute("update requests set status = 0, body = ''").rowcount == 1
    response = client.ask("POST", "cordons", json=CORDON, headers=KEY)
    assert response.status_code == 409
    assert "was begun, and its answer is not known; look at what is there" in response.json()["detail"]


def test_two_at_once_are_one_and_a_conflict(world: ApiWorld) -> None:
    headers = {"Authorization": f"Bearer {SECRETS['admin']}", **KEY}
    statuses: list[int] = []

    async def both() -> None:
        transport = httpx.ASGITransport(world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:

            async def one() -> None:
                statuses.append((await client.post("/api/v1/cordons", json=CORDON)).status_code)

            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(one)

    anyio.run(both)
    # Whoever comes after the first was answered gets its answer, whoever comes before is told to wait.
    assert statuses.count(201) >= 1
    assert set(statuses) <= {201, 409}
    assert len(world.deps.journal.operations.marks(NOW)) == 1


def test_a_journal_that_cannot_be_written_carries_nothing_out(client: AppClient, world: ApiWorld) -> None:
    (world.rules_file.parent / "journal.db").unlink()
    response = client.ask("POST", "cordons", json=CORDON, headers=KEY)
    assert response.status_code == 503
    assert "the request was not carried out" in response.json()["detail"]
    assert world.deps.journal.operations.marks(NOW) == ()


def test_keys_are_forgotten_after_a_day(world: ApiWorld) -> None:
    requests = world.deps.journal.requests
    assert requests.begin("a", "x", NOW) is None
    requests.finish("a", 200, "text/plain", b"done")
    known = requests.begin("a", "x", NOW + KEPT_S - 1)
    assert known is not None
    assert (known.status, known.body) == (200, b"done")
    assert requests.begin("a", "x", NOW + KEPT_S) is None


def test_no_more_keys_are_kept_than_there_is_room_for(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("autoscaler.journal_requests.MAX_KEPT", 20)
    for n in range(30):
        world.deps.journal.requests.begin(f"key {n}", "x", NOW + n)
    with sqlite3.connect(tmp_path / "journal.db") as db:
        kept = [key for (key,) in db.execute("select key from requests order by seq")]
    assert kept == [f"key {n}" for n in range(10, 30)]
    assert MAX_KEPT == 10_000
