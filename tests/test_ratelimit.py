"""How often may be asked: buckets, whom they belong to, and what is said to those who must wait."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from autoscaler.api.problems import answer
from autoscaler.api.ratelimit import Buckets, Limiter, asker
from autoscaler.configparts import RateLimit
from tests.apiworld import SECRETS, api_world

LIMIT = RateLimit(reads_per_s=10, read_burst=3, writes_per_s=1, write_burst=1, failures_per_s=0.5)
GOOD, OTHER = {"Authorization": "Bearer good"}, {"Authorization": "Bearer other"}


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    per_s=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=100),
)
def test_a_bucket_gives_at_most_its_burst_and_what_has_flown_in(per_s: float, burst: int, gaps: list[float]) -> None:
    buckets, now, taken = Buckets(per_s, burst), 100.0, 0
    for gap in gaps:
        now += gap
        taken += buckets.take("a", now) == 0
    assert burst * (len(gaps) >= burst) <= max(taken, burst)
    assert taken <= burst + (now - 100.0) * per_s + 1e-6


def test_whoever_waits_as_long_as_told_gets_a_token() -> None:
    buckets = Buckets(3.0, 2)
    assert [buckets.take("a", 0.0), buckets.take("a", 0.0)] == [0, 0]
    wait_s = buckets.take("a", 0.0)
    assert wait_s == pytest.approx(1 / 3)
    assert buckets.take("a", wait_s) == 0
    assert buckets.take("b", 0.0) == 0


def test_no_more_buckets_are_kept_than_there_is_room_for() -> None:
    buckets = Buckets(1.0, 1, most=100)
    for n in range(1000):
        buckets.take(f"address {n}", 0.0)
    assert len(buckets) == 100


class World:
    """A limiter over an app that knows the token `good`, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.limiter = Limiter(self._app, LIMIT, ("/free",), ("/pushed",), lambda: self.now)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        proof = dict(scope["headers"]).get(b"authorization", b"")
        known = proof in (b"Bearer good", b"Bearer other")
        if known:
            asker(scope).name = proof.decode().removeprefix("Bearer ")
        await answer(200 if known or not proof else 401, "")(scope, receive, send)

    def ask(
        self, method: str = "GET", path: str = "/", address: str = "10.0.0.1", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.limiter, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
                return await client.request(method, path, headers=headers)

        return anyio.run(send)

    def statuses(self, count: int, method: str = "GET", path: str = "/", **more: object) -> list[int]:
        return [self.ask(method, path, **more).status_code for _ in range(count)]  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    return World()


def test_too_many_reads_are_told_how_long_to_wait(world: World) -> None:
    assert world.statuses(4) == [200, 200, 200, 429]
    refused = world.ask()
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit"] == '"reads";r=0;t=1'
    assert refused.headers["ratelimit-policy"] == '"reads";q=3;w=1'
    assert "more reads than 10 a second; wait 1 s and ask again" in refused.json()["detail"]
    world.now += 0.1
    assert world.ask().status_code == 200


def test_writes_have_a_bucket_of_their_own(world: World) -> None:
    assert world.statuses(2, "POST") == [200, 429]
    assert world.ask().status_code == 200


def test_another_address_is_not_held_up(world: World) -> None:
    world.statuses(4)
    assert world.ask(address="10.0.0.2").status_code == 200


def test_an_ipv6_network_is_one_address(world: World) -> None:
    assert world.statuses(3, address="2001:db8:1:2::1") == [200] * 3
    assert world.ask(address="2001:db8:1:2:ffff::9").status_code == 429
    assert world.ask(address="2001:db8:1:3::1").status_code == 200


def test_a_token_has_its_own_bucket_wherever_it_asks_from(world: World) -> None:
    # The first request of a token comes before anybody knows that it is one.
    assert world.ask(headers=GOOD).status_code == 200
    assert world.statuses(4, headers=GOOD) == [200, 200, 200, 429]
    assert world.ask(headers=OTHER).status_code == 200
    assert world.ask(address="10.0.0.9", headers=GOOD).status_code == 200
    assert world.ask(address="10.0.0.9", headers=GOOD).status_code == 429


def test_the_probes_are_never_limited_and_pushes_have_their_own_places(world: World) -> None:
    assert world.statuses(20, path="/free") == [200] * 20
    assert world.statuses(20, "POST", "/pushed", headers=GOOD) == [200] * 20


def test_guessing_ends_after_a_burst_and_who_was_known_before_goes_on(world: World) -> None:
    world.ask(headers=GOOD)
    tried = [world.ask("POST", "/pushed", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(40)]
    assert tried == [401] * 30 + [429] * 10
    refused = world.ask("POST", "/pushed", headers={"Authorization": "Bearer 41"})
    assert "too many requests with a wrong token" in refused.json()["detail"]
    assert world.ask(headers=GOOD).status_code == 200
    assert world.ask(address="10.0.0.2", headers=OTHER).status_code == 200
    # Even the right token is not looked at, or guessing would go on.
    assert world.ask("POST", "/pushed", headers=OTHER).status_code == 429
    world.now += 3.0
    assert world.ask("POST", "/pushed", headers=OTHER).status_code == 200


def test_a_token_that_was_taken_back_is_forgotten(world: World) -> None:
    world.ask(headers=GOOD)
    assert len(world.limiter._known) == 1
    world.limiter.app = answer(401, "")
    assert world.ask(headers=GOOD).status_code == 401
    assert len(world.limiter._known) == 0


def test_the_service_counts_by_the_names_of_its_tokens(tmp_path: Path) -> None:
    limit = RateLimit(reads_per_s=0.01, read_burst=3, writes_per_s=0.01, write_burst=1)
    client = api_world(tmp_path, rate_limit=limit).client(SECRETS["viewer"])
    assert [client.get("pools").status_code for _ in range(5)] == [200, 200, 200, 200, 429]
    assert client.ask("GET", "/healthz").status_code == 200
