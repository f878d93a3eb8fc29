"""Whose an instance is: what a pool remembers of its instances, to notice what nobody here ordered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.types.fleet import InstanceState

HandKind = Literal["removed", "stopped", "added", "orphans"]
"""Changes that no action of ours made. removed: gone, or on its way out. stopped: laid to rest. added: serves, or will.
orphans: our tags, with an action that the journal does not know."""


@dataclass(frozen=True, slots=True)
class Held:
    """One instance as it was reported at the last tick that saw it."""

    state: InstanceState
    replicas: int
    offer: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A change that people are told about until its time is over."""

    text: str
    until: float


@dataclass(frozen=True, slots=True)
class Owned:
    """What a pool knows of its instances besides what their provider reports, all by instance id.

    at: when this was last renewed, None = never. strange: since when one is there whose action the journal does not
    know. swept: orphans, to be removed. aside: stopped by a person, not started before then. ours: (kind, until when it
    counts) of the last operation of our own. notices: by kind of change.
    """

    at: float | None = None
    seen: Mapping[str, Held] = field(default_factory=dict)
    strange: Mapping[str, float] = field(default_factory=dict)
    swept: tuple[str, ...] = ()
    aside: Mapping[str, float] = field(default_factory=dict)
    ours: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    notices: Mapping[HandKind, Notice] = field(default_factory=dict)
