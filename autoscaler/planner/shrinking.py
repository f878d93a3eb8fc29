"""Fewer replicas: who goes first, in one order.

1. What is sick; it was given up before anybody is chosen here.
2. What does not serve yet, newest first.
3. What people want gone anyway: instances that are to be replaced.
4. A machine of several replicas that the surplus covers as a whole, the largest first: one drain frees all of it.
5. The least work in flight for each replica that goes; an unknown number is not a small one.
6. What serves for less than ten minutes: its caches are cold, so least is lost with it.
7. The dearest replica.
8. A spot instance, which its cloud may take back anyway.
9. Whoever stands in the zone with the most replicas, so that what stays is spread.
10. The newest.

`victim: newest` and `victim: oldest` put age in the place of 4 to 10. Each goes only if the rest still covers what is
wanted. The order follows Kubernetes' and Karpenter's experience that a random victim ends the longest requests.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoscaler.planner.draft import Draft, provider_of
from autoscaler.types import Instance

YOUNG_S = 600.0
"""Prefix caches of inference engines fill within minutes of traffic."""

Order = tuple[bool | float | str, ...]


def shrink(draft: Draft, alive: Sequence[Instance], want: int, first: Iterable[str] = ()) -> None:
    """Pending ones go first, newest first; then ready ones, each only if the rest still covers what is wanted.

    first: ids of instances that are to be replaced anyway.
    """
    marked = frozenset(first)
    size = sum(i.replicas for i in alive if i.state in ("pending", "ready"))
    # What is not listed yet cannot be told to stop; it is cancelled when it appears.
    for i in sorted(draft.within_reach(alive, "pending"), key=lambda i: (i.id not in marked, -i.requested_at)):
        if size - i.replicas < want:
            continue
        # It is ended without a drain, and may have come to serve since somebody last looked.
        if provider_of(i) in draft.late:
            draft.note("stale", f"{i.id} is surplus; it is not ended on a report that is older than a tick")
        elif draft.operate("terminate", i, "surplus, and not serving yet"):
            size -= i.replicas
    # A pending replica serves nobody yet: ready ones leave only when the other ready ones are enough by themselves.
    serving = [i for i in alive if i.state == "ready"]
    surplus = sum(i.replicas for i in serving) - want
    if surplus > 0:
        _drain(draft, draft.within_reach(alive, "ready"), surplus, _Choice.among(draft, serving, marked))


def zone_of(instance: Instance) -> str:
    """Region and zone from the key of its offer, as far as that says; empty for machines at hand."""
    return "/".join(instance.offer.split("/")[2:-1])


def _drain(draft: Draft, there: Sequence[Instance], surplus: int, choice: _Choice) -> None:
    # Inside a zone the order does not depend on how full zones are, so only the first of each are compared.
    queues: dict[str, list[tuple[Order, Order, int]]] = defaultdict(list)
    for n, i in enumerate(there):
        queues[zone_of(i)].append((*choice.turn(i), n))
    for queue in queues.values():
        queue.sort(reverse=True)
    while surplus > 0:
        for zone, queue in list(queues.items()):
            # The surplus only gets smaller: what does not fit now never will.
            while queue and there[queue[-1][2]].replicas > surplus:
                queue.pop()
            if not queue:
                del queues[zone]
        if not queues:
            return
        zone = min(queues, key=lambda z: (queues[z][-1][0], -choice.zones[z], queues[z][-1][1]))
        i = there[queues[zone].pop()[2]]
        if draft.operate("drain", i, choice.why(i)):
            surplus -= i.replicas
            choice.zones[zone] -= i.replicas


@dataclass(frozen=True, slots=True)
class _Choice:
    """Who goes before whom. zones: replicas that serve by zone. first: ids that people want gone anyway. cheapest,
    dearest: price of a replica; smallest: of the whole machines; others: whether there is anybody else."""

    victim: str
    now: float
    first: frozenset[str]
    zones: Counter[str]
    cheapest: float
    dearest: float
    smallest: int
    all_young: bool
    all_spot: bool
    others: bool

    @classmethod
    def among(cls, draft: Draft, serving: Sequence[Instance], first: frozenset[str]) -> _Choice:
        """The choice among those that serve; there is at least one."""
        now = draft.decision.at
        zones = Counter[str]()
        for i in serving:
            zones[zone_of(i)] += i.replicas
        prices = [_price(i) for i in serving]
        return cls(
            victim=draft.rules.scale_in.victim,
            now=now,
            first=first,
            zones=zones,
            cheapest=min(prices),
            dearest=max(prices),
            smallest=min(_whole(i) for i in serving),
            all_young=all(now - i.since < YOUNG_S for i in serving),
            all_spot=all(_spot(i) for i in serving),
            others=len(serving) > 1,
        )

    def turn(self, i: Instance) -> tuple[Order, Order]:
        """What counts before the zone and what counts after it; whose is the smallest goes first."""
        if self.victim != "least_in_flight":
            return (i.id not in self.first, i.requested_at * (1 if self.victim == "oldest" else -1), i.id), ()
        work = math.inf if i.in_flight is None else i.in_flight / i.replicas
        old = self.now - i.since >= YOUNG_S
        return (i.id not in self.first, -_whole(i), work, old, -_price(i), not _spot(i)), (-i.requested_at, i.id)

    def why(self, i: Instance) -> str:
        """The surplus, what is in flight, and what sets it apart from others that could have gone."""
        flight = "an unknown number of" if i.in_flight is None else str(i.in_flight)
        words = [f"surplus, {flight} requests in flight"]
        if i.id in self.first:
            words.append("to be replaced anyway")
        if self.others:
            words += [f"the {self.victim}"] if self.victim != "least_in_flight" else self._marks(i)
        return ", ".join(words)

    def _marks(self, i: Instance) -> list[str]:
        served_s = self.now - i.since
        zone = zone_of(i)
        rest = [n for name, n in self.zones.items() if name != zone]
        said = (
            (f"a whole machine of {i.replicas} replicas", _whole(i) > self.smallest),
            (f"serves for only {max(0.0, served_s):.0f} s", served_s < YOUNG_S and not self.all_young),
            ("dearest", _price(i) == self.dearest > self.cheapest),
            ("spot", _spot(i) and not self.all_spot),
            (f"zone {zone} has most", bool(zone and rest) and max(rest, default=0) < self.zones[zone]),
        )
        return [text for text, true in said if true]


def _whole(i: Instance) -> int:
    """Replicas of a machine of several, 0 for one of a single replica: its leaving empties nothing more."""
    return i.replicas if i.replicas > 1 else 0


def _price(i: Instance) -> float:
    return round(i.usd_per_hour / i.replicas, 6)


def _spot(i: Instance) -> bool:
    return i.offer.endswith("/spot")
