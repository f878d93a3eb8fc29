"""The API and the commands on fleets without rules, and on machines of others that may join a pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autoscaler.api.serve import Server
from autoscaler.board import Ownerless
from autoscaler.errors import CredentialsError, ProviderError
from autoscaler.ownerless import words
from autoscaler.types import Instance, Offer
from tests.apiworld import SECRETS, ApiWorld, api_world
from tests.cliworld import Say, speaker
from tests.worlds import instance

WHO = {"author": "ada", "reason": "made before the service"}


@dataclass
class Cloud:
    """Machines that a provider could adopt, and what was taken over."""

    free: tuple[Instance, ...] = (instance(7),)
    refusal: ProviderError | None = None
    taken: list[str] = field(default_factory=list)

    def adoptable(self, pool: str, offers: Sequence[Offer]) -> Sequence[Instance]:
        if self.refusal is not None:
            raise self.refusal
        return self.free

    def take_over(self, pool: str, offers: Sequence[Offer], instances: Sequence[str]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.taken += instances


def alone(world: ApiWorld) -> None:
    """A pool `old` that has a machine and no rule file."""
    some = (instance(9, pool="old"),)
    world.deps.board.ownerless = {"old": Ownerless("old", some, words("old", some))}


def test_pools_without_rules_are_listed_and_warned_of(tmp_path: Path) -> None:
    world = api_world(tmp_path)
    alone(world)
    (found,) = world.client().get("ownerless").json()["pools"]
    assert (found["pool"], found["instances"][0]["id"], found["release"]) == ("old", "chat-9", None)
    (warning,) = world.client().get("/readyz").json()["warnings"]
    assert warning == (
        "1 instance of pool old, 2 USD/h, and no rule file in force is about it: left as it is. Put its rule file "
        "back or mend it, or let the machines go with `sigmascale release old`"
    )


def test_a_release_is_an_override_with_an_end_an_author_and_a_reason(tmp_path: Path) -> None:
    world = api_world(tmp_path)
    alone(world)
    answer = world.client().ask("POST", "ownerless/old/release", json=WHO)
    assert answer.status_code == 200
    (found,) = world.deps.journal.overrides(world.clock.now())
    assert (found.pool, found.kind, found.replicas, found.author) == ("old", "pin", 0, "ada")
    assert found.until == world.clock.now() + 86400
    assert world.deps.board.wake.is_set()


@pytest.mark.parametrize(
    ("pool", "secret", "status", "words"),
    [
        pytest.param("chat", "operator", 409, "has a rule file in force", id="a pool with rules is not released"),
        pytest.param("odl", "operator", 404, "did you mean 'old'?", id="a typing error finds the pool that was meant"),
        pytest.param("old", "viewer", 403, "needs the role operator", id="who may only look may not release"),
    ],
)
def test_a_release_is_refused(tmp_path: Path, pool: str, secret: str, status: int, words: str) -> None:
    world = api_world(tmp_path)
    alone(world)
    answer = world.client(SECRETS[secret]).ask("POST", f"ownerless/{pool}/release", json=WHO)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert world.deps.journal.overrides(world.clock.now()) == ()


def test_nothing_is_released_while_a_rule_file_is_broken_since_it_may_be_that_pools(tmp_path: Path) -> None:
    world = api_world(tmp_path)
    alone(world)
    world.rules_file.write_text("pool: [", encoding="utf-8")
    world.deps.rulebook.poll()
    world.deps.rulebook.poll()
    answer = world.client().ask("POST", "ownerless/old/release", json=WHO)
    assert answer.status_code == 409
    assert "mend it first" in answer.json()["detail"]


def test_what_could_join_a_pool_is_listed_and_joins_by_its_id(tmp_path: Path) -> None:
    cloud = Cloud()
    world = api_world(tmp_path, adopters=lambda: {"local": cloud})
    found = world.client().get("pools/chat/adoptable").json()
    assert [i["id"] for i in found["instances"]] == ["chat-7"]
    answer = world.client().ask("POST", "pools/chat/adopt", json={"instances": ["chat-7"], **WHO})
    assert answer.status_code == 200
    assert cloud.taken == ["chat-7"]


def test_a_provider_that_cannot_adopt_says_so(tmp_path: Path) -> None:
    world = api_world(tmp_path)
    found = world.client().get("pools/chat/adoptable").json()
    assert found["unknown"] == ["provider local cannot adopt; it has only what was launched through it"]
    answer = world.client().ask("POST", "pools/chat/adopt", json={"instances": ["x"], **WHO})
    assert answer.status_code == 409
    assert "docs/ownership.md" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        pytest.param(ProviderError("i-9 belongs to others"), 409, id="what cannot be adopted is the caller's business"),
        pytest.param(CredentialsError("not allowed to tag"), 502, id="a cloud that refuses us is not"),
    ],
)
def test_a_refused_adoption_is_told_in_the_providers_words(tmp_path: Path, refusal: ProviderError, status: int) -> None:
    world = api_world(tmp_path, adopters=lambda: {"local": Cloud(refusal=refusal)})
    answer = world.client().ask("POST", "pools/chat/adopt", json={"instances": ["i-9"], **WHO})
    assert (answer.status_code, answer.json()["detail"]) == (status, str(refusal))


def test_a_service_that_only_watches_tags_nothing(tmp_path: Path) -> None:
    cloud = Cloud()
    world = api_world(tmp_path, adopters=lambda: {"local": cloud}, withheld=True)
    answer = world.client().ask("POST", "pools/chat/adopt", json={"instances": ["chat-7"], **WHO})
    assert answer.status_code == 409
    assert cloud.taken == []


# --- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


@dataclass(frozen=True)
class Asked:
    """A service, its cloud, and the options that name it and the caller."""

    world: ApiWorld
    cloud: Cloud
    there: tuple[object, ...]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    """A service on a real port with a cloud that can adopt."""
    cloud = Cloud()
    world = api_world(tmp_path, adopters=lambda: {"local": cloud})
    alone(world)
    server = Server(world.app, "127.0.0.1", 0)
    server.start()
    (tmp_path / "token").write_text(SECRETS["operator"], encoding="ascii")
    yield Asked(world, cloud, ("--url", server.url, "--token-file", tmp_path / "token"))
    server.stop()


def test_adopt_lists_what_could_join_and_which_pools_have_no_rules(asked: Asked, say: Say) -> None:
    code, out, err = say("adopt", *asked.there)
    assert (code, err) == (0, "")
    assert "chat-7" in out
    assert "1 instance of pool old" in out


def test_adopt_with_ids_gives_them_to_the_pool(asked: Asked, say: Say) -> None:
    code, out, _ = say("adopt", "chat", "chat-7", "--author", "ada", "--reason", "ours", *asked.there)
    assert code == 0
    assert out.endswith("chat: adopted chat-7\n")
    assert asked.cloud.taken == ["chat-7"]


def test_adopt_with_ids_wants_to_know_who_says_so(asked: Asked, say: Say) -> None:
    code, _, err = say("adopt", "chat", "chat-7", *asked.there)
    assert code == 2
    assert "--author" in err
    assert asked.cloud.taken == []


def test_release_lets_a_pool_go(asked: Asked, say: Say) -> None:
    code, out, _ = say("release", "old", "--author", "ada", "--reason", "replaced", *asked.there)
    assert code == 0
    assert "override end old --id release" in out
    assert [o.id for o in asked.world.deps.journal.overrides(asked.world.clock.now())] == ["release"]
