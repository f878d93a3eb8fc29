"""Reads the service's configuration: a YAML file, then SIGMASCALE_* variables, then flags; the last one wins.

Pydantic sees only words here; `units.py` gives them their meaning and `Config.check` the rules between them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from autoscaler import units
from autoscaler.config import DAY_S, Config, Place, PlugInConfig, Target, Webhook, fault_at
from autoscaler.errors import Fault, InputError
from autoscaler.tokens import read_tokens
from autoscaler.yamltree import Value, Way, parse, read_bytes, shown

ENVIRONMENT_PREFIX = "SIGMASCALE_"
FILE_ONLY = ("targets", "providers", "collectors")
"""Settings with a structure that no variable can hold."""
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
collectors:
  gpus: {labels: {pool: chat-70b}}       # the GPUs of this machine
  replay: {path: trace.csv, pool: rehearsal, speed: 10}
```
"""
CLIENT_VARIABLES = {
    "SIGMASCALE_CONFIG": "the configuration file of `run`",
    "SIGMASCALE_URL": "the service that `explain` and `override` ask",
    "SIGMASCALE_TOKEN": "the bearer token that they send",
}
"""Variables of the command line that are no settings of the service."""

# Kubernetes gives every container such variables for a Service called `sigmascale`; they are nobody's typo.
_FROM_KUBERNETES = re.compile(r"SIGMASCALE_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


def _listed(value: object) -> object:
    """A single word stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _days(text: str) -> int:
    if text.isascii() and text.isdigit():
        raise ValueError(f"{text!r} has no unit; write {text}d")
    seconds = units.duration_s(text)
    if seconds % DAY_S:
        raise ValueError(f"{text!r} is not a whole number of days; write one such as 28d")
    return int(seconds / DAY_S)


Duration = Annotated[float, BeforeValidator(units.duration_s)]
Days = Annotated[int, BeforeValidator(_days)]
Count = Annotated[int, BeforeValidator(units.count)]
Flag = Annotated[bool, BeforeValidator(units.flag)]
Words = Annotated[list[str], BeforeValidator(_listed)]
KEY = "(key)"
"""Step behind a way that leads to where its key stands, for keys that should not be there."""
_SHAPES = {
    "list_type": "is not a list; write items that start with '- '",
    "dict_type": "is not a mapping; write 'name: value' below it",
    "model_type": "is not a mapping; write 'name: value' below it",
    "string_type": "is not a single word; write one value",
    "missing": "is missing; add it",
}


class TargetIn(BaseModel):
    """One page to scrape."""

    model_config = ConfigDict(extra="forbid")
    url: str = Field(description="the page, such as http://10.0.0.7:9400/metrics")
    labels: dict[str, str] = Field(default={}, description="added to every series; `pool` is mandatory")
    interval: Duration = Field(default=5.0, description="time between two scrapes")
    timeout: Duration | None = Field(default=None, description="longest wait for the page; 3s, at most the interval")


class Settings(BaseModel):
    """Every key of the configuration file. Each may also be a variable, in capitals behind SIGMASCALE_."""

    model_config = ConfigDict(extra="forbid")
    data_dir: str = Field(default="sigmascale-data", description="folder of journal, metrics and the local token")
    rules: Words = Field(default=[], description="rule files and folders of rule files")
    listen: str = Field(default="127.0.0.1:9377", description="HOST:PORT of the API; without tokens only this machine")
    tls_cert: str | None = Field(default=None, description="PEM file of the certificate chain; with tls_key")
    tls_key: str | None = Field(default=None, description="PEM file of the private key; with tls_cert")
    tokens_file: str | None = Field(
        default=None, description="file of mode 0600 with lines `role token-or-sha256:HEX name`"
    )
    webhooks: Words = Field(default=[], description="URLs that alerts are posted to (Alertmanager's format, version 4)")
    webhooks_file: str | None = Field(default=None, description="file with one such URL a line, when they are secret")
    targets: list[TargetIn] = Field(default=[], description="pages to scrape that no provider launched")
    providers: dict[str, dict[str, object]] = Field(default={}, description="settings of providers, by provider name")
    collectors: dict[str, dict[str, object]] = Field(
        default={},
        description="collectors beside the scraper, by name, each with its settings, `{}` for none; with "
        "`use: PLUG-IN` the name is free, so that one plug-in can be there twice",
    )
    max_replicas: Count | None = Field(default=None, description="upper bound of pools whose file gives none")
    region: str = Field(default="", description="region of offers that name none")
    raw_window: Duration = Field(default=1200.0, description="how long raw series stay in memory")
    history: Duration = Field(default=7 * DAY_S, description="how much of the pools' signals a restart reads back")
    retention: Days = Field(default=28, description="how many days of the pools' signals stay on disk")
    shadow: Flag = Field(default=False, description="observe and decide, but withhold every action")
    log_format: Literal["console", "json"] = Field(default="console", description="log lines for people or machines")


def read_config(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Value] | None = None) -> Config:
    """The checked configuration from a file (None: defaults), SIGMASCALE_* variables and flags by setting name.

    Relative paths in the file are relative to its folder, others to the working folder. Raises InputError with every
    fault at once, each with file:line:column or the name of the variable or flag.
    """
    words: dict[str, Value] = {}
    places: dict[Way, Place] = {}
    faults: list[Fault] = []
    if path is not None:
        _read_file(path, words, places)
    for name, value in _environment(environ, faults):
        _replace(words, places, name, value, Place(ENVIRONMENT_PREFIX + name.upper()))
    for name, value in (flags or {}).items():
        _replace(words, places, name, value, Place("--" + name.replace("_", "-")))
    try:
        settings = Settings.model_validate(words)
    except ValidationError as error:
        found = [*faults, *_faults(error, places)]
        raise InputError(*sorted(found, key=lambda f: (f.file, f.line, f.column))) from None
    if faults:
        raise InputError(*faults)
    config = _config(settings, {shown(way): place for way, place in places.items() if way[-1:] != (KEY,)}, path)
    config.check()
    return config


def _read_file(path: Path, words: dict[str, Value], places: dict[Way, Place]) -> None:
    data = read_bytes(path)
    if not re.search(rb"^[ \t]*[^#\s]", data, re.MULTILINE):
        return
    tree = parse(data, str(path))
    assert isinstance(tree.root, dict)
    words.update(tree.root)
    for way, mark in tree.marks.items():
        places[way] = Place(str(path), mark.line, mark.column)
        places[(*way, KEY)] = Place(str(path), mark.key_line, mark.key_column)


def _environment(environ: Mapping[str, str], faults: list[Fault]) -> Iterator[tuple[str, Value]]:
    for variable in sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX)):
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in FILE_ONLY:
            faults.append(Fault(variable, 0, 0, "", "cannot be a variable; write it into the configuration file"))
        elif name in ("rules", "webhooks"):
            yield name, [word.strip() for word in environ[variable].split(",") if word.strip()]
        elif name in Settings.model_fields:
            yield name, environ[variable].strip()
        elif variable not in CLIENT_VARIABLES and not _FROM_KUBERNETES.fullmatch(variable):
            known = [ENVIRONMENT_PREFIX + field.upper() for field in Settings.model_fields]
            faults.append(Fault(variable, 0, 0, "", _unknown("setting", variable, known)))


def _replace(words: dict[str, Value], places: dict[Way, Place], name: str, value: Value, place: Place) -> None:
    words[name] = value
    for way in [way for way in places if way[:1] == (name,)]:
        del places[way]
    places[(name,)] = place


def _unknown(kind: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"is not a {kind}; did you mean {close[0]}?" if close else f"is not a {kind}; known are {', '.join(known)}"


def _faults(error: ValidationError, places: Mapping[Way, Place]) -> Iterator[Fault]:
    for found in error.errors(include_url=False):
        way = tuple(found["loc"])
        kind = found["type"]
        steps: Way = (*way, KEY) if kind == "extra_forbidden" else way
        place = next(
            (places[steps[:n]] for n in range(len(steps), 0, -1) if steps[:n] in places), Place("configuration")
        )
        if kind == "extra_forbidden":
            model: type[BaseModel] = Settings if len(way) == 1 else TargetIn
            text = _unknown("setting", str(way[-1]), list(model.model_fields))
        elif kind == "value_error":
            text = str(found["ctx"]["error"])
        elif kind == "literal_error":
            text = f"{found['input']!r} is not one of {found['ctx']['expected']}; write one of them"
        else:
            text = _SHAPES.get(kind, found["msg"])
        yield fault_at(place, shown(way), text)


def _config(settings: Settings, places: Mapping[str, Place], path: Path | None) -> Config:
    folder = path.parent if path is not None else Path()

    def located(name: str, text: str) -> Path:
        place = places.get(name)
        return (folder if place is not None and place.line else Path()) / Path(text).expanduser()

    def optional(name: str, text: str | None) -> Path | None:
        return None if text is None else located(name, text)

    faults: list[Fault] = []
    host, port = _listen(settings.listen, places, faults)
    tokens_file = optional("tokens_file", settings.tokens_file)
    webhooks = [*settings.webhooks, *_webhook_lines(optional("webhooks_file", settings.webhooks_file))]
    if faults:
        raise InputError(*faults)
    return Config(
        data_dir=located("data_dir", settings.data_dir),
        rules=tuple(located("rules", text) for text in settings.rules),
        host=host,
        port=port,
        tls_cert=optional("tls_cert", settings.tls_cert),
        tls_key=optional("tls_key", settings.tls_key),
        tokens_file=tokens_file,
        tokens=read_tokens(tokens_file) if tokens_file is not None else (),
        webhooks=tuple(Webhook(url) for url in webhooks),
        targets=tuple(_target(target) for target in settings.targets),
        providers=tuple(PlugInConfig(name, words, folder) for name, words in settings.providers.items()),
        collectors=tuple(_collector(name, words, folder) for name, words in settings.collectors.items()),
        max_replicas=settings.max_replicas,
        region=settings.region,
        raw_window_s=settings.raw_window,
        history_s=min(settings.history, settings.retention * DAY_S) if "history" not in places else settings.history,
        retention_days=settings.retention,
        shadow=settings.shadow,
        log_format=settings.log_format,
        places=places,
    )


def _collector(name: str, words: Mapping[str, object], folder: Path) -> PlugInConfig:
    return PlugInConfig(name, {k: v for k, v in words.items() if k != "use"}, folder, str(words.get("use", "")))


def _target(target: TargetIn) -> Target:
    timeout_s = min(3.0, target.interval) if target.timeout is None else target.timeout
    return Target(target.url, tuple(sorted(target.labels.items())), target.interval, timeout_s)


def _listen(text: str, places: Mapping[str, Place], faults: list[Fault]) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit():
        place = places["listen"]
        rule = f"{text!r} is not HOST:PORT; write 127.0.0.1:9377 or [::1]:9377"
        faults.append(fault_at(place, "listen", rule))
        return "127.0.0.1", 0
    return host.removeprefix("[").removesuffix("]"), int(port)


def _webhook_lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def reference() -> str:
    """docs/config.md: every setting with its variable, default and meaning."""
    lines = [
        "# Configuration of the service",
        "",
        "One YAML file (`sigmascale run --config FILE`), then variables, then flags; the last one wins. Paths in the",
        "file are relative to its folder. Written by `make docs`; do not edit.",
        "",
        "| key | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        variable = "" if name in FILE_ONLY else f"`{ENVIRONMENT_PREFIX}{name.upper()}`"
        lines.append(f"| `{name}` | {variable} | {_default(name, field.default)} | {field.description} |")
    lines += ["", "Each of `targets`:", "", "| key | default | meaning |", "|---|---|---|"]
    for name, field in TargetIn.model_fields.items():
        default = "mandatory" if field.is_required() else _default(name, field.default)
        lines.append(f"| `{name}` | {default} | {field.description} |")
    lines += ["", "Variables that are no settings:", "", "| variable | meaning |", "|---|---|"]
    lines += [f"| `{variable}` | {meaning} |" for variable, meaning in CLIENT_VARIABLES.items()]
    lines += ["", EXAMPLE]
    return "\n".join(lines)


def _default(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{units.duration_text(value)}`"
    if value in (None, "", [], {}):
        return "none"
    return f"`{value}d`" if name == "retention" else f"`{value}`"
