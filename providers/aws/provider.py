"""Amazon EC2 as a provider: one instance for each launch, however often the call has to be repeated.

    providers:
      aws: {regions: [us-east-1, us-west-2], owner: inference}

Credentials come from where boto3 finds them, never from our configuration. What an instance is kept for stands in its
tags (`marks`), so nothing is lost with this process. docs/aws.md describes set-up, permissions and failures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from autoscaler.clock import SystemClock
from autoscaler.errors import InputError, ProviderError, ThrottledError, UnreachableError
from autoscaler.ports import Clock
from autoscaler.types import Action, Fleet, Launch, Offer, OfferFault, Operate, Outcome
from providers.aws import marks, order
from providers.aws.adopter import Adopter
from providers.aws.failures import AnotherOrderError
from providers.aws.questions import Questions
from providers.aws.recall import Recall
from providers.aws.region import Reach, Region, connect
from providers.aws.rounds import Rounds
from providers.aws.seen import Seen, seen
from providers.aws.survey import Survey
from providers.aws.watch import Watch
from providers.bootstrap import Defaults
from providers.inquiry import Inquiry

_ID = re.compile(r"i-[0-9a-f]{8,17}")
_OWNER = re.compile(r"[\w+\-=.:/@]{1,100}")


@dataclass(frozen=True)
class AwsProvider:
    """Instances of EC2 that carry the tag `sigmascale:owner` with our `owner`; no others are looked at or touched.

    regions: all that offers may name; empty = the one that boto3 finds. owner: must differ between services that share
    an account. profile, endpoint_url: as boto3 takes them. address: which of an instance's addresses serves.
    connect_timeout_s, read_timeout_s: of one call, which is never repeated unseen. list_limit_s: of a list of all
    pages. max_instances: a region with more of ours is an error. failed_for_s: how long an instance that ended by
    itself is listed as failed. warm_up_s: how long a new warm instance runs before it is stopped. probe_timeout_s: of
    a readiness probe. launch_template: of offers that name neither one nor an image. spot_prices: whether EC2's price
    history takes the place of the catalogue's prices. quotas_endpoint_url: of Service Quotas, needed where
    endpoint_url is given. bootstrap, serve, agent: what machines are told at their first boot, for offers that do not
    say it themselves (docs/bootstrap.md). offers: what the rules in force may launch, by pool; the service fills it.
    """

    regions: tuple[str, ...] = ()
    owner: str = "sigmascale"
    clock: Clock = field(default_factory=SystemClock)
    profile: str = ""
    endpoint_url: str = ""
    address: Literal["private", "public"] = "private"
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 20.0
    list_limit_s: float = 30.0
    max_instances: int = 5000
    failed_for_s: float = 60.0
    warm_up_s: float = 300.0
    probe_timeout_s: float = 1.0
    launch_template: str = ""
    spot_prices: bool = True
    quotas_endpoint_url: str = ""
    bootstrap: Path | None = None
    serve: Mapping[str, object] | None = None
    agent: Mapping[str, object] | None = None
    offers: Callable[[], Iterable[tuple[str, Offer]]] = tuple
    _regions: Mapping[str, Region] = field(init=False, repr=False, compare=False)
    _watch: Watch = field(init=False, repr=False, compare=False)
    _recall: Recall = field(init=False, repr=False, compare=False)
    _survey: Survey = field(init=False, repr=False, compare=False)
    _rounds: Rounds = field(default_factory=Rounds, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        times = (self.connect_timeout_s, self.read_timeout_s, self.list_limit_s, self.probe_timeout_s)
        if min(times) <= 0 or max(times) > 300 or self.max_instances < 1:
            raise InputError("provider aws: time-outs must be above 0s and at most 300s, max_instances 1 or more")
        if self.failed_for_s < 0 or self.warm_up_s < 0:
            raise InputError("provider aws: failed_for_s and warm_up_s must be 0s or more")
        if not _OWNER.fullmatch(self.owner):
            raise InputError(
                f"provider aws: owner {self.owner!r} is no tag value; use letters, digits and + - = . _ : / @"
            )
        reach = Reach(
            self.profile,
            self.endpoint_url,
            self.connect_timeout_s,
            self.read_timeout_s,
            self.list_limit_s,
            self.max_instances,
        )
        object.__setattr__(self, "_regions", connect(self.regions, reach))
        watch = Watch(self.owner, self.address, self.failed_for_s, self.warm_up_s, self.probe_timeout_s)
        object.__setattr__(self, "_watch", watch)
        object.__setattr__(self, "_recall", Recall(self.owner))
        questions = Questions(self._regions, self._quotas(reach), self.spot_prices, self.clock)
        object.__setattr__(self, "_survey", Survey(questions, Inquiry(self.clock)))

    @staticmethod
    def offer_faults(offer: Offer) -> tuple[OfferFault, ...]:
        """What is wrong with an offer, as far as it can be told without AWS."""
        return order.offer_faults(offer)

    def survey(self) -> bool:
        """Asks AWS some of what is due about the offers in force: see `Questions`."""
        return self._survey.ask([offer for _, offer in self._offers()])

    def observe(self) -> Fleet:
        """What EC2 lists, and what has to be done about it without a decision: see `Watch.tend`."""
        return self._rounds.share(lambda: self._look(tend=True))

    def look(self) -> Fleet:
        """What EC2 lists, and nothing is done: for a service that must not act."""
        return self._look(tend=False)

    def apply(self, action: Action) -> Outcome:
        """Accepted, done, or failed with AWS's words. Raises ThrottledError and UnreachableError: repeat it."""
        try:
            return self._launch(action) if isinstance(action, Launch) else self._operate(action)
        except (ThrottledError, UnreachableError):
            raise
        except ProviderError as error:
            instance = None if isinstance(action, Launch) else action.instance
            return self._outcome(action, "failed", instance, str(error), error.code)

    def adopter(self) -> Adopter:
        """Gives instances of somebody else's to a pool."""
        return Adopter(self.owner, self._regions, self.clock)

    def close(self) -> None:
        """Ends the readiness probes and the connections."""
        self._watch.close()
        for region in (*self._regions.values(), *self._survey.questions.quotas.values()):
            region.client.close()

    def _look(self, tend: bool) -> Fleet:
        now = self.clock.now()
        mine = marks.with_tag(marks.OWNER, [self.owner])
        listed = [seen(i, region.name) for region in self._regions.values() for i in region.instances(mine)]
        found = self._recall.complete(listed, self._regions, now)
        fleet = self._watch.fleet(found, self._regions, now)
        if tend:
            self._watch.tend(found, self._regions, now)
        return replace(fleet, standings=self._survey.standings(self._offers(), found, now))

    def _offers(self) -> list[tuple[str, Offer]]:
        return [(pool, self._filled(offer)) for pool, offer in self.offers() if offer.provider == "aws"]

    def _filled(self, offer: Offer) -> Offer:
        """An offer with what the configuration says for all."""
        offer = Defaults(self.bootstrap, self.serve or {}, self.agent or {}).filled(offer)
        named = {name for name, value in offer.settings if value}
        if not self.launch_template or named & {"launch_template", "image"}:
            return offer
        return replace(offer, settings=(*offer.settings, ("launch_template", self.launch_template)))

    def _quotas(self, reach: Reach) -> dict[str, Region]:
        """Clients of Service Quotas; none where EC2 is somewhere else than at AWS and nobody says where they are."""
        if self.endpoint_url and not self.quotas_endpoint_url:
            return {}
        timeout_s = min(self.read_timeout_s, 5.0)
        there = replace(reach, endpoint_url=self.quotas_endpoint_url, read_timeout_s=timeout_s, connections=2)
        return connect(tuple(self._regions), there, "service-quotas")

    # --- launch ---------------------------------------------------------------------------------------------------

    def _launch(self, launch: Launch) -> Outcome:
        region = self._region(launch)
        launch = replace(launch, offer=self._filled(launch.offer))
        parameters = order.parameters(launch, self.owner)
        try:
            answer = region.call("run_instances", **parameters)
        except AnotherOrderError:
            return self._again(launch, region)
        if not answer.get("Instances"):
            raise UnreachableError(f"aws {region.name} run_instances: an answer without an instance; it is repeated")
        made = seen(answer["Instances"][0], region.name)
        if made.ended:
            text = f"launch {launch.id} was carried out before, and {made.id} has ended; order a new one"
            return self._outcome(launch, "failed", made.id, text, ProviderError.code)
        return self._outcome(launch, "accepted", made.id)

    def _region(self, launch: Launch) -> Region:
        """Where the offer is. One that is not observed would buy machines that nobody sees."""
        name = launch.offer.region or next(iter(self._regions))
        if name not in self._regions:
            known = ", ".join(self._regions)
            raise ProviderError(
                f"launch {launch.id} of {launch.offer.key}: region {name} is not one of the provider's ({known}); "
                "add it to regions in the configuration"
            )
        return self._regions[name]

    def _again(self, launch: Launch, region: Region) -> Outcome:
        """The token is known with other parameters: of the same order before our settings changed, or of another."""
        known = [seen(i, region.name) for i in region.instances(marks.with_tag(marks.ACTION, [launch.id]))]
        if not known:
            raise UnreachableError(f"launch {launch.id}: its token was used, and EC2 does not list yet what came of it")
        before = known[0]
        if (before.mark.pool, before.mark.offer) != (launch.pool, launch.offer.key) or before.ended:
            raise ProviderError(
                f"launch {launch.id} was {before.mark.offer} for pool {before.mark.pool} ({before.id}), now it is "
                f"{launch.offer.key} for pool {launch.pool}; give every launch an id of its own"
            )
        return self._outcome(launch, "accepted", before.id, "ordered before, under other settings")

    # --- operate --------------------------------------------------------------------------------------------------

    def _operate(self, action: Operate) -> Outcome:
        known = self._named(action.instance)
        if known is not None:
            self._check_ours(known, action)
        if action.kind == "terminate":
            if known is None or known.ended:
                return self._outcome(action, "done", action.instance)
            self._regions[known.region].call("terminate_instances", InstanceIds=[known.id])
            self._watch.ending(known.id)
            return self._outcome(action, "accepted", known.id)
        if known is None or known.ended:
            raise ProviderError(f"no instance {action.instance} to {action.kind}; it ended or never was, observe again")
        role = _role_after(action, known)
        if action.kind == "start":
            return self._start(action, known)
        if known.mark.knows(action.id):
            return self._outcome(action, "done", known.id, "carried out before")
        if action.kind == "stop":
            # First the deed: were the tag first, and the stop refused, it would be stopped all the same.
            self._watch.stop(self._regions[known.region], [known])
        self._tag(known, known.mark.after(action.id, role, self.clock.now()))
        return self._outcome(action, "accepted" if action.kind == "stop" else "done", known.id)

    def _start(self, action: Operate, known: Seen) -> Outcome:
        """First the tag: one that is meant to be warm would be stopped again. A repetition starts what still rests."""
        if known.mark.knows(action.id):
            if known.mark.role == "warm" or known.ec2_state != "stopped":
                return self._outcome(action, "done", known.id, "carried out before")
        elif known.ec2_state == "stopping":
            raise ProviderError(f"{known.id} is still stopping; start it when it rests")
        else:
            self._watch.starting(known.id)
            self._tag(known, known.mark.after(action.id, "serving", self.clock.now()))
        if known.ec2_state == "stopped":
            self._regions[known.region].call("start_instances", InstanceIds=[known.id])
        return self._outcome(action, "accepted", known.id)

    def _named(self, instance: str) -> Seen | None:
        """The instance of an id, in whichever region it is. A filter, unlike an id, finds nothing without an error."""
        if not _ID.fullmatch(instance):
            return None
        by_id: dict[str, Any] = {"Name": "instance-id", "Values": [instance]}
        for region in self._regions.values():
            for record in region.instances(by_id):
                return seen(record, region.name)
        return None

    def _check_ours(self, known: Seen, action: Operate) -> None:
        mark = known.mark
        if mark.owner != self.owner:
            raise ProviderError(f"{known.id} does not carry our tag {marks.OWNER}={self.owner}; nothing was done")
        if mark.pool != action.pool:
            raise ProviderError(f"{known.id} serves pool {mark.pool}, not {action.pool}; nothing was done")

    def _tag(self, known: Seen, tags: Mapping[str, str]) -> None:
        self._regions[known.region].call("create_tags", Resources=[known.id], Tags=marks.as_list(tags))

    def _outcome(
        self,
        action: Action,
        status: Literal["accepted", "done", "failed"],
        instance: str | None,
        text: str = "",
        error: str = "",
    ) -> Outcome:
        return Outcome(action.id, action.pool, status, self.clock.now(), instance, error, text)


def _role_after(action: Operate, known: Seen) -> marks.Role:
    """What an instance is kept for after an action. Raises ProviderError where that makes no sense."""
    rests = known.ec2_state in ("stopped", "stopping")
    role: marks.Role = "warm" if rests else known.role
    match action.kind, role:
        case "drain", "serving" | "draining":
            return "draining"
        case "resume", "draining" | "serving":
            return "serving"
        case "start", "warm" | "serving":
            return "serving"
        case "stop", _ if known.spot:
            raise ProviderError(f"{known.id} is a spot instance, which EC2 cannot stop for us; terminate it")
        case "stop", _:
            return "warm"
    raise ProviderError(f"{known.id} is {role}, which {action.kind} does not apply to; observe again")
