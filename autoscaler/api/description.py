"""What the OpenAPI document says beyond the routes: groups, names of operations, headers, examples."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi.routing import APIRoute

from autoscaler.api import idempotency
from autoscaler.api.guards import EXEMPT, PROBES
from autoscaler.api.problems import documented

TAGS = {
    "pools": "What each pool has, what it should have and what it costs; where requests may go.",
    "decisions": "What was decided, why, and which decisions changed a size.",
    "signals": "What the rules read, how good it is, and what there is to read.",
    "learned": "Forecasts, capacities and lead times, with their versions.",
    "offers": "What could be bought: prices, lead times, quotas, shortages.",
    "overrides": "A person's word over a pool, always with an end.",
    "ownership": "Machines without rules, and machines of others that may join a pool.",
    "operations": "Cordons, replacements, rolls and rollbacks.",
    "rules": "The rule files in force, and a check of others.",
    "alerts": "What fires, who is told of it, and silences.",
    "push": "What others send: samples and alerts.",
    "health": "Whether the service does its work, and its own metrics.",
}

SAMPLES = {"pool": "chat", "id": "event", "signal": "load", "number": 8}
"""What stands in paths; the examples are of the same pool."""

NO_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 1000},
    "description": "an ETag that you have; 304 without a body if it is still the one",
}
KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": idempotency.PATTERN, "maxLength": 200},
    "description": "a word of yours, such as a UUID: the same request with it is carried out once",
}
ETAG = {"description": "strong entity tag of the answer", "schema": {"type": "string"}}
LINK = {"description": '`<PATH>; rel="next"`: the next page, absent on the last one', "schema": {"type": "string"}}


def operation_id(route: APIRoute) -> str:
    """The function's own name: programs that are generated from the document call it so, wherever its path moves."""
    return route.name


def describe(document: dict[str, Any]) -> None:
    """Adds to every operation of a document what the routes cannot say."""
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _guards(path, method, operation)
            example = examples().get(operation["operationId"])
            if example is not None:
                _example(operation, example)


@cache
def examples() -> dict[str, Any]:
    """Path, query, body, status and answer of one request by operationId; a test records them from a real app."""
    text = (files("autoscaler.api") / "examples.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _guards(path: str, method: str, operation: dict[str, Any]) -> None:
    """Parameters, headers and answers that come from the guards in front of the operation."""
    responses, parameters = operation["responses"], operation.setdefault("parameters", [])
    said = responses.get("200", {})
    if method == "get" and "application/json" in said.get("content", {}):
        parameters.append(NO_MATCH)
        said.setdefault("headers", {})["ETag"] = ETAG
        responses["304"] = {"description": "The answer is the one that the ETag names", "headers": {"ETag": ETAG}}
        if {p["name"] for p in parameters} & {"after", "before"}:
            said["headers"]["Link"] = LINK
    if method == "post" and path.startswith("/api/") and path not in EXEMPT:
        parameters.append(KEY)
        _document(responses, 409)
    for status in (414, 431, *(() if path in PROBES else (429,))):
        _document(responses, status)
    if "requestBody" in operation:
        _document(responses, 408)
    if method != "get":
        _document(responses, 403)
    if not parameters:
        del operation["parameters"]
    operation["responses"] = dict(sorted(responses.items()))


def _document(responses: dict[str, Any], status: int) -> None:
    if str(status) not in responses:
        responses[str(status)] = documented(status)[status]


def _example(operation: dict[str, Any], example: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        known = example["query"] if parameter["in"] == "query" else SAMPLES if parameter["in"] == "path" else {}
        if parameter["name"] in known:
            parameter["example"] = known[parameter["name"]]
    if example["request"] is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = example["request"]
    content = operation["responses"][str(example["status"])].get("content", {})
    if "application/json" in content:
        content["application/json"]["example"] = example["response"]
