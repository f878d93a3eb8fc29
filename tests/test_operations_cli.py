"""`cordon`, `uncordon`, `replace`, `roll` and `rollback` against a service, as people type them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.api.serve import Server
from autoscaler.journal import Entry
from autoscaler.types import Memory, Plan, Rolling
from tests.apiworld import SECRETS, ApiWorld, api_world, decided
from tests.cliworld import Say, speaker
from tests.worlds import NOW

WHO = ("--author", "ada", "--reason", "ECC errors")


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def url(world: ApiWorld) -> Iterator[str]:
    server = Server(world.app, "127.0.0.1", 0)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str) -> Say:
    speak = speaker(monkeypatch, capsys)

    def found(*words: object) -> tuple[int, str, str]:
        """Without the lines that the service, which runs in this process too, writes into its log."""
        code, out, err = speak(*words)
        return code, "".join(line for line in out.splitlines(keepends=True) if " event='" not in line), err

    monkeypatch.setenv("SIGMASCALE_URL", url)
    monkeypatch.setenv("SIGMASCALE_TOKEN", SECRETS["operator"])
    monkeypatch.setenv("COLUMNS", "200")
    return found


def test_an_instance_is_cordoned_listed_and_put_back(say: Say, world: ApiWorld) -> None:
    code, out, _ = say("cordon", "chat-1", "--for", "2h", *WHO)
    end = "until 2026-09-21 16:13:20 UTC"
    assert (code, out) == (0, f"chat-1 of chat: cordoned, {end}; leaves routing at the next tick\n")
    shown = say("cordon")[1]
    assert "ECC errors" in shown
    assert "leaves routing at the next tick" in shown
    assert [m["instance"] for m in json.loads(say("cordon", "--json")[1])] == ["chat-1"]
    assert say("uncordon", "chat-1", "--author", "ada")[:2] == (
        0,
        "chat-1: serves and counts again from the next tick on\n",
    )
    assert say("cordon")[1] == "no instance is cordoned or to be replaced\n"


def test_an_instance_is_replaced_and_kept_after_all(say: Say, world: ApiWorld) -> None:
    code, out, _ = say("replace", "chat-1", *WHO)
    end = "given up at 2026-09-22 14:13:20 UTC"
    assert (code, out) == (0, f"chat-1 of chat: to be replaced, {end}; serves until its successor does\n")
    assert [m.kind for m in world.deps.journal.operations.marks(NOW)] == ["replace"]
    assert say("replace", "chat-1", "--cancel", *WHO)[:2] == (0, "chat-1: it stays\n")
    assert [m for m in world.deps.journal.operations.marks(NOW) if m.until > NOW] == []


def test_who_is_logged_in_takes_responsibility(say: Say, world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    say("cordon", "chat-1", "--reason", "noise")
    assert [m.author for m in world.deps.journal.operations.marks(NOW)] == ["grace"]


def test_a_roll_is_begun_looked_at_and_taken_back(say: Say, world: ApiWorld) -> None:
    code, out, _ = say("roll", "chat", "--to", "ready=/health", "--window", "02:00-05:00", *WHO)
    assert (code, out) == (0, "chat: 5 instances to replace, the first at 2026-09-22 02:00 UTC\n")
    assert say("roll", "chat", "--status")[1] == "chat: it begins at the next tick\n"
    kept = world.deps.journal.operations.roll("chat")
    assert kept is not None
    view = world.deps.board.pools()["chat"]
    world.deps.board.publish(replace(view, rolling=Rolling(kept.id, "paused", "chat-9 failed")))
    assert say("roll", "chat", "--status")[1] == "chat: paused: chat-9 failed\n"
    assert say("roll", "chat", "--resume", *WHO)[1] == "chat: it goes on at the next tick\n"
    assert say("roll", "chat", "--abort", *WHO)[1] == "chat: the roll is taken back; what is new stays new\n"
    assert world.deps.journal.operations.roll("chat") is None


def test_a_rollback_shows_the_sizes_and_how_to_end_it(say: Say, world: ApiWorld) -> None:
    for number, want, at in ((9, 6, NOW - 60), (10, 2, NOW)):
        made = replace(decided(world.deps.rulebook), number=number, at=at, current=8 - want, want=want)
        world.deps.journal.record([Entry(made, Plan("chat", number), (), Memory(number=number))])
        world.deps.board.publish(replace(world.deps.board.pools()["chat"], decision=made))
    dry = say("rollback", "chat", "--for", "30m", "--dry-run", *WHO)[1]
    assert "chat: would be: decision 10 is undone: at least 6 replicas instead of 2" in dry
    assert world.deps.journal.overrides(NOW) == ()
    code, out, _ = say("rollback", "chat", "--before", "1m", "--until", "30m", *WHO)
    assert code == 0
    assert "> " + "     10" in out
    assert "6 -> 2" in out
    assert "end it with: sigmascale override end chat --id rollback --author YOU --reason WHY" in out
    assert "rolled back: decision 10, floor 6, by ada: ECC errors" in say("rollback", "chat", "--list")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(
            ["cordon", "chat-1"], "a cordon needs a reason, which the journal keeps; add --reason", id="no reason"
        ),
        pytest.param(["cordon", "chat_1", *WHO], "did you mean 'chat-", id="no such instance"),
        pytest.param(["cordon", "chat-1", "--for", "soon", *WHO], "'soon' is not a duration", id="no duration"),
        pytest.param(
            ["uncordon", "chat-1", "--author", "ada"], "'chat-1' is not cordoned; there are none", id="not cordoned"
        ),
        pytest.param(["replace", "chat-1"], "a replacement needs a reason", id="no reason to replace"),
        pytest.param(["roll", "chat", "--to", "image", *WHO], "--to image: is not KEY=VALUE; write", id="no value"),
        pytest.param(["roll", "chta", *WHO], "did you mean 'chat'?", id="no such pool"),
        pytest.param(["roll", "chat", "--status", "--abort"], "exclude each other; give one", id="two at once"),
        pytest.param(
            ["roll", "chat", "--window", "5-6", *WHO], "'5-6' is not a window; write 02:00-05:00", id="no window"
        ),
        pytest.param(["rollback", "chat", *WHO], "a rollback needs an end: give --for 30m", id="no end"),
        pytest.param(["rollback", "chat", "--for", "1h", "--until", "1h", *WHO], "give one of the two", id="two ends"),
        pytest.param(
            ["rollback", "chat", "--before", "30d", "--for", "1h", *WHO], "is before the journal of pool", id="too old"
        ),
    ],
)
def test_a_mistake_is_a_message_and_exit_code_2(say: Say, words: list[str], message: str) -> None:
    code, _, err = say(*words)
    assert (code, message in err, "Traceback" in err) == (2, True, False), err
