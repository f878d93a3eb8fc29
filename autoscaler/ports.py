"""The plug points: what a new collector, threshold, forecaster, policy or provider must be able to do.

Adding one is one file and one entry-point line; the constructor of its class, a frozen dataclass, is its
configuration schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from autoscaler.types import (
    Action,
    Bands,
    Batch,
    Fleet,
    Frame,
    Instance,
    Moments,
    Of,
    Offer,
    OfferFault,
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


@runtime_checkable
class Surveying(Protocol):
    """A provider that asks its cloud more than what it has: what can be bought where, quotas, prices."""

    def survey(self) -> bool:
        """Ask some of what is due, for a few seconds at most; whether nothing is left to ask now.

        What was heard comes with the next reports, as `Fleet.standings`. Called between reports, in the thread that
        asks for them. Raises nothing.
        """
        ...


class ChecksOffers(Protocol):
    """A provider class that can say what is wrong with an offer before anything is plugged in."""

    @staticmethod
    def offer_faults(offer: Offer) -> Iterable[OfferFault]:
        """What cannot be meant; no call is made for it."""
        ...


class Adopter(Protocol):
    """What can be done with machines of somebody else's. Calls wait for the cloud."""

    def adoptable(self, pool: str, offers: Sequence[Offer]) -> Sequence[Instance]:
        """Machines that are nobody's and are what one of the offers would launch. Raises ProviderError."""
        ...

    def take_over(self, pool: str, offers: Sequence[Offer], instances: Sequence[str]) -> None:
        """Tags them as the pool's, or none of them; the next report has them. Raises ProviderError."""
        ...


@runtime_checkable
class Adopting(Protocol):
    """A provider whose cloud has machines that nobody here ordered."""

    def adopter(self) -> Adopter:
        """Who looks for them and tags them."""
        ...
