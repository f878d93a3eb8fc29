"""One request for every operation of the API, and what a real app answers: the examples of its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoscaler.journal import Entry
from autoscaler.shadow import Account, ShadowView, Side
from autoscaler.types import Memory, Plan, Rolling
from tests.apiworld import ApiWorld, AppClient, api_world, decided
from tests.test_api_ownership import Cloud, alone
from tests.worlds import NOW

FILE = Path(__file__).parent.parent / "autoscaler" / "api" / "examples.json"
RULES_FOLDER = "/etc/sigmascale/rules"

SAID = {"author": "ada", "reason": "new image"}
OVERRIDE = {"kind": "floor", "replicas": 12, "for": "3h", "author": "ada", "reason": "launch event"}
SILENCE = {"matchers": ['pool="chat"'], "for": "2h", "author": "ada", "comment": "power supply is exchanged"}
WEBHOOK = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "disk", "pool": "chat"}}]}
PUSHED = {
    "source": "batch-7",
    "interval_s": 15,
    "labels": {"pool": "chat"},
    "samples": [{"metric": "requests_waiting", "labels": {"instance": "gpu-7"}, "value": 3}],
}
POINT = {"timeUnixNano": f"{int(NOW)}000000000", "asDouble": 3.0, "attributes": []}
GAUGE = {"name": "vllm:num_requests_waiting", "gauge": {"dataPoints": [POINT]}}
EXPORTED = {
    "resourceMetrics": [
        {
            "resource": {"attributes": [{"key": "pool", "value": {"stringValue": "chat"}}]},
            "scopeMetrics": [{"metrics": [GAUGE]}],
        }
    ]
}
RULE_TEXT = "pool: chat\nreplica: {gpus: 1, capacity: 10 requests/s}\nlimits: {min: 1, max: 20}\nrules: []\n"


def nothing(_: ApiWorld, _client: AppClient) -> None:
    """Nothing must have happened."""


@dataclass(frozen=True)
class Asked:
    """A request, and what must have happened before. query also holds what the parameters' examples show."""

    method: str
    path: str
    body: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    before: Callable[[ApiWorld, AppClient], object] = nothing


def _put(_: ApiWorld, client: AppClient) -> None:
    client.ask("PUT", "pools/chat/overrides/event", json=OVERRIDE)


def _silenced(_: ApiWorld, client: AppClient) -> None:
    client.ask("POST", "silences", json=SILENCE)


def _cordoned(_: ApiWorld, client: AppClient) -> None:
    client.ask("POST", "cordons", json={"instance": "chat-1", **SAID})


def _replacing(_: ApiWorld, client: AppClient) -> None:
    client.ask("POST", "replacements", json={"instance": "chat-1", **SAID})


def _rolling(world: ApiWorld, client: AppClient) -> None:
    client.ask("POST", "pools/chat/roll", json={"pause_on_failure": True, **SAID})
    roll = world.deps.journal.operations.roll("chat")
    assert roll is not None
    view = world.deps.board.pools()["chat"]
    world.deps.board.publish(replace(view, rolling=Rolling(roll.id, "paused", "chat-9 failed", gone=2)))


def _moved(world: ApiWorld, _: AppClient) -> None:
    """The pool has grown a minute ago."""
    view = world.deps.board.pools()["chat"]
    made = replace(decided(world.deps.rulebook), number=9, at=NOW, current=8, want=10)
    world.deps.journal.record([Entry(made, Plan("chat", 9), (), Memory(number=9))])
    world.deps.board.publish(replace(view, decision=made))


ASKED: dict[str, Asked] = {
    "list_pools": Asked("GET", "pools", query={"sort": "queue", "limit": 100}),
    "show_pool": Asked("GET", "pools/chat"),
    "endpoints": Asked("GET", "pools/chat/endpoints"),
    "list_instances": Asked("GET", "pools/chat/instances", query={"state": "ready", "limit": 100}),
    "show_shadow": Asked("GET", "pools/chat/shadow"),
    "list_decisions": Asked("GET", "pools/chat/decisions", query={"limit": 1}),
    "show_decision": Asked("GET", "pools/chat/decisions/8"),
    "explain_decision": Asked("GET", "pools/chat/explain", query={"decision": 8}),
    "list_changes": Asked("GET", "changes", query={"limit": 5}, before=_moved),
    "list_signals": Asked("GET", "pools/chat/signals"),
    "list_all_signals": Asked("GET", "signals", query={"pool": "chat"}),
    "signal_history": Asked("GET", "pools/chat/signals/load", query={"since": NOW - 600, "until": NOW}),
    "show_learned": Asked("GET", "pools/chat/learned"),
    "list_offers": Asked("GET", "offers", query={"pool": "chat"}),
    "list_all_overrides": Asked("GET", "overrides", query={"kind": "floor"}, before=_put),
    "list_overrides": Asked("GET", "pools/chat/overrides", before=_put),
    "show_override": Asked("GET", "pools/chat/overrides/event", before=_put),
    "put_override": Asked("PUT", "pools/chat/overrides/event", OVERRIDE),
    "end_override": Asked("DELETE", "pools/chat/overrides/event", query=SAID, before=_put),
    "list_ownerless": Asked("GET", "ownerless"),
    "release": Asked("POST", "ownerless/old/release", {"author": "ada", "reason": "nobody needs it"}),
    "list_adoptable": Asked("GET", "pools/chat/adoptable"),
    "adopt": Asked("POST", "pools/chat/adopt", {"instances": ["chat-7"], **SAID}),
    "list_marks": Asked("GET", "marks", query={"pool": "chat"}, before=_cordoned),
    "cordon": Asked("POST", "cordons", {"instance": "chat-1", "for": "4h", **SAID}),
    "uncordon": Asked("DELETE", "cordons", query={"instance": "chat-1", **SAID}, before=_cordoned),
    "replace": Asked("POST", "replacements", {"instance": "chat-1", **SAID}),
    "keep": Asked("DELETE", "replacements", query={"instance": "chat-1", **SAID}, before=_replacing),
    "show_roll": Asked("GET", "pools/chat/roll", before=_rolling),
    "start_roll": Asked("POST", "pools/chat/roll", {"canary": "10m", "windows": ["02:00-05:00"], **SAID}),
    "abort_roll": Asked("DELETE", "pools/chat/roll", query=SAID, before=_rolling),
    "resume_roll": Asked(
        "POST", "pools/chat/roll/resume", {"author": "ada", "reason": "image mended"}, before=_rolling
    ),
    "show_rollbacks": Asked("GET", "pools/chat/rollback", before=_moved),
    "roll_back": Asked("POST", "pools/chat/rollback", {"for": "2h", "force": True, **SAID}, before=_moved),
    "list_rules": Asked("GET", "rules", query={"limit": 100}),
    "check_rules": Asked("POST", "rules/check", {"text": RULE_TEXT, "file": "chat.yaml"}),
    "list_alerts": Asked("GET", "alerts", query={"state": "firing"}),
    "list_silences": Asked("GET", "silences", before=_silenced),
    "add_silence": Asked("POST", "silences", SILENCE),
    "end_silence": Asked("DELETE", "silences/{silence}", query={"author": "ada"}, before=_silenced),
    "list_deliveries": Asked("GET", "deliveries"),
    "push": Asked("POST", "push", PUSHED),
    "receive_alerts": Asked("POST", "alerts/webhook", WEBHOOK, query={"pool": "chat"}),
    "otlp_metrics_below_prefix": Asked("POST", "otlp/v1/metrics", EXPORTED),
    "otlp_metrics": Asked("POST", "/v1/metrics", EXPORTED),
    "list_targets": Asked("GET", "targets", query={"up": False}),
    "healthz": Asked("GET", "/healthz"),
    "readyz": Asked("GET", "/readyz"),
}
"""By operationId. Left out: remote_write, whose body is compressed protobuf, and metrics, whose answer is a page."""


def recorded(folder: Path) -> str:
    """The examples as JSON: for each operation its path and query, its body, its status and answer."""
    found = {}
    at_rest = _world(folder / "at-rest")
    for name, asked in ASKED.items():
        # What only looks leaves the world as it was.
        reads = asked.method == "GET" and asked.before is nothing
        world = at_rest if reads else _world(folder / name)
        # Making the document takes longer than everything else; it is the same for all of them.
        world.app.openapi_schema = at_rest.app.openapi()
        place = world.rules_file.parent
        client = world.client()
        asked.before(world, client)
        path = asked.path
        if "{silence}" in path:
            path = path.replace("{silence}", world.deps.journal.notified.silences(NOW)[0].id)
        more = {} if asked.body is None else {"json": asked.body}
        answer = client.ask(asked.method, path, params=asked.query, **more)
        assert answer.is_success, (name, answer.status_code, answer.text)
        text = answer.text.replace(str(place), RULES_FOLDER)
        parts = {"path": path, "query": asked.query, "request": asked.body, "status": answer.status_code}
        found[name] = parts | {"response": json.loads(text) if text else None}
    return json.dumps(found, indent=1) + "\n"


def _world(place: Path) -> ApiWorld:
    place.mkdir()
    world = api_world(place, adopters=lambda: {"local": Cloud()}, shadows=lambda: {"chat": _candidate()})
    alone(world)
    return world


def _candidate() -> ShadowView:
    active = Side(usd=12.5, launches=2)
    account = Account(hashes=("5f1c", "9a02"), since=NOW - 3600, watched_s=3600.0, demand_work=90_000.0, active=active)
    return ShadowView("chat", "candidates/next.yaml", None, None, account, "load", ("queue",), "")
