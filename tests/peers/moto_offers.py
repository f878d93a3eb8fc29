"""What strict moto answers itself about offers: spot prices of now, and quotas of Service Quotas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from tests.peers.moto_wire import Form

PLENTY = 100_000.0


def quota(limits: Mapping[str, float], form: Form) -> str:
    """The answer to GetServiceQuota."""
    code = form["QuotaCode"]
    return json.dumps({"Quota": {"QuotaCode": code, "Value": limits.get(code, PLENTY)}})


def prices(known: Mapping[tuple[str, str], str], form: Form, now: float) -> str:
    """The answer to DescribeSpotPriceHistory; known: as EC2 writes them, by (type, zone)."""
    types = {v for k, v in form.items() if k.startswith("InstanceType.")}
    at = f"{datetime.fromtimestamp(now - 600.0, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    items = [
        f"<item><instanceType>{kind}</instanceType><productDescription>Linux/UNIX</productDescription>"
        f"<spotPrice>{usd}</spotPrice><timestamp>{at}</timestamp><availabilityZone>{zone}</availabilityZone></item>"
        for (kind, zone), usd in known.items()
        if kind in types
    ]
    name = "DescribeSpotPriceHistoryResponse"
    head = f'<{name} xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>'
    return f"{head}<spotPriceHistorySet>{''.join(items)}</spotPriceHistorySet></{name}>"
