"""The settings in force, each with where it comes from, and without what is secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from autoscaler import units
from autoscaler.config import DAY_S, Place
from autoscaler.configfile import Look
from autoscaler.configmodel import Settings

HIDDEN = "(hidden)"
_SECRET = re.compile(r"(pass(word|wd|phrase)?|secret|token|credential|hmac|api_?key|access_?key|private_?key)s?", re.I)
_NAMES_A_FILE = re.compile(r"(_file|_path|_dir|_folder)s?$", re.I)
_RECEIVERS = re.compile(r"webhooks|alerting\.receivers\.url")
"""Settings that hold URLs which are passwords as a whole: whoever knows one may write there."""


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting in force. value: words, lists and mappings, as a file would hold them; origin: where it is from."""

    name: str
    value: object
    origin: str


def effective(seen: Look) -> Iterator[Effective]:
    """Every setting in the order of docs/config.md; None = not set, and nothing stands in its place."""
    for name in Settings.model_fields:
        value = _plain(name, getattr(seen.settings, name))
        yield Effective(name, _masked(value, name), _origin(name, seen.places))


def _origin(name: str, places: Mapping[str, Place]) -> str:
    place = places.get(name)
    if place is None:
        return "default"
    return f"{place.file}:{place.line}" if place.line else place.file


def _plain(name: str, value: object) -> object:
    """A value as people would write it."""
    if isinstance(value, BaseModel):
        written = {key: getattr(value, key) for key in value.model_fields_set}
        return {key: _plain(key, written[key]) for key in type(value).model_fields if key in written}
    if isinstance(value, dict):
        return {str(key): _plain(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(name, inner) for inner in value]
    return _word(name, value)


def _word(name: str, value: object) -> object:
    if isinstance(value, float) and not name.endswith("_per_second"):
        return units.duration_text(value)
    if name == "retention" and isinstance(value, int):
        return units.duration_text(value * DAY_S)
    if name == "max_text" and isinstance(value, int):
        return f"{value >> 20}MiB" if value % (1 << 20) == 0 else f"{value}B"
    return value if isinstance(value, bool | int | float) or value is None else str(value)


def _masked(value: object, way: str) -> object:
    """The same without what is secret. way: the keys that lead to it, with dots between."""
    if isinstance(value, dict):
        return {key: _masked(inner, f"{way}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, way) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    name = way.rpartition(".")[2]
    if _SECRET.search(name) and not _NAMES_A_FILE.search(name):
        return HIDDEN
    if _RECEIVERS.fullmatch(way):
        return _masked_url(value, receiver=True)
    return _masked_url(value, receiver=False) if "://" in value else value


def _masked_url(text: str, receiver: bool) -> str:
    """A URL without user, password and query; of a receiver only scheme, host and port."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return HIDDEN
    if receiver:
        return f"{parts.scheme}://{host}/{HIDDEN}" if parts.scheme and host else HIDDEN
    user = f"{HIDDEN}@" if "@" in parts.netloc else ""
    return urlunsplit((parts.scheme, user + host, parts.path, HIDDEN if parts.query else "", ""))
