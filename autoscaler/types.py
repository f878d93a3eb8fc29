"""The values that cross module borders: what is seen, what is decided, what is done.

Everything here is frozen data with counts derived from it. Instants are Unix seconds, ratios are 0 to 1,
money is USD per hour. The rules that people write are values too; they live in `ruleset.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64] | NDArray[np.float32]
Labels = tuple[tuple[str, str], ...]
"""Label pairs, sorted by name."""

# --- what is seen -----------------------------------------------------------------------------------------------

Quality = Literal["fresh", "partial", "stale", "frozen", "missing"]


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Identity of one raw series: its canonical (or original) name and its labels, target labels included.

    A counter is stored as increments, so the flag belongs to the identity: it decides what a sample means.
    """

    metric: str
    labels: Labels = ()
    counter: bool = False

    def label(self, name: str) -> str | None:
        """The value of one label, or None."""
        return dict(self.labels).get(name)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one source said at one time, in base units.

    `keys` is the *same object* for as long as the source keeps its layout, so that the store can keep the mapping
    from keys to columns by identity. `values` is float64 (len(keys),); NaN means that the source gave no usable
    value this time. `down`: the source did not answer. `gone`: it will not be asked again, forget its series.
    """

    source: str
    at: float
    interval_s: float
    keys: tuple[SeriesKey, ...]
    values: FloatArray
    labels: Labels = ()
    state: Literal["up", "down", "gone"] = "up"


@dataclass(frozen=True, slots=True)
class Frame:
    """Recent values of some series that share a sampling interval.

    at: (time,) ascending. values: (series, time), NaN is a gap. last_at: (series,) time of the newest value, NaN if
    there is none. quality, detail: (series,); detail says in words why a series is less than fresh. lower, upper:
    bounds of the newest value where it is uncertain, such as the bucket of a quantile; None = exact.
    """

    interval_s: float
    at: FloatArray
    values: FloatArray
    last_at: FloatArray
    quality: tuple[Quality, ...]
    detail: tuple[str, ...] = ()
    keys: tuple[SeriesKey, ...] = ()
    lower: FloatArray | None = None
    upper: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of a signal as of a time.

    `value` is None when the quality is missing or frozen, and when it is fresh but there was nothing to measure: the
    sources answered and no request came whose latency could be told.
    """

    at: float
    value: float | None
    quality: Quality
    lower: float | None = None
    upper: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bands:
    """Bounds of the normal, (series,) each, in the unit of the values; NaN = cannot judge yet.

    `clipped` (series,) marks series whose lookback sat on a physical limit (a ratio at 1.0), so that a value inside
    the band does not prove that there is no more demand.
    """

    lower: FloatArray
    upper: FloatArray
    clipped: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Growth factors on the present level, (quantile, horizon), from a forecaster's worker at time `at`."""

    at: float
    version: str
    of: Literal["mean", "peak"]
    horizons_s: tuple[float, ...]
    quantiles: tuple[float, ...]
    growth: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Capacity:
    """Work per second that one replica serves at its objective, as a low and a median quantile, and its unit."""

    low: float
    median: float
    unit: str
    version: str = "declared"


@dataclass(frozen=True, slots=True)
class LeadTime:
    """Seconds from request to serving of one offer, as quantiles."""

    p50_s: float
    p90_s: float
    version: str = "prior"


# --- the fleet --------------------------------------------------------------------------------------------------

Purchase = Literal["on_demand", "spot", "reserved"]
InstanceState = Literal["pending", "ready", "draining", "warm", "stopping", "failed"]


@dataclass(frozen=True, slots=True)
class Offer:
    """Something a provider can launch. `key` names it everywhere: memory of shortages, lead times, ids.

    `lead_time_s`: request to serving, median; a prior until it is learned (published cold starts: p50 360 s).
    `settings` are the provider's own keys of the rule file (a command, a subnet), as (name, text) pairs.
    """

    provider: str
    type: str
    region: str = ""
    zone: str = ""
    purchase: Purchase = "on_demand"
    replicas: int = 1
    usd_per_hour: float = 0.0
    lead_time_s: float = 360.0
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """`provider/type/region/zone/purchase`, empty parts left out."""
        return "/".join(part for part in (self.provider, self.type, self.region, self.zone, self.purchase) if part)


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine or process that hosts `replicas` replicas of one pool, as its provider reports it.

    `action` is the id of the launch that made it (None: adopted). `address` is host:port of what it serves.
    `in_flight` counts requests inside it at `in_flight_at`; None means unknown, which is never taken for zero.
    `expected_at` is when a pending one should serve. `since` is when it entered its present state.
    """

    id: str
    pool: str
    offer: str
    state: InstanceState
    since: float
    replicas: int = 1
    requested_at: float = 0.0
    address: str | None = None
    action: str | None = None
    expected_at: float | None = None
    in_flight: int | None = None
    in_flight_at: float | None = None
    usd_per_hour: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Instances as reported at `observed_at`, united with what was ordered and is not listed yet."""

    observed_at: float
    instances: tuple[Instance, ...] = ()

    def count(self, *states: InstanceState) -> int:
        """Replicas on instances in one of these states."""
        return sum(i.replicas for i in self.instances if i.state in states)

    @property
    def ready(self) -> int:
        """Replicas that serve and take new requests."""
        return self.count("ready")

    @property
    def pending(self) -> int:
        """Replicas ordered that do not serve yet."""
        return self.count("pending")

    @property
    def size(self) -> int:
        """Ready and pending replicas: what a scale-out must not order again."""
        return self.count("ready", "pending")

    @property
    def usd_per_hour(self) -> float:
        """What everything that is paid for costs, warm machines left out (stopped ones are not billed as running)."""
        return sum(i.usd_per_hour for i in self.instances if i.state != "warm")

    def of(self, pool: str) -> Fleet:
        """The part of the fleet that serves one pool."""
        return replace(self, instances=tuple(i for i in self.instances if i.pool == pool))


# --- deciding ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reason:
    """One step on the way to a decision or plan: who set which number of replicas, and why."""

    source: str
    replicas: int
    text: str


Sense = Literal["raise", "size", "lower", "hold", "floor", "ceiling"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one rule asks for before anything is weighed against anything else.

    raise: at least this many. size: exactly what the demand needs, may lower. lower: this few. hold: the rule cannot
    judge, nothing may shrink. floor, ceiling: the bounds of the pool while a schedule lasts.
    """

    source: str
    sense: Sense
    replicas: int
    text: str


@dataclass(frozen=True, slots=True)
class Judged:
    """One leaf condition after judgement. `met` is None when it could not be judged."""

    key: str
    signal: str
    met: bool | None
    value: float | None
    lower: float | None
    upper: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule's whole condition after judgement.

    met: now, None = cannot be judged. since, at: time of the oldest and of the newest sample that proves it.
    held: met for as long as the rule wants.
    """

    rule: str
    met: bool | None
    held: bool
    since: float | None
    at: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Burst:
    """A burst under way: since when, the most replicas it asked for, and when demand was last over the mark."""

    since: float
    high_water: int
    last_over_at: float


Direction = Literal["out", "in", "both"]


@dataclass(frozen=True, slots=True)
class Override:
    """A person's word over a pool until `until`: pin, floor or ceiling to `replicas`; freeze; pause one direction."""

    id: str
    pool: str
    kind: Literal["pin", "floor", "ceiling", "freeze", "pause"]
    until: float
    author: str
    reason: str
    replicas: int | None = None
    direction: Direction = "both"
    created_at: float = 0.0


AlertState = Literal["inactive", "pending", "firing", "resolved"]
Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a pool. `since` is when it entered its state; `notified_at` when receivers last heard of it.

    started_at: when it began to fire. calm_since: since when a firing one is calm again and only kept firing.
    """

    key: str
    pool: str
    name: str
    severity: Severity
    state: AlertState
    since: float
    text: str
    labels: Labels = ()
    value: float | None = None
    started_at: float | None = None
    notified_at: float | None = None
    calm_since: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas a pool should have, and every step that led there; the last reason's count is `want`.

    `current` is the size in force before; `recommended` what the rules and the burst guard ask for before a person or
    a limit on movement has a say; `next_change_at` is the earliest time at which a limit that held the number back lets
    go, None when nothing holds it back. `commanded`: a person's override set the number. `blind`: the fleet is not
    known, so nothing was decided.
    """

    pool: str
    number: int
    at: float
    current: int
    want: int
    ready: int
    pending: int
    reasons: tuple[Reason, ...]
    proposals: tuple[Proposal, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    judged: tuple[Judged, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    recommended: int = 0
    burst: Burst | None = None
    idle_since: float | None = None
    commanded: bool = False
    blind: bool = False
    rules_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    next_change_at: float | None = None

    def then(self, source: str, replicas: int, text: str) -> Decision:
        """This decision after one more step."""
        return replace(self, want=replicas, reasons=(*self.reasons, Reason(source, replicas, text)))

    def later(self, at: float) -> Decision:
        """This decision, knowing that nothing can change before `at` (the latest of all such times counts)."""
        return replace(self, next_change_at=at if self.next_change_at is None else max(at, self.next_change_at))

    @property
    def signature(self) -> tuple[object, ...]:
        """What makes a decision worth a journal row of its own: its result and who led to it."""
        return (self.want, self.rules_hash, tuple((r.source, r.replicas) for r in self.reasons))


# --- doing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Launch:
    """Order one instance of an offer. `id` is the provider's idempotency token."""

    id: str
    pool: str
    at: float
    valid_until: float
    offer: Offer
    attempt: int = 1
    into: Literal["serving", "warm"] = "serving"
    kind: Literal["launch"] = "launch"


@dataclass(frozen=True, slots=True)
class Operate:
    """Act on one instance. start: from the warm pool into service. drain: leave routing, keep serving what is in
    flight. resume: back into routing. stop: into the warm pool. terminate: gone for good."""

    id: str
    pool: str
    at: float
    valid_until: float
    kind: Literal["start", "drain", "resume", "stop", "terminate"]
    instance: str
    provider: str
    replicas: int = 1


Action = Launch | Operate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action.

    accepted: the provider took it, it is under way. done: carried out. failed: it will not happen (`error` is a code
    of `errors.py`, `text` the provider's words). unknown: no answer, ask again with the same id. withheld: a shadow
    kept it back, which teaches nothing.
    """

    action: str
    pool: str
    status: Literal["accepted", "done", "failed", "unknown", "withheld"]
    at: float
    instance: str | None = None
    error: str = ""
    text: str = ""
    retry_after_s: float | None = None
    continuation: str | None = None

    @property
    def final(self) -> bool:
        """Nothing more will be heard of the action."""
        return self.status in ("done", "failed", "withheld")


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions that lead from the fleet to what was decided, and the reasons of what was left undone."""

    pool: str
    decision: int
    actions: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()


# --- remembering ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shortage:
    """An offer that could not be had: not asked again before `until`; the wait doubles with each miss in a row."""

    offer: str
    until: float
    misses: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Memory:
    """All that one tick of a pool leaves to the next; a snapshot of it is in the journal.

    highs, lows: (at, replicas) of raw recommendations, kept as monotone queues so that the maximum and the minimum
    over a window are their first entries. changes: (at, from, to) of the wanted size. met_since: condition -> when
    it became true. cooldown_until: rule -> when it may act again. watched_since: start of the unbroken observation
    that a scale-in window needs.
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
    burst: Burst | None = None
    shortages: Mapping[str, Shortage] = field(default_factory=dict)
    launched_at: float | None = None
    idle_since: float | None = None
    withheld: tuple[int, int] | None = None
    alerts: Mapping[str, Alert] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    """All that a decision may depend on besides the rules and the pool's own memory.

    signals: name of a pool signal -> its history, newest column last. series: name of a series alert -> raw series.
    fleet None: the provider has never been heard.
    """

    now: float
    signals: Mapping[str, Frame]
    fleet: Fleet | None
    series: Mapping[str, Frame] = field(default_factory=dict)
    outlooks: Mapping[str, Outlook] = field(default_factory=dict)
    capacity: Capacity | None = None
    lead_times: Mapping[str, LeadTime] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
