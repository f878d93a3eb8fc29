"""Scale sets of Azure as a provider. See docs/azure.md.

    offers:
      from:
        - azure: {type: NC24ads_A100_v4, region: eastus, scale_set: chat-a100}

A growth is one conditional write that raises the capacity and names the actions that it is for (`orders`), so that a
repetition buys nothing. Machines carry in their tags which action made them and what they are kept for. What a report
shows is read from Azure alone; the file of `records` only helps to find it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol

from autoscaler.clock import SystemClock, monotonic
from autoscaler.errors import (
    CapacityError,
    InputError,
    ProviderError,
    QuotaError,
    StorageError,
    ThrottledError,
    UnreachableError,
)
from autoscaler.ports import Clock
from autoscaler.types import Action, Fleet, Instance, Launch, Operate, Outcome
from providers.azure.client import PUBLIC, Client, Identity, check_endpoint, import_sdk
from providers.azure.failures import CAPACITY, StaleError
from providers.azure.keeper import TRIES, Keeper, failure_of, orders_with
from providers.azure.machines import Label, MachineSeen, SetSeen, instance_of, label_of, label_tags, mark, role_after
from providers.azure.orders import Terms, read, read_terms, usable
from providers.azure.records import Records
from providers.azure.settings import SetRef, order
from providers.azure.watch import Watch

Status = Literal["accepted", "done", "failed", "unknown"]
ASK_AGAIN_S = 5.0
START_RESTS_S = 180.0
"""A machine that could not be started for want of capacity is not asked again so soon (as long as a new shortage)."""


class Credential(Protocol):
    """Gives tokens, as azure-identity's classes do."""

    def get_token(self, *scopes: str, **how: object) -> object: ...


@dataclass(frozen=True)
class AzureProvider:
    """Machines of scale sets.

    directory: where operations under way are kept. subscription: id; default the environment's AZURE_SUBSCRIPTION_ID.
    resource_group: where scale sets are, unless an offer says. more_groups: others that offers may name, as GROUP or
    SUBSCRIPTION/GROUP; what is not watched is not bought from. identity: default, environment, managed, workload or
    cli, as azure-identity calls them. endpoint: of Azure Resource Manager. timeout_s: longest wait for one answer.
    adopt: list machines of our scale sets that nobody here ordered too. credential: for programs only, in place of
    `identity`.
    """

    directory: Path
    clock: Clock = field(default_factory=SystemClock)
    subscription: str = ""
    resource_group: str = ""
    more_groups: tuple[str, ...] = ()
    identity: Identity = "default"
    endpoint: str = PUBLIC
    timeout_s: float = 30.0
    adopt: bool = False
    credential: Credential | None = None
    _client: Client = field(init=False, repr=False, compare=False)
    _records: Records = field(init=False, repr=False, compare=False)
    _keepers: dict[SetRef, Keeper] = field(default_factory=dict, init=False, repr=False, compare=False)
    _watch: Watch = field(default_factory=Watch, init=False, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    _looking: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    _watched: frozenset[tuple[str, str]] = field(init=False, repr=False, compare=False)
    _last: list[tuple[float, Fleet]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= 600:
            raise InputError(f"azure.timeout_s is {self.timeout_s:g}; write a time from 1 s to 600 s")
        check_endpoint(self.endpoint)
        if not self.subscription:
            object.__setattr__(self, "subscription", os.environ.get("AZURE_SUBSCRIPTION_ID", ""))
        if not (self.subscription and self.resource_group):
            missing = "resource_group" if self.subscription else "subscription"
            raise InputError(f"azure: {missing} is missing; write providers: {{azure: {{{missing}: NAME}}}}")
        import_sdk()
        pairs = [group.rpartition("/") for group in (self.resource_group, *self.more_groups)]
        watched = frozenset((subscription or self.subscription, group.lower()) for subscription, _, group in pairs)
        if len({group for _, group in watched}) < len(watched):
            raise InputError("azure.more_groups: two groups of one name; ids of instances would not tell them apart")
        object.__setattr__(self, "_watched", watched)
        client = Client(self.endpoint, self.identity, self.credential, self.timeout_s)
        object.__setattr__(self, "_client", client)
        object.__setattr__(self, "_records", Records(Path(self.directory)))
        self._records.open()

    def close(self) -> None:
        """Drops the connections. The machines stay."""
        self._watch.close()
        self._client.close()

    # --- observe ------------------------------------------------------------------------------------------------

    def look(self) -> Fleet:
        """What Azure lists, and nothing is done about it: for a service that must not act."""
        return self._look(act=False)

    def observe(self) -> Fleet:
        """Every machine of our scale sets. Raises ProviderError when one of them cannot be read."""
        asked = monotonic()
        with self._looking:
            # Many actions end at once, and each wants a look: one that began after they asked will do for all.
            if self._last and self._last[0][0] > asked:
                return self._last[0][1]
            began, fleet = monotonic(), self._look(act=True)
            self._last[:] = [(began, fleet)]
            return fleet

    def _look(self, act: bool) -> Fleet:
        now = self.clock.now()
        known = self._records.sets()
        instances: list[Instance] = []
        there: set[tuple[SetRef, str]] = set()
        for subscription, group in sorted(self._watched):
            for seen in self._client.scale_sets(subscription, group):
                terms = read_terms(seen.tags) or known.get(seen.ref)
                if terms is not None:
                    if act:
                        self._records.know(seen.ref, terms)
                    listed = self._listed(seen, terms, now, act)
                    instances += listed
                    there |= {(seen.ref, i.id.rpartition("/")[2]) for i in listed}
        self._watch.forget_all_but(there)
        return Fleet(now, tuple(instances))

    def _listed(self, seen: SetSeen, terms: Terms, now: float, act: bool) -> list[Instance]:
        keeper = self._keeper(seen.ref)
        machines = self._client.machines(seen.ref)
        entries, kept = keeper.tend(seen, machines) if act else (orders_with(seen, machines), False)
        by_machine = {e.machine: e for e in entries if e.machine}
        found, labels = [], []
        for machine in machines:
            label = label_of(machine, by_machine.get(machine.id)) or self._adopted(machine)
            if label is not None:
                label = replace(label, ready_at=self._watch.ready_at(seen.ref, terms, machine, label, now))
                labels.append((machine, label))
                found.append(instance_of(seen.ref, terms, machine, label, seen.spot, now))
        if kept:
            keeper.settle(labels, terms.pool)
        return found

    def _adopted(self, machine: MachineSeen) -> Label | None:
        at = machine.state_at or self.clock.now()
        return Label(None, "serving", at, at) if self.adopt else None

    def _keeper(self, ref: SetRef) -> Keeper:
        with self._lock:
            return self._keepers.setdefault(ref, Keeper(ref, self._client, self._records, self.clock))

    # --- apply --------------------------------------------------------------------------------------------------

    def apply(self, action: Action) -> Outcome:
        instance = None if isinstance(action, Launch) else action.instance
        try:
            return self._launch(action) if isinstance(action, Launch) else self._operate(action)
        except ThrottledError as error:
            return self._outcome(action, "unknown", instance, error, retry_after_s=error.retry_after_s)
        except (UnreachableError, StaleError) as error:
            return self._outcome(action, "unknown", instance, error)
        except StorageError as error:
            return self._outcome(action, "unknown", instance, str(error))
        except ProviderError as error:
            return self._outcome(action, "failed", instance, error)

    def _launch(self, launch: Launch) -> Outcome:
        asked = order(launch.offer, self.subscription, self.resource_group)
        if (asked.ref.subscription, asked.ref.group) not in self._watched:
            where = f"{asked.ref.subscription}/{asked.ref.group}"
            raise ProviderError(f"{launch.offer.key}: {where} is not watched; add it to providers.azure.more_groups")
        keeper = self._keeper(asked.ref)
        entry, new = keeper.order(launch, asked)
        if entry.open and not new:
            seen = self._client.scale_set(asked.ref)
            entries, _ = keeper.tend(seen, self._client.machines(asked.ref))
            entry = next((e for e in entries if e.action == launch.id), entry)
        if entry.failure:
            raise failure_of(entry)
        if entry.machine:
            return self._outcome(launch, "accepted", f"{asked.ref}/{entry.machine}")
        text = f"scale set {asked.ref} grows"
        token = self._records.token(asked.ref)
        return self._outcome(launch, "accepted", None, text, retry_after_s=ASK_AGAIN_S, continuation=token)

    def _operate(self, action: Operate) -> Outcome:
        ref, machine = self._key(action.instance) or (None, "")
        if ref is None:
            if action.kind == "terminate":
                return self._outcome(action, "done", action.instance)
            raise ProviderError(_nobody(action))
        keeper = self._keeper(ref)
        with keeper.lock:
            for _ in range(TRIES):
                try:
                    return self._operated(action, keeper, machine)
                except StaleError:
                    continue
        raise ThrottledError(f"{action.instance}: changed by somebody else {TRIES} times in a row", ASK_AGAIN_S)

    def _key(self, instance: str) -> tuple[SetRef, str] | None:
        """Scale set and machine of an instance's id, None for one that is not known here."""
        group, _, rest = instance.partition("/")
        name, _, machine = rest.partition("/")
        ref = self._records.named(group, name)
        return (ref, machine) if ref is not None and machine else None

    def _operated(self, action: Operate, keeper: Keeper, machine: str) -> Outcome:
        ref = keeper.ref
        found = self._client.machine(ref, machine)
        terms, label = (self._records.sets()[ref], None) if found is None else self._whose(keeper, found)
        if found is not None and (label is None or terms.pool != action.pool):
            whose = f"serves pool {terms.pool}, not {action.pool}" if label is not None else "is not ours"
            raise ProviderError(f"{action.instance} {whose}; nothing was done")
        if action.kind == "terminate":
            if found is None:
                return self._outcome(action, "done", action.instance)
            token = None if found.state == "Deleting" else self._client.operate("delete", ref, [machine])
            return self._outcome(action, "accepted", action.instance, continuation=token)
        if found is None or label is None or found.state == "Deleting":
            raise ProviderError(_nobody(action))
        if mark(action.id) in label.applied:
            return self._outcome(action, "done", action.instance, "carried out before")
        role = role_after(action, label)
        if role == "serving" and action.kind == "start":
            self._rested(found, action)
        now = self.clock.now()
        self._client.label(ref, found, label_tags(label.after(action.id, role, now), terms.pool), role != "warm")
        if action.kind == "stop" and found.power not in ("deallocated", "deallocating"):
            token = self._client.operate("deallocate", ref, [machine])
            return self._outcome(action, "accepted", action.instance, continuation=token)
        if action.kind == "start" and found.power != "running":
            return self._start(action, ref, machine, label, terms)
        return self._outcome(action, "done", action.instance)

    def _whose(self, keeper: Keeper, found: MachineSeen) -> tuple[Terms, Label | None]:
        seen = self._client.scale_set(keeper.ref)
        terms = read_terms(seen.tags) or self._records.sets()[keeper.ref]
        entries = read(seen.tags)
        if usable(found.tags) and not any(e.machine == found.id for e in entries):
            # Not assigned yet, or nobody knows of it: that has to be written down before it is touched.
            entries, kept = keeper.tend(seen, self._client.machines(keeper.ref))
            if not kept:
                raise StaleError(f"{keeper.ref}/{found.id}: whose it is cannot be written down now")
        label = label_of(found, next((e for e in entries if e.machine == found.id), None))
        return terms, label or self._adopted(found)

    def _rested(self, found: MachineSeen, action: Operate) -> None:
        """Raises CapacityError for a machine that failed to start a moment ago for want of capacity."""
        if found.state != "Failed" or found.code not in CAPACITY or found.state_at is None:
            return
        if self.clock.now() - found.state_at < START_RESTS_S:
            raise CapacityError(f"{action.instance}: its last start failed: {found.code}: {found.text}")

    def _start(self, action: Operate, ref: SetRef, machine: str, before: Label, terms: Terms) -> Outcome:
        try:
            token = self._client.operate("start", ref, [machine])
        except (CapacityError, QuotaError):
            # It goes on resting, so that it is neither counted on nor taken for evicted.
            now = self._client.machine(ref, machine)
            if now is not None:
                self._client.label(ref, now, label_tags(before, terms.pool), protect=False)
            raise
        return self._outcome(action, "accepted", action.instance, continuation=token)

    def _outcome(
        self,
        action: Action,
        status: Status,
        instance: str | None,
        said: str | ProviderError = "",
        retry_after_s: float | None = None,
        continuation: str | None = None,
    ) -> Outcome:
        error = said.code if isinstance(said, ProviderError) else ""
        now = self.clock.now()
        return Outcome(action.id, action.pool, status, now, instance, error, str(said), retry_after_s, continuation)


def _nobody(action: Operate) -> str:
    return f"no instance {action.instance} to {action.kind}; it ended or never was, observe again"
