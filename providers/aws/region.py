"""One region of EC2: a client that repeats nothing by itself, calls whose errors are ours, lists in bounded pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from autoscaler.clock import monotonic
from autoscaler.errors import InputError, ProviderError, UnreachableError
from providers.aws import failures

PAGE = 1000
"""Most that EC2 lists in one answer."""
MAX_PAGES = 100
STATUSES_AT_ONCE = 100
"""Most instances that DescribeInstanceStatus takes by id."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How AWS is reached. A time-out bounds one call, `list_limit_s` a list of all pages."""

    profile: str
    endpoint_url: str
    connect_timeout_s: float
    read_timeout_s: float
    list_limit_s: float
    max_instances: int
    connections: int = 64


@dataclass(frozen=True, slots=True)
class Region:
    """Calls of one region. Every method raises the errors of `failures`."""

    name: str
    client: Any
    reach: Reach

    def call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """The answer of one call, which is made once."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            answer: Mapping[str, Any] = getattr(self.client, operation)(**parameters)
        except (ClientError, BotoCoreError, ResponseParserError) as error:
            # The cause is cut off: the SDK's own traceback may hold what was signed.
            raise failures.translated(error, f"aws {self.name} {operation}") from None
        return answer

    def instances(self, *filters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Every instance that the filters let through, or an error: half a list would look like a loss."""
        found: list[Mapping[str, Any]] = []
        for page in self.pages("describe_instances", filters):
            found += [i for reservation in page.get("Reservations", ()) for i in reservation.get("Instances", ())]
            if len(found) > self.reach.max_instances:
                raise ProviderError(
                    f"aws {self.name}: more than {self.reach.max_instances} instances carry our tag; "
                    "raise max_instances of the provider or look who launches them"
                )
        return found

    def notices(self, *filters: Mapping[str, Any]) -> dict[str, str]:
        """What EC2 says of spot requests that it is about to end: words by instance."""
        told: dict[str, str] = {}
        for page in self.pages("describe_spot_instance_requests", filters):
            for request in page.get("SpotInstanceRequests", ()):
                status = request.get("Status", {})
                if instance := request.get("InstanceId"):
                    told[instance] = f"{status.get('Code', '')}: {status.get('Message', '')}"
        return told

    def passed(self, ids: Sequence[str]) -> set[str]:
        """Those of some running instances whose two status checks are ok."""
        ok: set[str] = set()
        for first in range(0, len(ids), STATUSES_AT_ONCE):
            answer = self.call("describe_instance_status", InstanceIds=list(ids[first : first + STATUSES_AT_ONCE]))
            for status in answer.get("InstanceStatuses", ()):
                checks = (status.get("InstanceStatus", {}), status.get("SystemStatus", {}))
                if all(check.get("Status") == "ok" for check in checks):
                    ok.add(status["InstanceId"])
        return ok

    def pages(
        self, operation: str, filters: Sequence[Mapping[str, Any]], page: int = 0, **more: Any
    ) -> Iterator[Mapping[str, Any]]:
        """The answers to one question, page after page, within `list_limit_s`. page: most in one, 0 = PAGE."""
        began, token = monotonic(), None
        for _ in range(MAX_PAGES):
            asked: dict[str, Any] = {"Filters": list(filters), "MaxResults": page or PAGE, **more}
            answer = self.call(operation, **asked, **({"NextToken": token} if token else {}))
            yield answer
            if not (following := answer.get("NextToken")):
                return
            if following == token:
                raise UnreachableError(f"aws {self.name} {operation}: the same page comes again and again")
            token = following
            if monotonic() - began > self.reach.list_limit_s:
                raise UnreachableError(f"aws {self.name} {operation}: the list took over {self.reach.list_limit_s:g} s")
        raise UnreachableError(f"aws {self.name} {operation}: more than {MAX_PAGES} pages")


def connect(names: Sequence[str], reach: Reach, service: str = "ec2") -> dict[str, Region]:
    """A client for each region, built now: the first costs a third of a second, which no launch should wait for.

    Nothing is asked of AWS. Raises InputError without boto3, and for a profile or region that cannot be.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import get_session
    except ImportError as error:
        text = "provider aws needs boto3, which is not installed; run pip install 'sigmascale[aws]'"
        raise InputError(text) from error
    config = Config(
        connect_timeout=reach.connect_timeout_s,
        read_timeout=reach.read_timeout_s,
        # A retry of the SDK's would repeat InsufficientInstanceCapacity, hide throttling and double our time-outs.
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=reach.connections,
    )
    try:
        core = get_session()
        core.register_component("data_loader", _descriptions())
        session = boto3.session.Session(botocore_session=core, profile_name=reach.profile or None)
        regions = list(names) or [session.region_name]
        if not regions[0]:
            raise InputError(
                "provider aws: no region is set; write regions: [us-east-1] or set AWS_REGION or the profile's region"
            )
        return {
            name: Region(
                name,
                session.client(service, region_name=name, endpoint_url=reach.endpoint_url or None, config=config),
                reach,
            )
            for name in regions
        }
    except (BotoCoreError, ValueError) as error:
        raise InputError(
            f"provider aws: {type(error).__name__}: {error}; check regions, profile and endpoint_url"
        ) from None


@cache
def _descriptions() -> Any:
    """What the SDK knows of AWS's services: two megabytes of JSON, read once for all providers of the process."""
    from botocore.loaders import Loader

    return Loader()
