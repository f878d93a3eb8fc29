"""The OpenAPI document is true: a fuzzer finds no undocumented answer, no 500 and no unguarded operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from autoscaler.api.app import ApiDeps, create_app
from autoscaler.api.serve import Server
from autoscaler.board import Board
from autoscaler.clock import SimClock
from autoscaler.configparts import RateLimit
from autoscaler.journal import Journal
from autoscaler.rulefile.watch import RuleBook
from autoscaler.store import Store
from tests.apiworld import SECRETS, api_world

EXAMPLES = 10
"""For each operation and mode; the whole file takes some 40 s of a core."""

DOCUMENT = create_app(ApiDeps(Board(), Journal(), Store(None), SimClock(), RuleBook(()), version="test")).openapi()
OPERATIONS: list[Any] = [
    result.ok()  # type: ignore[union-attr] # an operation that cannot be read fails right here
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
]

UNHURRIED = RateLimit(1e6, 1_000_000, 1e6, 1_000_000, 1e6)
"""The fuzzer asks as fast as it can; what it is told then is always the same."""

UNSAID: list[Any] = [positive_data_acceptance, negative_data_rejection]
"""A schema cannot say that an end must be in the future; and some wrong requests of the fuzzer (a parameter whose name
is empty) are right ones on the wire. Tables elsewhere say what is refused."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service on a real socket, whose pool is called as the fuzzer will hardly guess."""
    world = api_world(tmp_path_factory.mktemp("fuzzed"), rate_limit=UNHURRIED)
    running = Server(world.app, "127.0.0.1", 0)
    running.start()
    yield running
    running.stop()


def asked() -> Iterator[Any]:
    """Every operation with right requests, and with wrong ones where there is something to get wrong."""
    for operation in OPERATIONS:
        yield pytest.param(operation, GenerationMode.POSITIVE, id=f"{operation.label}, right requests")
        if operation.path not in ("/healthz", "/readyz", "/metrics"):
            yield pytest.param(operation, GenerationMode.NEGATIVE, id=f"{operation.label}, wrong requests")


@pytest.mark.parametrize(("operation", "mode"), list(asked()))
def test_every_answer_is_as_described(operation: Any, mode: GenerationMode, server: Server) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def ask(case: schemathesis.Case[Any], known: bool) -> None:
        if known and mode is GenerationMode.POSITIVE:
            # What exists lets a request get past the first 404.
            names = {"pool": "chat", "signal": "load", "number": 8, "id": "event"}
            case.path_parameters.update({k: v for k, v in names.items() if k in case.path_parameters})
        headers = {"Authorization": f"Bearer {SECRETS['admin']}"}
        case.call_and_validate(base_url=server.url, headers=headers, excluded_checks=UNSAID)

    ask()
