"""One scale set: orders that become capacity once, and what has to be looked after until the machines are there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

from autoscaler.errors import BusyError, CapacityError, ProviderError, QuotaError, UnreachableError
from autoscaler.ports import Clock
from autoscaler.types import Launch
from providers.azure.client import Client
from providers.azure.creation import check_made, create
from providers.azure.failures import GoneError, StaleError, of_code
from providers.azure.machines import ACTION, READY, Label, MachineSeen, SetSeen, differences, label_of, label_tags
from providers.azure.orders import (
    ACTION_CHARS,
    KEEP_S,
    Entry,
    Terms,
    assigned,
    read,
    read_terms,
    usable,
    write,
)
from providers.azure.records import Records
from providers.azure.settings import Order, SetRef
from providers.azure.shown import Progress

TRIES = 5
"""Writes in a row that somebody else may spoil before the next tick has to try again."""
LABELS_AT_ONCE = 8
LATE_S = 60.0
MOST = 1000
"""Machines of one scale set at most (Azure's limit for platform images)."""
UNFULFILLED = "NotFulfilled"


@dataclass(slots=True)
class _Wanted:
    """A launch on its way through the queue; `end` is its entry, or why there is none. new: it was ordered just now."""

    launch: Launch
    order: Order
    end: Entry | ProviderError | None = None
    new: bool = False


@dataclass
class Keeper:
    """Orders of one scale set. `lock` holds whoever writes to it; the orders that come meanwhile go together."""

    ref: SetRef
    client: Client
    records: Records
    clock: Clock
    lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _door: Lock = field(default_factory=Lock, init=False, repr=False)
    _queue: list[_Wanted] = field(default_factory=list, init=False, repr=False)

    def order(self, launch: Launch, order: Order) -> tuple[Entry, bool]:
        """The entry of a launch, and whether it is new or its action had it already. Raises ProviderError."""
        wanted = _Wanted(launch, order)
        with self._door:
            self._queue.append(wanted)
        with self.lock:
            if wanted.end is None:
                with self._door:
                    batch, self._queue = self._queue, []
                self._all(batch)
        assert wanted.end is not None, "whoever holds the lock answers everybody who waited"
        if isinstance(wanted.end, ProviderError):
            raise wanted.end
        return wanted.end, wanted.new

    def _all(self, batch: list[_Wanted]) -> None:
        """Answers every order, at first all in one write. Azure refuses a growth as a whole, so after a refusal fewer
        are asked for at a time: what can be had is had."""
        at_once = len(batch)
        left = batch
        while left:
            some, rest = left[:at_once], left[at_once:]
            try:
                self._grow(some)
            except (CapacityError, QuotaError) as error:
                if at_once == 1:
                    _refuse(left, error)
                    return
                at_once = max(1, at_once // 2)
                continue
            except ProviderError as error:
                _refuse(left, error)
                return
            except BaseException:
                # The write may have been carried out before it broke.
                _refuse(left, UnreachableError(f"an order from {self.ref} broke; what came of it is not known"))
                raise
            left = rest

    def _grow(self, some: list[_Wanted]) -> None:
        for _ in range(TRIES):
            seen = self._there(some[0])
            entries = read(seen.tags)
            known = {e.action: e for e in entries}
            terms = read_terms(seen.tags) or self.records.sets().get(self.ref)
            new: dict[str, _Wanted] = {}
            for wanted in some:
                try:
                    _check(wanted, seen, terms, known)
                except ProviderError as error:
                    wanted.end = error
                    continue
                wanted.end = known.get(wanted.launch.id)
                if wanted.end is None:
                    new.setdefault(wanted.launch.id, wanted)
                    terms = terms or _terms(wanted)  # the first order of all decides whose the scale set is
            if not new:
                return
            if seen.capacity + len(new) > MOST:
                raise CapacityError(f"scale set {self.ref} would pass {MOST} machines; add a second one to the offers")
            now = self.clock.now()
            ours = _terms(next(iter(new.values())))
            self.records.know(self.ref, ours)
            fresh = {id_: Entry(id_, w.launch.into, now, max(w.launch.valid_until, now)) for id_, w in new.items()}
            # Of an older growth nobody may conclude anything about this one.
            self.records.began(self.ref, None)
            try:
                tags = write(seen.tags, ours, (*entries, *fresh.values()))
                token = self.client.write_set(seen, seen.capacity + len(new), tags)
            except StaleError:
                continue
            self.records.began(self.ref, token)
            for wanted in some:
                if wanted.end is None:
                    wanted.end, wanted.new = fresh[wanted.launch.id], True
            return
        raise BusyError(f"scale set {self.ref}: changed by somebody else {TRIES} times in a row", 5.0)

    def _there(self, first: _Wanted) -> SetSeen:
        """The scale set. Raises BeingMadeError while it is made for the first order."""
        try:
            seen = self.client.scale_set(self.ref)
        except GoneError:
            create(self.client, self.records, first.launch, first.order, _terms(first))
            raise
        check_made(self.client, self.records, seen)
        return seen

    # --- looking after ------------------------------------------------------------------------------------------

    def tend(self, seen: SetSeen, machines: Sequence[MachineSeen]) -> tuple[tuple[Entry, ...], bool]:
        """The orders with their machines, and what became of those that have none; whether the tags say so too.

        A write that fails is made up for at the next look; until then no order is called failed, and nothing may be
        built on which machine is whose.
        """
        before = read(seen.tags)
        there = {m.id: m for m in machines}
        now = self.clock.now()
        entries = with_machines = orders_with(seen, machines)
        failed = self._failed(seen, entries, now)
        entries = tuple(replace(e, failure=failed[e.action]) if e.action in failed else e for e in entries)
        entries = tuple(e for e in entries if not _over(e, there, now))
        if entries == before:
            return entries, True
        terms = read_terms(seen.tags) or self.records.sets().get(self.ref)
        if terms is None:
            return with_machines, False
        capacity = None
        if failed:
            # Never below what is there: Azure would choose machines to delete.
            alive = sum(m.state != "Deleting" for m in machines)
            capacity = max(alive, seen.capacity - len(failed))
        try:
            self.client.write_set(seen, capacity, write(seen.tags, terms, entries))
        except ProviderError:
            return with_machines, False
        if failed:
            self.records.began(self.ref, None)
        return entries, True

    def _failed(self, seen: SetSeen, entries: Sequence[Entry], now: float) -> dict[str, str]:
        """Open orders that come to nothing, by action, with Azure's code: the growth ended, or it takes too long."""
        waiting = [e for e in entries if e.open]
        if not waiting:
            return {}
        progress = self._progress(seen)
        if progress.status == "failed":
            return {e.action: progress.code or "Failed" for e in waiting}
        return {e.action: UNFULFILLED for e in waiting if now > e.until + LATE_S}

    def _progress(self, seen: SetSeen) -> Progress:
        """How the newest growth stands: by its operation, and where that cannot tell by the scale set itself."""
        if seen.state in ("Creating", "Updating"):
            return Progress("running")
        token = self.records.token(self.ref)
        if token is not None:
            try:
                told = self.client.look(self.ref, token)
            except ProviderError:
                return Progress("running")  # not known now, asked again at the next look
            preempted = told.code in ("OperationPreempted", "Canceled")
            if told.status in ("running", "succeeded") or (told.status == "failed" and not preempted):
                return told
        if seen.state == "Failed":
            try:
                return Progress("failed", *self.client.failure(self.ref))
            except ProviderError:
                return Progress("running")
        return Progress("succeeded")

    def settle(self, labels: Sequence[tuple[MachineSeen, Label]], pool: str) -> None:
        """Writes to machines what is known of them and not in their tags yet, protects those that serve, and rests
        those that were bought for the warm pool. What cannot be done now is done at the next look."""
        new = [(m, label) for m, label in labels if m.state == "Succeeded" and _to_write(m, label)]
        for machine, label in new[:LABELS_AT_ONCE]:
            with contextlib.suppress(ProviderError), self.lock:
                self.client.label(self.ref, machine, label_tags(label, pool), protect=label.role != "warm")
        if any(_should_rest(m) for m, _ in labels):
            with contextlib.suppress(ProviderError), self.lock:
                # Read again under the lock: one of them may have been started meanwhile.
                rest = [m.id for m in self.client.machines(self.ref) if _should_rest(m)]
                if rest:
                    self.client.operate("deallocate", self.ref, rest)


def orders_with(seen: SetSeen, machines: Sequence[MachineSeen]) -> tuple[Entry, ...]:
    """The orders, each open one with the machine that names it, else with one that is nobody's yet."""
    labelled = {m.tags[ACTION]: m.id for m in machines if m.tags.get(ACTION)}
    entries = (replace(e, machine=labelled.get(e.action, "")) if e.open else e for e in read(seen.tags))
    return assigned(entries, [m.id for m in machines if usable(m.tags) and not m.protected])


def failure_of(entry: Entry) -> ProviderError:
    """Why an order came to nothing, as an error."""
    if entry.failure == UNFULFILLED:
        return CapacityError(f"Azure made no machine within {entry.until - entry.at + LATE_S:.0f} s")
    return of_code(entry.failure, "the growth of the scale set failed; its capacity was put back")


def _to_write(machine: MachineSeen, label: Label) -> bool:
    """Whether its tags lack something. One that was adopted, or whose tags somebody removed, is left as it is."""
    if label.action is None:
        return False
    return usable(machine.tags) or bool(label.ready_at and not machine.tags.get(READY))


def _should_rest(machine: MachineSeen) -> bool:
    label = label_of(machine, None)
    return label is not None and label.role == "warm" and machine.power == "running" and machine.state == "Succeeded"


def _over(entry: Entry, there: dict[str, MachineSeen], now: float) -> bool:
    """Nobody will ask for the order any more, and its machine tells its own story."""
    if now <= entry.until + KEEP_S or entry.open:
        return False
    machine = there.get(entry.machine)
    return machine is None or not usable(machine.tags)


def _refuse(some: Sequence[_Wanted], error: ProviderError) -> None:
    for wanted in some:
        wanted.end = wanted.end or error


def _terms(wanted: _Wanted) -> Terms:
    order, offer = wanted.order, wanted.order.offer
    return Terms(
        wanted.launch.pool, offer.key, offer.replicas, offer.usd_per_hour, order.port, order.dns_suffix, order.ready
    )


def _check(wanted: _Wanted, seen: SetSeen, terms: Terms | None, known: dict[str, Entry]) -> None:
    """Raises ProviderError when the scale set is not what the offer says, or serves somebody else."""
    launch, offer = wanted.launch, wanted.order.offer
    mine = (launch.pool, offer.key)
    if terms is not None and (terms.pool, terms.offer) != mine:
        if launch.id in known:
            raise ProviderError(
                f"launch {launch.id} was {terms.offer} for pool {terms.pool}, now it is {offer.key} for pool "
                f"{launch.pool}; give every launch an id of its own"
            )
        raise ProviderError(
            f"scale set {seen.ref} serves {terms.offer} of pool {terms.pool}; give {offer.key} of pool {launch.pool} "
            f"a scale set of its own"
        )
    if not launch.id or len(launch.id) > ACTION_CHARS or any(c in ", !" or not c.isprintable() for c in launch.id):
        raise ProviderError(f"launch {launch.id!r}: an id has at most {ACTION_CHARS} characters, no comma, no space")
    if faults := differences(wanted.order, seen):
        raise ProviderError(f"scale set {seen.ref}: {'; '.join(faults)}; correct the offer")
