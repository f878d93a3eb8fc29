"""All that a decision depends on: the world at a time, and what the pool remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaler.types.decision import Alert, Burst, Override
from autoscaler.types.fleet import Fleet
from autoscaler.types.moving import Moving
from autoscaler.types.operations import Kinds, Mark, Roll, Rolling
from autoscaler.types.owned import Owned
from autoscaler.types.seen import Capacity, Frame, LeadTime, Newest, Outlook


@dataclass(frozen=True, slots=True)
class Shortage:
    """An offer that could not be had: not asked again before `until`; the wait doubles with each miss in a row.

    never_served: it could be had, but what came never became ready; only those that serve count as had then.
    had: machines that came since the last miss; one more than that may be on order at once. asked: as many as the pool
    had ordered at once before; after so many it is forgotten.
    """

    offer: str
    until: float
    misses: int
    last_at: float
    never_served: bool = False
    had: int = 0
    asked: int = 1


@dataclass(frozen=True, slots=True)
class Quota:
    """A family of offers that an account may have no more of: a person's business, and no shortage.

    had: machines of the family that were there when it was refused. most: the most seen since. until: nothing beyond
    those is asked for before. offer, text: what was refused last and the provider's words.
    """

    family: str
    offer: str
    had: int
    most: int
    until: float
    last_at: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Spending:
    """What a pool cost since midnight UTC. day: days since 1970. at, usd_per_hour: when it was last seen, and its rate
    then."""

    day: int
    usd: float
    at: float
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """An instance that its provider would not act on: left alone until then; the wait doubles with each in a row."""

    until: float
    misses: int


@dataclass(frozen=True, slots=True)
class Risk:
    """How cautious a pool is: minus the logarithm of the chance that it takes, see `risk.py`.

    since: when it began to be steered. at: when it was last. demand: mean work per second of the last day.
    """

    since: float
    at: float
    caution: float = 5.0
    demand: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """All that one tick of a pool leaves to the next; a snapshot of it is in the journal.

    highs, lows: (at, replicas) of raw recommendations, kept as monotone queues so that the maximum and the minimum
    over a window are their first entries. changes: (at, from, to) of the wanted size. met_since: condition -> when
    it became true. cooldown_until: rule -> when it may act again. asked: rule that cools down -> the size that it
    asked for, as long as limits let through only a part. watched_since: start of the unbroken observation that a
    scale-in window needs. launches: (at, how many) of the last hour. refusals: by instance id.
    warm_highs: as highs, of the replicas that the warm pool should hold.
    quotas: by family of offers. spending: None before the fleet was first seen. halted_since: when so many machines
    were sick that nothing is removed any more. taught: sick instances still listed whose lesson was learned.
    rolling: how far the last roll came.
    kinds: which settings of offers have served; None = not looked at yet. moving: to cheaper machines.
    owned: whose the instances are.
    """

    number: int = 0
    want: int | None = None
    last_at: float | None = None
    watched_since: float | None = None
    highs: tuple[tuple[float, int], ...] = ()
    lows: tuple[tuple[float, int], ...] = ()
    changes: tuple[tuple[float, int, int], ...] = ()
    met_since: Mapping[str, float] = field(default_factory=dict)
    cooldown_until: Mapping[str, float] = field(default_factory=dict)
    asked: Mapping[str, int] = field(default_factory=dict)
    burst: Burst | None = None
    shortages: Mapping[str, Shortage] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    launched_at: float | None = None
    launches: tuple[tuple[float, int], ...] = ()
    idle_since: float | None = None
    warm_highs: tuple[tuple[float, int], ...] = ()
    withheld: tuple[int, int] | None = None
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    risk: Risk | None = None
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    spending: Spending | None = None
    halted_since: float | None = None
    taught: tuple[str, ...] = ()
    rolling: Rolling | None = None
    kinds: Kinds | None = None
    owned: Owned = field(default_factory=Owned)
    moving: Moving | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """What the worker knows of a pool besides its signals: outlooks by forecast signal, the capacity of a replica, lead
    times by offer key. Each has a version that is in the journal, so that a restart goes on with the last ones.

    A signal that asks for the peak has the mean too, as `NAME:mean`, and the other way round. Launches from the warm
    pool have lead times of their own, as `OFFER/warm`. moved: what changed so much that people should
    look -> how; None = not judged yet.
    """

    outlooks: Mapping[str, Outlook] = field(default_factory=dict)
    capacity: Capacity | None = None
    lead_times: Mapping[str, LeadTime] = field(default_factory=dict)
    moved: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class World:
    """All that a decision may depend on besides the rules and the pool's own memory.

    signals: name of a pool signal -> its history, newest column last. series: name of a series alert -> raw series,
    all their values or the newest with the moments of the others, as its threshold needs.
    fleet None: the provider has never been heard. marks: by instance, those that ended lately too. roll: not ended.
    """

    now: float
    signals: Mapping[str, Frame]
    fleet: Fleet | None
    series: Mapping[str, Frame | Newest] = field(default_factory=dict)
    outlooks: Mapping[str, Outlook] = field(default_factory=dict)
    capacity: Capacity | None = None
    lead_times: Mapping[str, LeadTime] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    marks: Mapping[str, Mark] = field(default_factory=dict)
    roll: Roll | None = None
