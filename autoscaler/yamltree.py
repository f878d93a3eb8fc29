"""YAML text as a plain tree of mappings, lists and words, with the place of everything in it.

No value gets a type here: a word is the text that stands in the file, and the field that it fills decides what it
means. So `no` is never False, `12:30` never 750, `010` never 8 and `1.10` never 1.1. What would make a file mean
something else than it looks like is refused: duplicate keys, anchors, aliases, tags, merge keys, a second document,
characters that do not show.

The tree is built from the C parser's events and not from composed nodes: events still know anchors and tags, and the
limits apply while reading, before anything deep or large exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from autoscaler.errors import Fault, InputError

Step = str | int
Way = tuple[Step, ...]
"""The keys and indexes that lead from the root to a value."""
Value = str | list["Value"] | dict[str, "Value"]

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 32
MAX_ITEMS = 2500
MAX_KEYS = 1000
MAX_WORD = 4096
MAX_KEY = 128

# Line breaks that editors do not show as such, characters that reorder what is shown, and control characters.
_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value and its key stand; lines and columns count from 1. `where` is the path as people read it."""

    line: int
    column: int
    key_line: int
    key_column: int
    where: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The contents of one file: `root` holds only mappings, lists and text; `marks` has a place for every way."""

    file: str
    root: Value
    marks: dict[Way, Mark]

    def fault(self, way: Iterable[Step], text: str, *, at_key: bool = False, severity: str = "error") -> Fault:
        """A fault at the value (or key) that `way` leads to; steps that are not in the file are passed over."""
        known: Way = ()
        missing: Way = ()
        for step in way:
            if not missing and (*known, step) in self.marks:
                known = (*known, step)
            elif isinstance(step, str) and not step.startswith(("(", "[")):
                missing = (*missing, step)
        mark = self.marks[known]
        where = ".".join(part for part in (mark.where, shown(missing)) if part)
        line, column = (mark.key_line, mark.key_column) if at_key else (mark.line, mark.column)
        return Fault(self.file, line, column, where, text, severity)


@dataclass
class _Open:
    """A mapping or list that is being filled."""

    way: Way
    value: list[Value] | dict[str, Value]
    key: str | None = None
    key_place: tuple[int, int] = (1, 1)
    seen: dict[str, int] = field(default_factory=dict)


def read_bytes(path: Path, file: str | None = None) -> bytes:
    """The bytes of a rule file; a missing, unreadable or oversized one is an InputError."""
    name = file or str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        text = f"cannot be read: {reason}; check the path and its permissions"
        raise InputError(Fault(name, 0, 0, "", text)) from None
    return data


def parse(data: bytes | str, file: str) -> Tree:
    """The tree of one YAML document. Raises InputError with the place of what is wrong."""
    text = _text(data, file)
    builder = _Builder(file)
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise InputError(*builder.faults, _syntax_fault(error, text, file)) from None
    except yaml.YAMLError as error:
        raise InputError(Fault(file, 1, 1, "", f"is not YAML: {error}; check the characters of the file")) from None
    return builder.finish()


def _events(text: str) -> Iterator[yaml.Event]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    yield from yaml.parse(text, Loader=loader)


def _text(data: bytes | str, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise InputError(Fault(file, 0, 0, "", "is larger than 1 MiB; a rule file describes one pool, split it"))
    if isinstance(data, str):
        text = data
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
            byte = data[error.start]
            raise InputError(
                Fault(file, line, column, "", f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8")
            ) from None
    odd = _ODD.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        column = odd.start() - (text.rfind("\n", 0, odd.start()) + 1) + 1
        code = f"U+{ord(odd[0]):04X}"
        raise InputError(Fault(file, line, column, "", f"character {code} does not show in an editor; remove it"))
    return text


class _Builder:
    """Takes parser events one by one and grows the tree; collects faults that do not stop the reading."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.marks: dict[Way, Mark] = {}
        self.faults: list[Fault] = []
        self.open: list[_Open] = []
        self.root: Value | None = None
        self.documents = 0
        self.nodes = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self._stop(event, "starts a second document; one file describes one pool, remove the '---'")
        elif isinstance(event, yaml.AliasEvent):
            raise self._stop(
                event, f"'*{event.anchor}' is an alias; write the value out, rule files have no references"
            )
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.open.pop()

    def finish(self) -> Tree:
        if self.root is None:
            raise InputError(Fault(self.file, 1, 1, "", "is empty; start with 'pool: NAME', see rules/default.yaml"))
        if not isinstance(self.root, dict):
            self._fault((1, 1), "", "is not a mapping; start with 'pool: NAME', see rules/default.yaml")
        if self.faults:
            raise InputError(*self.faults)
        return Tree(self.file, self.root, self.marks)

    def _node(self, event: yaml.NodeEvent) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._stop(event, f"is past {MAX_NODES} values; a rule file describes one pool, split it")
        if event.anchor is not None:
            raise self._stop(event, f"'&{event.anchor}' is an anchor; remove it, rule files have no references")
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise self._stop(event, f"{tag!r} is a tag; remove it, the key decides what a value means")
        holder = self.open[-1] if self.open else None
        if holder is not None and isinstance(holder.value, dict) and holder.key is None:
            self._key(holder, event)
            return
        value: Value
        if isinstance(event, yaml.ScalarEvent):
            value = event.value
        else:
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
        way = self._attach(holder, value, event)
        if isinstance(event, yaml.ScalarEvent):
            self._check_word(event, way)
        elif isinstance(value, list | dict):
            if len(self.open) >= MAX_DEPTH:
                raise self._stop(event, f"is nested more than {MAX_DEPTH} deep; nothing in a rule file is")
            self.open.append(_Open(way, value))

    def _key(self, holder: _Open, event: yaml.Event) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._stop(event, "a key must be a word; write 'name: value'")
        name, place = event.value, _place(event)
        if name == "<<" and not event.style:
            raise self._stop(event, "'<<' merges another mapping; write the keys out, rule files have no references")
        if not name or len(name) > MAX_KEY:
            size = "empty" if not name else f"longer than {MAX_KEY} characters"
            raise self._stop(event, f"the key is {size}; write 'name: value'")
        if name in holder.seen:
            where = shown((*holder.way, name))
            self._fault(place, where, f"is given twice, first in line {holder.seen[name]}; keep one of the two")
        if len(holder.seen) >= MAX_KEYS:
            raise self._stop(event, f"has more than {MAX_KEYS} keys; a rule file describes one pool, split it")
        holder.seen.setdefault(name, place[0])
        holder.key, holder.key_place = name, place

    def _attach(self, holder: _Open | None, value: Value, event: yaml.Event) -> Way:
        place = key = _place(event)
        if holder is None:
            way: Way = ()
            self.root = value
        elif isinstance(holder.value, dict):
            assert holder.key is not None
            way, key = (*holder.way, holder.key), holder.key_place
            holder.value[holder.key] = value
            holder.key = None
        else:
            if len(holder.value) >= MAX_ITEMS:
                raise self._stop(event, f"has more than {MAX_ITEMS} items; a rule file describes one pool, split it")
            way = (*holder.way, len(holder.value))
            holder.value.append(value)
        self.marks[way] = Mark(*place, *key, shown(way))
        return way

    def _check_word(self, event: yaml.ScalarEvent, way: Way) -> None:
        value, mark = event.value, self.marks[way]
        place = (mark.line, mark.column) if value or not way else (mark.key_line, mark.key_column)
        if len(value) > MAX_WORD:
            self._fault(place, mark.where, f"is longer than {MAX_WORD} characters; no value of a rule file is")
        if not event.style and value in ("", "~", "null", "Null", "NULL"):
            if way:
                self._fault(place, mark.where, "has no value; write one or remove the key")
            else:
                self.root = None

    def _fault(self, place: tuple[int, int], where: str, text: str) -> None:
        self.faults.append(Fault(self.file, *place, where, text))

    def _stop(self, event: yaml.Event, text: str) -> InputError:
        where = shown(self.open[-1].way) if self.open else ""
        return InputError(*self.faults, Fault(self.file, *_place(event), where, text))


def _place(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def shown(way: Way) -> str:
    """A way as people read it: `rules[0].when.gpu.above`."""
    text = ""
    for step in way:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            # A quoted key may hold an escape sequence, which no terminal should see.
            name = step if step.isprintable() else repr(step)
            text += f".{name}" if text else name
    return text


def _syntax_fault(error: yaml.MarkedYAMLError, text: str, file: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.split("\n")
    around = lines[line - 1] if line <= len(lines) else ""
    if "\t" in around[: len(around) - len(around.lstrip())]:
        return Fault(file, line, around.index("\t") + 1, "", "a tab indents this line; indent with spaces")
    problem = (error.problem or "cannot be read").removeprefix("found ")
    context = f" {error.context}" if error.context else ""
    return Fault(file, line, column, "", f"is not YAML: {problem}{context}; check quotes, colons and indentation")
