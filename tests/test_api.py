"""The REST API: what it shows, what it refuses, and that its own description is true."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoscaler.api.app import create_app
from autoscaler.api.reference import reference
from autoscaler.board import PoolView
from autoscaler.types import Batch, Fleet, SeriesKey
from tests.apiworld import RULES, SECRETS, ApiWorld, AppClient, api_world
from tests.worlds import NOW, instance

FREEZE = {"kind": "freeze", "for": "1h", "author": "ada", "reason": "test"}


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def client(world: ApiWorld) -> AppClient:
    return world.client()


# --- the front page ---------------------------------------------------------------------------------------------


def test_the_address_itself_lists_every_operation_for_people_and_needs_no_token(world: ApiWorld) -> None:
    page = world.client(None).ask("GET", "/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert "GET    /api/v1/pools/{pool}/explain " in page.text
    assert "with a token of the service's tokens file" in page.text
    methods = ("GET ", "PUT ", "POST ", "DELETE ")
    listed = {line.split()[1] for line in page.text.splitlines() if line.startswith(methods)}
    assert listed == set(world.app.openapi()["paths"])


def test_the_list_of_operations_for_browsers_loads_nothing_from_elsewhere(world: ApiWorld) -> None:
    page = world.client(None).ask("GET", "/api", headers={"accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    links = re.findall(r'(?:href|src)="([^"]*)"', page.text)
    assert all(link.startswith("/") for link in links)
    assert {"/api/v1/pools", "/metrics", "/api/v1/openapi.json"} <= set(links)


@pytest.mark.parametrize(
    ("path", "place"),
    [("/docs", "/api"), ("/redoc", "/api"), ("/openapi.json", "/api/v1/openapi.json")],
)
def test_the_usual_places_of_documentation_lead_to_ours(world: ApiWorld, path: str, place: str) -> None:
    response = world.client(None).ask("GET", path)
    assert (response.status_code, response.headers["location"]) == (307, place)


def test_a_body_that_is_not_declared_as_json_is_told_how_to_be_sent(client: AppClient) -> None:
    response = client.ask("POST", "rules/check", content=b"pool: chat", headers={"content-type": "text/plain"})
    (fault,) = response.json()["errors"]
    assert fault == {
        "where": "body",
        "text": "is not JSON; send an object with the header Content-Type: application/json",
    }


# --- pools ------------------------------------------------------------------------------------------------------


def test_a_pool_says_what_it_has_what_it_should_have_and_why(client: AppClient) -> None:
    (pool,) = client.get("pools").json()["pools"]
    assert {k: pool[k] for k in ("pool", "current", "want", "ready", "pending", "draining", "min", "max")} == {
        "pool": "chat",
        "current": 4,
        "want": 8,
        "ready": 3,
        "pending": 1,
        "draining": 1,
        "min": 1,
        "max": 20,
    }
    assert pool["usd_per_hour"] == 10.0
    assert pool["alerts_firing"] == 1
    assert pool["headline"].startswith("chat, decision 8 at 2026-09-21 ")
    assert pool["error"] == ""


def test_one_pool_comes_with_instances_plan_and_overrides(client: AppClient) -> None:
    client.ask("PUT", "pools/chat/overrides/one", json=FREEZE)
    pool = client.get("pools/chat").json()
    assert [i["id"] for i in pool["instances"]] == [f"chat-{n}" for n in range(1, 6)]
    assert pool["plan"]["actions"][0]["kind"] == "drain"
    assert [o["id"] for o in pool["overrides_in_force"]] == ["one"]


def test_an_unknown_pool_is_404_with_the_closest_name(client: AppClient) -> None:
    response = client.get("pools/chatt")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "there is no pool 'chatt'; did you mean 'chat'?",
        "errors": [],
    }


def test_endpoints_are_the_routable_replicas_in_the_format_of_http_discovery(client: AppClient) -> None:
    response = client.get("pools/chat/endpoints")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == [
        {
            "targets": [f"10.0.0.{n}:8000"],
            "labels": {"pool": "chat", "instance_id": f"chat-{n}", "offer": "sim/small/on_demand"},
        }
        for n in (1, 2)
    ]


def test_a_fleet_that_nobody_reported_is_not_an_empty_list_of_endpoints(world: ApiWorld) -> None:
    rules = world.deps.rulebook.current()["chat"]
    world.deps.board.publish(PoolView(rules, NOW))
    response = world.client().get("pools/chat/endpoints")
    assert response.status_code == 503
    assert "has not reported its fleet yet" in response.json()["detail"]
    pool = world.client().get("pools/chat").json()
    assert (pool["ready"], pool["want"], pool["headline"]) == (None, None, "")


def test_a_fleet_without_routable_replicas_is_an_empty_list(world: ApiWorld) -> None:
    rules = world.deps.rulebook.current()["chat"]
    world.deps.board.publish(PoolView(rules, NOW, fleet=Fleet(NOW, (instance(1, "draining"),))))
    assert world.client().get("pools/chat/endpoints").json() == []


# --- decisions --------------------------------------------------------------------------------------------------


def test_decisions_come_newest_first_page_by_page(client: AppClient) -> None:
    first = client.get("pools/chat/decisions", limit=3).json()
    assert [d["number"] for d in first["decisions"]] == [8, 7, 6]
    second = client.get("pools/chat/decisions", limit=3, before=first["next_before"]).json()
    assert [d["number"] for d in second["decisions"]] == [5]
    assert second["next_before"] is None


def test_decisions_can_be_asked_for_by_time(client: AppClient) -> None:
    found = client.get("pools/chat/decisions", since=NOW - 700, until=NOW - 200).json()
    assert [d["number"] for d in found["decisions"]] == [7, 6]


def test_a_decision_carries_its_readings_proposals_and_reasons(client: AppClient) -> None:
    decision = client.get("pools/chat/decisions/6").json()
    assert decision["readings"]["load"]["value"] == 60.0
    assert decision["proposals"][0]["source"] == "enough"
    assert decision["reasons"][-1]["replicas"] == decision["want"]


def test_a_decision_that_had_no_row_of_its_own_is_404_with_the_one_before(client: AppClient) -> None:
    response = client.get("pools/chat/decisions/100")
    assert response.status_code == 404
    assert response.json()["detail"].endswith("the last one journalled before it is 8")


def test_explain_tells_the_last_decision_in_words_and_as_data(client: AppClient) -> None:
    found = client.get("pools/chat/explain").json()
    assert found["number"] == 8
    assert found["text"].startswith("chat, decision 8 at ")
    assert "enough sizes the pool at 8" in found["text"]
    assert "drain chat-4" in found["text"]
    assert found["decision"]["want"] == 8
    assert found["plan"]["decision"] == 8


def test_explain_tells_an_older_decision_from_the_journal(client: AppClient) -> None:
    found = client.get("pools/chat/explain", decision=5).json()
    assert found["text"].startswith("chat, decision 5 at ")
    assert found["plan"]["actions"] == []


def test_explain_of_a_pool_that_decided_nothing_says_when_to_ask_again(world: ApiWorld) -> None:
    world.deps.board.publish(PoolView(world.deps.rulebook.current()["chat"], NOW, error="the journal is full"))
    response = world.client().get("pools/chat/explain")
    assert response.status_code == 404
    assert "has decided nothing yet (the journal is full)" in response.json()["detail"]


# --- signals ----------------------------------------------------------------------------------------------------


def test_signals_show_value_quality_and_age(world: ApiWorld) -> None:
    world.clock.at = NOW + 4.0
    readings = {r["signal"]: r for r in world.client().get("pools/chat/signals").json()["readings"]}
    assert {"load", "queue", "capacity"} == set(readings)
    assert (readings["load"]["value"], readings["load"]["quality"], readings["load"]["age_s"]) == (60.0, "fresh", 4.0)
    assert readings["load"]["source"] == "requests_arrived_total"


def test_the_past_of_a_signal_is_what_the_store_kept(world: ApiWorld) -> None:
    fill(world, 20)
    found = world.client().get("pools/chat/signals/queue", since=NOW - 60, until=NOW + 1).json()
    assert found["at"] == [NOW - 60, NOW - 45, NOW - 30, NOW - 15, NOW]
    assert found["values"] == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert found["thinned"] == 1


def test_a_long_past_is_thinned_and_keeps_its_newest_point(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoscaler.api.signals.MAX_POINTS", 6)
    fill(world, 20)
    found = world.client().get("pools/chat/signals/queue", until=NOW + 1).json()
    assert found["thinned"] == 4
    assert len(found["at"]) == 5
    assert found["at"][-1] == NOW


def test_a_past_that_ends_before_it_begins_is_refused(client: AppClient) -> None:
    response = client.get("pools/chat/signals/load", since=2000, until=1000)
    assert response.status_code == 422
    assert response.json()["detail"] == "since (2000) is after until (1000); give the earlier instant as since"


def test_an_unknown_signal_is_404_with_the_closest_name(client: AppClient) -> None:
    assert client.get("pools/chat/signals/lod").json()["detail"].endswith("did you mean 'load'?")


def fill(world: ApiWorld, points: int) -> None:
    """A queue that fell to 0 at NOW, one per tick of 15 s."""
    keys = (SeriesKey("requests_waiting", (("instance", "a"), ("pool", "chat"))),)
    rules = world.deps.rulebook.current()["chat"]
    for ago in range(points - 1, -1, -1):
        at = NOW - 15.0 * ago
        world.deps.store.add(Batch("a", at, 15.0, keys, np.array([float(ago)]), (("pool", "chat"),)))
        world.deps.store.read(rules, at)


# --- rules ------------------------------------------------------------------------------------------------------


def test_rules_show_hash_file_lints_and_why_a_newer_version_was_not_taken(world: ApiWorld) -> None:
    client = world.client()
    before = client.get("rules").json()
    (source,) = before["sources"]
    assert (source["pool"], source["file"], len(source["hash"])) == ("chat", str(world.rules_file), 16)
    assert isinstance(source["lints"], list)
    assert before["problems"] == []
    world.rules_file.write_text(RULES.replace("min: 1", "min: 30"), encoding="utf-8")
    for _ in range(2):
        world.deps.rulebook.poll()
    after = client.get("rules").json()
    assert after["sources"][0]["hash"] == source["hash"]
    assert after["problems"][0]["line"] == 4


def test_a_checked_rule_text_is_judged_and_not_applied(world: ApiWorld) -> None:
    text = RULES.replace("pool: chat", "pool: other")
    good = world.client().ask("POST", "rules/check", json={"text": text}).json()
    assert (good["valid"], good["pool"]) == (True, "other")
    assert set(world.deps.rulebook.current()) == {"chat"}
    bad = world.client().ask("POST", "rules/check", json={"text": "pool: chat\nlimitz: {}", "file": "x.yaml"}).json()
    assert bad["valid"] is False
    assert [(f["file"], f["line"]) for f in bad["faults"] if "limitz" in f["where"]] == [("x.yaml", 2)]


# --- alerts, health, limits -------------------------------------------------------------------------------------


def test_alerts_are_those_that_are_not_inactive_unless_asked(client: AppClient) -> None:
    assert [a["name"] for a in client.get("alerts").json()["alerts"]] == ["slow"]
    assert [a["name"] for a in client.get("alerts", state="inactive").json()["alerts"]] == ["calm"]
    assert client.get("alerts", pool="other").json()["alerts"] == []


def test_targets_show_those_that_are_down_first_and_no_password(client: AppClient) -> None:
    targets = client.get("targets").json()["targets"]
    assert [t["url"] for t in targets] == ["http://10.0.0.2:8000/metrics", "http://10.0.0.1:8000/metrics"]


def test_a_ticking_service_is_ready(client: AppClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive", "version": "0.0.test"}
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True, "reasons": []})


def test_a_pool_that_was_not_judged_for_three_ticks_makes_the_service_unready(world: ApiWorld) -> None:
    world.clock.at = NOW + 45
    assert world.client().get("/readyz").status_code == 200
    world.clock.at = NOW + 46
    response = world.client().get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["pool chat was last judged 46s ago; look for errors in the log"]
    assert world.client().get("/healthz").status_code == 200


def test_a_pool_that_was_never_judged_makes_the_service_unready(world: ApiWorld) -> None:
    world.deps.board.remove("chat")
    assert world.client().get("/readyz").json()["reasons"] == ["pool chat was not judged yet"]


def test_a_journal_that_cannot_be_written_makes_the_service_unready_and_overrides_503(world: ApiWorld) -> None:
    with world.deps.journal._db.engine.connect() as db:
        db.exec_driver_sql("PRAGMA query_only = ON")
        db.detach()
    world.deps.journal._db.engine.dispose()
    file = world.rules_file.parent / "journal.db"
    file.write_bytes(b"not a database" * 1000)
    for extra in ("journal.db-wal", "journal.db-shm"):
        (file.parent / extra).unlink(missing_ok=True)
    response = world.client().get("/readyz")
    assert response.status_code == 503
    assert "check that the folder exists, is writable and has space" in response.json()["reasons"][0]
    refused = world.client().ask("PUT", "pools/chat/overrides/one", json=FREEZE)
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "expected"),
    [
        pytest.param("GET", "/nothing", {}, 404, "GET / lists what there is", id="an unknown path"),
        pytest.param("POST", "pools", {}, 405, "the header Allow lists those it does", id="an unknown method"),
        pytest.param("GET", "pools/chat/decisions?limit=501", {}, 422, "errors; correct it", id="too large a page"),
        pytest.param("GET", "alerts?pol=chat", {}, 422, "query.pol: is not a parameter", id="an unknown parameter"),
        pytest.param("GET", "pools/chat/decisions?before=x", {}, 422, "errors; correct it", id="not a number"),
        pytest.param("GET", "pools/chat/signals/load?since=nan", {}, 422, "errors; correct it", id="not a time"),
        pytest.param("POST", "rules/check", {"content": b"{"}, 422, "errors; correct it", id="half a body"),
        pytest.param(
            "POST", "rules/check", {"content": b"x" * (2**20 + 1)}, 413, "send a smaller one", id="a huge body"
        ),
    ],
)
def test_what_cannot_be_answered_is_a_problem_that_says_what_to_do(
    client: AppClient, method: str, path: str, more: dict[str, bytes], status: int, expected: str
) -> None:
    response = client.ask(method, path, headers={"content-type": "application/json"}, **more)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert expected in response.json()["detail"]
    assert response.json()["status"] == status


def test_a_bug_is_500_without_a_traceback(world: ApiWorld) -> None:
    broken = replace(world.deps, counts=lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    response = AppClient(create_app(broken), SECRETS["admin"]).get("/metrics")
    assert response.status_code == 500
    assert response.json()["detail"] == "the service failed to answer, which is a bug in it; its log has the traceback"


# --- its own description ----------------------------------------------------------------------------------------


def test_docs_api_md_is_what_the_openapi_document_says(world: ApiWorld) -> None:
    written = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    assert written == reference(world.app)
