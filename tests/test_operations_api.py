"""Cordons, replacements, rolls and rollbacks over the API: who may, what is kept, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.journal import Entry
from autoscaler.types import Fleet, Memory, Plan, Rolling
from tests.apiworld import SECRETS, ApiWorld, AppClient, api_world, decided
from tests.worlds import NOW, instance

WHO = {"author": "ada", "reason": "vendor looks at it"}


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def client(world: ApiWorld) -> AppClient:
    return world.client()


def published(world: ApiWorld, **changes: object) -> None:
    """The pool's view with something changed."""
    view = world.deps.board.pools()["chat"]
    world.deps.board.publish(replace(view, **changes))  # type: ignore[arg-type]


def history(world: ApiWorld, *wants: int, hashes: str = "") -> None:
    """Journalled decisions 9, 10, ... of these sizes, a minute apart, the last one now and on the board."""
    journal, before = world.deps.journal, 4
    for n, want in enumerate(wants):
        at = NOW - 60.0 * (len(wants) - 1 - n)
        made = replace(decided(world.deps.rulebook), number=9 + n, at=at, current=before, want=want, recommended=want)
        made = replace(made, rules_hash=hashes or made.rules_hash)
        journal.record([Entry(made, Plan("chat", 9 + n), (), Memory(number=9 + n))])
        before = want
        published(world, decision=made)


# --- instances ------------------------------------------------------------------------------------------------------


def test_a_cordon_is_journalled_shown_and_wakes_the_loop(world: ApiWorld, client: AppClient) -> None:
    made = client.ask("POST", "cordons", json={"instance": "chat-1", **WHO})
    assert made.status_code == 201
    expected = {
        "pool": "chat",
        "instance": "chat-1",
        "kind": "cordon",
        "until": NOW + 4 * 3600,
        "author": "ada",
        "reason": "vendor looks at it",
        "created_at": NOW,
        "state": "ready",
        "text": "leaves routing at the next tick",
    }
    assert made.json() == expected
    assert client.get("marks").json()["marks"] == [expected]
    pool = client.get("pools/chat").json()
    assert (pool["cordoned"], pool["replacing"], pool["marks"]) == (1, 0, [expected])
    assert world.deps.board.wake.is_set()
    (kept,) = world.deps.journal.operations.marks(NOW, "chat")
    assert (kept.instance, kept.author) == ("chat-1", "ada")


def test_a_cordon_ends_and_the_tick_hears_of_it(world: ApiWorld, client: AppClient) -> None:
    client.ask("POST", "cordons", json={"instance": "chat-1", **WHO})
    world.deps.board.wake.clear()
    ended = client.ask("DELETE", "cordons", params={"instance": "chat-1", **WHO})
    assert ended.status_code == 204
    assert client.get("marks").json() == {"marks": [], "next_after": None}
    assert [m.until for m in world.deps.journal.operations.marks(NOW)] == [NOW], "told, so that it comes back"
    assert world.deps.board.wake.is_set()


def test_a_replacement_takes_the_place_of_a_cordon(client: AppClient) -> None:
    client.ask("POST", "cordons", json={"instance": "chat-1", **WHO})
    made = client.ask("POST", "replacements", json={"instance": "chat-1", "for": "2h", **WHO})
    assert (made.status_code, made.json()["kind"], made.json()["until"]) == (201, "replace", NOW + 7200)
    assert made.json()["text"] == "serves until its successor does"
    (only,) = client.get("marks", pool="chat").json()["marks"]
    assert only["kind"] == "replace"
    assert client.ask("DELETE", "replacements", params={"instance": "chat-1", **WHO}).status_code == 204


MISTAKES = [
    pytest.param(
        "POST",
        "cordons",
        {"instance": "chat-l"},
        404,
        "there is no instance 'chat-l'; did you mean 'chat-",
        id="a slip of the pen",
    ),
    pytest.param("POST", "cordons", {"instance": "i-0"}, 404, "there is no instance 'i-0'; there are", id="no such"),
    pytest.param(
        "POST", "cordons", {"instance": "chat-1", "pool": "chatt"}, 404, "did you mean 'chat'?", id="no such pool"
    ),
    pytest.param(
        "POST",
        "cordons",
        {"instance": "other-1", "pool": "chat"},
        404,
        "instance 'other-1' belongs to pool 'other', not to 'chat'; name that one",
        id="of another pool",
    ),
    pytest.param(
        "POST", "cordons", {"instance": "chat-1", "for": "0s"}, 422, "is not after now", id="an end in the past"
    ),
    pytest.param("POST", "cordons", {"instance": "chat-1", "for": "40d"}, 422, "more than 30 days", id="for ever"),
    pytest.param("POST", "cordons", {"instance": "ordered:x"}, 409, "wait until it has an id", id="not listed yet"),
    pytest.param("POST", "cordons", {"instance": "chat-9"}, 409, "is on its way out already", id="already going"),
    pytest.param(
        "POST",
        "cordons",
        {"instance": "other-1"},
        409,
        "is the only instance that serves; order another",
        id="the last one",
    ),
    pytest.param("POST", "cordons", {"instance": "chat-2", "reason": " "}, 422, "under errors", id="no reason"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), MISTAKES)
def test_a_mistake_about_an_instance_is_told(
    world: ApiWorld, method: str, path: str, body: dict[str, object], status: int, message: str
) -> None:
    view = world.deps.board.pools()["chat"]
    assert view.fleet is not None
    more = (instance(9, "stopping"), instance(0, "pending", id="ordered:x"))
    published(world, fleet=replace(view.fleet, instances=(*view.fleet.instances, *more)))
    other = replace(view.rules, pool="other")
    only = Fleet(NOW, (instance(1, id="other-1", pool="other"),))
    world.deps.board.publish(replace(view, rules=other, fleet=only))
    answer = world.client().ask(method, path, json=WHO | body)
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True), answer.json()["detail"]
    assert world.deps.journal.operations.marks(NOW) == ()


def test_the_last_one_that_serves_is_cordoned_when_somebody_insists(world: ApiWorld, client: AppClient) -> None:
    published(world, fleet=Fleet(NOW, (instance(1),)))
    assert client.ask("POST", "cordons", json={"instance": "chat-1", **WHO}).status_code == 409
    assert client.ask("POST", "cordons", json={"instance": "chat-1", "force": True, **WHO}).status_code == 201


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        pytest.param(
            "cordons", "cordons", "is cordoned already, until 2026-09-21 18:13 UTC by ada", id="twice cordoned"
        ),
        pytest.param("replacements", "replacements", "is to be replaced already", id="twice replaced"),
    ],
)
def test_what_is_marked_already_says_by_whom(client: AppClient, first: str, second: str, message: str) -> None:
    client.ask("POST", first, json={"instance": "chat-1", **WHO})
    answer = client.ask("POST", second, json={"instance": "chat-1", **WHO})
    assert (answer.status_code, message in answer.json()["detail"]) == (409, True)


def test_what_is_not_cordoned_cannot_be_uncordoned(client: AppClient) -> None:
    client.ask("POST", "cordons", json={"instance": "chat-1", **WHO})
    answer = client.ask("DELETE", "cordons", params={"instance": "chat-2", **WHO})
    assert (answer.status_code, answer.json()["detail"]) == (404, "'chat-2' is not cordoned; did you mean 'chat-1'?")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "cordons"),
        ("DELETE", "cordons?instance=chat-1&author=a&reason=b"),
        ("POST", "replacements"),
        ("DELETE", "replacements?instance=chat-1&author=a&reason=b"),
        ("POST", "pools/chat/roll"),
        ("DELETE", "pools/chat/roll?author=a&reason=b"),
        ("POST", "pools/chat/roll/resume"),
        ("POST", "pools/chat/rollback"),
    ],
)
def test_who_may_only_look_changes_nothing(world: ApiWorld, method: str, path: str) -> None:
    body = {"json": {"instance": "chat-1", **WHO}} if method == "POST" else {}
    assert world.client(SECRETS["viewer"]).ask(method, path, **body).status_code == 403
    assert world.client(None).ask(method, path, **body).status_code == 401


# --- rolls ----------------------------------------------------------------------------------------------------------


def roll(**changes: object) -> dict[str, object]:
    return {"author": "ada", "reason": "driver 570"} | changes


def test_a_roll_is_journalled_with_the_rule_files_budgets_and_shown(world: ApiWorld, client: AppClient) -> None:
    made = client.ask("POST", "pools/chat/roll", json=roll(windows=["02:00-05:00"], canary="10m"))
    assert made.status_code == 201
    assert made.json()["text"] == "5 instances to replace, the first at 2026-09-22 02:00 UTC"
    kept = world.deps.journal.operations.roll("chat")
    assert kept is not None
    assert (kept.max_surge, kept.max_unavailable, kept.canary_s, kept.until) == (1, 0, 600.0, NOW + 86400)
    assert client.get("pools/chat/roll").json()["text"] == "it begins at the next tick"
    published(world, rolling=Rolling(kept.id, text="1 of 5 replaced", leaving=("chat-2",), gone=1))
    shown = client.get("pools/chat/roll").json()
    assert (shown["progress"]["gone"], shown["text"]) == (1, "running: 1 of 5 replaced")
    pool = client.get("pools/chat").json()
    assert (pool["replacing"], pool["roll"]) == (1, "running: 1 of 5 replaced")


def test_a_second_roll_waits_for_the_first_and_an_aborted_one_is_over(world: ApiWorld, client: AppClient) -> None:
    client.ask("POST", "pools/chat/roll", json=roll())
    twice = client.ask("POST", "pools/chat/roll", json=roll())
    assert (twice.status_code, "wait for the next tick" in twice.json()["detail"]) == (409, True)
    kept = world.deps.journal.operations.roll("chat")
    assert kept is not None
    published(world, rolling=Rolling(kept.id, text="0 of 5 replaced"))
    twice = client.ask("POST", "pools/chat/roll", json=roll())
    assert "a roll is running: 0 of 5 replaced; abort it with" in twice.json()["detail"]
    assert client.ask("DELETE", "pools/chat/roll", params=roll()).status_code == 204
    assert world.deps.journal.operations.roll("chat") is None
    again = client.ask("DELETE", "pools/chat/roll", params=roll())
    assert (again.status_code, "no roll of pool 'chat' is under way" in again.json()["detail"]) == (409, True)


def test_a_paused_roll_goes_on_under_a_new_name(world: ApiWorld, client: AppClient) -> None:
    client.ask("POST", "pools/chat/roll", json=roll(pause_on_failure=True))
    first = world.deps.journal.operations.roll("chat")
    assert first is not None
    early = client.ask("POST", "pools/chat/roll/resume", json=roll())
    assert (early.status_code, "there is no roll to go on with" in early.json()["detail"]) == (409, True)
    published(world, rolling=Rolling(first.id, "paused", "chat-9 failed", gone=2))
    world.clock.at += 600
    assert client.ask("POST", "pools/chat/roll/resume", json=roll(reason="fixed")).status_code == 200
    second = world.deps.journal.operations.roll("chat")
    assert second is not None
    assert second.id != first.id
    assert (second.since, second.created_at, second.reason) == (first.since, NOW + 600, "fixed")


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        pytest.param({"windows": ["02:00-02:00"]}, 422, "windows.0: '02:00-02:00' never opens", id="never opens"),
        pytest.param({"canary": "soon"}, 422, "canary: 'soon' is not a duration", id="no duration"),
        pytest.param({"max_surge": 0}, 409, "lets nothing be replaced; raise one of the two", id="no room"),
        pytest.param({"to": {"image": "ami-2"}}, 409, "has the setting 'image'; they have command, ready", id="no key"),
        pytest.param({"to": {"comand": "x"}}, 409, "did you mean command?", id="a slip of the pen"),
        pytest.param(
            {"to": {"ready": "/up"}}, 409, "has ready /health for local/worker/on_demand, not /up", id="not yet"
        ),
        pytest.param(
            {"windows": ["02:00-05:00"], "for": "1h"},
            409,
            "opens at 2026-09-22 02:00 UTC, after the roll",
            id="too late",
        ),
    ],
)
def test_a_roll_that_cannot_be_is_refused(
    world: ApiWorld, changes: dict[str, object], status: int, message: str
) -> None:
    answer = world.client().ask("POST", "pools/chat/roll", json=roll(**changes))
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True), answer.json()["detail"]
    assert world.deps.journal.operations.roll("chat") is None


def test_a_roll_with_nothing_to_do_says_so(world: ApiWorld, client: AppClient) -> None:
    made_of = world.deps.rulebook.current()["chat"].offers[0]
    here = Fleet(NOW, (instance(1, offer=made_of.key, made_of=made_of.made_of),))
    published(world, fleet=here)
    answer = client.ask("POST", "pools/chat/roll", json=roll())
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        "nothing to do: no instance of pool 'chat' was ordered of other settings than the rule file has now; "
        "change the file first, or replace all of them with --all"
    )
    assert client.ask("POST", "pools/chat/roll", json=roll(everything=True)).status_code == 201


# --- rollbacks ------------------------------------------------------------------------------------------------------


def rollback(**changes: object) -> dict[str, object]:
    return {"for": "30m", "author": "ada", "reason": "a dead exporter looked like no load"} | changes


def test_a_bad_scale_in_is_undone_by_a_floor_that_names_the_decision(world: ApiWorld, client: AppClient) -> None:
    history(world, 6, 6, 2)
    made = client.ask("POST", "pools/chat/rollback", json=rollback()).json()
    assert (made["undone"]["decision"], made["undone"]["back_to"], made["undone"]["kind"]) == (11, 9, "floor")
    assert (made["override"]["replicas"], made["override"]["until"]) == (6, NOW + 1800)
    assert made["text"] == "decision 11 is undone: at least 6 replicas instead of 2, until 2026-09-21 14:43 UTC"
    assert [(m["number"], m["before"], m["after"]) for m in made["moves"]][:2] == [(11, 6, 2), (9, 4, 6)]
    (override,) = world.deps.journal.overrides(NOW)
    assert override.reason == "decision 11 undone: a dead exporter looked like no load"
    assert client.get("pools/chat/rollback").json()["rollbacks"] == [made["undone"]]
    assert world.deps.board.wake.is_set()


def test_a_bad_scale_out_is_undone_by_a_ceiling_unless_users_wait(world: ApiWorld, client: AppClient) -> None:
    history(world, 4, 9)
    refused = client.ask("POST", "pools/chat/rollback", json=rollback(before="1m"))
    assert refused.status_code == 409
    assert refused.json()["detail"] == (
        "users wait, and at most 4 replicas would make them wait longer (queue is 3); "
        "repeat with force if the measurement is what is wrong"
    )
    made = client.ask("POST", "pools/chat/rollback", json=rollback(before="1m", force=True)).json()
    assert (made["undone"]["decision"], made["override"]["kind"], made["override"]["replicas"]) == (10, "ceiling", 4)
    assert "the rules ask for 9 replicas and are held back" in made["text"]


def test_a_dry_run_changes_nothing(world: ApiWorld, client: AppClient) -> None:
    history(world, 6, 2)
    made = client.ask("POST", "pools/chat/rollback", json=rollback(dry_run=True, to=9)).json()
    assert (made["override"], made["undone"]["replicas"]) == (None, 6)
    assert world.deps.journal.overrides(NOW) == ()
    assert world.deps.journal.operations.undone("chat") == ()


def test_rules_that_changed_since_are_told_with_the_way_to_the_old_file(world: ApiWorld, client: AppClient) -> None:
    history(world, 6, 2, hashes="0123456789abcdef")
    made = client.ask("POST", "pools/chat/rollback", json=rollback()).json()
    assert made["rules_changed"].startswith("the rules have changed since: 0123456789abcdef then, ")
    assert "git log -p -- " in made["rules_changed"]
    assert made["undone"]["rules_then"] == "0123456789abcdef"


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        pytest.param(
            {"before": "30d"},
            404,
            "30 d ago is before the journal of pool 'chat'; its first one is decision 5",
            id="before history",
        ),
        pytest.param({"to": 3}, 404, "decision 3 of pool 'chat' has no row of its own", id="no such decision"),
        pytest.param(
            {"to": 11}, 409, "wanted 2 and so does the last one, 11: there is nothing to undo", id="no change"
        ),
        pytest.param({"to": 9, "before": "1m"}, 422, "to and before are both given; give one of the two", id="both"),
        pytest.param({"before": "later"}, 422, "before: 'later' is not a duration", id="no duration"),
        pytest.param({"before": "0s"}, 422, "0s is now; give a longer time", id="now"),
        pytest.param({"for": None, "until": NOW - 60}, 422, "is not after now", id="an end in the past"),
        pytest.param({"for": None}, 422, "until and for are both missing; give one", id="no end"),
        pytest.param({"to": 10}, 409, "wanted 40, outside of the bounds of 1 to 20", id="outside of the bounds"),
    ],
)
def test_a_rollback_that_cannot_be_is_refused(
    world: ApiWorld, changes: dict[str, object], status: int, message: str
) -> None:
    history(world, 6, 40, 2)
    body = {k: v for k, v in rollback(**changes).items() if v is not None}
    answer = world.client().ask("POST", "pools/chat/rollback", json=body)
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True), answer.json()["detail"]
    assert world.deps.journal.overrides(NOW) == ()


def test_an_unknown_pool_is_told_with_the_one_that_was_meant(client: AppClient) -> None:
    for path in ("pools/chatt/rollback", "pools/chatt/roll"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no pool 'chatt'; did you mean 'chat'?")
