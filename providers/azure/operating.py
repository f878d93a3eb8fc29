"""What is done with one machine of a scale set: out of routing and back, started, put to rest, deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from autoscaler.errors import BusyError, CapacityError, ProviderError, QuotaError
from autoscaler.ports import Clock
from autoscaler.types import Action, Operate, Outcome
from providers.azure.client import Client
from providers.azure.failures import CAPACITY, StaleError
from providers.azure.keeper import TRIES, Keeper
from providers.azure.machines import Label, MachineSeen, label_of, label_tags, mark, role_after
from providers.azure.orders import Terms, read, read_terms, usable
from providers.azure.records import Records
from providers.azure.settings import SetRef

Status = Literal["accepted", "done", "failed", "unknown"]
ASK_AGAIN_S = 5.0
START_RESTS_S = 180.0
"""A machine that could not be started for want of capacity is not asked again so soon (as long as a new shortage)."""


@dataclass
class Operator:
    """keeper: of a scale set. adopted: the label of a machine that nobody here ordered, None = it is not ours."""

    client: Client
    records: Records
    clock: Clock
    keeper: Callable[[SetRef], Keeper]
    adopted: Callable[[MachineSeen], Label | None]

    def operate(self, action: Operate) -> Outcome:
        """Accepted or done. Raises ProviderError."""
        ref, machine = self._key(action.instance) or (None, "")
        if ref is None:
            if action.kind == "terminate":
                return self._outcome(action, "done", action.instance)
            raise ProviderError(_nobody(action))
        keeper = self.keeper(ref)
        with keeper.lock:
            for _ in range(TRIES):
                try:
                    return self._operated(action, keeper, machine)
                except StaleError:
                    continue
        raise BusyError(f"{action.instance}: changed by somebody else {TRIES} times in a row", ASK_AGAIN_S)

    def _key(self, instance: str) -> tuple[SetRef, str] | None:
        """Scale set and machine of an instance's id, None for one that is not known here."""
        group, _, rest = instance.partition("/")
        name, _, machine = rest.partition("/")
        ref = self.records.named(group, name)
        return (ref, machine) if ref is not None and machine else None

    def _operated(self, action: Operate, keeper: Keeper, machine: str) -> Outcome:
        ref = keeper.ref
        found = self.client.machine(ref, machine)
        terms, label = (self.records.sets()[ref], None) if found is None else self._whose(keeper, found)
        if found is not None and (label is None or terms.pool != action.pool):
            whose = f"serves pool {terms.pool}, not {action.pool}" if label is not None else "is not ours"
            raise ProviderError(f"{action.instance} {whose}; nothing was done")
        if action.kind == "terminate":
            if found is None:
                return self._outcome(action, "done", action.instance)
            token = None if found.state == "Deleting" else self.client.operate("delete", ref, [machine])
            return self._outcome(action, "accepted", action.instance, continuation=token)
        if found is None or label is None or found.state == "Deleting":
            raise ProviderError(_nobody(action))
        if mark(action.id) in label.applied:
            return self._outcome(action, "done", action.instance, "carried out before")
        role = role_after(action, label)
        if role == "serving" and action.kind == "start":
            self._rested(found, action)
        now = self.clock.now()
        self.client.label(ref, found, label_tags(label.after(action.id, role, now), terms.pool), role != "warm")
        if action.kind == "stop" and found.power not in ("deallocated", "deallocating"):
            token = self.client.operate("deallocate", ref, [machine])
            return self._outcome(action, "accepted", action.instance, continuation=token)
        if action.kind == "start" and found.power != "running":
            return self._start(action, ref, machine, label, terms)
        return self._outcome(action, "done", action.instance)

    def _whose(self, keeper: Keeper, found: MachineSeen) -> tuple[Terms, Label | None]:
        seen = self.client.scale_set(keeper.ref)
        terms = read_terms(seen.tags) or self.records.sets()[keeper.ref]
        entries = read(seen.tags)
        if usable(found.tags) and not any(e.machine == found.id for e in entries):
            # Not assigned yet, or nobody knows of it: that has to be written down before it is touched.
            entries, kept = keeper.tend(seen, self.client.machines(keeper.ref))
            if not kept:
                raise StaleError(f"{keeper.ref}/{found.id}: whose it is cannot be written down now")
        label = label_of(found, next((e for e in entries if e.machine == found.id), None))
        return terms, label or self.adopted(found)

    def _rested(self, found: MachineSeen, action: Operate) -> None:
        """Raises CapacityError for a machine that failed to start a moment ago for want of capacity."""
        if found.state != "Failed" or found.code not in CAPACITY or found.state_at is None:
            return
        if self.clock.now() - found.state_at < START_RESTS_S:
            raise CapacityError(f"{action.instance}: its last start failed: {found.code}: {found.text}")

    def _start(self, action: Operate, ref: SetRef, machine: str, before: Label, terms: Terms) -> Outcome:
        try:
            token = self.client.operate("start", ref, [machine])
        except (CapacityError, QuotaError):
            # It goes on resting, so that it is neither counted on nor taken for evicted.
            now = self.client.machine(ref, machine)
            if now is not None:
                self.client.label(ref, now, label_tags(before, terms.pool), protect=False)
            raise
        return self._outcome(action, "accepted", action.instance, continuation=token)

    def _outcome(
        self, action: Operate, status: Status, instance: str, text: str = "", continuation: str | None = None
    ) -> Outcome:
        return outcome(action, status, self.clock.now(), instance, text, continuation=continuation)


def outcome(
    action: Action,
    status: Status,
    now: float,
    instance: str | None,
    said: str | ProviderError = "",
    retry_after_s: float | None = None,
    continuation: str | None = None,
) -> Outcome:
    """What the loop hears of an action."""
    error = said.code if isinstance(said, ProviderError) else ""
    return Outcome(action.id, action.pool, status, now, instance, error, str(said), retry_after_s, continuation)


def _nobody(action: Operate) -> str:
    return f"no instance {action.instance} to {action.kind}; it ended or never was, observe again"
