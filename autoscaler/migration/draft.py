"""A rule file that is being written from a manifest, and what people must know of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.migration.manifests import Part
from autoscaler.units import duration_text

Kind = Literal["different", "left out", "to do"]
Value = str | Mapping[str, "Value"] | list["Value"]

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ %./-]*")
WIDTH = 110


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that is not as it was. different: it works in another way; left out: it is not there; to do: it does
    not work until a person does something."""

    kind: Kind
    place: str
    text: str


@dataclass(slots=True)
class Draft:
    """One pool. sections: in the order of the file; values are text as rule files have it. Nothing is checked here."""

    pool: str
    source: Part
    sections: dict[str, Value] = field(default_factory=dict)
    signals: dict[str, Value] = field(default_factory=dict)
    rules: list[Value] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def note(self, kind: Kind, at: Part, text: str) -> None:
        """Adds a note about a part of the manifest."""
        self.notes.append(Note(kind, at.place, text))

    def signal(self, wished: str, value: Mapping[str, Value]) -> str:
        """Adds a signal and says its name, which is unique in the file."""
        name = re.sub(r"[^a-z0-9_]+", "_", wished.lower()).strip("_")[:40] or "metric"
        if name[0].isdigit():
            name = f"m_{name}"
        number, free = 2, name
        while free in self.signals:
            free, number = f"{name}_{number}", number + 1
        self.signals[free] = dict(value)
        return free

    def rule(self, name: str, **parts: Value) -> None:
        """Adds a rule under a name that no other has."""
        taken = {str(rule["name"]) for rule in self.rules if isinstance(rule, Mapping)}
        number, free = 2, name
        while free in taken:
            free, number = f"{name} {number}", number + 1
        self.rules.append({"name": free, **parts})

    def text(self) -> str:
        """The rule file, its notes as comments at the end."""
        kind, name = self.source.text("kind"), self.source.text("metadata", "name")
        lines = [
            f"# Made from {kind} {name} ({self.source.place}) by `sigmascale import`.",
            f"pool: {_word(self.pool)}",
        ]
        for key, value in self.sections.items():
            lines += _entry(key, value, 0)
        if self.signals:
            lines.append("signals:")
            for key, value in self.signals.items():
                lines += _entry(key, value, 2)
        if self.rules:
            lines.append("rules:")
            lines += [f"  - {_flow(rule)}" for rule in self.rules]
        if self.notes:
            lines += ["", "# What is not as it was:"]
            lines += [f"# - {n.kind}: {n.text} ({n.place})" for n in self.notes]
        return "\n".join([*lines, ""])


def seconds(value: float) -> str:
    """A duration as rule files have it."""
    return duration_text(value)


def _entry(key: str, value: Value, indent: int) -> list[str]:
    space = " " * indent
    line = f"{space}{_word(key)}: {_flow(value)}"
    if len(line) <= WIDTH or not isinstance(value, Mapping):
        return [line]
    return [f"{space}{_word(key)}:", *(part for k, v in value.items() for part in _entry(k, v, indent + 2))]


def _flow(value: Value) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _word(value)


def _word(text: str) -> str:
    """A word as YAML has it; whatever could be read as something else is quoted."""
    return text if PLAIN.fullmatch(text) and not text.endswith(" ") else json.dumps(text, ensure_ascii=False)
