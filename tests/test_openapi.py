"""The OpenAPI document is true: a fuzzer finds no undocumented answer, no 500 and no unguarded operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from autoscaler.api.app import ApiDeps, create_app
from autoscaler.api.serve import Server
from autoscaler.board import Board
from autoscaler.clock import SimClock
from autoscaler.journal import Journal
from autoscaler.rulewatch import RuleBook
from autoscaler.store import Store
from tests.apiworld import SECRETS, api_world

EXAMPLES = 12
"""For each operation and mode; the whole file stays below half a minute on a busy machine."""

DOCUMENT = create_app(ApiDeps(Board(), Journal(), Store(None), SimClock(), RuleBook(()), version="")).openapi()
OPERATIONS = [result.ok() for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service on a real socket, whose pool is called as the fuzzer will hardly guess."""
    running = Server(api_world(tmp_path_factory.mktemp("fuzzed")).app, "127.0.0.1", 0)
    running.start()
    yield running
    running.stop()


def known_names(case: schemathesis.Case) -> None:
    """Half of the requests ask for what exists, so that they get past the first 404."""
    if case.path_parameters.get("pool", "").__hash__() % 2 == 0:
        case.path_parameters |= {k: v for k, v in (("pool", "chat"), ("signal", "load")) if k in case.path_parameters}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=["right requests", "wrong requests"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.label for operation in OPERATIONS])
def test_every_answer_is_as_described(operation: Any, mode: GenerationMode, server: Server) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=server.url, headers={"Authorization": f"Bearer {SECRETS['admin']}"})

    ask()
