"""Machines that nobody here ordered, in scale sets that offers name, given to a pool by their tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from autoscaler.errors import ProviderError
from autoscaler.ports import Clock
from autoscaler.types import Instance, Offer
from providers.azure.client import Client
from providers.azure.keeper import Keeper, orders_with
from providers.azure.machines import Label, MachineSeen, SetSeen, instance_of, label_of, label_tags
from providers.azure.orders import Terms, read, read_terms, write
from providers.azure.records import Records
from providers.azure.settings import Order, SetRef, same_size

RESTS = ("deallocated", "deallocating", "stopped")
_log = structlog.get_logger("providers.azure")


@dataclass(slots=True)
class Strangers:
    """Says once which machines of a scale set of ours nobody here ordered."""

    _said: dict[SetRef, frozenset[str]] = field(default_factory=dict)

    def tell(self, ref: SetRef, machines: Iterable[str]) -> None:
        """The strange machines of a look at the whole scale set."""
        some = frozenset(machines)
        if some - self._said.get(ref, frozenset()):
            text = "machines that nobody here ordered; they are left alone, `sigmascale adopt` gives them to the pool"
            _log.warning(text, scale_set=str(ref), machines=sorted(some)[:20], count=len(some))
        self._said[ref] = some


@dataclass(frozen=True, slots=True)
class Adopter:
    """understood: an offer with the provider's defaults; raises ProviderError for one that is not watched."""

    client: Client
    records: Records
    keeper: Callable[[SetRef], Keeper]
    understood: Callable[[Offer], Order]
    clock: Clock

    def adoptable(self, pool: str, offers: Sequence[Offer]) -> tuple[Instance, ...]:
        """Machines that are nobody's, in the scale sets of the offers. Raises ProviderError."""
        found = []
        for seen, terms, machine in self._nobodys(pool, offers):
            label = self._label(machine)
            found.append(instance_of(seen.ref, terms, machine, label, seen.spot, self.clock.now()))
        return tuple(found)

    def take_over(self, pool: str, offers: Sequence[Offer], instances: Sequence[str]) -> None:
        """Labels them as the pool's. Nothing is labelled when one of them cannot be. Raises ProviderError."""
        free = {
            f"{seen.ref}/{machine.id}": (seen, terms, machine) for seen, terms, machine in self._nobodys(pool, offers)
        }
        ours = {i for offer in offers for i in self._ours(pool, offer)}
        strange = [id_ for id_ in instances if id_ not in free and id_ not in ours]
        if strange:
            raise ProviderError(
                f"{', '.join(strange)}: no machine that is nobody's in a scale set of pool {pool}'s offers. "
                "Nothing was labelled"
            )
        chosen = [free[id_] for id_ in dict.fromkeys(instances) if id_ in free]
        for ref in {seen.ref for seen, _, _ in chosen}:
            seen, terms = next((seen, terms) for seen, terms, _ in chosen if seen.ref == ref)
            with self.keeper(ref).lock:
                self.records.know(ref, terms)
                if read_terms(seen.tags) is None:
                    self.client.write_set(seen, None, write(seen.tags, terms, read(seen.tags)))
                for other, _, machine in chosen:
                    if other.ref == ref:
                        label = self._label(machine)
                        self.client.label(ref, machine, label_tags(label, pool), protect=label.role != "warm")

    def _nobodys(self, pool: str, offers: Sequence[Offer]) -> Iterator[tuple[SetSeen, Terms, MachineSeen]]:
        for seen, terms, machines in self._sets(pool, offers):
            taken = {e.machine for e in orders_with(seen, machines) if e.machine}
            for machine in machines:
                if machine.id not in taken and label_of(machine, None) is None and machine.state != "Deleting":
                    yield seen, terms, machine

    def _ours(self, pool: str, offer: Offer) -> list[str]:
        found = self._sets(pool, [offer])
        return [f"{s.ref}/{m.id}" for s, _, machines in found for m in machines if label_of(m, None) is not None]

    def _sets(self, pool: str, offers: Sequence[Offer]) -> Iterator[tuple[SetSeen, Terms, list[MachineSeen]]]:
        """Each scale set of the offers that serves the pool, or nobody yet, with its machines."""
        for offer in offers:
            asked = self.understood(offer)
            seen = self.client.scale_set(asked.ref)
            terms = read_terms(seen.tags) or self.records.sets().get(asked.ref) or terms_of(pool, asked)
            same = same_size(seen.size, asked.size) and seen.spot == (offer.purchase == "spot")
            if (terms.pool, terms.offer) == (pool, offer.key) and same:
                yield seen, terms, list(self.client.machines(asked.ref))

    def _label(self, machine: MachineSeen) -> Label:
        now = self.clock.now()
        at = machine.state_at or now
        return Label(None, "warm" if machine.power in RESTS else "serving", at, now)


def terms_of(pool: str, asked: Order) -> Terms:
    """What the machines of an offer's scale set are."""
    offer = asked.offer
    return Terms(pool, offer.key, offer.replicas, offer.usd_per_hour, asked.port, asked.dns_suffix, asked.ready)
