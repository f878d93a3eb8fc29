"""Silences and messages over REST and on the command line, and what alerts say of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.api.serve import Server
from autoscaler.errors import InputError
from autoscaler.journal import Journal
from autoscaler.journal_alerts import KEPT_ENDED, MAX_SILENCES
from autoscaler.types import Matcher, Silence
from tests.apiworld import SECRETS, ApiWorld, api_world
from tests.cliworld import Say, speaker
from tests.notified import PATIENT, LaneClock, alert, desk, publish, receiver, serving
from tests.worlds import NOW

CHAT: dict[str, Any] = {"matchers": ['pool="chat"'], "for": "2h", "author": "ada", "comment": "load test"}


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


# --- REST -------------------------------------------------------------------------------------------------------


def test_a_silence_is_added_listed_and_ended_and_alerts_name_it(world: ApiWorld) -> None:
    client = world.client()
    added = client.ask("POST", "silences", json=CHAT)
    assert added.status_code == 201
    found = added.json()
    assert (found["state"], found["text"], found["alerts"]) == ("active", 'pool="chat"', 1)
    assert (found["starts_at"], found["ends_at"], found["author"]) == (NOW, NOW + 7200, "ada")
    (slow,) = client.get("alerts").json()["alerts"]
    assert (slow["name"], slow["silenced_by"]) == ("slow", [found["id"]])
    assert client.get("alerts", silenced="false").json()["alerts"] == []
    assert client.ask("DELETE", f"silences/{found['id']}?author=bob").status_code == 204
    (ended,) = client.get("silences").json()["silences"]
    assert (ended["state"], ended["ended_by"], ended["alerts"]) == ("ended", "bob", 0)
    assert client.get("alerts").json()["alerts"][0]["silenced_by"] == []
    assert client.get("silences", state="active").json()["silences"] == []


def test_a_silence_may_begin_later_and_be_written_as_objects(world: ApiWorld) -> None:
    body = CHAT | {"matchers": [{"name": "severity", "op": "=~", "value": "critical|warning"}], "starts": NOW + 3600}
    found = world.client().ask("POST", "silences", json=body).json()
    assert (found["state"], found["starts_at"], found["ends_at"]) == ("pending", NOW + 3600, NOW + 3 * 3600)
    assert world.client().get("alerts").json()["alerts"][0]["silenced_by"] == []
    world.clock.at = NOW + 3601
    assert world.client().get("alerts").json()["alerts"][0]["silenced_by"] == [found["id"]]
    world.clock.at = NOW + 3 * 3600
    assert world.client().get("silences", state="ended").json()["silences"][0]["ended_by"] == ""


def test_silences_survive_a_restart(tmp_path: Path, world: ApiWorld) -> None:
    name = world.client().ask("POST", "silences", json=CHAT).json()["id"]
    again = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    assert [s.id for s in again.notified.silences(NOW)] == [name]
    again.close()


@pytest.mark.parametrize(
    ("change", "where", "text"),
    [
        pytest.param({"matchers": ["pool"]}, "matchers[0]", "'pool' is not a matcher", id="no matcher"),
        pytest.param({"matchers": ['pool=~"("']}, "matchers[0]", "is not an expression of RE2", id="no expression"),
        pytest.param({"matchers": ['pool=~".*"']}, "matchers", "matches every alert", id="everything"),
        pytest.param({"matchers": []}, "body.matchers", "at least 1", id="nothing"),
        pytest.param({"matchers": ["a=b"] * 21}, "body.matchers", "at most 20", id="too many"),
        pytest.param({"for": "31d"}, "for", "more than 30 days away", id="longer than 30 days"),
        pytest.param({"until": NOW + 5}, "until", "until and for are both given", id="two ends"),
        pytest.param({"starts": "soon"}, "starts", "'soon' is not a time", id="no start"),
        pytest.param({"starts": NOW + 40 * 86400.0}, "starts", "more than 30 days away", id="a start next season"),
        pytest.param({"comment": " "}, "body.comment", "should match", id="no comment"),
    ],
)
def test_a_wrong_silence_is_refused_with_place_and_rule(
    world: ApiWorld, change: dict[str, Any], where: str, text: str
) -> None:
    answer = world.client().ask("POST", "silences", json=CHAT | change)
    assert answer.status_code == 422
    assert [text in e["text"] for e in answer.json()["errors"] if e["where"].startswith(where)] == [True]
    assert world.client().get("silences").json()["silences"] == []


def test_a_viewer_may_look_and_not_change(world: ApiWorld) -> None:
    viewer = world.client(SECRETS["viewer"])
    assert viewer.get("silences").status_code == 200
    assert viewer.get("deliveries").status_code == 200
    assert viewer.ask("POST", "silences", json=CHAT).status_code == 403
    assert viewer.ask("DELETE", "silences/abc?author=a").status_code == 403


def test_a_silence_that_is_over_cannot_be_ended(world: ApiWorld) -> None:
    answer = world.client().ask("DELETE", "silences/abc?author=ada")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no silence 'abc' that is not over; none is in force"


def test_silences_have_a_limit_and_old_ones_make_room() -> None:
    journal = Journal()
    for n in range(MAX_SILENCES):
        journal.notified.put_silence(some_silence(n))
    with pytest.raises(InputError, match="500 silences are in force or to come, which is the limit; end some"):
        journal.notified.put_silence(some_silence(MAX_SILENCES))
    for n in range(MAX_SILENCES, MAX_SILENCES + KEPT_ENDED + 50):
        journal.notified.put_silence(some_silence(n, at=1000.0 + n))
        journal.notified.end_silence(f"s{n}", "ada", 1000.5 + n)
    assert len(journal.notified.silences(1e6)) <= MAX_SILENCES + KEPT_ENDED + 1
    journal.close()


def some_silence(number: int, at: float = 0.0) -> Silence:
    return Silence(f"s{number}", (Matcher("pool", "=", "chat"),), at, at + 500.0, "ada", "why", at)


# --- messages ---------------------------------------------------------------------------------------------------


def test_messages_are_listed_newest_first_with_what_became_of_them(tmp_path: Path) -> None:
    with serving(500, text=b"not now") as got, desk(LaneClock(NOW), receiver(got.url, name="pager")) as told:
        told.show(alert())
        told.settled(lambda s: s.delivered == 1)
        told.show(alert(), alert(1))
        told.settled(lambda s: s.delivered == 2)
        client = api_world(tmp_path, journal=told.journal, notices=told.notifier, board=told.board).client()
        page = client.get("deliveries", limit=1).json()
        (newest,) = page["deliveries"]
        (first,) = client.get("deliveries", before=page["next_before"]).json()["deliveries"]
        assert (newest["firing"], newest["state"], newest["next_at"]) == (2, "delivered", None)
        assert (first["attempts"], first["last_error"], first["kind"]) == (2, "HTTP 500: not now", "webhook")
        assert first["host"] == f"http://127.0.0.1:{got.port}"
        assert first["summary"] == "power (chat): gpu_power_watts 520 is above its band 370 to 430"
        (one,) = page["receivers"]
        assert (one["receiver"], one["delivered"], one["failed_attempts"]) == ("pager", 2, 1)
        assert client.get("deliveries", receiver="other").json() == {
            "deliveries": [],
            "receivers": [],
            "next_before": None,
            "problem": "",
        }
        assert client.get("deliveries", state="waiting").json()["deliveries"] == []
        assert [a["receivers"] for a in client.get("alerts").json()["alerts"]] == [["pager"], ["pager"]]


def test_a_silenced_alert_is_not_sent_and_is_when_its_silence_is_ended(tmp_path: Path) -> None:
    with serving() as got, desk(LaneClock(NOW), receiver(got.url), start=False, patience=PATIENT) as told:
        client = api_world(tmp_path, journal=told.journal, notices=told.notifier, board=told.board).client()
        publish(told.board, alert())
        name = client.ask("POST", "silences", json=CHAT).json()["id"]
        told.notifier.start()
        told.notifier.look(NOW + 1)
        assert told.states() == []
        assert client.ask("DELETE", f"silences/{name}?author=ada").status_code == 204
        got.wait_for(lambda: len(got.bodies) == 1)
        assert got.bodies[0]["status"] == "firing"


def test_an_inhibited_alert_names_what_mutes_it(tmp_path: Path) -> None:
    with desk(LaneClock(NOW), receiver("http://h/"), start=False, inhibit=True) as told:
        publish(told.board, alert(), alert(1, name="slow", severity="critical"))
        client = api_world(tmp_path, journal=told.journal, notices=told.notifier, board=told.board).client()
        found = {a["name"]: a["inhibited_by"] for a in client.get("alerts", pool="chat").json()["alerts"]}
        assert found["power"] == "slow"
        assert found["slow"] == ""


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: ApiWorld) -> Iterator[Say]:
    server = Server(world.app, "127.0.0.1", 0)
    server.start()
    speak = speaker(monkeypatch, capsys)
    monkeypatch.setenv("SIGMASCALE_TOKEN", SECRETS["operator"])

    def found(*words: object) -> tuple[int, str, str]:
        """Without the lines that the service, which runs in this process too, writes into its log."""
        code, out, err = speak(*words, "--url", server.url)
        return code, "".join(line for line in out.splitlines(keepends=True) if " event='" not in line), err

    yield found
    server.stop()


def test_a_silence_is_added_listed_and_ended_on_the_command_line(say: Say) -> None:
    code, out, err = say(
        "silence", "add", "pool=chat", "alertname=~'slow|x'".replace("'", '"'), "--for", "2h",
        "--comment", "load test", "--author", "ada",
    )  # fmt: skip
    assert (code, err) == (0, "")
    name, _, rest = out.partition(": ")
    assert rest.startswith('pool="chat", alertname=~"slow|x" is silent until 20')
    assert rest.endswith("; muted now: 1 alert\n")
    code, out, _ = say("silence", "list", "--json")
    assert [(s["id"], s["state"]) for s in json.loads(out)] == [(name, "active")]
    assert say("silence", "end", name, "--author", "ada")[1] == f"{name}: ended\n"
    assert say("silence", "list")[1] == "nothing is silent\n"
    assert name in say("silence", "list", "--all")[1]


def test_a_mistake_is_a_message_and_exit_code_2(say: Say) -> None:
    code, _, err = say("silence", "add", "pool", "--for", "2h", "--comment", "x", "--author", "ada")
    assert code == 2
    assert "'pool' is not a matcher; write one such as severity=" in err
    code, _, err = say("silence", "add", "pool=chat", "--comment", "x")
    assert (code, "a silence needs an end" in err) == (2, True)
