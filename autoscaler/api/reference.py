"""docs/api.md, from the OpenAPI document of the app."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

INTRODUCTION = """\
# REST API

`GET /api/v1/openapi.json` is the complete description; this page is made from it by `make docs`, do not edit.

- **Who may**: with a tokens file every path but `/healthz` and `/readyz` needs `Authorization: Bearer TOKEN`. Roles:
  viewer reads; operator also sets overrides, cordons, replaces, rolls and rolls back; admin may do all. Without a
  tokens file the service listens on loopback only, everybody on the machine may read, and a change needs the token in
  `DATA_DIR/token`.
- **Errors** are RFC 9457 problem details (`application/problem+json`); `detail` says what to do, `errors` lists all
  faults.
- **Units**: Unix seconds, ratios from 0 to 1, USD per hour. null means unknown, which is never zero.
- **Limits**: bodies up to 1 MiB (pushes more, see [push.md](push.md)), pages as their parameters say.

```console
$ curl -s localhost:9377/api/v1/pools/chat/explain | jq -r .text
$ curl -s -X PUT localhost:9377/api/v1/pools/chat/overrides/event \\
    -H "Authorization: Bearer $(cat sigmascale-data/token)" -H 'Content-Type: application/json' \\
    -d '{"kind": "floor", "replicas": 12, "for": "3h", "author": "ada", "reason": "launch event"}'
```
"""
KEYWORDS = {"minimum": "from {}", "maximum": "to {}", "maxLength": "up to {} characters", "pattern": "matches `{}`"}


def reference(app: FastAPI) -> str:
    """Every operation with its parameters, its body and what it answers."""
    document = app.openapi()
    lines = [INTRODUCTION]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += [f"## {method.upper()} {path}", "", operation["description"], ""]
            lines += _parameters(operation, document["components"]["schemas"])
            lines += [_answers(operation), ""]
    lines += ["# Bodies and answers", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines)


def _parameters(operation: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    rows = [
        f"| `{p['name']}` | {p['in']} | {_type(p['schema'])} | {_default(p)} | {p.get('description', '')} |"
        for p in operation.get("parameters", ())
    ]
    body = operation.get("requestBody")
    if body is not None:
        (content,) = body["content"].values()
        rows.append(f"| body | JSON | {_type(content['schema'])} | mandatory | |")
    return ["| parameter | in | type | default | meaning |", "|---|---|---|---|---|", *rows, ""] if rows else []


def _default(parameter: dict[str, Any]) -> str:
    if parameter["required"]:
        return "mandatory"
    default = parameter["schema"].get("default")
    return f"`{default}`" if default not in (None, "") else "none"


def _answers(operation: dict[str, Any]) -> str:
    found = []
    for status, response in operation["responses"].items():
        kinds = [_type(c.get("schema", {})) for c in response.get("content", {}).values()]
        known = [kind for kind in kinds if kind and "ProblemDetails" not in kind]
        found.append(f"{status} {known[0]}" if known else str(status))
    return f"Answers: {', '.join(found)}."


def _schema(name: str, schema: dict[str, Any]) -> list[str]:
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    head = [f"## {name}", ""]
    if schema.get("description"):
        head += [" ".join(schema["description"].split()), ""]
    rows = [
        f"| `{key}` | {_type(value)} | {'yes' if key in required else 'no'} | {value.get('description', '')} |"
        for key, value in properties.items()
    ]
    return [*head, "| key | type | mandatory | meaning |", "|---|---|---|---|", *rows, ""] if rows else head


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "oneOf" in schema:
        return " or ".join(_type(part) for part in schema["oneOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items = schema.get("items") or {}
        return f"list of {_type(items)}" if items else "list"
    limits = [text.format(str(schema[key]).replace("|", "\\|")) for key, text in KEYWORDS.items() if key in schema]
    return " ".join([schema.get("type", "value"), f"({', '.join(limits)})" if limits else ""]).strip()
