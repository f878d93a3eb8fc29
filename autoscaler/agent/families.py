"""Lines of an exposition page as they are worked out once per layout, so that a page costs a format per value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from autoscaler.types import Labels

Combine = Callable[[Sequence[float]], float]
WHOLE_UP_TO = 2.0**53
"""Up to here a float holds every whole number."""


@dataclass(frozen=True, slots=True)
class Line:
    """A sample: what precedes its value, and which series of the snapshot make it.

    The value is that of the only series times `factor`, or what `combine` makes of all of them; NaN = no line.
    """

    prefix: str
    of: tuple[int, ...]
    factor: float = 1.0
    combine: Combine | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name, which a page must print together."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    lines: tuple[Line, ...]


def head(name: str, kind: str, text: str) -> str:
    """The HELP and TYPE lines of a family."""
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"


def prefix(name: str, labels: Labels) -> str:
    """`name{labels} `, label values escaped as the text format wants it."""
    if not labels:
        return f"{name} "
    return name + "{" + ",".join(f'{label}="{escape(value)}"' for label, value in labels) + "} "


def escape(value: str) -> str:
    """A label's value between its quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def number(value: float) -> str:
    """A value as the text format writes it, with all its digits; whole ones without a point."""
    if value.is_integer() and abs(value) < WHOLE_UP_TO:
        return str(int(value))
    return repr(value)


def render(families: Iterable[Family], values: Sequence[float]) -> str:
    """The families that have at least one value now, in text format 0.0.4."""
    page: list[str] = []
    for family in families:
        found = [f"{line.prefix}{number(value)}\n" for line in family.lines if (value := _value(line, values)) == value]
        if found:
            page.append(head(family.name, family.kind, family.help))
            page += found
    return "".join(page)


def _value(line: Line, values: Sequence[float]) -> float:
    if line.combine is not None:
        return line.combine([values[place] for place in line.of])
    value = values[line.of[0]]
    # A change of unit leaves dust behind the fifteenth digit, which is more than any of these sources knows.
    return value if line.factor == 1.0 else float(f"{value * line.factor:.15g}")
