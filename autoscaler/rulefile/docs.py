"""The reference page of the rule language and the editors' schema, both generated from the models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from autoscaler.rulefile.model import PoolFile

Schema = Mapping[str, Any]

_HEAD = """# Rule files

One pool a file. Durations are written `30s`, `5m`, `1h30m`; shares `85%` or `0.85`; sizes `80GiB`; money `900 USD/h`;
work `42 requests/s`. A word means what it looks like: nothing is read as a date, a base-8 number or `no` = false.
`sigmascale check rules/` reports every error with file, line and column; warnings do not fail it unless `--strict`.

A threshold is a value with its unit (`85%`, `50`, `2s`), a band learned from the lookback, two bounds for `outside`
(`[10, 20]`), or an installed plug-in (`{use: NAME, setting: value}`). Learned bands, 3 deviations wide:

- `3 sigma`: mean and standard deviation.
- `3 robust`: median and MAD, which an overload does not move while it is a minority of the lookback.
- `3 seasonal`: the same within half an hour of this time on earlier days, or on this day of earlier weeks where the
  lookback holds three (`lookback: 28d`). Until three days are known it is as `robust`; so it is on raw series (`each`),
  of which the service keeps minutes.
- `3 likelihood`: outside is a value with which the last five errors of a one-step forecast leave what five errors in a
  row usually are, so that a small error that stays counts like a large one that passes.

A condition is one or more signals (`{queue: {above: 50}}`; of several all must hold), or one of `all`, `any`, and
`at_least` with `of`; they nest. `for` belongs to the whole condition.

Two short dialects load as they stand. They name no pool (it is `default`) and no bound (give `--max N` or a default in
the configuration), one replica is one instance, bare numbers are seconds, and nothing scales in:

```yaml
auto_scaling:
  metrics:
    - gpu_utilization: {threshold: 85%, scale_up: {step: 2, cooldown: 300}}
  cloud_providers:
    - {type: aws, instance_types: [p4d.24xlarge]}
```

```yaml
rules:
  - {metric: cpu_usage, threshold: 80%, action: scale_out, cooldown: 300s}
```

This page is generated from the code; `pytest tests/test_ruledocs.py --rewrite-golden` writes it anew.
"""


def json_schema() -> dict[str, Any]:
    """The JSON schema of a rule file in the long language, for editors."""
    schema = _without_null(PoolFile.model_json_schema(by_alias=True))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "sigmascale rule file"}


def _without_null(schema: Any) -> Any:
    """The schema without "or null": a key that means nothing is left out of a rule file, never written as null."""
    if isinstance(schema, list):
        return [_without_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: _without_null(v) for k, v in schema.items() if not (k == "default" and v is None)}
    options = [o for o in kept.get("anyOf", ()) if o.get("type") != "null"]
    if len(options) == 1:
        del kept["anyOf"]
        # What the field says of itself is more to the point than what its kind says.
        return {**options[0], **{k: v for k, v in kept.items() if k != "title" or "title" not in options[0]}}
    return {**kept, "anyOf": options} if options else kept


def schema_text() -> str:
    """The schema as the file docs/rules.schema.json holds it."""
    return json.dumps(json_schema(), indent=2) + "\n"


def reference() -> str:
    """The page docs/rules.md: every key with its kind, default and meaning."""
    schema = json_schema()
    return "\n".join([_HEAD, *(line for section in _sections(schema) for line in section)])


def _sections(schema: Schema) -> Iterator[list[str]]:
    """A table for each mapping with known keys, in the order in which a reader of the file meets them."""
    defs = schema["$defs"]
    waiting: list[tuple[str, Schema]] = [("the file", schema)]
    seen: set[str] = set()
    while waiting:
        path, section = waiting.pop(0)
        yield list(_table(path, section, defs))
        inner = []
        for key, value in section.get("properties", {}).items():
            inner += _inner(f"{path}.{key}" if path != "the file" else key, value)
        more = section.get("additionalProperties")
        if isinstance(more, dict):
            inner += _inner(f"{path}.SIGNAL", more)
        for where, name in inner:
            if name not in seen:
                seen.add(name)
                waiting.append((where, defs[name]))


def _inner(path: str, value: Schema) -> list[tuple[str, str]]:
    """Paths and names of the sections that a value holds."""
    if "$ref" in value:
        return [(path, value["$ref"].rsplit("/", 1)[1])]
    found = [pair for option in value.get("anyOf", ()) for pair in _inner(path, option)]
    if isinstance(value.get("items"), dict):
        found += _inner(f"{path}[]", value["items"])
    if isinstance(value.get("additionalProperties"), dict):
        found += _inner(f"{path}.NAME", value["additionalProperties"])
    return found


def _table(path: str, section: Schema, defs: Schema) -> Iterator[str]:
    yield f"## {path}\n"
    if section.get("description"):
        yield f"{section['description']}\n"
    yield "| key | kind | default | meaning |\n|---|---|---|---|"
    required = section.get("required", ())
    for key, value in section.get("properties", {}).items():
        default = "required" if key in required else _default(value)
        meaning = value.get("description") or _described(value, defs)
        yield f"| `{key}` | {_kind(value)} | {default} | {_cell(meaning)} |"
    more = section.get("additionalProperties")
    if isinstance(more, dict):
        yield f"| a signal's name | {_kind(more)} | | The signal against a threshold. |"
    elif more is True:
        yield "| other keys | text | | Settings of the provider or plug-in, as it documents them. |"
    yield ""


def _described(value: Schema, defs: Schema) -> str:
    """What a section says of itself, for keys that add nothing to it."""
    found = [str(defs[name].get("description", "")) for _, name in _inner("", value)]
    return found[0] if found else ""


def _kind(value: Schema) -> str:
    title = str(value.get("title", ""))
    if title[:1].islower():
        return title
    if "enum" in value:
        return ", ".join(f"`{v}`" for v in value["enum"] if isinstance(v, str))
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(o) for o in value["anyOf"]))
    if value.get("type") == "array":
        return f"list of {_plural(_kind(value['items']))}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"mapping of names to {_plural(_kind(value['additionalProperties']))}"
    return "section" if "$ref" in value else "text"


def _plural(kind: str) -> str:
    return kind if kind.startswith("`") or kind.endswith("s") or "mapping" in kind or kind == "text" else f"{kind}s"


def _default(value: Schema) -> str:
    default = value.get("default")
    if default is None or default in ([], {}):
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
