"""The strict reading of one exposition line: text format 0.0.4 and OpenMetrics, tolerant where exporters differ.

Slow and complete. Every other way to read a page must agree with this one, line by line.

Sources: the text format of prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics 1.0 specification, and
the UTF-8 names of Prometheus 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from autoscaler.types import Labels

VALUE_BYTES = b"0123456789+-.eEiInNfFaAtTyY"
"""Bytes that may occur in a value. `float` alone would also take `1_000`, form feeds and other scripts' digits."""

_SPACE = " \t"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_BARE = re.compile(_NAME.pattern.encode())
_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_ENTRY = re.compile(rf"[ \t]*(?:([a-zA-Z_][a-zA-Z0-9_]*)|{_QUOTED})[ \t]*(?:(=)[ \t]*{_QUOTED}[ \t]*)?", re.DOTALL)
_TAIL = re.compile(r"[ \t]*([^ \t#]+)(?:[ \t]+([^ \t#]+))?[ \t]*(?:(?<=[ \t])#[ \t]*(\{.*))?", re.DOTALL)
_MILLISECONDS = re.compile(r"[+-]?[0-9]+")
_ESCAPE = re.compile(r'\\(["\\n])')
_UNESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
_SUFFIXES = ("_total", "_bucket", "_sum", "_count", "_created", "_gsum", "_gcount", "_info")


class Malformed(ValueError):  # noqa: N818 (a kind of line, not a failure of the program)
    """A line that is not a sample; the message says which rule it broke."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observed request behind a bucket. `timestamp` is in Unix seconds."""

    labels: Labels
    value: float
    timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One line as printed: nothing renamed, nothing converted. `timestamp` is in Unix seconds, None where absent."""

    name: str
    labels: Labels
    value: float
    timestamp: float | None = None
    exemplar: Exemplar | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was left out: its number in the page, counted from 1, its text (shortened) and why."""

    number: int
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """All of a page."""

    samples: tuple[Sample, ...]
    rejected: tuple[Rejected, ...]


def parse(page: bytes | str, openmetrics: bool = False) -> Parsed:
    """Every sample of a page in its order, and every line that is none (comments and blank lines left out)."""
    samples: list[Sample] = []
    rejected: list[Rejected] = []
    for number, raw in enumerate(split(page.encode() if isinstance(page, str) else page), 1):
        if blank_or_comment(raw):
            continue
        try:
            samples.append(parse_line(text_of(raw), openmetrics)[0])
        except Malformed as why:
            rejected.append(Rejected(number, shortened(raw), str(why)))
    return Parsed(tuple(samples), tuple(rejected))


def samples(page: bytes | str, openmetrics: bool = False) -> Iterator[Sample]:
    """The samples of a page; malformed lines are left out, as `parse` shows them."""
    yield from parse(page, openmetrics).samples


def split(page: bytes) -> list[bytes]:
    """Lines of a page. Only a line feed ends a line: U+2028, VT and FF are ordinary characters of a label value."""
    if b"\r" in page:
        page = page.replace(b"\r\n", b"\n").removesuffix(b"\r")
    return page.split(b"\n")


def blank_or_comment(raw: bytes) -> bool:
    """Whether the line carries no sample on purpose."""
    return raw[:1] in (b"", b"#") or raw.lstrip(b" \t")[:1] in (b"", b"#")


def text_of(raw: bytes) -> str:
    """The line as text. Raises Malformed."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("is not UTF-8") from None


def shortened(raw: bytes, limit: int = 120) -> str:
    """The start of a line, fit for a message."""
    text = raw[: limit + 1].decode(errors="replace")
    return text if len(text) <= limit else text[:limit] + "..."


def parse_line(line: str, openmetrics: bool = False) -> tuple[Sample, int]:
    """The sample of one line, without its line ending, and where in the line its series ends. Raises Malformed.

    Timestamps are milliseconds in the text format and seconds in OpenMetrics.
    """
    name, labels, end = _series(line)
    tail = _TAIL.fullmatch(line, end)
    if tail is None:
        raise Malformed("has no value after the series" if not line[end:].strip(_SPACE) else "has a malformed value")
    if line[end - 1] != "}" and line[end] not in _SPACE:
        raise Malformed(f"has the character {line[end]!r} in its name")
    value, timestamp, exemplar = tail.groups()
    return (
        Sample(
            name,
            labels,
            number(value),
            None if timestamp is None else _timestamp(timestamp, openmetrics),
            None if exemplar is None else _exemplar(exemplar),
        ),
        end,
    )


def bare_name(head: bytes) -> str | None:
    """The metric name that these bytes are, all of them and without quotes; None if they are none."""
    return head.decode() if _BARE.fullmatch(head) else None


def number(token: str) -> float:
    """The value of a token as the formats write numbers. Raises Malformed."""
    if token.isascii() and not token.encode().translate(None, VALUE_BYTES):
        try:
            return float(token)
        except ValueError:
            pass
    raise Malformed(f"has the value {token[:40]!r}, which is not a number")


def types_of(comments: Iterable[bytes]) -> dict[str, str]:
    """Family -> type from the TYPE lines; of several for one family the last one counts."""
    types: dict[str, str] = {}
    for raw in comments:
        words = raw.decode(errors="replace").split()
        if len(words) == 4 and words[0] == "#" and words[1] == "TYPE":
            types[words[2].strip('"')] = words[3]
    return types


def type_of(name: str, types: Mapping[str, str]) -> str:
    """The declared type of a sample's family, empty if none is."""
    declared = types.get(name)
    if declared is not None:
        return declared
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return types.get(name.removesuffix(suffix), "")
    # OpenMetrics declares a counter without `_total`; the text format declares it with.
    return types.get(name + "_total", "")


def _series(line: str) -> tuple[str, Labels, int]:
    """Name, labels and the index after the series."""
    start = len(line) - len(line.lstrip(_SPACE))
    found = _NAME.match(line, start)
    name = found.group() if found else None
    after = found.end() if found else start
    brace = after
    while line[brace : brace + 1] in (" ", "\t"):
        brace += 1
    if line[brace : brace + 1] != "{":
        if name is None:
            raise Malformed("does not start with a metric name")
        return name, (), after
    name, labels, end = _braces(line, brace, name)
    if name is None:
        raise Malformed("has labels without a metric name")
    return name, labels, end


def _braces(line: str, brace: int, name: str | None) -> tuple[str | None, Labels, int]:
    """What stands in the braces that open at `brace`: a quoted name, where there is one, and label pairs."""
    labels: dict[str, str] = {}
    at = brace + 1
    while True:
        entry = _ENTRY.match(line, at)
        if entry is None:
            break
        bare, quoted, equals, value = entry.groups()
        if equals is not None:
            label = bare if bare is not None else unescape(quoted)
            if label in labels:
                raise Malformed(f"has the label {label[:40]!r} twice")
            labels[label] = unescape(value)
        elif bare is None and name is None:
            name = unescape(quoted)
        else:
            raise Malformed(f"has the label {(bare or quoted)[:40]!r} without a quoted value")
        at = entry.end()
        if line[at : at + 1] != ",":
            break
        at += 1
    while line[at : at + 1] in (" ", "\t"):
        at += 1
    if line[at : at + 1] != "}":
        raise Malformed(f"has malformed labels at character {at + 1}")
    return name, tuple(sorted(labels.items())), at + 1


def unescape(text: str) -> str:
    r"""Text of a quoted string. Of the escapes only \\, \" and \n mean anything; others stay as they are printed."""
    return _ESCAPE.sub(lambda found: _UNESCAPED[found.group(1)], text) if "\\" in text else text


def _timestamp(token: str, openmetrics: bool) -> float:
    if openmetrics:
        return number(token)
    if _MILLISECONDS.fullmatch(token) is None:
        raise Malformed(f"has the timestamp {token[:40]!r}, which is not whole milliseconds")
    return int(token[:30]) / 1000.0


def _exemplar(text: str) -> Exemplar:
    _, labels, end = _braces(text, 0, "")
    tail = _TAIL.fullmatch(text, end)
    if tail is None or tail.group(3) is not None:
        raise Malformed("has a malformed exemplar")
    timestamp = tail.group(2)
    return Exemplar(labels, number(tail.group(1)), None if timestamp is None else number(timestamp))
