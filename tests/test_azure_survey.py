"""What Azure is asked about offers, over the wire: sizes, quotas, scale sets and retail prices, as standings."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autoscaler.errors import InputError
from autoscaler.types import Offer, Standing
from providers.azure import AzureProvider
from tests.azureworld import AzureWorld
from tests.peers.arm import Size

A100, SPOT = "standardNCADSA100v4Family", "lowPriorityCores"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    made = AzureWorld(tmp_path / "azure")
    made.cloud.sizes += [
        Size("Standard_NC24ads_A100_v4"),
        Size("Standard_NC48ads_A100_v4", vcpus=48, gpus=2, zones=("1", "2"), closed_zones=("2",)),
        Size("Standard_NC40ads_H100_v5", family="standardNCadsH100v5Family", closed="NotAvailableForSubscription"),
        Size("Standard_D4s_v5", family="standardDSv5Family", vcpus=4, gpus=0),
    ]
    made.cloud.limits |= {("eastus", A100): (0, 96), ("eastus", SPOT): (0, 24)}
    yield made
    made.close()


def asked(world: AzureWorld, *offers: Offer, **more: Any) -> tuple[Standing, ...]:
    """How offers of the pool stand after everything was asked."""
    provider = AzureProvider(
        world.directory,
        world.clock,
        "sub-1",
        "gpus",
        endpoint=world.arm.url,
        timeout_s=world.timeout_s,
        credential=world.credential,
        offers=lambda: [("chat", offer) for offer in offers],
        **more,
    )
    try:
        provider.observe()
        provider.survey()
        return provider.observe().standings
    finally:
        provider.close()


def stands(world: AzureWorld, offer: Offer, **more: Any) -> Standing:
    (one,) = asked(world, offer, **more)
    return one


def test_an_offer_that_can_be_had_says_how_many_the_quota_has_room_for(world: AzureWorld) -> None:
    one = stands(world, world.offer(region="eastus"))
    assert (one.pool, one.problem, one.units, one.unknown) == ("chat", "", 4, ())
    assert "96 cores" in one.quota


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        pytest.param({"type": "NC40ads_H100_v5"}, "not sold to this subscription", id="a size that is restricted"),
        pytest.param({"type": "NC6s_v9"}, "does not sell Standard_NC6s_v9", id="a size that does not exist"),
        pytest.param({"region": "eastus9"}, "did you mean eastus", id="a region that does not exist"),
        pytest.param({"type": "NC48ads_A100_v4", "zone": "3"}, "zones that do: 1", id="a zone without the size"),
        pytest.param({"type": "NC48ads_A100_v4", "zone": "2"}, "zones that do: 1", id="a zone that is restricted"),
        pytest.param({"type": "D4s_v5"}, "has no GPU", id="a size without GPUs"),
        pytest.param({"settings": {"scale_set": "caht"}}, "create: true", id="a scale set that does not exist"),
        pytest.param({"purchase": "spot"}, "the offer says spot", id="a scale set of another purchase option"),
        pytest.param({"settings": {"resource_group": "other"}}, "more_groups", id="a group that nobody watches"),
        pytest.param({"settings": {"scale_sett": "chat"}}, "did you mean scale_set?", id="a setting with a slip"),
    ],
)
def test_what_cannot_be_had_says_why_and_what_to_do(world: AzureWorld, offer: dict[str, Any], words: str) -> None:
    one = stands(world, world.offer(**{"region": "eastus", **offer}))
    assert words in one.problem
    assert one.error == "provider"


def test_a_quota_of_nothing_asks_a_person(world: AzureWorld) -> None:
    world.cloud.limits["eastus", A100] = (0, 0)
    one = stands(world, world.offer(region="eastus"))
    assert (one.error, one.units) == ("quota", 0)
    assert f"quota {A100} vCPUs in eastus is 0 cores" in one.problem
    assert "under Quotas in the portal" in one.problem


def test_what_others_use_and_what_we_use_leaves_less(world: AzureWorld) -> None:
    world.cloud.limits["eastus", A100] = (48, 96)
    offer = world.offer(region="eastus")
    assert world.provider.apply(world.launch(offer=offer)).status == "accepted"
    world.provider.observe()
    world.pass_s(40.0)
    assert stands(world, offer).units == 1
    world.cloud.limits["eastus", A100] = (72, 96)
    full = stands(world, offer)
    assert (full.units, full.problem) == (0, ""), "not one more now, but it is no offer that cannot be had"


def test_spot_machines_have_a_quota_of_their_own(tmp_path: Path, world: AzureWorld) -> None:
    world.cloud.add_set("cheap", priority="Spot")
    one = stands(world, world.offer(region="eastus", purchase="spot", settings={"scale_set": "cheap"}))
    assert (one.problem, one.units) == ("", 1)
    assert SPOT in one.quota


@pytest.mark.parametrize("name", ["sku.list", "usage.list"])
def test_a_permission_that_is_missing_is_unknown_and_stops_nothing(world: AzureWorld, name: str) -> None:
    world.arm.fault(name, "refuse", status=403, code="AuthorizationFailed", message="no action", times=9)
    one = stands(world, world.offer(region="eastus"))
    assert (one.problem, one.units) == ("", None)
    assert "docs/azure.md" in one.unknown[0]


def test_names_without_the_prefix_and_with_it_are_the_same_size(world: AzureWorld) -> None:
    for name in ("NC24ads_A100_v4", "Standard_NC24ads_A100_v4", "standard_nc24ads_a100_v4"):
        assert stands(world, world.offer(type=name, region="eastus")).problem == ""


# --- retail prices ---------------------------------------------------------------------------------------------


class _Retail(BaseHTTPRequestHandler):
    rows: list[dict[str, Any]] = []  # noqa: RUF012 - a stand-in of one test each
    asked: list[str] = []  # noqa: RUF012
    page = 2
    status = 200
    elsewhere = ""
    url = ""

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        skip = int(self.path.partition("skip=")[2] or 0)
        more = f"http://{self.headers['Host']}/api/retail/prices?skip={skip + self.page}"
        link = self.elsewhere or (more if skip + self.page < len(self.rows) else None)
        body = json.dumps({"Items": self.rows[skip : skip + self.page], "NextPageLink": link}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def row(
    usd: float, meter: str = "NC24ads A100 v4", product: str = "Virtual Machines NCads A100 v4", **more: Any
) -> Any:
    said = {"retailPrice": usd, "skuName": meter, "meterName": meter, "productName": product, "currencyCode": "USD"}
    return {**said, "unitOfMeasure": "1 Hour", "effectiveStartDate": "2026-06-01T00:00:00Z", **more}


@pytest.fixture
def retail() -> Iterator[Any]:
    handler: type[_Retail] = type("Retail", (_Retail,), {"rows": [], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield handler
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_retail_prices_are_those_of_linux_on_demand_and_spot_with_their_date(world: AzureWorld, retail: Any) -> None:
    retail.rows += [
        row(9.9, product="Virtual Machines NCads A100 v4 Series Windows"),
        row(3.67),
        row(0.9, "NC24ads A100 v4 Low Priority"),
        row(1.1, "NC24ads A100 v4 Spot"),
        row(2.0, effectiveStartDate="2025-01-01T00:00:00Z"),
    ]
    world.cloud.add_set("cheap", priority="Spot")
    spot = world.offer(region="eastus", purchase="spot", settings={"scale_set": "cheap"})
    found = asked(world, world.offer(region="eastus"), spot, retail_prices=retail.url)
    assert [s.usd_per_hour for s in found] == [3.67, 1.1]
    assert [s.priced_at for s in found] == [1780272000.0, 1780272000.0]
    assert len(retail.asked) == 3, "one question, three pages, for both offers"
    assert "Standard_NC24ads_A100_v4" in retail.asked[0]


@pytest.mark.parametrize("rows", [[], [{"retailPrice": "free"}], [row(-1.0)], [row(2.0, unitOfMeasure="1 Month")]])
def test_prices_that_are_missing_or_no_prices_leave_what_was_known(world: AzureWorld, retail: Any, rows: Any) -> None:
    retail.rows += rows
    one = stands(world, world.offer(region="eastus"), retail_prices=retail.url)
    assert (one.usd_per_hour, one.problem) == (None, "")


def test_a_server_of_prices_that_is_down_or_sends_us_elsewhere_stops_nothing(world: AzureWorld, retail: Any) -> None:
    retail.rows += [row(3.67)]
    retail.elsewhere = "http://localhost:9/steal"
    assert stands(world, world.offer(region="eastus"), retail_prices=retail.url).usd_per_hour == 3.67
    retail.status = 500
    assert stands(world, world.offer(region="eastus"), retail_prices=retail.url).usd_per_hour is None
    assert stands(world, world.offer(region="eastus"), retail_prices="http://127.0.0.1:9").units == 4


def test_retail_prices_are_not_asked_for_unless_somebody_says_where(world: AzureWorld, retail: Any) -> None:
    stands(world, world.offer(region="eastus"))
    assert retail.asked == []
    with pytest.raises(InputError, match=r"https://prices\.azure\.com"):
        stands(world, world.offer(), retail_prices="http://prices.azure.com")
