"""Fault codes in words: what each is, how much it weighs, and what to do."""

from __future__ import annotations

import pytest

from autoscaler.types.advice import FaultKind, Weight, no_advice
from collectors.nvml.advice import advise
from collectors.nvml.health import RECOVERY
from collectors.nvml.xid import TABLE


@pytest.mark.parametrize(
    ("kind", "code", "weight", "says"),
    [
        pytest.param("xid", 79, "bad", "replace the machine", id="a GPU that fell off the bus"),
        pytest.param("xid", 48, "bad", "give the GPU no new work", id="a memory error that was not corrected"),
        pytest.param("xid", 119, "bad", "reset the GPU", id="a firmware that does not answer"),
        pytest.param("xid", 13, "note", "look at the process", id="a fault of the process"),
        pytest.param("xid", 63, "warn", "next drain", id="a row that was remapped"),
        pytest.param("xid", 94, "note", "contained", id="a contained error"),
        pytest.param("xid", 54, "warn", "power cables", id="a missing power cable"),
        pytest.param("xid", 9999, "warn", "in no table of ours", id="a code that nobody knows"),
        pytest.param("recovery", 1, "bad", "drain the machine first", id="a reset that is asked for"),
        pytest.param("recovery", 3, "warn", "drain peer-to-peer traffic", id="a drain of links"),
        pytest.param("recovery", 42, "bad", "take action 42", id="an action of a later driver"),
    ],
)
def test_a_code_says_what_to_do(kind: FaultKind, code: int, weight: Weight, says: str) -> None:
    found = advise(kind, code)
    assert found.weight == weight
    assert says in found.advice


def test_every_known_code_has_a_name_and_a_next_step() -> None:
    found = [advise("xid", code) for code in TABLE] + [advise("recovery", code) for code in RECOVERY]
    assert all(one.name and one.advice for one in found)
    assert all(advise("xid", code).weight == "bad" for code, xid in TABLE.items() if xid.fatal)


def test_where_nobody_knows_codes_the_code_itself_is_told() -> None:
    assert no_advice("xid", 79).name == "xid 79"
