"""Fuzzed worlds: whatever went wrong in them, afterwards the fleet serves the demand and nothing is left over.

A failure prints its seed and its scenario. To see it again: `pytest tests/scenarios/test_fuzz.py -k "[SEED]"`, or
`live(draw(SEED))`.
"""

from __future__ import annotations

import pytest

from tests.scenarios.fuzz_life import live
from tests.scenarios.fuzz_scenario import draw

FOUND = [
    pytest.param(2294, id="2294: a full journal left the scale-in window unwatched"),
]
"""Seeds that failed once, and why."""


@pytest.mark.parametrize("seed", [*range(40), *FOUND])
def test_a_world_that_broke_in_any_way_comes_to_rest(seed: int) -> None:
    scenario = draw(seed)
    wrong = live(scenario)
    assert not wrong, "\n".join([*wrong, str(scenario)])
