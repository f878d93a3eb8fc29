"""Strict moto: moto's EC2 with what it leaves out and a controller must not get wrong.

Client tokens, capacity by zone, type and purchase option, vCPU quotas, boot, stop and visibility delays on a clock, and
spot interruptions. Everything else, the wire included, is moto as it is. `plain` switches the rules off, to show that a
test notices. The hooks are moto's internals: `test_strict_moto.py` fails when they are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceState, Reservation, StateReason

from autoscaler.clock import SimClock
from tests.peers.moto_offers import prices, quota
from tests.peers.moto_wire import Form, Wire, WireFault

ACCOUNT = "123456789012"
MISSING_TOKEN = "ABCDE"  # moto's word for a call without a token
CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
START = 1_790_000_000.0
BILLED = ("pending", "running")


@dataclass(frozen=True, slots=True)
class Made:
    """A line of the ledger of truth: an instance that was really started, whoever knows of it."""

    instance: str
    token: str
    at: float
    type: str
    zone: str
    purchase: str


@dataclass
class StrictMoto:
    """The world behind the wire. Times are in seconds of `clock`, which a test moves.

    capacity: free units by (zone, type, purchase), unlimited where there is no entry. quota: vCPUs that may be pending
    or running, by purchase. hidden: instances that no list shows. never_boots: types that stay pending. limits: what
    Service Quotas says of a code, plenty where there is no entry. spot_prices: by (type, zone), as EC2 writes them.
    """

    wire: Wire
    clock: SimClock = field(default_factory=lambda: SimClock(START))
    plain: bool = False
    boot_s: float = 0.0
    checks_s: float = 0.0
    stop_s: float = 0.0
    visible_after_s: float = 0.0
    capacity: dict[tuple[str, str, str], int] = field(default_factory=dict)
    quota: dict[str, int] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    never_boots: set[str] = field(default_factory=set)
    limits: dict[str, float] = field(default_factory=dict)
    spot_prices: dict[tuple[str, str], str] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    hibernated: set[str] = field(default_factory=set)
    notices: dict[str, str] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], tuple[Form, Reservation]] = field(default_factory=dict)
    _due: list[tuple[float, Instance, str, StateReason | None]] = field(default_factory=list)
    _purchase: dict[str, str] = field(default_factory=dict)
    _form: Form = field(default_factory=dict)

    # --- what a test asks and does --------------------------------------------------------------------------------

    def fault(self, operation: str, kind: Any, **settings: Any) -> WireFault:
        """Something that will go wrong on the wire; its `fired` tells whether it did."""
        self.wire.faults.append(made := WireFault(operation, kind, **settings))
        return made

    def instances(self, region: str = "us-east-1") -> list[Instance]:
        """Every instance that was ever made, as it is now."""
        self.advance()
        return [i for r in ec2_backends[ACCOUNT][region].reservations.values() for i in r.instances]

    def alive(self, region: str = "us-east-1") -> list[Instance]:
        """Those that cost money."""
        return [i for i in self.instances(region) if i.state in BILLED]

    def instance(self, name: str) -> Instance:
        return next(i for i in self.instances() if i.id == name)

    def interrupt(self, name: str, notice_s: float = 120.0) -> None:
        """EC2 takes a spot instance back: a notice now, the end later."""
        self.notices[name] = "marked-for-termination"
        ended = StateReason(
            "Server.SpotInstanceTermination: Spot instance termination", "Server.SpotInstanceTermination"
        )
        self._due.append((self.clock.now() + notice_s, self.instance(name), "terminated", ended))

    def loses(self, name: str, code: str = "Server.InternalError") -> None:
        """An instance ends by itself."""
        self._due.append((self.clock.now(), self.instance(name), "terminated", StateReason(f"{code}: it ended", code)))
        self.advance()

    def many(self, count: int, tags: dict[str, str]) -> None:
        """Instances that are there already, made without the wire, each in a reservation of its own."""
        backend = ec2_backends[ACCOUNT]["us-east-1"]
        kwargs = {"instance_type": "g5.xlarge", "is_instance_type_default": False, "region_name": "us-east-1"}
        more = {"tags": {"instance": tags}, "block_device_mappings": [], "client_token": MISSING_TOKEN}
        for _ in range(count):
            self._form = {}
            backend.run_instances("ami-12c6146b", 1, None, [], **kwargs, **more)

    # --- the world ------------------------------------------------------------------------------------------------

    def before(self, form: Form) -> str | None:
        """Lets the world run up to now; answers what moto cannot."""
        self._form = form
        self.advance()
        match form.get("Action"):
            case "DescribeSpotInstanceRequests":
                return self._spot_requests(form)
            case "DescribeSpotPriceHistory":
                return prices(self.spot_prices, form, self.clock.now())
            case "GetServiceQuota":
                return quota(self.limits, form)
        return None

    def advance(self) -> None:
        now = self.clock.now()
        for at, instance, state, reason in sorted((d for d in self._due if d[0] <= now), key=lambda d: d[0]):
            if instance.state == "terminated":
                continue
            _put(instance, state)
            if reason is not None:
                instance.state_reason = reason
                when = datetime.fromtimestamp(at, UTC)
                instance._reason = f"{reason.code} ({when:%Y-%m-%d %H:%M:%S} GMT)"
        self._due[:] = [d for d in self._due if d[0] > now]

    def run(self, original: Any, backend: Any, image: str, count: int, *rest: Any, **kwargs: Any) -> Reservation:
        """RunInstances."""
        token, form = str(kwargs["client_token"]), dict(self._form)
        asked = {k: v for k, v in form.items() if k not in ("ClientToken", "Action", "Version")}
        known = self._tokens.get((backend.region_name, token)) if token != MISSING_TOKEN else None
        if known is not None and not self.plain:
            if known[0] != asked:
                raise EC2ClientError("IdempotentParameterMismatch", "The client token was used with other parameters.")
            return known[1]
        purchase = _purchase(form)
        zone = self._zone(backend, kwargs)
        kind = kwargs["instance_type"]
        if not self.plain:
            self._admit(kind, zone, purchase, count)
        reservation: Reservation = original(backend, image, count, *rest, **kwargs)
        for instance in reservation.instances:
            self._launched(instance, token, purchase)
        if token != MISSING_TOKEN:
            self._tokens[backend.region_name, token] = (asked, reservation)
        return reservation

    def start(self, original: Any, backend: Any, ids: Sequence[str]) -> Any:
        for instance in () if self.plain else backend.get_multi_instances_by_id(ids):
            if instance.state == "stopping":
                raise EC2ClientError("IncorrectInstanceState", f"{instance.id} is not in a state to be started")
            if instance.state == "stopped":
                self._admit(instance.instance_type, str(instance.placement.zone), self._purchase[instance.id], 1)
        resting = [i for i in backend.get_multi_instances_by_id(ids) if i.state == "stopped"]
        answer = original(backend, ids)
        for instance in resting:
            self._boot(instance)
        return answer

    def stop(self, original: Any, backend: Any, ids: Sequence[str]) -> Any:
        found = backend.get_multi_instances_by_id(ids)
        if not self.plain and any(self._purchase.get(i.id) == "spot" for i in found):
            raise EC2ClientError("UnsupportedOperation", "You can't stop a Spot Instance of a one-time request")
        running = [i for i in found if i.state in BILLED]
        answer = original(backend, ids)
        for instance in running:
            if self._form.get("Hibernate") == "true":
                self.hibernated.add(instance.id)
            self._free(instance)
            self._change(instance, "stopping", "stopped", self.stop_s)
        return answer

    def terminate(self, original: Any, backend: Any, ids: Sequence[str]) -> Any:
        living = [i for i in backend.get_multi_instances_by_id(ids) if i.state != "terminated"]
        billed = [i for i in living if i.state in BILLED]
        answer = original(backend, ids)
        for instance in billed:
            self._free(instance)
        for instance in living:
            self._change(instance, "shutting-down", "terminated", self.stop_s)
        return answer

    def listed(self, original: Any, backend: Any, filters: Any = None) -> list[Reservation]:
        """Reservations, without instances that EC2 does not show yet."""
        found: list[Reservation] = original(backend, filters)
        if self.visible_after_s > 0 or self.hidden:
            late = self.hidden | {m.instance for m in self.made if self.clock.now() < m.at + self.visible_after_s}
            for reservation in found:
                reservation.instances = [i for i in reservation.instances if i.id not in late]
        return [r for r in found if r.instances]

    def check(self, instance: Instance) -> dict[str, Any]:
        """A status check of a running instance."""
        seconds = self.clock.now() - instance.launch_time.replace(tzinfo=UTC).timestamp()
        return {"Status": "ok" if seconds >= self.boot_s + self.checks_s else "initializing"}

    # --- rules ----------------------------------------------------------------------------------------------------

    def _admit(self, kind: str, zone: str, purchase: str, count: int) -> None:
        if kind not in INSTANCE_TYPES:
            raise EC2ClientError("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")
        offered = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(zone[:-1], ())
        if not any(o["InstanceType"] == kind and o["Location"] == zone for o in offered):
            raise EC2ClientError("Unsupported", f"Your requested instance type ({kind}) is not supported in {zone}.")
        limit = self.quota.get(purchase)
        if limit is not None and self._vcpus(purchase) + count * _vcpus(kind) > limit:
            code = "MaxSpotInstanceCountExceeded" if purchase == "spot" else "VcpuLimitExceeded"
            raise EC2ClientError(
                code, f"You have requested more vCPU capacity than your current limit of {limit} allows."
            )
        free = self.capacity.get((zone, kind, purchase))
        if free is not None:
            if free < count:
                code = "ReservationCapacityExceeded" if purchase == "reserved" else "InsufficientInstanceCapacity"
                raise EC2ClientError(code, f"We currently do not have sufficient {kind} capacity in {zone}.")
            self.capacity[zone, kind, purchase] = free - count

    def _free(self, instance: Instance) -> None:
        key = (str(instance.placement.zone), instance.instance_type, self._purchase.get(instance.id, ""))
        if key in self.capacity and instance.id in self._purchase:
            self.capacity[key] += 1

    def _vcpus(self, purchase: str) -> int:
        billed = [i for region in ("us-east-1", "us-west-2") for i in self.alive(region)]
        return sum(_vcpus(i.instance_type) for i in billed if self._purchase.get(i.id) == purchase)

    def _zone(self, backend: Any, kwargs: dict[str, Any]) -> str:
        subnet = kwargs.get("subnet_id")
        return str(
            backend.get_subnet(subnet).availability_zone
            if subnet
            else kwargs.get("placement") or f"{backend.region_name}a"
        )

    def _launched(self, instance: Instance, token: str, purchase: str) -> None:
        self._purchase[instance.id] = purchase
        line = (token, self.clock.now(), instance.instance_type, str(instance.placement.zone), purchase)
        self.made.append(Made(instance.id, *line))
        self._boot(instance)

    def _boot(self, instance: Instance) -> None:
        instance.launch_time = datetime.fromtimestamp(self.clock.now(), UTC).replace(tzinfo=None)
        if instance.instance_type in self.never_boots:
            _put(instance, "pending")
        else:
            self._change(instance, "pending", "running", self.boot_s)

    def _change(self, instance: Instance, first: str, then: str, after_s: float) -> None:
        self._due[:] = [d for d in self._due if d[1] is not instance]
        _put(instance, first if after_s > 0 else then)
        if after_s > 0:
            self._due.append((self.clock.now() + after_s, instance, then, None))

    def _spot_requests(self, form: Form) -> str:
        wanted = {v for k, v in form.items() if k.startswith("Filter.") and ".Value." in k}
        items = [
            f"<item><spotInstanceRequestId>sir-{i.id[2:10]}</spotInstanceRequestId><state>active</state><status><code>"
            f"{self.notices[i.id]}</code><message>EC2 needs the capacity</message></status>"
            f"<instanceId>{i.id}</instanceId></item>"
            for i in self.instances()
            if i.id in self.notices
            and i.state == "running"
            and self.notices[i.id] in wanted
            and any(t["key"] == "sigmascale:owner" and t["value"] in wanted for t in i.get_tags())
        ]
        name = "DescribeSpotInstanceRequestsResponse"
        head = f'<{name} xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>'
        return f"{head}<spotInstanceRequestSet>{''.join(items)}</spotInstanceRequestSet></{name}>"


def _put(instance: Instance, state: str) -> None:
    instance._state = InstanceState(state, CODES[state])


def _purchase(form: Form) -> str:
    if form.get("InstanceMarketOptions.MarketType") == "spot":
        return "spot"
    return "reserved" if any(k.startswith("CapacityReservationSpecification") for k in form) else "on_demand"


def _vcpus(kind: str) -> int:
    return int(INSTANCE_TYPES[kind]["VCpuInfo"]["DefaultVCpus"])
