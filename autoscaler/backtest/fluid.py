"""A pool as a fluid: recorded demand in, replicas that serve at a known rate, one FIFO queue between them; exact."""

from __future__ import annotations

import bisect
import math
from array import array
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.trace import Trace

PATIENCE_S = 5.0
"""Work that waits longer than this is a violation."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Work per second, constant between edges. edges_s: (bucket + 1,) ascending. rate: (bucket,) at least 0."""

    edges_s: tuple[float, ...]
    rate: tuple[float, ...]

    def at(self, t_s: float) -> float:
        """The rate at a time; 0 before the first edge and from the last one on."""
        if not self.edges_s[0] <= t_s < self.edges_s[-1]:
            return 0.0
        return self.rate[bisect.bisect_right(self.edges_s, t_s) - 1]


def demand_of(trace: Trace) -> Demand:
    """What a recorded workload asks for: amount / bucket width, with straight lines through its gaps."""
    rate = trace.bridged().amount / trace.step_s
    return Demand((*trace.at_s.tolist(), trace.end_s), tuple(rate.tolist()))


@dataclass(slots=True)
class _Batch:
    """Work that came at a constant rate from `since_s` on, until `end_s`, and still waits."""

    since_s: float
    end_s: float
    rate: float
    counted: bool


class FluidPool:
    """Replicas and their queue, moved on from one time to the next.

    Within `advance` everything that happens on the way (edges of the demand, replicas that finish booting, the queue
    running empty) happens at its own moment, so results do not depend on how the way is cut into steps. Scores
    (`arrived`, `violated`, `paid_s`, waits) count what arrives and what is paid from `count_from_s` on.
    """

    def __init__(
        self, demand: Demand, capacity: float, boot_s: float, start: int, count_from_s: float = -math.inf
    ) -> None:
        """`capacity`: work per second of one replica. `start`: replicas that serve from the first edge on."""
        if not (capacity > 0 and boot_s >= 0 and start >= 0):
            raise ValueError(f"capacity {capacity}, boot {boot_s} s, start {start}: must be > 0, >= 0 and >= 0")
        self.now_s = demand.edges_s[0]
        self.capacity = capacity
        self.boot_s = boot_s
        self.ready = start
        self.queue = 0.0
        self.served = 0.0
        """Work served since the start, warm-up included."""
        self.offered = 0.0
        """Work that ready replicas could have served since the start."""
        self.came = 0.0
        """Work that arrived since the start, warm-up included."""
        self.arrived = 0.0
        """Work that arrived from `count_from_s` on."""
        self.paid_s = 0.0
        """Replica-seconds from `count_from_s` on, booting ones included."""
        self._pending: deque[float] = deque()
        self._waiting: deque[_Batch] = deque()
        self._edges, self._rates = _with_edge(demand, count_from_s)
        self._bucket = 0
        self._count_from_s = count_from_s
        self._late = 0.0
        self._worst_s = 0.0
        self._first_counted = 0
        self._pieces = (array("d"), array("d"), array("d"))

    @property
    def pending(self) -> int:
        """Replicas that are ordered and do not serve yet."""
        return len(self._pending)

    def serves_at(self) -> tuple[float, ...]:
        """When each pending replica begins to serve, ascending."""
        return tuple(self._pending)

    @property
    def violated(self) -> float:
        """Counted work that waited more than 5 s, with what has been waiting longer than that now."""
        limit_s = self.now_s - PATIENCE_S
        waiting = [b.rate * (min(b.end_s, limit_s) - b.since_s) for b in self._waiting if b.counted]
        return self._late + sum(work for work in waiting if work > 0)

    @property
    def worst_wait_s(self) -> float:
        """The longest wait of counted work, with that of what waits now."""
        head = next((self.now_s - batch.since_s for batch in self._waiting if batch.counted), 0.0)
        return max(self._worst_s, head)

    @property
    def waits(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """(piece,) each: counted work that waited or waits now, and its wait in seconds at either end of the piece.

        Within a piece the wait changes evenly with the work. Work that did not wait is in none.
        """
        served = self.waited(self._first_counted)
        now_s = self.now_s
        still = [
            (b.rate * (b.end_s - b.since_s), now_s - b.since_s, now_s - b.end_s) for b in self._waiting if b.counted
        ]
        rest = np.array(still, dtype=np.float64).reshape(len(still), 3).T
        work, first, last = (np.append(c, r) for c, r in zip(served, rest, strict=True))
        return work, first, last

    @property
    def pieces(self) -> int:
        """How many pieces of work were served after a wait so far, warm-up included."""
        return len(self._pieces[0])

    def waited(self, since: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """`waits` of the pieces from a number on that are served, warm-up included."""
        work, first, last = (np.array(column[since:]) for column in self._pieces)
        return work, first, last

    def order(self, count: int = 1) -> None:
        """Order replicas; they serve from now + boot."""
        if self.boot_s <= 0:
            self.ready += count
        else:
            self._pending.extend([self.now_s + self.boot_s] * count)

    def cancel(self, serves_at_s: float | None = None) -> None:
        """Cancel one pending replica: the newest one, or one that would have served from this time on."""
        if serves_at_s is None:
            self._pending.pop()
        else:
            self._pending.remove(serves_at_s)

    def release(self, count: int = 1) -> None:
        """Take ready replicas away at once."""
        if not 0 <= count <= self.ready:
            raise ValueError(f"{count} of {self.ready} ready replicas cannot be released")
        self.ready -= count

    def resize(self, wanted: int) -> None:
        """Order what is missing to `wanted`; or cancel pending replicas, newest first, then release ready ones."""
        change = wanted - self.ready - len(self._pending)
        if change > 0:
            self.order(change)
            return
        while change < 0 and self._pending:
            self._pending.pop()
            change += 1
        if change < 0:
            self.release(-change)

    def advance(self, to_s: float) -> None:
        """Let demand come and be served until `to_s`."""
        edges, rates, pending = self._edges, self._rates, self._pending
        buckets = len(rates)
        while self.now_s < to_s:
            here = self._bucket
            until_s = min(to_s, edges[here + 1]) if here < buckets else to_s
            if pending and pending[0] < until_s:
                until_s = pending[0]
            self._flow(until_s, rates[here] if here < buckets else 0.0)
            self.now_s = until_s
            if here < buckets and until_s >= edges[here + 1]:
                self._bucket += 1
            while pending and pending[0] <= until_s:
                pending.popleft()
                self.ready += 1

    def _flow(self, until_s: float, rate: float) -> None:
        """One stretch without an event but the queue running empty."""
        took_s = until_s - self.now_s
        came = rate * took_s
        self.came += came
        counted = self.now_s >= self._count_from_s
        if counted:
            self.arrived += came
            self.paid_s += (self.ready + len(self._pending)) * took_s
        speed = self.ready * self.capacity
        self.offered += speed * took_s
        if not self._waiting and rate <= speed:
            self.served += came
            return
        # What came before the queue is empty waited; what comes after it does not.
        empty_s = self.queue / (speed - rate) if rate < speed else math.inf
        waits_s = min(empty_s, took_s)
        if rate > 0:
            self._line_up(self.now_s + waits_s, rate, counted)
        self._drain(speed, speed * waits_s)
        if empty_s <= took_s:
            self.served += self.queue + came
            self.queue = 0.0
            self._waiting.clear()
        else:
            self.served += speed * took_s
            self.queue = max(self.queue + (rate - speed) * took_s, 0.0) if self._waiting else 0.0

    def _line_up(self, until_s: float, rate: float, counted: bool) -> None:
        last = self._waiting[-1] if self._waiting else None
        if last and last.rate == rate and last.end_s == self.now_s and last.counted == counted:
            last.end_s = until_s
        else:
            self._waiting.append(_Batch(self.now_s, until_s, rate, counted))

    def _drain(self, speed: float, budget: float) -> None:
        """Serve `budget` of work from now on at `speed`, oldest first."""
        at_s = self.now_s
        waiting = self._waiting
        while waiting and budget > 0:
            batch = waiting[0]
            work = batch.rate * (batch.end_s - batch.since_s)
            done = min(work, budget)
            served_s, came_s = at_s + done / speed, batch.since_s + done / batch.rate
            self._record(done, max(at_s - batch.since_s, 0.0), max(served_s - came_s, 0.0), batch.counted)
            at_s = served_s
            budget -= done
            if done < work:
                batch.since_s = came_s
            else:
                waiting.popleft()

    def _record(self, work: float, first_s: float, last_s: float, counted: bool) -> None:
        low, high = (first_s, last_s) if first_s <= last_s else (last_s, first_s)
        if counted:
            if high > PATIENCE_S:
                self._late += work if low >= PATIENCE_S else work * (high - PATIENCE_S) / (high - low)
            self._worst_s = max(self._worst_s, high)
        else:
            # First come, first served: whatever counts comes after everything that does not.
            self._first_counted += 1
        for column, value in zip(self._pieces, (work, first_s, last_s), strict=True):
            column.append(value)


def _with_edge(demand: Demand, at_s: float) -> tuple[list[float], list[float]]:
    """Edges and rates with one more edge, where counting begins."""
    edges, rates = list(demand.edges_s), list(demand.rate)
    if edges[0] < at_s < edges[-1] and (place := bisect.bisect_left(edges, at_s)) and edges[place] != at_s:
        edges.insert(place, at_s)
        rates.insert(place, rates[place - 1])
    return edges, rates
