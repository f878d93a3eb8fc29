"""What the provider knows of instances between two looks, and the little that it does about them by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

import structlog

from autoscaler.errors import ProviderError
from autoscaler.types import Fleet
from providers.aws import marks
from providers.aws.region import Region
from providers.aws.seen import Seen, listed
from providers.readiness import Prober

NOTICED = ("marked-for-termination", "marked-for-stop")
"""Codes of a spot request whose instance EC2 is about to take back, two minutes before (EC2 user guide)."""
CALLS_AT_ONCE, TAGGED_AT_ONCE, STOPPED_AT_ONCE = 5, 500, 50
"""How much one look tags or stops, so that reports stay quick; the rest waits for the next."""
_log = structlog.get_logger("providers.aws")


@dataclass
class Watch:
    """Used by the observer and by the threads that apply; the lock covers what they share.

    _ready: when an instance first answered, until its tag can be read. _died: when one was first seen dead. _ending:
    those that we terminated. _noticed: what EC2 said last of spot instances, by region and instance.
    """

    owner: str
    address: Literal["private", "public"]
    failed_for_s: float
    warm_up_s: float
    probe_timeout_s: float
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _ready: dict[str, float] = field(default_factory=dict, init=False)
    _died: dict[str, float] = field(default_factory=dict, init=False)
    _ending: set[str] = field(default_factory=set, init=False)
    _noticed: dict[str, dict[str, str]] = field(default_factory=dict, init=False)
    _said: dict[str, str] = field(default_factory=dict, init=False)
    _prober: Prober = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._prober = Prober(self.probe_timeout_s)

    def close(self) -> None:
        """Waits for the probes under way, which their time-out bounds."""
        self._prober.close()

    def starting(self, instance: str) -> None:
        """Forget that it answered: it will have booted anew."""
        with self._lock:
            self._ready.pop(instance, None)

    def ending(self, instance: str) -> None:
        """It is terminated by us, whatever EC2 gives as the reason."""
        with self._lock:
            self._ending.add(instance)

    # --- look -----------------------------------------------------------------------------------------------------

    def fleet(self, found: Sequence[Seen], regions: Mapping[str, Region], now: float) -> Fleet:
        """The fleet of what EC2 listed. Asks for status checks, spot notices and readiness where it has to."""
        notices = self._notices(found, regions)
        self._probe(found, regions, now)
        with self._lock:
            known = {one.id for one in found}
            self._ready = {i: at for i, at in self._ready.items() if i in known}
            self._died = {i: at for i, at in self._died.items() if i in known}
            self._ending &= known
            shown = [one for one in found if self._shows(one, now)]
            instances = [
                listed(one, now, one.ready_since(self._ready.get(one.id, 0.0)), notices.get(one.id, ""), self.address)
                for one in shown
            ]
        return Fleet(now, tuple(sorted(instances, key=lambda i: i.id)))

    def _shows(self, one: Seen, now: float) -> bool:
        """Whether an instance that has ended is still worth telling: only one that ended by itself, for a while."""
        if not one.ended:
            return True
        if one.id in self._ending or not one.why:
            return one.ec2_state == "shutting-down"
        died = self._died.setdefault(one.id, one.ended_at or now)
        return now - died <= self.failed_for_s

    def _notices(self, found: Sequence[Seen], regions: Mapping[str, Region]) -> dict[str, str]:
        told: dict[str, str] = {}
        for name in {one.region for one in found if one.spot and not one.ended}:
            mine = marks.with_tag(marks.OWNER, [self.owner])
            try:
                codes = {"Name": "status-code", "Values": list(NOTICED)}
                self._noticed[name] = regions[name].notices(mine, codes)
                self._said.pop(f"spot {name}", None)
            except ProviderError as error:
                # Blindness for notices must not blind the pool.
                self._say(f"spot {name}", "spot notices cannot be read, the last ones count", error)
            told |= self._noticed.get(name, {})
        return told

    def _probe(self, found: Sequence[Seen], regions: Mapping[str, Region], now: float) -> None:
        """Who serves by now, of those that run and have not answered yet."""
        asked: dict[str, list[str]] = defaultdict(list)
        for one in found:
            remembered = self._ready.get(one.id, 0.0)
            if one.ec2_state != "running" or one.role == "warm" or one.ready_since(remembered):
                continue
            host = one.host(self.address)
            if one.mark.probe == "running":
                self._answered(one.id, now)
            elif one.mark.probe == "checks":
                asked[one.region].append(one.id)
            elif host:
                self._prober.ask(one.id, f"http://{host}:{one.mark.port}{one.mark.probe}")
        for name, ids in asked.items():
            for instance in regions[name].passed(ids):
                self._answered(instance, now)
        for answer in self._prober.answers():
            if answer.says == "ready":
                self._answered(answer.action, now)

    def _answered(self, instance: str, now: float) -> None:
        with self._lock:
            self._ready[instance] = now

    # --- tend -----------------------------------------------------------------------------------------------------

    def tend(self, found: Sequence[Seen], regions: Mapping[str, Region], now: float) -> None:
        """Writes down who serves since when, and stops new warm instances that have run long enough.

        EC2 can only launch running instances, so a warm one has to be stopped later, by whoever is there then. What is
        refused is told and tried again at the next look.
        """
        # What answered at the same look has the same tag, and one call sets it for all of them.
        answered: dict[tuple[str, float], list[str]] = defaultdict(list)
        for one in found:
            since = self._ready.get(one.id, 0.0)
            if since > one.mark.ready_at and not one.ended:
                answered[one.region, since].append(one.id)
        rested: dict[str, list[Seen]] = defaultdict(list)
        for one in found:
            if one.role == "warm" and one.ec2_state == "running" and now - one.mark.since >= self.warm_up_s:
                rested[one.region].append(one)
        try:
            for (name, since), ids in list(answered.items())[:CALLS_AT_ONCE]:
                tags = marks.as_list(marks.first_ready(since))
                regions[name].call("create_tags", Resources=ids[:TAGGED_AT_ONCE], Tags=tags)
            for name, some in rested.items():
                self.stop(regions[name], some[:STOPPED_AT_ONCE])
            self._said.pop("tend", None)
        except ProviderError as error:
            self._say("tend", "instances could not be tagged or laid to rest, tried again", error)

    def stop(self, region: Region, some: Sequence[Seen]) -> None:
        """Into the warm pool; those that were launched for it keep their memory. Raises ProviderError."""
        for hibernates in (False, True):
            ids = [one.id for one in some if one.hibernates is hibernates]
            if ids:
                region.call("stop_instances", InstanceIds=ids, **({"Hibernate": True} if hibernates else {}))

    def _say(self, about: str, text: str, error: ProviderError) -> None:
        """Once, not at every look."""
        if self._said.get(about) != str(error):
            _log.error(text, problem=str(error))
        self._said[about] = str(error)
