"""The plug points: what a new collector, threshold, forecaster, policy or provider must be able to do.

Adding one is one file and one entry-point line; the constructor of its class, a frozen dataclass, is its
configuration schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from autoscaler.types import (
    Action,
    Bands,
    Batch,
    Fleet,
    Frame,
    Moments,
    Of,
    Outcome,
    Outlook,
    Past,
    Post,
    Proposal,
    Reading,
    Receipt,
)

if TYPE_CHECKING:
    from threading import Event


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def wait(self, until: float, wake: Event | None = None) -> bool:
        """Return at `until`, or as soon as `wake` is set, which clears it; True when woken."""
        ...


@runtime_checkable
class Collector(Protocol):
    """A source of samples."""

    def collect(self, now: float) -> Iterable[Batch | Past]:
        """Everything that arrived since the last call; never blocks on the source."""
        ...


class Receiver(Protocol):
    """Takes in what others send us."""

    def receive(self, post: Post) -> Receipt:
        """Take in a body, whole or not at all; takes as long as decoding does, so not on an event loop."""
        ...


@runtime_checkable
class Threshold(Protocol):
    """Says what is normal, for one series or 100,000 in one call."""

    def bands(self, history: Frame) -> Bands:
        """Bounds of each series from the values given; the caller leaves the judged point out."""
        ...


class OfMoments(Protocol):
    """A threshold that may do without the values: for 100,000 series their moments are at hand and cost nothing."""

    @property
    def moments_suffice(self) -> bool:
        """Whether it does without, as it is configured."""
        ...

    def bands_of(self, past: Moments) -> Bands:
        """What `bands` would say of values with these moments."""
        ...


class Model(Protocol):
    """A fitted forecaster; runs in the worker, about once a minute."""

    def outlook(self, recent: Frame, horizons_s: tuple[float, ...], quantiles: tuple[float, ...], of: Of) -> Outlook:
        """Growth factors on the present level."""
        ...


class Forecaster(Protocol):
    """Learns from history; slow, runs in the worker."""

    def fit(self, history: Frame) -> Model: ...


@runtime_checkable
class Refitting(Protocol):
    """A forecaster whose models know how good those before them were."""

    def refit(self, history: Frame, before: Model) -> Model:
        """As `fit`, going on with what `before`, the model in force until now, has shown of itself."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Turns readings into what a rule asks for; called only while the rule's condition is met."""

    def propose(self, now: float, readings: Mapping[str, Reading], fleet: Fleet, current: int) -> tuple[Proposal, ...]:
        """Proposals for a pool whose size in force is `current` replicas; empty = no opinion.

        The source of a proposal is left empty: the engine fills in the rule's name.
        """
        ...


@runtime_checkable
class Provider(Protocol):
    """Something that launches instances and tells what it has."""

    def observe(self) -> Fleet:
        """The truth about every pool; also what recovers state after a crash. Raises ProviderError."""
        ...

    def apply(self, action: Action) -> Outcome:
        """Carry out an action; returns when it is accepted. Idempotent by `action.id`.

        Expected refusals come back as failed outcomes; what is not known comes back as `unknown`.
        """
        ...
