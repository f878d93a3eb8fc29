"""docs/config.md, written from the settings themselves."""

from __future__ import annotations

from pydantic import BaseModel

from autoscaler import units
from autoscaler.alertingmodel import AlertingIn, ReceiverIn
from autoscaler.configmodel import (
    CLIENT_VARIABLES,
    ENVIRONMENT_PREFIX,
    STRUCTURED,
    DiscoveryIn,
    PaceIn,
    RateLimitIn,
    Settings,
    TargetIn,
)

EXAMPLE = """\
```yaml
data_dir: /var/lib/sigmascale
rules: /etc/sigmascale/rules
listen: 0.0.0.0:9377
tls_cert: /etc/sigmascale/tls.crt
tls_key: /etc/sigmascale/tls.key
tokens_file: /etc/sigmascale/tokens      # operator sha256:9f86d0...  ada
webhooks_file: /etc/sigmascale/webhooks
max_replicas: 40
targets:
  - {url: 'http://10.0.0.7:9400/metrics', labels: {pool: chat-70b}, interval: 5s}
discovery:
  - {files: sd/*.json, labels: {pool: chat-70b}}   # Prometheus's file_sd; url: for http_sd
collectors:
  nvml: {labels: {pool: chat-70b}}       # the GPUs of this machine; elsewhere run `sigmascale agent`
  replay: {path: trace.csv, pool: rehearsal, speed: 10}
```
"""


def reference() -> str:
    """docs/config.md: every setting with its variable, default and meaning."""
    lines = [
        "# Configuration of the service",
        "",
        "One YAML file (`sigmascale run --config FILE`), then variables, then flags; the last one wins, key by",
        "key. Paths in the file are relative to its folder, others to the working folder. In a variable, items of a",
        "list are separated by commas, and what has a structure is JSON, such as",
        """`SIGMASCALE_TARGETS='[{"url": "http://10.0.0.7:9400/metrics", "labels": {"pool": "chat"}}]'`.""",
        "Secrets belong into files, which settings name. `sigmascale config check FILE` says",
        "what is wrong and `--show` where each setting comes from. Written by `make docs`; do not edit.",
        "",
        "| key | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        variable = f"`{ENVIRONMENT_PREFIX}{name.upper()}`" + (" (JSON)" if name in STRUCTURED else "")
        lines.append(f"| `{name}` | {variable} | {_default(name, field.default)} | {field.description} |")
    parts: dict[str, type[BaseModel]] = {
        "Each of `targets`": TargetIn,
        "Each of `discovery`": DiscoveryIn,
        "Each of `paces`": PaceIn,
        "Keys of `alerting`": AlertingIn,
        "Each of `alerting.receivers`": ReceiverIn,
    }
    for part, model in (parts | {"Keys of `rate_limit`": RateLimitIn}).items():
        lines += ["", f"{part}:", "", "| key | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "mandatory" if field.is_required() else _default(name, field.default)
            lines.append(f"| `{name}` | {default} | {field.description} |")
    lines += ["", "Variables that are no settings:", "", "| variable | meaning |", "|---|---|"]
    lines += [f"| `{variable}` | {meaning} |" for variable, meaning in CLIENT_VARIABLES.items()]
    lines += ["", EXAMPLE]
    return "\n".join(lines)


def commented() -> str:
    """A configuration file that sets nothing: every setting as a comment, with its meaning and default."""
    lines = ["# Configuration of sigmascale. Every line that is left as it is means the default.", ""]
    for name, field in Settings.model_fields.items():
        default = _default(name, field.default).strip("`")
        lines.append(f"# {field.description}")
        lines += [f"# {name}:" if default == "none" else f"# {name}: {default}", ""]
    lines += ["# An example:", "#", *(f"# {line}" for line in EXAMPLE.splitlines()[1:-1])]
    return "\n".join([*lines, ""])


def _default(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if name.endswith("_per_second"):
        return f"`{value:g}`"
    if isinstance(value, float):
        return f"`{units.duration_text(value)}`"
    if value in (None, "", [], {}):
        return "none"
    if name == "max_text":
        return f"`{int(str(value)) >> 20}MiB`"
    return f"`{value}d`" if name == "retention" else f"`{value}`"
