"""Reads the service's configuration: a YAML file, then SIGMASCALE_* variables, then flags; the last one wins.

Pydantic sees only words here; `units.py` gives them their meaning and `Config.check` the rules between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from autoscaler.alertingmodel import AlertingIn, ReceiverIn
from autoscaler.config import DAY_S, Config, Place, fault_at
from autoscaler.configmodel import ENVIRONMENT_PREFIX, DiscoveryIn, PaceIn, RateLimitIn, Settings, TargetIn
from autoscaler.configparts import Discovery, PlugInConfig, RateLimit, Target, Webhook
from autoscaler.configvariables import from_environment, unknown
from autoscaler.errors import Fault, InputError
from autoscaler.notifying import settings as alertsettings
from autoscaler.pacing import Pace
from autoscaler.tokens import Token, read_tokens
from autoscaler.yamltree import Value, Way, parse, read_bytes, shown

_MODELS: Mapping[str, type[BaseModel]] = {
    "targets": TargetIn,
    "discovery": DiscoveryIn,
    "paces": PaceIn,
    "rate_limit": RateLimitIn,
    "alerting": AlertingIn,
}
KEY = "(key)"
"""Step behind a way that leads to where its key stands, for keys that should not be there."""
_SHAPES = {
    "list_type": "is not a list; write items that start with '- '",
    "dict_type": "is not a mapping; write 'name: value' below it",
    "model_type": "is not a mapping; write 'name: value' below it",
    "string_type": "is not a single word; write one value",
    "missing": "is missing; add it",
}


_JUDGED_WITH = {
    "listen": ("tokens_file",),
    "tls_cert": ("tls_key",),
    "tls_key": ("tls_cert",),
    "history": ("retention",),
    "max_series_per_pool": ("max_series",),
}
"""Settings whose rules look at another one: what they would say means nothing while that one is broken."""


@dataclass(frozen=True, slots=True)
class Look:
    """All that can be said of a configuration at once.

    settings: as they were read, with defaults in the place of broken ones. config: what they mean, only with faults of
    its rules; None when no value can be made of them. faults: everything that is wrong, by place. places: where each
    setting was written, by its path.
    """

    settings: Settings
    config: Config | None
    faults: tuple[Fault, ...]
    places: Mapping[str, Place]


def read_config(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Value] | None = None) -> Config:
    """The checked configuration from a file (None: defaults), SIGMASCALE_* variables and flags by setting name.

    Relative paths in the file are relative to its folder, others to the working folder. Raises InputError with every
    fault at once, each with file:line:column or the name of the variable or flag.
    """
    seen = look_at(path, environ, flags)
    if seen.faults or seen.config is None:
        raise InputError(*seen.faults)
    return seen.config


def look_at(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Value] | None = None) -> Look:
    """The same, with the faults as values. Raises InputError only for a file that cannot be read as YAML."""
    words: dict[str, Value] = {}
    places: dict[Way, Place] = {}
    faults: list[Fault] = []
    if path is not None:
        _read_file(path, words, places)
    for name, value in from_environment(environ, faults):
        _replace(words, places, name, value, Place(ENVIRONMENT_PREFIX + name.upper()))
    for name, value in (flags or {}).items():
        _replace(words, places, name, value, Place("--" + name.replace("_", "-")))
    settings, broken = _settings(words, places, faults)
    told = {shown(way): place for way, place in places.items() if way[-1:] != (KEY,)}
    config = None
    try:
        config = _config(settings, told, path, faults, broken)
    except InputError as error:
        faults += error.faults
    if config is not None:
        for where, text in config.findings():
            if not broken.intersection(_JUDGED_WITH.get(where, ())):
                faults.append(config.fault(where, text))
    found = sorted(dict.fromkeys(faults), key=lambda f: (f.file, f.line, f.column))
    return Look(settings, config, tuple(found), told)


def _settings(words: dict[str, Value], places: Mapping[Way, Place], faults: list[Fault]) -> tuple[Settings, set[str]]:
    """The settings that are right, with the names of those that are not; what is wrong with them goes to `faults`."""
    try:
        return Settings.model_validate(words), set()
    except ValidationError as error:
        faults += _faults(error, places)
        broken = {str(found["loc"][0]) for found in error.errors(include_url=False)}
    return Settings.model_validate({name: value for name, value in words.items() if name not in broken}), broken


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


def _replace(words: dict[str, Value], places: dict[Way, Place], name: str, value: Value, place: Place) -> None:
    words[name] = value
    for way in [way for way in places if way[:1] == (name,)]:
        del places[way]
    places[(name,)] = place


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
            model = ReceiverIn if way[:2] == ("alerting", "receivers") and len(way) > 3 else model
            text = unknown("setting", str(way[-1]), list(model.model_fields))
        elif kind == "value_error":
            text = str(found["ctx"]["error"])
        elif kind == "literal_error":
            text = f"{found['input']!r} is not one of {found['ctx']['expected']}; write one of them"
        else:
            text = _SHAPES.get(kind, found["msg"])
        yield fault_at(place, shown(way), text)


def _config(
    settings: Settings, places: Mapping[str, Place], path: Path | None, faults: list[Fault], broken: set[str]
) -> Config:
    def folder(name: str) -> Path:
        """What relative paths of a setting start from: the folder of the file, for a variable the working folder."""
        place = places.get(name)
        return path.parent if path is not None and place is not None and place.line else Path()

    def located(name: str, text: str) -> Path:
        return folder(name) / Path(text).expanduser()

    def optional(name: str, text: str | None) -> Path | None:
        return None if text is None else located(name, text)

    host, port = _listen(settings.listen, places, faults)
    tokens_file = optional("tokens_file", settings.tokens_file)
    webhooks = [*settings.webhooks, *_webhook_lines(optional("webhooks_file", settings.webhooks_file), faults)]
    hooks = tuple(Webhook(url) for url in webhooks)
    alerting, wrong = alertsettings.read(settings.alerting, folder("alerting"), hooks)
    faults += [Config(places=places).fault(where, text) for where, text in wrong]
    return Config(
        data_dir=located("data_dir", settings.data_dir),
        rules=tuple(located("rules", text) for text in settings.rules),
        host=host,
        port=port,
        tls_cert=optional("tls_cert", settings.tls_cert),
        tls_key=optional("tls_key", settings.tls_key),
        tokens_file=tokens_file,
        tokens=_tokens(tokens_file, places, faults, broken),
        webhooks=hooks,
        alerting=alerting,
        targets=tuple(_target(target, folder("targets")) for target in settings.targets),
        discovery=tuple(_discovery(listing, folder("discovery")) for listing in settings.discovery),
        providers=tuple(PlugInConfig(name, words, folder("providers")) for name, words in settings.providers.items()),
        collectors=tuple(_collector(name, words, folder("collectors")) for name, words in settings.collectors.items()),
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
        rate_limit=_rate_limit(settings.rate_limit or RateLimitIn()),
        cors_origins=tuple(settings.cors_origins),
        cors_writes=settings.cors_writes,
        shadow=settings.shadow,
        log_format=settings.log_format,
        places=places,
    )


def _rate_limit(r: RateLimitIn) -> RateLimit:
    return RateLimit(r.reads_per_second, r.read_burst, r.writes_per_second, r.write_burst, r.failures_per_second)


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


def _tokens(path: Path | None, places: Mapping[str, Place], faults: list[Fault], broken: set[str]) -> tuple[Token, ...]:
    try:
        return read_tokens(path) if path is not None else ()
    except InputError as error:
        broken.add("tokens_file")
        for fault in error.faults:
            whole = fault_at(places["tokens_file"], "tokens_file", fault.text.removeprefix("tokens file "))
            faults.append(fault if fault.file else whole)
        return ()


def _webhook_lines(path: Path | None, faults: list[Fault]) -> list[str]:
    try:
        lines = [] if path is None else read_bytes(path).decode("utf-8", errors="replace").splitlines()
    except InputError as error:
        faults += error.faults
        return []
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
