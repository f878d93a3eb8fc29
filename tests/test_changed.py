"""The decisions that changed a size: in the journal, over the API, and in `sigmascale explain --last` and `--since`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.api.serve import Server
from autoscaler.clock import SystemClock
from autoscaler.journal import Entry, Journal
from autoscaler.types import Memory, Plan
from tests.apiworld import SECRETS, ApiWorld, api_world, decided
from tests.cliworld import Say, speaker
from tests.worlds import NOW


def history(world: ApiWorld, pool: str, *wants: int, first: int = 9, at: float = NOW) -> None:
    """Journalled decisions of these sizes, a minute apart, the last one at that time; the pool is on the board."""
    view = world.deps.board.pools()["chat"]
    before = wants[0]
    for n, want in enumerate(wants):
        made = decided(world.deps.rulebook, number=first + n, at=at - 60.0 * (len(wants) - 1 - n))
        made = replace(made, pool=pool, current=before, want=want, recommended=want)
        world.deps.journal.record([Entry(made, Plan(pool, first + n), (), Memory(number=first + n))])
        world.deps.board.publish(replace(view, rules=replace(view.rules, pool=pool), decision=made))
        before = want


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    """chat grew from 8 to 10 two minutes ago; code shrank from 6 to 5 one minute ago; a candidate did so just now."""
    world = api_world(tmp_path)
    history(world, "chat", 8, 10, 10, 10)
    history(world, "code", 6, 6, 5, 5)
    history(world, "code~shadow", 6, 4)
    view = world.deps.board.pools()["code~shadow"]
    world.deps.board.publish(replace(view, rules=replace(view.rules, shadow_of="code")))
    return world


def test_a_change_is_a_decision_of_another_size_than_the_one_before(world: ApiWorld) -> None:
    found = world.deps.journal.changes(["chat", "code"])
    assert [(c.pool, c.number, c.before, c.after) for c in found] == [("code", 11, 6, 5), ("chat", 10, 8, 10)]
    assert world.deps.journal.changes(["chat", "code"], limit=1) == found[:1]
    assert world.deps.journal.changes(["chat", "code"], since=NOW - 90) == found[:1]
    assert world.deps.journal.changes(["chat", "code"], until=NOW - 90) == found[1:]
    assert world.deps.journal.changes([]) == ()


def test_the_first_decision_of_a_journal_changes_nothing() -> None:
    journal = Journal()
    try:
        assert journal.changes(["chat"]) == ()
    finally:
        journal.close()


def test_no_more_decisions_are_looked_at_than_there_is_time_for(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoscaler.journal_changes.MOST_ROWS", 1)
    assert world.deps.journal.changes(["chat"]) == ()


def test_the_api_tells_the_last_changes_of_all_pools_without_candidates(world: ApiWorld) -> None:
    client = world.client()
    changes = client.get("changes").json()["changes"]
    assert [(c["pool"], c["number"]) for c in changes] == [("code", 11), ("chat", 10)]
    assert changes[1]["headline"].startswith("chat, decision 10 at ")
    assert "scale out from 8 to 10 replicas" in changes[1]["headline"]
    older = client.get("changes", until=changes[0]["at"], limit=1).json()["changes"]
    assert [(c["pool"], c["number"]) for c in older] == [("chat", 10)]
    assert [c["number"] for c in client.get("changes", pool="code~shadow").json()["changes"]] == [10]
    assert "did you mean 'code'?" in client.get("changes", pool="cod").json()["detail"]
    assert client.get("changes", since=10, until=5).status_code == 422


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    run = speaker(monkeypatch, capsys)
    monkeypatch.setenv("SIGMASCALE_TOKEN", SECRETS["viewer"])
    return run


@pytest.fixture
def service(world: ApiWorld) -> Iterator[str]:
    server = Server(world.app, "127.0.0.1", 0)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(params=["a service", "a journal"])
def source(request: pytest.FixtureRequest, world: ApiWorld) -> Iterator[tuple[str, ...]]:
    """The words that say who is asked: both tell the same."""
    if request.param == "a service":
        yield ("--url", request.getfixturevalue("service"))
    else:
        yield ("--journal", str(world.rules_file.parent / "journal.db"))


def test_last_explains_the_newest_change_of_all_pools(say: Say, source: tuple[str, ...]) -> None:
    code, out, _ = say("explain", "--last", *source)
    assert code == 0
    assert out.startswith("code, decision 11 at ")
    assert "scale in from 6 to 5 replicas" in out
    assert "Steps, in order:" in out


def test_last_of_a_pool_is_that_pools(say: Say, source: tuple[str, ...]) -> None:
    assert say("explain", "chat", "--last", *source)[1].startswith("chat, decision 10 at ")
    found = json.loads(say("explain", "chat", "--last", "--json", *source)[1])
    assert (found["number"], found["decision"]["want"]) == (10, 10)


def test_since_tells_every_change_in_a_sentence(say: Say, source: tuple[str, ...], world: ApiWorld) -> None:
    code, out, _ = say("explain", "--since", "2020-01-01T00:00:00Z", *source)
    assert (code, [line.partition(" at ")[0] for line in out.splitlines()]) == (
        0,
        ["code, decision 11", "chat, decision 10"],
    )
    rows = json.loads(say("explain", "chat", "--since", "2020-01-01T00:00:00Z", "--json", *source)[1])
    assert [(r["pool"], r["number"]) for r in rows] == [("chat", 10)]


def test_where_nothing_has_changed_that_is_said(say: Say, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    journal = ("--journal", str(other / "journal.db"))
    api_world(other)
    assert say("explain", "--last", *journal)[1] == "no decision has changed the size of any pool in the journal\n"
    assert say("explain", "chat", "--last", "--json", *journal)[1] == "null\n"
    code, _, err = say("explain", "caht", "--last", *journal)
    assert (code, "has no pool 'caht'; it knows chat" in err) == (2, True)


def test_since_takes_durations_and_bounds_last(say: Say, tmp_path: Path) -> None:
    recent = tmp_path / "recent"
    recent.mkdir()
    world = api_world(recent)
    history(world, "chat", 8, 10, 10, at=SystemClock().now())
    journal = ("--journal", str(recent / "journal.db"))
    assert say("explain", "--last", "--since", "1h", *journal)[1].startswith("chat, decision 10 at ")
    quiet = "no decision has changed the size of any pool since 10s\n"
    assert say("explain", "--last", "--since", "10s", *journal)[1] == quiet


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(("--since", "soon"), "'soon' is neither a duration nor a time", id="no time"),
        pytest.param(("--since", "2020-01-01T00:00:00"), "names no time zone", id="no zone"),
        pytest.param(("--since", "2999-01-01T00:00:00Z"), "ahead; give a time that has passed", id="the future"),
        pytest.param(("--last", "--decision", "3"), "--decision names one decision", id="two wishes"),
        pytest.param(("--last", "--journal", "none.db"), "there is no such file", id="no journal"),
    ],
)
def test_a_wrong_wish_is_told_with_the_next_step(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = say("explain", *words)
    assert code == 2
    assert expected in err
