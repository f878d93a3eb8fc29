"""What the parts of the service count about themselves, as `exposition.py` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autoscaler.board import PoolView
from autoscaler.types import Labels, Learned


class LoopStats(Protocol):
    """What the loop counts."""

    ticks: int
    failures: int
    journal_failures: int
    last_pass_s: float
    slowest_pass_s: float
    late_s: float
    journal_s: float

    @property
    def by_hand(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def changes(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def sources(self) -> Mapping[tuple[str, str], int]: ...


class ProviderCalls(Protocol):
    """What is counted about one provider."""

    observed: int
    observe_failures: int
    applied: int
    apply_failures: int
    observe_s: float
    held: int
    throttled: int
    dead: bool


class StoreStats(Protocol):
    """What the store counts."""

    @property
    def series(self) -> int: ...
    @property
    def stored(self) -> int: ...
    @property
    def unusable(self) -> int: ...
    @property
    def late(self) -> int: ...
    @property
    def over_limit(self) -> int: ...
    @property
    def malformed(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def repeated(self) -> int: ...


class ReceiverStatus(Protocol):
    """What is counted about one receiver of notifications."""

    @property
    def receiver(self) -> str: ...
    @property
    def queued(self) -> int: ...
    @property
    def delivered(self) -> int: ...
    @property
    def failed_attempts(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def expired(self) -> int: ...
    @property
    def dropped(self) -> int: ...


class TargetStatus(Protocol):
    """How one scraped page does."""

    @property
    def url(self) -> str: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def up(self) -> bool: ...
    @property
    def last_at(self) -> float | None: ...
    @property
    def error(self) -> str: ...
    @property
    def rejected(self) -> int: ...
    @property
    def duration_s(self) -> float: ...


class SignalFinding(Protocol):
    """What is wrong with a signal."""

    @property
    def signal(self) -> str: ...
    @property
    def absent(self) -> bool: ...


class ForecastCounts(Protocol):
    """What the worker that forecasts counts."""

    fits: int
    fit_s: float
    outlooks: int
    failures: dict[str, int]


class SideCounts(Protocol):
    """What is counted about one of two sets of rules that are compared."""

    @property
    def replica_s(self) -> float: ...
    @property
    def launches(self) -> int: ...
    @property
    def changes(self) -> int: ...
    @property
    def above_work(self) -> float: ...
    @property
    def queue_work(self) -> float: ...


class AccountCounts(Protocol):
    """Both sides of a comparison."""

    @property
    def active(self) -> SideCounts: ...
    @property
    def candidate(self) -> SideCounts: ...


class ShadowStatus(Protocol):
    """A pool and its candidate."""

    @property
    def active(self) -> PoolView | None: ...
    @property
    def candidate(self) -> PoolView | None: ...
    @property
    def account(self) -> AccountCounts | None: ...
    @property
    def problem(self) -> str: ...


class PushStatus(Protocol):
    """What is counted about one kind of push."""

    @property
    def kind(self) -> str: ...
    @property
    def taken(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def refused(self) -> Mapping[str, int]: ...
    @property
    def skipped(self) -> Mapping[str, int]: ...


class PushCollector(Protocol):
    """Who takes what others push."""

    @property
    def queued(self) -> int: ...
    @property
    def sources(self) -> int: ...
    def status(self) -> Sequence[PushStatus]: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """What the parts of the service count; None or empty = that part does not run."""

    loop: LoopStats | None = None
    providers: Mapping[str, ProviderCalls] = field(default_factory=dict)
    store: StoreStats | None = None
    receivers: Sequence[ReceiverStatus] = ()
    targets: Sequence[TargetStatus] = ()
    push: PushCollector | None = None
    findings: Mapping[str, Sequence[SignalFinding]] = field(default_factory=dict)
    learned: Mapping[str, Learned] = field(default_factory=dict)
    forecasts: ForecastCounts | None = None
    shadows: Mapping[str, ShadowStatus] = field(default_factory=dict)
