"""A running service on a strict EC2: offers that cannot be had are shown everywhere, and what can be had is bought."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from autoscaler.cli.main import app
from autoscaler.configfile import read_config
from autoscaler.service import Service
from tests.awsworld import account
from tests.peers.pages import until
from tests.peers.strict_moto import StrictMoto

RULES = """\
pool: chat
tick: 200ms
replica: {gpus: 1, capacity: 5 requests/s}
limits: {min: 2, max: 2}
offers:
  choose: listed
  from:
    - aws: {type: p4d.24xlarge, region: us-east-1, zone: us-east-1a, image: ami-12c6146b, ready: running, replicas: 1}
    - aws: {type: g5.xlarge, region: us-east-1, zone: us-east-1a, purchase: spot, image: ami-12c6146b, ready: running}
"""


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        made.limits["L-417A185B"] = made.quota["on_demand"] = 0
        made.spot_prices["g5.xlarge", "us-east-1a"] = "0.4711"
        yield made


@pytest.fixture
def service(world: StrictMoto, tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "chat.yaml").write_text(RULES, encoding="utf-8")
    aws = {"regions": ["us-east-1"], "endpoint_url": world.wire.url, "quotas_endpoint_url": world.wire.url}
    given = {"rules": ["chat.yaml"], "data_dir": "data", "listen": "127.0.0.1:0", "providers": {"aws": aws}}
    (tmp_path / "config.yaml").write_text(json.dumps(given), encoding="utf-8")
    made = Service(read_config(tmp_path / "config.yaml", {}))
    made.start()
    yield made
    made.stop()


def ask(service: Service, path: str) -> Any:
    return httpx.get(f"http://{service.address}{path}", timeout=10.0).json()


def test_an_offer_with_a_quota_of_nothing_is_shown_and_the_next_one_is_bought(
    world: StrictMoto, service: Service
) -> None:
    def asked() -> bool:
        return all(o["asked_at"] for o in ask(service, "/api/v1/offers")["offers"])

    until(asked, "both offers were asked about")
    until(lambda: len(world.alive()) == 2, "two machines")
    assert {i.instance_type for i in world.alive()} == {"g5.xlarge"}
    # A few questions a turn: the quota may be answered after the type.
    until(lambda: ask(service, "/api/v1/offers?pool=chat")["offers"][0]["error"] == "quota", "the quota")
    big, _ = ask(service, "/api/v1/offers?pool=chat")["offers"]
    assert big["units"] == 0
    assert "ask for more in Service Quotas of us-east-1" in big["problem"]
    until(
        lambda: ask(service, "/api/v1/offers")["offers"][1]["price_from"].startswith("the cloud's price of "), "a price"
    )
    small = ask(service, "/api/v1/offers")["offers"][1]
    assert (small["usd_per_hour"], small["problem"]) == (0.4711, "")
    until(lambda: "L-417A185B" in json.dumps(ask(service, "/readyz")["warnings"]), "the warning")
    (told,) = [w for w in ask(service, "/readyz")["warnings"] if "L-417A185B" in w]
    assert told.startswith("pool chat, offer aws/p4d.24xlarge/us-east-1/us-east-1a/on_demand: quota L-417A185B")
    shown = CliRunner().invoke(app, ["offers", "--url", f"http://{service.address}"])
    assert shown.exit_code == 0, shown.output
    assert "0.47" in shown.output
    assert "ask for more in Service Quotas" in shown.output
    missing = CliRunner().invoke(app, ["offers", "caht", "--url", f"http://{service.address}"])
    assert "did you mean" in str(missing.exception)
