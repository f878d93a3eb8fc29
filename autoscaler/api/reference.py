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
- **Limits**: bodies up to 1 MiB within 30 s (pushes more, see [push.md](push.md)), addresses up to 8 KiB, 100 headers
  of 8 KiB each and 32 KiB together. What is longer is answered with 413, 414 or 431, a body that drips with 408.
- **Names** of operations (`operationId`) stay; generated clients call their functions so.

```console
$ curl -s localhost:9377/api/v1/pools/chat/explain | jq -r .text
$ curl -s -X PUT localhost:9377/api/v1/pools/chat/overrides/event \\
    -H "Authorization: Bearer $(cat sigmascale-data/token)" -H 'Content-Type: application/json' \\
    -d '{"kind": "floor", "replicas": 12, "for": "3h", "author": "ada", "reason": "launch event"}'
```

## Pages and filters

A list that can grow takes `limit` and ends with `next_after` (decisions: `next_before`), null on the last page. Give it
as `after` (`before`) to get the page behind it, with the same filters and order; the header `Link: <PATH>; rel="next"`
has the whole address ready. A cursor is the place of the last item, so what comes or goes in between is neither told
twice nor makes anything be left out.

```console
$ curl -s 'localhost:9377/api/v1/pools?firing=true&sort=cost&limit=20' | jq -r '.pools[].headline'
$ curl -s 'localhost:9377/api/v1/changes?limit=3' | jq -r '.changes[].headline'
```

## ETags

JSON answers to GET carry a strong `ETag`. Send it back as `If-None-Match`, and an answer that is still the same is 304
without a body; what is saved is the transport, not the work. Changes of an override take `If-Match` with the ETag of
`GET .../overrides/{id}`, and are refused with 412 when somebody else was faster; `If-None-Match: *` makes an override
only where there is none.

```console
$ curl -s -X PUT localhost:9377/api/v1/pools/chat/overrides/event -H 'If-None-Match: *' ...
```

## Idempotency keys

A POST that changes something takes `Idempotency-Key: WORD`, one word of at most 200 characters such as a UUID. The
same request with the same key and token gets the first answer again, with `Idempotency-Replayed: true`, for 24 hours
and over restarts; nothing is done twice. The body must be the same byte by byte, otherwise the answer is 422. While the
first one is under way, or when the service ended in the middle of it, the answer is 409. Only success is remembered:
what was refused or failed may be sent again with its key. Pushes and `rules/check` take no key.

## How often may be asked

Each token has a bucket for reads (200 a second, 400 at once) and one for changes (10 a second, 50 at once); who sends
no token shares those of the address. Beyond that the answer is 429 with `Retry-After`, `RateLimit` and
`RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10). Wrong tokens are counted by address: after 30 of them
one a second is looked at, and tokens that were good from that address before go on. `rate_limit` in the
[configuration](config.md) changes the numbers. `/healthz`, `/readyz` and the control room's stream are never limited;
pushes have places of their own.

Behind a proxy all callers have its address, so that only tokens tell them apart.

## Browsers

A request that changes something and comes from a page of another origin is 403, whatever its credentials:
`Sec-Fetch-Site` must be `same-origin` or `none`, without it `Origin` must be our own host. Programs send neither.
CORS is off. `cors_origins` in the configuration names origins whose pages may read with a token, `cors_writes: true`
lets them change things too; cookies are never taken from elsewhere.
"""

EVERYWHERE = ("304", "408", "414", "429", "431")
"""Answers that the introduction explains and that nearly every operation may give."""

KEYWORDS = {"minimum": "from {}", "maximum": "to {}", "maxLength": "up to {} characters", "pattern": "matches `{}`"}


def reference(app: FastAPI) -> str:
    """Every operation with its parameters, its body and what it answers."""
    document = app.openapi()
    lines = [INTRODUCTION]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += [f"## {method.upper()} {path}", "", operation["description"], ""]
            lines += _parameters(operation, method)
            lines += [_answers(operation), ""]
    lines += ["# Bodies and answers", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines)


def _parameters(operation: dict[str, Any], method: str) -> list[str]:
    rows = [
        f"| `{p['name']}` | {p['in']} | {_type(p['schema'])} | {_default(p)} | {p.get('description', '')} |"
        for p in operation.get("parameters", ())
        if p["name"] != "Idempotency-Key" and (method != "get" or p["in"] != "header")
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
        if status in EVERYWHERE:
            continue
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
