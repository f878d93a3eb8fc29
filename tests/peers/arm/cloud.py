"""Scale sets, their machines, quota, capacity and long-running operations, on a clock. The ledger of truth is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from threading import RLock
from typing import Any, Literal

from tests.peers.arm.resources import ApiError, Machine, Operation, Priority, ScaleSet, Size

ALLOCATION = "Allocation failed. We do not have sufficient capacity for the requested VM size in this region."


@dataclass
class Cloud:
    """A subscription's worth of Azure. `now` gives its time; switches may be set at any moment.

    free: machines to be had by (size, priority), absent = no end. quota: machines a region grants by size, absent
    = no end. scarce: how a shortage shows: refused at once, at the end of the operation (later), or with machines that
    are listed and Failed. Ids of machines are never given out twice. bought: every machine that ever was. host: of
    every machine, in place of a name of its own; then /health here answers for it, well while it `serves`. owners:
    what was ever written into a tag of it whose name ends in `action`. sizes: what regions sell. limits: cores by
    (region, family): in use by others, and the limit. unmade: why a new scale set fails to be made, as code and text.
    """

    now: Callable[[], float]
    boot_s: float = 30.0
    operation_s: float = 2.0
    list_lag_s: float = 0.0
    scarce: Literal["at once", "later", "listed"] = "at once"
    scarce_code: str = "AllocationFailed"
    never_ends: bool = False
    health: str = ""
    host: str = ""
    serves: bool = False
    etags: bool = True
    free: dict[tuple[str, str], int] = field(default_factory=dict)
    quota: dict[tuple[str, str], int] = field(default_factory=dict)
    sets: dict[tuple[str, str, str], ScaleSet] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    bought: list[str] = field(default_factory=list)
    gone: dict[str, float] = field(default_factory=dict)
    owners: dict[str, set[str]] = field(default_factory=dict)
    sizes: list[Size] = field(default_factory=list)
    limits: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    unmade: tuple[str, str] | None = None
    create_s: float = 3.0
    lock: RLock = field(default_factory=RLock)
    _numbers: Any = field(default_factory=lambda: count(1))

    def add_set(
        self,
        name: str,
        size: str = "Standard_NC24ads_A100_v4",
        *,
        subscription: str = "sub-1",
        group: str = "gpus",
        location: str = "eastus",
        zones: tuple[str, ...] = (),
        priority: Priority = "Regular",
        eviction: Literal["Deallocate", "Delete"] = "Deallocate",
    ) -> ScaleSet:
        made = ScaleSet(subscription, group, name, size, location, zones, priority, eviction)
        self.sets[subscription, group.lower(), name.lower()] = made
        return made

    def usage(self, location: str) -> list[tuple[str, int, int]]:
        """Family, cores in use, limit, of a region."""
        here = [s for s in self.sets.values() if s.location == location]
        sizes = {s.name.lower(): s for s in self.sizes}
        found = []
        for (region, family), (others, limit) in sorted(self.limits.items()):
            if region == location:
                ours = [(s, sizes[s.size.lower()]) for s in here if s.size.lower() in sizes]
                mine = [(s, z) for s, z in ours if family == ("lowPriorityCores" if s.priority == "Spot" else z.family)]
                found.append((family, others + sum(s.capacity * z.vcpus for s, z in mine), limit))
        return found

    def find(self, subscription: str, group: str, name: str) -> ScaleSet:
        found = self.sets.get((subscription, group.lower(), name.lower()))
        if found is None:
            where = f"Microsoft.Compute/virtualMachineScaleSets/{name}"
            raise ApiError(
                404, "ResourceNotFound", f"The Resource '{where}' under resource group '{group}' was not found."
            )
        return found

    def in_group(self, subscription: str, group: str) -> list[ScaleSet]:
        here = [s for (sub, g, _), s in sorted(self.sets.items()) if (sub, g) == (subscription, group.lower())]
        if not here:
            raise ApiError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
        return here

    # --- time ---------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Everything that is over by now, in the order in which it ended."""
        with self.lock:
            now = self.now()
            for op in sorted(self.operations.values(), key=lambda o: (o.ends_at, o.id)):
                if op.status == "InProgress" and op.ends_at <= now and not self.never_ends:
                    try:
                        op.finish()
                        op.status = "Succeeded"
                    except ApiError as error:
                        op.status, op.error = "Failed", (error.code, error.message)

    def begin(self, region: str, length_s: float, finish: Callable[[], None]) -> Operation:
        now = self.now()
        op = Operation(f"op-{next(self._numbers):04d}", region, now, now + length_s, finish)
        self.operations[op.id] = op
        return op

    # --- scale sets ---------------------------------------------------------------------------------------------

    def update(self, one: ScaleSet, body: Mapping[str, Any], if_match: str | None) -> Operation:
        """PATCH: tags and capacity, in one step or not at all."""
        if if_match is not None and if_match != one.etag:
            raise ApiError(412, "PreconditionFailed", "The condition 'If-Match' is not satisfied.")
        capacity = int((body.get("sku") or {}).get("capacity", one.capacity))
        more = capacity - one.capacity
        if more > 0:
            self._within_quota(one, more)
            if self.scarce == "at once" and self._left(one) < more:
                raise ApiError(409, self.scarce_code, ALLOCATION)
        if "tags" in body:
            one.tags = dict(body["tags"])
        one.capacity = capacity
        one.version += 1
        return self._converge(one)

    def _converge(self, one: ScaleSet) -> Operation:
        """Makes or removes machines until there are as many as the capacity says; a newer change preempts an older."""
        if one.growth is not None and one.growth.status == "InProgress":
            one.growth.status, one.growth.error = "Canceled", ("OperationPreempted", "preempted by a later one")
        alive = [m for m in one.machines.values() if m.state != "Deleting"]
        surplus = [m for m in reversed(alive) if not m.protected][: max(0, len(alive) - one.capacity)]
        for machine in surplus:
            machine.state = "Deleting"
        missing = max(0, one.capacity - len(alive))
        some = [self._make(one) for _ in range(min(missing, self._left(one)))]
        short = missing - len(some)
        if self.scarce == "listed":
            for machine in [self._make(one, paid=False) for _ in range(short)]:
                machine.state, machine.error, machine.state_at = "Failed", (self.scarce_code, ALLOCATION), self.now()
        one.state = "Updating"

        def remove() -> None:
            for machine in surplus:
                self._remove(one, machine)

        if surplus:
            # Of its own, since what is being deleted is deleted also when a later change preempts this one.
            self.begin(one.location, self.operation_s, remove)

        booting = [m for m in one.machines.values() if m.state == "Creating"]
        length = self.boot_s if booting and not short else self.operation_s
        for machine in some:
            self.begin(one.location, self.boot_s, lambda m=machine: self._boot(m))  # type: ignore[misc]
        one.growth = self.begin(one.location, length, lambda: self._settled(one, short))
        return one.growth

    def _settled(self, one: ScaleSet, short: int) -> None:
        if short:
            one.state, one.error = "Failed", (self.scarce_code, ALLOCATION)
            raise ApiError(409, self.scarce_code, ALLOCATION)
        one.state, one.error = "Succeeded", None

    def _make(self, one: ScaleSet, paid: bool = True) -> Machine:
        zone = one.zones[one.next_id % len(one.zones)] if one.zones else ""
        made = Machine(str(one.next_id), zone, self.now(), state_at=self.now())
        one.next_id += 1
        one.machines[made.id] = made
        if paid:
            self.bought.append(f"{one.name}/{made.id}")
            self._take(one, 1)
        return made

    def _boot(self, machine: Machine) -> None:
        if machine.state == "Creating":
            self._become(machine, "Succeeded", "running")
            machine.health = self.health

    def _become(self, machine: Machine, state: str, power: str | None = None) -> None:
        machine.state, machine.state_at, machine.error = state, self.now(), None
        machine.version += 1
        if power is not None:
            machine.power = power

    def _remove(self, one: ScaleSet, machine: Machine) -> None:
        if one.machines.pop(machine.id, None) is not None:
            self.gone[f"{one.name}/{machine.id}"] = self.now()
            if machine.power != "deallocated" and machine.error is None:
                self._take(one, -1)

    def _left(self, one: ScaleSet) -> int:
        return self.free.get((one.size, one.priority), 1 << 30)

    def _take(self, one: ScaleSet, some: int) -> None:
        if (one.size, one.priority) in self.free:
            self.free[one.size, one.priority] -= some

    def _within_quota(self, one: ScaleSet, more: int) -> None:
        most = self.quota.get((one.location, one.size))
        if most is None:
            return
        used = sum(s.capacity for s in self.sets.values() if (s.location, s.size) == (one.location, one.size))
        if used + more > most:
            text = (
                f"Operation could not be completed as it results in exceeding approved {one.size} Family Cores quota."
            )
            raise ApiError(409, "OperationNotAllowed", f"{text} Current Limit: {most}, Current Usage: {used}.")

    # --- machines -----------------------------------------------------------------------------------------------

    def machine(self, one: ScaleSet, number: str) -> Machine:
        found = one.machines.get(number)
        if found is None:
            raise ApiError(404, "InvalidResourceReference", f"The entity with instance id {number} was not found.")
        return found

    def listed(self, one: ScaleSet) -> list[Machine]:
        return [m for m in one.machines.values() if m.created_at + self.list_lag_s <= self.now()]

    def relabel(self, one: ScaleSet, number: str, body: Mapping[str, Any], if_match: str | None) -> Operation:
        """PUT of a machine: its tags and its protection."""
        machine = self.machine(one, number)
        if if_match is not None and if_match != f'"{machine.version}"':
            raise ApiError(412, "PreconditionFailed", "The condition 'If-Match' is not satisfied.")
        if machine.state in ("Creating", "Deleting"):
            raise ApiError(409, "Conflict", f"The machine is {machine.state}.")
        machine.tags = dict(body.get("tags") or {})
        said = {value for name, value in machine.tags.items() if name.endswith("action") and value}
        self.owners.setdefault(f"{one.name}/{number}", set()).update(said)
        policy = (body.get("properties") or {}).get("protectionPolicy") or {}
        machine.protected = bool(policy.get("protectFromScaleIn"))
        machine.version += 1
        return self.begin(one.location, self.operation_s, lambda: None)

    def delete(self, one: ScaleSet, numbers: list[str]) -> Operation:
        some = [self.machine(one, number) for number in numbers]
        for machine in some:
            if machine.state != "Deleting":
                machine.state = "Deleting"
                one.capacity -= 1
        one.version += 1

        def finish() -> None:
            for machine in some:
                self._remove(one, machine)

        return self.begin(one.location, self.operation_s, finish)

    def deallocate(self, one: ScaleSet, numbers: list[str]) -> Operation:
        some = [self.machine(one, number) for number in numbers]
        for machine in some:
            self._become(machine, "Updating", "deallocating")

        def finish() -> None:
            for machine in some:
                if machine.power == "deallocating":
                    self._become(machine, "Succeeded", "deallocated")
                    self._take(one, -1)

        return self.begin(one.location, self.operation_s, finish)

    def start(self, one: ScaleSet, numbers: list[str]) -> Operation:
        some = [m for m in (self.machine(one, n) for n in numbers) if m.power == "deallocated"]
        if self.scarce == "at once" and self._left(one) < len(some):
            raise ApiError(409, self.scarce_code, ALLOCATION)
        for machine in some:
            self._become(machine, "Updating", "starting")

        def finish() -> None:
            for machine in some:
                if self._left(one) < 1:
                    self._become(machine, "Failed", "deallocated")
                    machine.error = (self.scarce_code, ALLOCATION)
                    raise ApiError(409, self.scarce_code, ALLOCATION)
                self._take(one, 1)
                self._become(machine, "Succeeded", "running")

        return self.begin(one.location, self.boot_s, finish)

    # --- what happens behind our back ---------------------------------------------------------------------------

    def evict(self, one: ScaleSet, number: str) -> None:
        """Azure takes a spot machine back; nobody asked for it, so nothing is given to anybody else."""
        machine = self.machine(one, number)
        if one.eviction == "Delete":
            one.capacity -= 1
            self._remove(one, machine)
        else:
            self._become(machine, "Succeeded", "deallocated")

    def of(self, name: str) -> ScaleSet:
        return next(s for s in self.sets.values() if s.name == name)
