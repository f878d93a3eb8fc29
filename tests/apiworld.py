"""A service at rest for tests of the API: a real rule book, journal and store, and a board with one judged pool."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from fastapi import FastAPI

from autoscaler.api.app import ApiDeps, create_app
from autoscaler.board import Board, PoolView
from autoscaler.clock import SimClock
from autoscaler.counts import Counts
from autoscaler.engine import decide
from autoscaler.journal import Entry, Journal
from autoscaler.rulefile.watch import RuleBook
from autoscaler.store import Store
from autoscaler.tokens import Token, digest
from autoscaler.types import Alert, Decision, Fleet, Memory, Operate, Plan, Reason
from collectors.push import Push
from tests.worlds import NOW, instance, settled, world

RULES = """\
pool: chat
match: {pool: chat}
replica: {gpus: 0, capacity: 10 requests/s}
limits: {min: 1, max: 20}
offers: {from: [{local: {type: worker, command: 'serve {port}', ready: /health, lead_time: 10s}}]}
signals:
  load:  {metric: requests_arrived_total, rate: 1m}
  queue: {metric: requests_waiting}
rules:
  - {name: enough, target: {signal: load, per_replica: auto}}
"""
SECRETS = {"viewer": "viewer-secret-0000000", "operator": "operator-secret-00000", "admin": "admin-secret-00000000"}
TOKENS = tuple(Token(role, f"{role}-of-test", digest(SECRETS[role])) for role in ("viewer", "operator", "admin"))
LOCAL = "local-secret-000000000"


@dataclass(frozen=True, slots=True)
class Page:
    """A scraped page as the scraper describes it."""

    url: str
    up: bool
    labels: tuple[tuple[str, str], ...] = (("pool", "chat"),)
    last_at: float | None = NOW
    error: str = ""
    rejected: int = 0
    duration_s: float = 0.01


@dataclass(frozen=True, slots=True)
class ApiWorld:
    """The dependencies, and the app over them."""

    deps: ApiDeps
    app: FastAPI
    rules_file: Path
    clock: SimClock

    def client(self, secret: str | None = SECRETS["admin"]) -> AppClient:
        """A caller with this token, in the same process."""
        return AppClient(self.app, secret)


class AppClient:
    """Asks the app without a network, one request at a time."""

    def __init__(self, app: FastAPI, secret: str | None = None, host: str = "127.0.0.1") -> None:
        self.app = app
        self.headers = {"Authorization": f"Bearer {secret}"} if secret is not None else {}
        self.base_url = f"http://{host}"

    def ask(self, method: str, path: str, **more: object) -> httpx.Response:
        """The response to one request; paths are below /api/v1 unless they start with a slash."""
        import anyio

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url, headers=self.headers) as client:
                url = path if path.startswith("/") else f"/api/v1/{path}"
                return await client.request(method, url, **more)  # type: ignore[arg-type]

        return anyio.run(send)

    def get(self, path: str, **query: object) -> httpx.Response:
        """A GET."""
        return self.ask("GET", path, params=query)


def decided(rules_of: RuleBook, load: float = 60.0, number: int = 8, at: float = NOW) -> Decision:
    """A real decision about the pool, from 4 replicas."""
    rules = rules_of.current()["chat"]
    found = decide(rules, world(load=load, queue=3.0, there=some_fleet()), settled(4))
    return replace(found, number=number, at=at)


def some_fleet() -> Fleet:
    """Two replicas that serve, one of them without address; one on its way out, one on its way in."""
    return Fleet(
        NOW,
        (
            instance(1),
            instance(2),
            instance(3, address=None),
            instance(4, "draining"),
            instance(5, "pending", address=None),
        ),
    )


def api_world(folder: Path, *, tokens: bool = True, **changes: object) -> ApiWorld:
    """One judged pool `chat` with four journalled decisions, a firing alert and two scraped pages."""
    rules_file = folder / "chat.yaml"
    rules_file.write_text(RULES, encoding="utf-8")
    book = RuleBook(rules_file)
    clock = SimClock(NOW)
    journal = Journal(f"sqlite:///{folder / 'journal.db'}")
    last = decided(book)
    plan = Plan(
        "chat",
        8,
        (Operate("a1", "chat", NOW, NOW + 60, "drain", "chat-4", "local"),),
        (Reason("plan", 4, "one leaves"),),
    )
    for number in (5, 6, 7, 8):
        found = replace(last, number=number, at=NOW - 300 * (8 - number))
        journal.record([Entry(found, plan if number == 8 else Plan("chat", number), (), Memory(number=number))])
    board = Board()
    alert = Alert("k", "chat", "slow", "critical", "firing", NOW - 60, "ttft99 is 9 s", value=9.0)
    quiet = Alert("q", "chat", "calm", "info", "inactive", NOW - 60, "")
    board.publish(PoolView(book.current()["chat"], NOW, last, plan, some_fleet(), (alert, quiet)))
    pages = (Page("http://u:pw@10.0.0.1:8000/metrics", True, rejected=2), Page("http://10.0.0.2:8000/metrics", False))
    deps = ApiDeps(
        board=board,
        journal=journal,
        store=Store(None),
        clock=clock,
        rulebook=book,
        version="0.0.test",
        tokens=TOKENS if tokens else (),
        local=Token("operator", "local", digest(LOCAL)),
        local_file="data/token",
        counts=lambda: Counts(targets=pages),
        receiver=Push(clock),
    )
    deps = replace(deps, **changes)  # type: ignore[arg-type]
    return ApiWorld(deps, create_app(deps), rules_file, clock)
