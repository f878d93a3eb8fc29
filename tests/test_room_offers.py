"""The offers page: prices with their source, lead times, quotas, shortages, problems and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.board import PoolView
from autoscaler.types import Fleet, Memory, Offer, Shortage, Standing
from tests.apiworld import ApiWorld, api_world
from tests.roomworld import Browser, words
from tests.worlds import NOW, instance

EVIL = '<img src=x onerror="alert(1)">'


def bought(
    folder: Path, *offers: Offer, standings: tuple[Standing, ...] = (), memory: Memory | None = None
) -> ApiWorld:
    """A pool with these offers, two instances of the first."""
    world = api_world(folder)
    view = world.deps.board.pools()["chat"]
    fleet = Fleet(NOW, tuple(instance(n, offer=offers[0].key) for n in (1, 2)), standings=standings)
    rules = replace(view.rules, offers=offers)
    world.deps.board.publish(replace(view, rules=rules, fleet=fleet, memory=memory))
    return world


def shown(world: ApiWorld, query: str = "") -> str:
    return words(Browser(world).sign_in("viewer").page(f"/offers{query}"))


SPOT = Offer("aws", "p5.48xlarge", "us-east-1", "us-east-1a", "spot", 2, 41.5, 240.0, priced="list price of 2026-07-20")
PLAIN = Offer("azure", "NC96", "eastus", usd_per_hour=14.0)


def test_an_offer_tells_price_source_lead_time_and_what_runs_of_it(tmp_path: Path) -> None:
    text = shown(bought(tmp_path, SPOT, PLAIN))
    assert "p5.48xlarge spot aws, us-east-1a, 2 replicas each" in text
    assert "$41.50 list price of 2026-07-20, $20.75 a replica" in text
    assert "4 min prior not seen 2" in text
    assert "$14.00 of the rule file" in text


def test_a_price_that_nobody_knows_is_not_zero(tmp_path: Path) -> None:
    text = shown(bought(tmp_path, replace(SPOT, price_known=False, usd_per_hour=999.0)))
    assert "not known list price" in text
    assert "999" not in text


def test_problems_quotas_and_shortages_say_what_stands_in_the_way(tmp_path: Path) -> None:
    third = Offer("aws", "g6.xlarge", "us-east-1", "us-east-1b")
    standings = (
        Standing("chat", SPOT.key, NOW - 30, units=0, quota="96 of 96 vCPU are used", unknown=("prices: not allowed",)),
        Standing("chat", third.key, NOW - 30, problem="no such type here; take another zone", error="provider"),
    )
    memory = Memory(shortages={PLAIN.key: Shortage(PLAIN.key, NOW + 120, 3, NOW - 5)})
    text = shown(bought(tmp_path, SPOT, PLAIN, third, standings=standings, memory=memory))
    assert "at its quota" in text
    assert "0 96 of 96 vCPU are used asked 30 s ago" in text
    assert "Not known: prices: not allowed" in text
    assert "Short: 3 refusals in a row, asked for again after" in text
    assert "no such type here; take another zone" in text
    assert "0 can be bought 1 short: the cloud had none lately 1 at a quota 1 with a problem" in text


@pytest.mark.parametrize(
    ("query", "there", "gone"),
    [
        pytest.param("?q=azure", "NC96", "p5.48xlarge", id="by provider"),
        pytest.param("?q=chat+spot", "p5.48xlarge", "NC96", id="by pool and purchase"),
        pytest.param("?only=used", "p5.48xlarge", "NC96", id="those with instances"),
        pytest.param("?only=nonsense", "NC96", "No offer matches", id="a filter that is not known shows all"),
        pytest.param("?q=zzz", "No offer matches", "NC96", id="nothing matches"),
    ],
)
def test_filters(tmp_path: Path, query: str, there: str, gone: str) -> None:
    text = shown(bought(tmp_path, SPOT, PLAIN), query)
    assert there in text
    assert gone not in text


def test_pools_come_by_pages_and_candidates_are_left_out(tmp_path: Path) -> None:
    world = bought(tmp_path, SPOT)
    view = world.deps.board.pools()["chat"]
    for n in range(30):
        world.deps.board.publish(replace(view, rules=replace(view.rules, pool=f"pool-{n:02d}")))
    world.deps.board.publish(PoolView(replace(view.rules, pool="shade", shadow_of="chat"), NOW))
    text = shown(world, "?page=2")
    assert "Page 2 of 2, 31 pools" in text
    assert "pool-29" in text
    assert "pool-00" not in text
    assert "shade" not in text


def test_what_clouds_and_rule_files_say_stays_text(tmp_path: Path) -> None:
    offer = replace(SPOT, type=EVIL, priced=EVIL)
    standing = Standing("chat", offer.key, NOW, problem=EVIL, error="provider", quota=EVIL, unknown=(EVIL,))
    page = Browser(bought(tmp_path, offer, standings=(standing,))).sign_in("viewer").page(f"/offers?q={EVIL}")
    assert EVIL not in page.text
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;" in page.text


def test_a_stranger_sees_none_of_it(tmp_path: Path) -> None:
    assert Browser(api_world(tmp_path)).page("/offers").status_code == 303
