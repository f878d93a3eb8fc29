"""Instances that somebody else made, given to a pool by its tags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoscaler.errors import ProviderError
from autoscaler.ports import Clock
from autoscaler.types import Instance, Offer
from providers.aws import marks
from providers.aws.region import Region
from providers.aws.seen import Seen, seen

ALIVE = ("pending", "running", "stopped")


@dataclass(frozen=True, slots=True)
class Adopter:
    """Looks at instances that carry no owner's tag, and tags those that a person names."""

    owner: str
    regions: Mapping[str, Region]
    clock: Clock

    def adoptable(self, pool: str, offers: Sequence[Offer]) -> tuple[Instance, ...]:
        """Instances that are nobody's and are what one of the offers would launch. Raises ProviderError."""
        found = []
        for name, region in self.regions.items():
            types = sorted({o.type for o in offers if (o.region or next(iter(self.regions))) == name})
            if not types:
                continue
            kinds = {"Name": "instance-type", "Values": types}
            alive = {"Name": "instance-state-name", "Values": list(ALIVE)}
            for one in (seen(record, name) for record in region.instances(kinds, alive)):
                offer = None if one.mark.owner else self._offer(one, offers)
                if offer is not None:
                    found.append(_shown(one, pool, offer))
        return tuple(found)

    def take_over(self, pool: str, offers: Sequence[Offer], instances: Sequence[str]) -> None:
        """Tags them as the pool's. Nothing is tagged when one of them cannot be. Raises ProviderError."""
        faults: list[str] = []
        tagged: dict[tuple[str, Offer, bool], list[str]] = defaultdict(list)
        known = {one.id: one for one in self._named(instances)}
        for id_ in dict.fromkeys(instances):
            one = known.get(id_)
            if one is None or one.ec2_state not in ALIVE:
                faults.append(f"{id_} is no instance that runs or rests in {', '.join(self.regions)}")
            elif one.mark.owner and (one.mark.owner, one.mark.pool) != (self.owner, pool):
                faults.append(f"{id_} belongs to {one.mark.owner}, pool {one.mark.pool or '(none)'}")
            elif not one.mark.owner:
                offer = self._offer(one, offers)
                if offer is None:
                    faults.append(f"{id_} is {one.record.get('InstanceType', '')}, which no offer of pool {pool} is")
                else:
                    tagged[one.region, offer, one.ec2_state == "stopped"].append(id_)
        if faults:
            raise ProviderError("; ".join(faults) + ". Nothing was tagged")
        for (region, offer, rests), ids in tagged.items():
            tags = marks.as_list(self._tags(pool, offer, rests))
            self.regions[region].call("create_tags", Resources=ids, Tags=tags)

    def _named(self, instances: Sequence[str]) -> list[Seen]:
        by_id = {"Name": "instance-id", "Values": list(instances)}
        return [seen(record, name) for name, region in self.regions.items() for record in region.instances(by_id)]

    def _offer(self, one: Seen, offers: Sequence[Offer]) -> Offer | None:
        """The offer that would have launched it."""
        zone = one.record.get("Placement", {}).get("AvailabilityZone", "")
        for offer in offers:
            same = offer.type == one.record.get("InstanceType")
            here = (offer.region or next(iter(self.regions))) == one.region and offer.zone in ("", zone)
            if same and here and (offer.purchase == "spot") == one.spot:
                return offer
        return None

    def _tags(self, pool: str, offer: Offer, rests: bool) -> dict[str, str]:
        settings = dict(offer.settings)
        tags = {
            "owner": self.owner,
            "pool": pool,
            "offer": offer.key,
            "replicas": str(offer.replicas),
            "usd_per_hour": f"{offer.usd_per_hour:.10g}",
            "port": settings.get("port", "8000"),
            "probe": settings.get("ready", "/health"),
            "role": "warm" if rests else "serving",
            "since": repr(float(self.clock.now())),
        }
        return {marks.PREFIX + name: value for name, value in tags.items()}


def _shown(one: Seen, pool: str, offer: Offer) -> Instance:
    name = next((str(t["Value"]) for t in one.record.get("Tags", ()) if t.get("Key") == "Name"), "")
    at = one.launched_at
    return Instance(
        id=one.id,
        pool=pool,
        offer=offer.key,
        state="warm" if one.ec2_state == "stopped" else "ready",
        since=at,
        replicas=offer.replicas,
        requested_at=at,
        usd_per_hour=offer.usd_per_hour,
        detail=f"{one.ec2_state}{f', Name {name}' if name else ''}",
    )
