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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Protocol

from autoscaler.clock import SystemClock, monotonic
from autoscaler.errors import (
    InputError,
    ProviderError,
    StorageError,
    ThrottledError,
    UnreachableError,
)
from autoscaler.ports import Clock
from autoscaler.types import Action, Fleet, Instance, Launch, Offer, OfferFault, Outcome
from providers.azure.adopter import Adopter, Strangers
from providers.azure.client import PUBLIC, Client, Identity, check_endpoint, import_sdk
from providers.azure.creation import BeingMadeError
from providers.azure.failures import StaleError
from providers.azure.keeper import Keeper, failure_of, orders_with
from providers.azure.machines import Label, MachineSeen, SetSeen, instance_of, label_of
from providers.azure.operating import ASK_AGAIN_S, Operator, Status, outcome
from providers.azure.orders import Terms, read_terms
from providers.azure.questions import Questions, check_retail
from providers.azure.records import Records
from providers.azure.settings import Order, SetRef, offer_faults, order
from providers.azure.survey import Asked, Grown, Survey
from providers.azure.watch import Watch
from providers.inquiry import Inquiry


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
    adopt: list machines of our scale sets that nobody here ordered too. retail_prices: address of Azure's retail
    prices, such as https://prices.azure.com; empty = they are not asked for. credential: for programs only, in place
    of `identity`. offers: what the rules in force may launch, by pool; the service fills it.
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
    retail_prices: str = ""
    credential: Credential | None = None
    offers: Callable[[], Iterable[tuple[str, Offer]]] = tuple
    _client: Client = field(init=False, repr=False, compare=False)
    _records: Records = field(init=False, repr=False, compare=False)
    _keepers: dict[SetRef, Keeper] = field(default_factory=dict, init=False, repr=False, compare=False)
    _watch: Watch = field(default_factory=Watch, init=False, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    _looking: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    _watched: frozenset[tuple[str, str]] = field(init=False, repr=False, compare=False)
    _operator: Operator = field(init=False, repr=False, compare=False)
    _survey: Survey = field(init=False, repr=False, compare=False)
    _strangers: Strangers = field(default_factory=Strangers, init=False, repr=False, compare=False)
    _grown: list[tuple[Grown, ...]] = field(default_factory=lambda: [()], init=False, repr=False, compare=False)
    _last: list[tuple[float, Fleet]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= 600:
            raise InputError(f"azure.timeout_s is {self.timeout_s:g}; write a time from 1 s to 600 s")
        check_endpoint(self.endpoint)
        check_retail(self.retail_prices)
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
        operator = Operator(client, self._records, self.clock, self._keeper, self._adopted)
        object.__setattr__(self, "_operator", operator)
        questions = Questions(client, self.retail_prices, self._cores)
        object.__setattr__(self, "_survey", Survey(questions, Inquiry(self.clock)))

    def adopter(self) -> Adopter:
        """Gives machines of somebody else's to a pool."""
        return Adopter(self._client, self._records, self._keeper, self._order_of, self.clock)

    def _order_of(self, offer: Offer) -> Order:
        asked = order(offer, self.subscription, self.resource_group)
        self._check_watched(asked.ref, offer)
        return asked

    def close(self) -> None:
        """Drops the connections. The machines stay."""
        self._watch.close()
        self._client.close()

    # --- offers -------------------------------------------------------------------------------------------------

    @staticmethod
    def offer_faults(offer: Offer) -> tuple[OfferFault, ...]:
        """What is wrong with an offer, as far as it can be told without Azure."""
        return offer_faults(offer)

    def survey(self) -> bool:
        """Asks Azure some of what is due about the offers in force: see `Questions`."""
        return self._survey.ask(self._asked())

    def _asked(self) -> tuple[Asked, ...]:
        return tuple(self._understood(pool, offer) for pool, offer in self.offers() if offer.provider == "azure")

    def _understood(self, pool: str, offer: Offer) -> Asked:
        subscription = dict(offer.settings).get("subscription", self.subscription)
        try:
            asked = order(offer, self.subscription, self.resource_group)
            self._check_watched(asked.ref, offer)
        except ProviderError as error:
            return Asked(pool, offer, subscription, None, str(error))
        return Asked(pool, offer, subscription, asked)

    def _cores(self, subscription: str, region: str) -> Mapping[str, int]:
        return self._survey.cores(self._grown[0], subscription, region)

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
        grown: list[Grown] = []
        there: set[tuple[SetRef, str]] = set()
        for subscription, group in sorted(self._watched):
            for seen in self._client.scale_sets(subscription, group):
                terms = read_terms(seen.tags) or known.get(seen.ref)
                if terms is None:
                    grown.append(Grown(seen, ()))
                else:
                    if act:
                        self._records.know(seen.ref, terms)
                    listed = self._listed(seen, terms, now, act)
                    instances += listed
                    grown.append(Grown(seen, tuple(listed)))
                    there |= {(seen.ref, i.id.rpartition("/")[2]) for i in listed}
        self._watch.forget_all_but(there)
        self._grown[0] = tuple(grown)
        return Fleet(now, tuple(instances), standings=self._survey.standings(self._asked(), grown, now))

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
            self._strangers.tell(seen.ref, {m.id for m in machines} - {m.id for m, _ in labels})
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
            return self._launch(action) if isinstance(action, Launch) else self._operator.operate(action)
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
        self._check_watched(asked.ref, launch.offer)
        keeper = self._keeper(asked.ref)
        try:
            entry, new = keeper.order(launch, asked)
        except BeingMadeError as wait:
            token = self._records.token(asked.ref)
            return self._outcome(launch, "accepted", None, str(wait), wait.retry_after_s, token)
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

    def _check_watched(self, ref: SetRef, offer: Offer) -> None:
        if (ref.subscription, ref.group) not in self._watched:
            where = f"{ref.subscription}/{ref.group}"
            raise ProviderError(f"{offer.key}: {where} is not watched; add it to providers.azure.more_groups")

    def _outcome(
        self,
        action: Action,
        status: Status,
        instance: str | None,
        said: str | ProviderError = "",
        retry_after_s: float | None = None,
        continuation: str | None = None,
    ) -> Outcome:
        return outcome(action, status, self.clock.now(), instance, said, retry_after_s, continuation)
