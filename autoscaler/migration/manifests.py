"""Kubernetes manifests as values that know where they stand, so that a note can name file, line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from autoscaler.errors import Fault, InputError

MAX_BYTES = 4 << 20
MAX_DOCUMENTS = 500
MAX_DEPTH = 40


@dataclass(frozen=True, slots=True)
class Part:
    """A value of a manifest: of a mapping or list `value` holds Parts, else text, number, flag or None.

    way: the keys that lead to it, such as `spec.triggers[0].metadata`.
    """

    value: object
    file: str
    line: int
    column: int
    way: str = ""

    def get(self, *keys: str) -> Part | None:
        """What the keys lead to; None when one is missing or its value is null."""
        found: Part | None = self
        for key in keys:
            inner = found.value if found is not None else None
            found = inner.get(key) if isinstance(inner, Mapping) else None
        return found if found is not None and found.value is not None else None

    def text(self, *keys: str, default: str = "") -> str:
        """The words at the keys, as they are written."""
        found = self.get(*keys)
        if found is None or isinstance(found.value, dict | list):
            return default
        return str(found.value).lower() if isinstance(found.value, bool) else str(found.value)

    def items(self, *keys: str) -> tuple[tuple[str, Part], ...]:
        """The entries of the mapping at the keys."""
        found = self.get(*keys)
        inner = found.value if found is not None else None
        return tuple(inner.items()) if isinstance(inner, Mapping) else ()

    def list(self, *keys: str) -> tuple[Part, ...]:
        """The elements of the list at the keys."""
        found = self.get(*keys)
        inner = found.value if found is not None else None
        return tuple(inner) if isinstance(inner, list) else ()

    def number(self, *keys: str, default: float | None = None) -> float | None:
        """The number at the keys. Raises InputError for what is none."""
        found = self.get(*keys)
        if found is None:
            return default
        try:
            return float(str(found.value))
        except ValueError:
            raise found.fault("is not a number; correct the manifest") from None

    def fault(self, text: str) -> InputError:
        """An error at this place."""
        return InputError(Fault(self.file, self.line, self.column, self.way, text))

    @property
    def place(self) -> str:
        """file:line:column."""
        return f"{self.file}:{self.line}:{self.column}"


def read(path: Path) -> tuple[Part, ...]:
    """Every manifest of a file, those inside a List too. Raises InputError with the place of what cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(Fault(str(path), 0, 0, "", f"is larger than {MAX_BYTES >> 20} MiB; split it"))
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(Fault(str(path), 0, 0, "", f"cannot be read: {error.strerror}; check the path")) from error
    except UnicodeDecodeError:
        raise InputError(Fault(str(path), 0, 0, "", "is not UTF-8 text; save it as UTF-8")) from None
    return parse(text, str(path))


def parse(text: str, file: str) -> tuple[Part, ...]:
    """Every manifest of a text."""
    found: list[Part] = []
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None
            found += _flat(_part(loader, node, file, "", 0))
            if len(found) > MAX_DOCUMENTS:
                raise InputError(Fault(file, 0, 0, "", f"holds more than {MAX_DOCUMENTS} manifests; split it"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise InputError(Fault(file, line, column, "", f"is not YAML: {error.problem}; correct it")) from None
    except yaml.YAMLError as error:
        raise InputError(Fault(file, 1, 1, "", f"is not YAML: {error}; check its characters")) from None
    finally:
        loader.dispose()
    return tuple(found)


def _flat(part: Part) -> Iterator[Part]:
    if part.text("kind").endswith("List") and part.get("items") is not None:
        for item in part.list("items"):
            yield from _flat(item)
    elif part.value is not None:
        yield part


def _part(loader: yaml.SafeLoader, node: yaml.Node, file: str, way: str, depth: int) -> Part:
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    if depth > MAX_DEPTH:
        raise InputError(Fault(file, line, column, way, f"is nested more than {MAX_DEPTH} deep; no manifest is"))
    value: object
    if isinstance(node, yaml.MappingNode):
        value = {
            key.value: _part(loader, inner, file, f"{way}.{key.value}".lstrip("."), depth + 1)
            for key, inner in node.value
            if isinstance(key, yaml.ScalarNode)
        }
    elif isinstance(node, yaml.SequenceNode):
        value = [_part(loader, inner, file, f"{way}[{n}]", depth + 1) for n, inner in enumerate(node.value)]
    else:
        value = loader.construct_object(node)
    return Part(value, file, line, column, way)
