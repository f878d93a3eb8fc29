"""What an engine's name of a signal is made of, and what is known of one engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from collectors.pages.identity import Blank
from collectors.pages.layout import Combination

MICRO = 1e-6
MILLI = 1e-3

Where = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Alias:
    """One engine's name of a signal.

    where: (label, values) that a series must have. drop: labels that say nothing further. rename: (theirs, ours).
    capacity: the value is the product of these two labels, of a series whose own value is 1; of its other labels only
    those that name the engine stay. rising: a gauge or window of which only positive changes count. blank: by which
    values the engine says that it has none. overlaps: waiting requests that the engine counts among the running too.
    since, until: first and last release of the engine that prints the name, both included, as far as it is known.
    """

    name: str
    factor: float = 1.0
    offset: float = 0.0
    where: Where = ()
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    capacity: tuple[str, str] | None = None
    rising: bool = False
    blank: Blank = "none"
    overlaps: bool = False
    since: str = ""
    until: str = ""


Table = Mapping[str, tuple[Alias, ...]]
"""Canonical signal -> its names at one engine, best first."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine: how its names begin, what they mean, and what its page needs to be there.

    counters: names that only rise although neither their ending nor, at times, their TYPE says so. events: names whose
    value is a time. hints: name -> releases that print a name which means no signal. switch: what turns the page on.
    """

    name: str
    prefixes: tuple[str, ...]
    aliases: Table
    combinations: tuple[Combination, ...] = ()
    counters: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    hints: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    switch: str = ""


def aliases(*entries: Alias | str) -> tuple[Alias, ...]:
    """Aliases in order; a plain name needs nothing else said."""
    return tuple(Alias(entry) if isinstance(entry, str) else entry for entry in entries)


def same(prefix: str, names: Iterable[str]) -> dict[str, tuple[Alias, ...]]:
    """Signals that an engine prints under the canonical name behind its prefix."""
    return {name: (Alias(prefix + name),) for name in names}


def having(label: str, *values: str) -> Where:
    """Only series whose label has one of these values."""
    return ((label, values),)
