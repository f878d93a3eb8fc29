"""A cloud-init template: YAML whose texts hold placeholders such as `{{pool}}`.

Placeholders are filled in after the YAML was read, each inside its own text, so that no value can become a key, a
command or a file of its own.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autoscaler.errors import InputError

HEADER = "#cloud-config"
MOST_BYTES = 256 << 10
"""Of a template; comments do not count for what a cloud takes."""
MOST_NODES, DEEPEST = 10_000, 50
"""Of a document. YAML's aliases make a large one of a few lines."""
PLACEHOLDER = re.compile(r"\{\{[ \t]*([a-z][a-z0-9_]*)[ \t]*\}\}")
"""Other double braces, such as docker's `{{.Names}}`, are left as they are."""


@dataclass(frozen=True, slots=True)
class Template:
    """A document before its placeholders are filled in. `name`: what messages call it."""

    name: str
    document: dict[str, Any]


def read_template(path: Path) -> Template:
    """A template of a person's. Raises InputError: no such file, too large, no cloud-config, no YAML."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"bootstrap: {path} is no file; name a cloud-init document")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"bootstrap: {path} cannot be read ({error.strerror}); name a readable file") from None
    return template(data, str(path))


def own_template() -> Template:
    """The one that comes with us."""
    return read_template(Path(__file__).with_name("default.yaml"))


def template(data: bytes, name: str) -> Template:
    """The template that a file holds. Raises InputError."""
    if len(data) > MOST_BYTES:
        raise InputError(f"bootstrap: {name} is larger than {MOST_BYTES} bytes; put what is large into the image")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InputError(f"bootstrap: {name} is not UTF-8 text; write a cloud-init document") from None
    first = text.split("\n", 1)[0].rstrip()
    if first.replace(" ", "").startswith("##template:"):
        raise InputError(f"bootstrap: {name}: {first!r} has placeholders of its own; begin with {HEADER} and use ours")
    if first != HEADER:
        raise InputError(f"bootstrap: {name} does not begin with the line {HEADER}; only such documents are understood")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "cannot be read"
        # An unquoted {{pool}} is a mapping in YAML, which is the usual slip here.
        raise InputError(
            f"bootstrap: {name}{where}: is not YAML ({what}); put texts with {{{{...}}}} in quotes"
        ) from None
    except (RecursionError, ValueError):
        raise InputError(
            f"bootstrap: {name} is not YAML that can be read; write fewer levels and plain dates"
        ) from None
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise InputError(f"bootstrap: {name} is no mapping of cloud-init's modules; write keys such as runcmd below it")
    return Template(name, document)
