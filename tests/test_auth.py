"""Who may ask and who may change: tokens with roles, and this machine only without them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.apiworld import LOCAL, SECRETS, ApiWorld, AppClient, api_world

OVERRIDE = {"kind": "freeze", "for": "1h", "author": "ada", "reason": "test"}
CHANGES = [
    pytest.param("PUT", "pools/chat/overrides/one", id="set an override"),
    pytest.param("DELETE", "pools/chat/overrides/one?author=a&reason=b", id="end an override"),
]


@pytest.fixture
def guarded(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def at_home(tmp_path: Path) -> ApiWorld:
    """A service without a tokens file, which listens on loopback only."""
    return api_world(tmp_path, tokens=False)


CLOUDS_ASKED = "/api/v1/pools/{pool}/adoptable"
"""Reads, but by calls to clouds, which are counted and paced: not for whoever may look."""


def reading_paths(world: ApiWorld) -> list[str]:
    """Every GET of the API that a viewer may ask, without parameters filled in wrongly: one path per route."""
    filled = {"{pool}": "chat", "{number}": "8", "{signal}": "load", "{id}": "one"}
    found = []
    for path, methods in world.app.openapi()["paths"].items():
        if "get" in methods and path != CLOUDS_ASKED:
            for name, value in filled.items():
                path = path.replace(name, value)  # noqa: PLW2901
            found.append(path)
    return found


def test_only_the_probes_answer_without_a_token(guarded: ApiWorld) -> None:
    open_paths = {path for path in reading_paths(guarded) if guarded.client(None).get(path).status_code != 401}
    assert open_paths == {"/healthz", "/readyz"}


def allowed(paths: Iterable[str]) -> dict[str, int]:
    """The answers to somebody who may read; there is no candidate beside the pool and no override, and that is told."""
    return {path: 404 if path.endswith(("/shadow", "/overrides/one")) else 200 for path in paths}


def test_asking_clouds_takes_more_than_a_viewer(guarded: ApiWorld) -> None:
    path = CLOUDS_ASKED.replace("{pool}", "chat")
    told = {role: guarded.client(secret).get(path).status_code for role, secret in SECRETS.items()}
    assert told == {"viewer": 403, "operator": 200, "admin": 200}
    assert guarded.client("").get(path).status_code == 401


def test_every_other_path_answers_a_viewer(guarded: ApiWorld) -> None:
    client = guarded.client(SECRETS["viewer"])
    paths = reading_paths(guarded)
    assert len(paths) > 10
    assert {path: client.get(path).status_code for path in paths} == allowed(paths)


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_viewer_may_not_change_anything(guarded: ApiWorld, method: str, path: str) -> None:
    response = guarded.client(SECRETS["viewer"]).ask(method, path, json=OVERRIDE)
    assert response.status_code == 403
    text = "the token 'viewer-of-test' has the role viewer; this needs the role operator; ask with a token that has it"
    assert response.json()["detail"] == text
    assert guarded.deps.journal.overrides(0.0) == ()


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_operators_and_admins_may(guarded: ApiWorld, role: str) -> None:
    assert guarded.client(SECRETS[role]).ask("PUT", "pools/chat/overrides/one", json=OVERRIDE).status_code == 200


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("Basic YTpi", "the Authorization header is not a bearer token", id="another scheme"),
        pytest.param(SECRETS["admin"], "the Authorization header is not a bearer token", id="no scheme"),
        pytest.param("Bearer", "the token is malformed", id="no token"),
        pytest.param("Bearer a b", "the token is malformed", id="two words"),
        pytest.param("Bearer " + "a" * 600, "the token is malformed", id="endless"),
        pytest.param("Bearer t\u00f6ken", "the token is malformed", id="not ASCII"),
        pytest.param("Bearer wrong-secret-00000000", "the token is not known here", id="unknown"),
    ],
)
def test_a_token_that_is_no_token_is_401_with_the_next_step(guarded: ApiWorld, header: str, expected: str) -> None:
    response = guarded.client(None).ask("GET", "pools", headers={"Authorization": header.encode("latin-1")})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="sigmascale"'
    detail = response.json()["detail"]
    assert detail.startswith(expected)
    assert detail.endswith("send `Authorization: Bearer TOKEN` with a token of the service's tokens file")
    assert "wrong-secret" not in response.text


def test_the_scheme_is_read_without_regard_to_case(guarded: ApiWorld) -> None:
    response = guarded.client(None).ask("GET", "pools", headers={"Authorization": f"bearer {SECRETS['viewer']}"})
    assert response.status_code == 200


# --- without tokens ---------------------------------------------------------------------------------------------


def test_without_tokens_anybody_on_this_machine_may_read(at_home: ApiWorld) -> None:
    paths = reading_paths(at_home)
    assert {path: at_home.client(None).get(path).status_code for path in paths} == allowed(paths)


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_without_tokens_a_change_needs_the_local_token(at_home: ApiWorld, method: str, path: str) -> None:
    response = at_home.client(None).ask(method, path, json=OVERRIDE)
    assert response.status_code == 401
    text = "changing something needs a token; send `Authorization: Bearer TOKEN` with the token in data/token"
    assert response.json()["detail"] == text
    assert at_home.client(LOCAL).ask("PUT", "pools/chat/overrides/one", json=OVERRIDE).status_code == 200


def test_a_wrong_local_token_is_not_taken_for_anybody(at_home: ApiWorld) -> None:
    assert at_home.client("wrong-secret-00000000").get("pools").status_code == 401


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9377", "[::1]:9377"])
def test_without_tokens_this_machine_may_be_called_by_its_names(at_home: ApiWorld, host: str) -> None:
    assert AppClient(at_home.app, host=host).get("pools").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.9"])
def test_without_tokens_a_web_page_that_renames_itself_to_loopback_reads_nothing(at_home: ApiWorld, host: str) -> None:
    response = AppClient(at_home.app, host=host).get("pools")
    assert response.status_code == 403
    assert "without tokens only 127.0.0.1, [::1] and localhost are answered" in response.json()["detail"]
    changed = AppClient(at_home.app, LOCAL, host).ask("PUT", "pools/chat/overrides/one", json=OVERRIDE)
    assert changed.status_code == 403
