"""Reads the service's configuration: a YAML file, then SIGMASCALE_* variables, then flags; the last one wins.

Pydantic sees only words here; `units.py` gives them their meaning and `Config.check` the rules between them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from autoscaler.config import DAY_S, Config, Place, fault_at
from autoscaler.configmodel import (
    CLIENT_VARIABLES,
    ENVIRONMENT_PREFIX,
    FILE_ONLY,
    DiscoveryIn,
    PaceIn,
    Settings,
    TargetIn,
)
from autoscaler.configparts import Discovery, PlugInConfig, Target, Webhook
from autoscaler.errors import Fault, InputError
from autoscaler.pacing import Pace
from autoscaler.tokens import read_tokens
from autoscaler.yamltree import Value, Way, parse, read_bytes, shown

# Kubernetes gives every container such variables for a Service called `sigmascale`, and the agent has its own; they
# are nobody's typo.
_FROM_OTHERS = re.compile(r"SIGMASCALE_(AGENT_\w+|SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


_MODELS: Mapping[str, type[BaseModel]] = {"targets": TargetIn, "discovery": DiscoveryIn, "paces": PaceIn}
KEY = "(key)"
"""Step behind a way that leads to where its key stands, for keys that should not be there."""
_SHAPES = {
    "list_type": "is not a list; write items that start with '- '",
    "dict_type": "is not a mapping; write 'name: value' below it",
    "model_type": "is not a mapping; write 'name: value' below it",
    "string_type": "is not a single word; write one value",
    "missing": "is missing; add it",
}


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
        elif name in ("rules", "webhooks", "hook_hosts"):
            yield name, [word.strip() for word in environ[variable].split(",") if word.strip()]
        elif name in Settings.model_fields:
            yield name, environ[variable].strip()
        elif variable not in CLIENT_VARIABLES and not _FROM_OTHERS.fullmatch(variable):
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
            model = _MODELS.get(str(way[0]), Settings) if len(way) > 1 else Settings
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
        targets=tuple(_target(target, folder) for target in settings.targets),
        discovery=tuple(_discovery(listing, folder) for listing in settings.discovery),
        providers=tuple(PlugInConfig(name, words, folder) for name, words in settings.providers.items()),
        collectors=tuple(_collector(name, words, folder) for name, words in settings.collectors.items()),
        max_replicas=settings.max_replicas,
        region=settings.region,
        prices=optional("prices", settings.prices),
        raw_window_s=settings.raw_window,
        max_series=settings.max_series,
        max_series_per_pool=settings.max_series_per_pool,
        max_text_bytes=settings.max_text,
        history_s=min(settings.history, settings.retention * DAY_S) if "history" not in places else settings.history,
        retention_days=settings.retention,
        hook_hosts=tuple(host.lower() for host in settings.hook_hosts),
        max_launches=settings.max_launches,
        paces={
            name: Pace(p.calls_per_second, p.burst, p.parallel, p.max_launches) for name, p in settings.paces.items()
        },
        shadow=settings.shadow,
        log_format=settings.log_format,
        places=places,
    )


def _collector(name: str, words: Mapping[str, object], folder: Path) -> PlugInConfig:
    return PlugInConfig(name, {k: v for k, v in words.items() if k != "use"}, folder, str(words.get("use", "")))


def _named(name: str | None, folder: Path) -> Path | None:
    return None if name is None else folder / Path(name).expanduser()


def _target(target: TargetIn, folder: Path) -> Target:
    timeout_s = min(3.0, target.interval) if target.timeout is None else target.timeout
    token_file, ca_file = _named(target.token_file, folder), _named(target.ca_file, folder)
    return Target(target.url, tuple(sorted(target.labels.items())), target.interval, timeout_s, token_file, ca_file)


def _discovery(listing: DiscoveryIn, folder: Path) -> Discovery:
    timeout_s = min(3.0, listing.interval) if listing.timeout is None else listing.timeout
    return Discovery(
        files=tuple(str(folder / Path(pattern).expanduser()) for pattern in listing.files),
        url=listing.url or "",
        refresh_s=listing.refresh if listing.refresh is not None else (60.0 if listing.url else 5.0),
        labels=tuple(sorted(listing.labels.items())),
        path=listing.path,
        interval_s=listing.interval,
        timeout_s=timeout_s,
        token_file=_named(listing.token_file, folder),
        page_token_file=_named(listing.page_token_file, folder),
        ca_file=_named(listing.ca_file, folder),
    )


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
