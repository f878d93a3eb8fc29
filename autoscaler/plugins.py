"""Plug-ins by name: what is installed under the entry-point groups, loaded when it is first asked for.

The constructor of a plug-in's class, a frozen dataclass, is its configuration schema: `build` reads settings that
people wrote into its fields and refuses unknown ones.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from autoscaler import units
from autoscaler.errors import InputError
from autoscaler.types import Labels

Group = Literal["providers", "thresholds", "policies", "collectors", "forecasters"]
_READERS: dict[object, Any] = {int: units.whole, bool: units.flag, str: str}


def names(group: Group) -> tuple[str, ...]:
    """The installed plug-ins of a group, sorted."""
    return tuple(sorted({e.name for e in _entries(group, tuple(sys.path))}))


@cache
def _entries(group: Group, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group. Reading the metadata of every distribution takes milliseconds, so once per path."""
    del path
    return tuple(entry_points(group=f"sigmascale.{group}"))


def load(group: Group, name: str) -> Any:
    """The class of a plug-in. InputError when it is unknown or does not import."""
    found = [e for e in _entries(group, tuple(sys.path)) if e.name == name]
    if not found:
        known = names(group)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "install the package that brings it"
        raise InputError(f"no plug-in {name!r} in sigmascale.{group}; installed: {', '.join(known) or 'none'}; {hint}")
    return _imported(found[0])


def _imported(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        text = f"plug-in {entry.name!r} ({entry.value}) does not import: {reason}; install what it needs or remove it"
        raise InputError(text) from error


def build(group: Group, name: str, settings: Mapping[str, object], folder: Path = Path()) -> Any:
    """An instance of a plug-in, its dataclass fields filled from `settings` as text. InputError lists every fault.

    Relative paths start from `folder`.
    """
    kind = load(group, name)
    known = fields(kind)
    faults, values = [], {}
    for key, text in settings.items():
        if key not in known:
            close = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"
            faults.append(f"{name} has no setting {key!r}; {hint}")
            continue
        try:
            values[key] = _value(known[key], text, folder)
        except ValueError as error:
            faults.append(f"{name}.{key}: {error}")
    if dataclasses.is_dataclass(kind):
        missing = [f.name for f in dataclasses.fields(kind) if f.init and _required(f) and f.name not in settings]
        faults += [f"{name} needs {_needed(key, known[key])}" for key in missing]
    if faults:
        raise InputError(*faults)
    try:
        return kind(**values)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"plug-in {name!r} refuses its settings: {type(error).__name__}: {error}") from error


def fields(kind: type) -> dict[str, Any]:
    """Name and type of each setting of a plug-in's class."""
    if not dataclasses.is_dataclass(kind):
        return {}
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _needed(key: str, kind: Any) -> str:
    if _writable(kind):
        return f"the setting {key!r}; add it"
    return f"{key!r}, which no file can give: only a program can use it"


def _writable(kind: Any) -> bool:
    """Whether a person can write a value of a field's type."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(_writable(k) for k in typing.get_args(kind) if k is not type(None))
    return typing.get_origin(kind) is not None or kind in (*_READERS, float, Path, Any)


def _value(kind: Any, text: object, folder: Path) -> object:
    """Text as a value of a field's type; what is not text already (from another reader) is taken as it is."""
    if kind == Labels and isinstance(text, Mapping):
        if not all(isinstance(value, str) for value in text.values()):
            raise ValueError("is not a mapping of labels to words; write {pool: chat}")
        return tuple(sorted(text.items()))
    if isinstance(text, list) and typing.get_origin(kind) is tuple:
        # tuple[int, int] and tuple[str, ...] alike: the first kind stands for all.
        return tuple(_value(typing.get_args(kind)[0], item, folder) for item in text)
    if not isinstance(text, str):
        return text
    if not _writable(kind):
        raise ValueError(f"{text!r} cannot stand for it: only a program can give it; delete the setting")
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        some = [k for k in typing.get_args(kind) if k is not type(None)]
        kind = Path if Path in some else some[0]
    if kind is Path:
        return folder / Path(text).expanduser()
    if kind is float:
        return units.quantity(text).value
    if typing.get_origin(kind) is Literal and text not in typing.get_args(kind):
        raise ValueError(f"{text!r} is not one of {', '.join(map(str, typing.get_args(kind)))}")
    reader = _READERS.get(kind)
    return text if reader is None else reader(text)
