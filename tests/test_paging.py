"""Lists in pages: nothing is told twice or left out, filters hold, and a foreign cursor is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.api.app import create_app
from autoscaler.api.paging import page
from autoscaler.api.problems import Problem
from autoscaler.board import Ownerless
from autoscaler.types import Alert, Fleet
from tests.apiworld import ApiWorld, Page, api_world
from tests.worlds import NOW, instance

WHO = {"author": "ada", "reason": "test"}


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    items=st.lists(st.tuples(st.floats(-1e9, 1e9), st.text(max_size=5)), unique=True, max_size=40),
    limit=st.integers(1, 10),
)
def test_pages_put_together_are_the_list(items: list[tuple[float, str]], limit: int) -> None:
    found: list[tuple[float, str]] = []
    after = ""
    for _ in range(50):
        shown, following = page(items, lambda i: i, after, limit)
        found += shown
        if following is None:
            break
        after = following
    assert found == sorted(items)


def test_what_comes_and_goes_between_two_pages_shifts_nothing() -> None:
    first, after = page(["b", "d", "f"], lambda i: (i,), "", 2)
    assert (first, after is not None) == (["b", "d"], True)
    second, _ = page(["a", "b", "e", "f"], lambda i: (i,), after or "", 2)
    assert second == ["e", "f"]


@pytest.mark.parametrize("after", ["chat", "!", "WyJuYW1lIl0x", "bnVsbA", "WyJzaXplIiwgMV0", "é"])
def test_a_cursor_of_something_else_is_refused(after: str) -> None:
    with pytest.raises(Problem, match="is not the next_after of a page of this list"):
        page(["a"], lambda i: (i,), after, 1)


def test_a_cursor_of_numbers_is_refused_where_names_are_sorted() -> None:
    _, after = page([1.0, 2.0], lambda i: (i,), "", 1)
    with pytest.raises(Problem, match="begin without it"):
        page(["a"], lambda i: (i,), after or "", 1)


# --- the lists of the API -------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    """Pools a-1 to a-5 beside chat, each with one more wanted replica, and overrides, marks and targets in number."""
    pages = tuple(Page(f"http://10.0.0.{n}:8000/metrics", n % 2 == 0) for n in range(1, 8))
    base = api_world(tmp_path)
    made = replace(base.deps, counts=lambda: replace(base.deps.counts(), targets=pages))
    world = replace(base, deps=made, app=create_app(made))
    view = world.deps.board.pools()["chat"]
    assert view.decision is not None
    for n in range(1, 6):
        decision = replace(view.decision, want=n, current=n, pool=f"a-{n}")
        fleet = Fleet(NOW, tuple(replace(instance(k), id=f"a-{n}-{k}", pool=f"a-{n}") for k in range(n)))
        rules = replace(view.rules, pool=f"a-{n}")
        firing = (Alert("k", f"a-{n}", "slow", "critical", "firing", NOW, ""),) if n == 3 else ()
        error = "the disk is full" if n == 5 else ""
        world.deps.board.publish(replace(view, rules=rules, decision=decision, fleet=fleet, alerts=firing, error=error))
    machines = tuple(instance(n) for n in range(1, 10))
    world.deps.board.publish(replace(view, fleet=Fleet(NOW, machines)))
    world.deps.board.ownerless = {name: Ownerless(name, (instance(1, pool=name),), "") for name in ("x", "y", "z")}
    client = world.client()
    for n, pool in enumerate(("chat", "a-1", "a-2")):
        body = {"kind": "freeze" if n else "pause", "for": "1h", **WHO}
        assert client.ask("PUT", f"pools/{pool}/overrides/one", json=body).status_code == 200
    assert client.ask("PUT", "pools/chat/overrides/two", json={"kind": "freeze", "for": "1h", **WHO}).is_success
    for n in (1, 2, 3):
        assert client.ask("POST", "cordons", json={"instance": f"chat-{n}", **WHO}).status_code == 201
    return world


LISTS = [
    pytest.param("pools", "pools", 6, id="pools"),
    pytest.param("pools?sort=want", "pools", 6, id="pools by size"),
    pytest.param("pools/chat/instances", "instances", 9, id="instances"),
    pytest.param("overrides", "overrides", 4, id="overrides of all pools"),
    pytest.param("pools/chat/overrides", "overrides", 2, id="overrides of a pool"),
    pytest.param("marks", "marks", 3, id="marks"),
    pytest.param("offers", "offers", 6, id="offers"),
    pytest.param("targets", "targets", 7, id="targets"),
    pytest.param("ownerless", "pools", 3, id="pools without rules"),
    pytest.param("pools/chat/decisions", "decisions", 4, id="decisions"),
]


@pytest.mark.parametrize(("path", "key", "count"), LISTS)
def test_following_the_link_header_leads_through_the_whole_list(
    world: ApiWorld, path: str, key: str, count: int
) -> None:
    client = world.client()
    whole = client.ask("GET", path)
    assert (len(whole.json()[key]), "link" in whole.headers) == (count, False)
    found: list[object] = []
    address = f"/api/v1/{path}{'&' if '?' in path else '?'}limit=2"
    for _ in range(count):
        part = client.ask("GET", address)
        assert part.status_code == 200, part.text
        found += part.json()[key]
        link = part.headers.get("link")
        if link is None:
            break
        assert link.endswith('; rel="next"')
        address = link.partition("<")[2].partition(">")[0]
        assert ("limit", "2") in parse_qsl(urlsplit(address).query)
    assert without_ages(found) == without_ages(whole.json()[key])


def without_ages(items: list[object]) -> list[object]:
    return [{k: v for k, v in item.items() if k != "age_s"} for item in items if isinstance(item, dict)]


@pytest.mark.parametrize(
    ("path", "key", "field", "expected"),
    [
        pytest.param("pools?prefix=a-", "pools", "pool", [f"a-{n}" for n in range(1, 6)], id="by the name's start"),
        pytest.param("pools?firing=true", "pools", "pool", ["a-3", "chat"], id="with alerts that fire"),
        pytest.param("pools?firing=false&prefix=a-4", "pools", "pool", ["a-4"], id="without any"),
        pytest.param("pools?state=failing", "pools", "pool", ["a-5"], id="that cannot decide"),
        pytest.param("pools?state=steady", "pools", "pool", ["a-1", "a-2", "a-3", "a-4", "chat"], id="at rest"),
        pytest.param("pools?sort=want&limit=2", "pools", "pool", ["chat", "a-5"], id="the largest first"),
        pytest.param("pools?sort=alerts&limit=2", "pools", "pool", ["a-3", "chat"], id="those that fire first"),
        pytest.param("pools/chat/instances?state=pending", "instances", "id", [], id="instances by state"),
        pytest.param("pools/a-2/instances?offer=sim/", "instances", "id", ["a-2-0", "a-2-1"], id="instances by offer"),
        pytest.param("overrides?kind=pause", "overrides", "pool", ["chat"], id="overrides by kind"),
        pytest.param("overrides?author=bob", "overrides", "pool", [], id="overrides by author"),
        pytest.param("marks?kind=replace", "marks", "instance", [], id="marks by kind"),
        pytest.param("offers?provider=aws", "offers", "pool", [], id="offers by provider"),
        pytest.param("offers?troubled=true", "offers", "pool", [], id="offers with trouble"),
        pytest.param("targets?up=true&limit=1", "targets", "up", [True], id="targets that are up"),
        pytest.param("targets?pool=other", "targets", "up", [], id="targets of a pool"),
    ],
)
def test_a_filter_leaves_what_it_names(
    world: ApiWorld, path: str, key: str, field: str, expected: list[object]
) -> None:
    found = world.client().ask("GET", path)
    assert found.status_code == 200, found.text
    assert [item[field] for item in found.json()[key]] == expected


@pytest.mark.parametrize(
    "path",
    ["pools?state=tired", "pools?sort=colour", "pools?limit=0", "pools?after=x", "marks?kind=pin", "targets?up=maybe"],
)
def test_a_filter_that_means_nothing_is_refused(world: ApiWorld, path: str) -> None:
    assert world.client().ask("GET", path).status_code == 422


def test_instances_of_a_fleet_that_nobody_reported_are_not_none(world: ApiWorld) -> None:
    view = world.deps.board.pools()["chat"]
    world.deps.board.publish(replace(view, fleet=None))
    assert world.client().get("pools/chat/instances").status_code == 503
