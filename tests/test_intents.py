"""Reports united with open intents, and when an intent counts as carried out or given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.intents import SUPERSEDED, merge, settle, unite
from autoscaler.types import Fleet, Launch, Operate
from tests.worlds import NOW, OFFER, fleet, instance

ORDER = Launch("a1", "chat", NOW, NOW + 300, OFFER)


def operate(kind: str, at: float = NOW) -> Operate:
    return Operate("b1", "chat", at, at + 60, kind, "chat-0", "sim")  # type: ignore[arg-type]


def test_an_order_that_is_not_listed_is_pending() -> None:
    united = unite(fleet(2), [ORDER])
    assert (united.ready, united.pending) == (2, 1)
    assert united.instances[-1].expected_at == NOW + OFFER.lead_time_s


def test_an_order_that_is_listed_counts_once() -> None:
    there = replace(fleet(2), instances=(*fleet(2).instances, instance(5, "pending", action="a1")))
    assert unite(there, [ORDER]).pending == 1


@pytest.mark.parametrize(("kind", "state"), [("drain", "draining"), ("terminate", "stopping"), ("stop", "stopping")])
def test_an_operation_is_shown_before_the_provider_shows_it(kind: str, state: str) -> None:
    assert unite(fleet(1), [operate(kind)]).instances[0].state == state


@pytest.mark.parametrize(
    ("seconds", "listed", "status"),
    [
        pytest.param(10, False, None, id="not listed yet: still open"),
        pytest.param(10, True, "done", id="listed: done"),
        pytest.param(301, False, "failed", id="not listed when its time is over: given up"),
        pytest.param(301, True, "done", id="listed at the last moment: done"),
    ],
)
def test_a_launch_settles(seconds: float, listed: bool, status: str | None) -> None:
    there = Fleet(NOW + seconds, (instance(5, "pending", action="a1"),) if listed else ())
    settled = settle([ORDER], there, NOW + seconds)
    assert [o.status for o in settled] == ([status] if status else [])


def test_a_report_from_before_the_limit_cannot_prove_that_nothing_came() -> None:
    assert settle([ORDER], fleet(0, at=NOW + 290), NOW + 400) == ()


def test_a_report_from_before_the_intent_proves_nothing() -> None:
    assert settle([operate("terminate")], Fleet(NOW - 1), NOW + 1) == ()


@pytest.mark.parametrize(
    ("kind", "state", "done"),
    [
        ("drain", "draining", True),
        ("drain", "ready", False),
        ("resume", "ready", True),
        ("resume", "draining", False),
        ("terminate", "draining", False),
        ("start", "pending", True),
        ("stop", "warm", True),
    ],
)
def test_an_operation_is_done_when_a_report_shows_it(kind: str, state: str, done: bool) -> None:
    there = Fleet(NOW + 5, (instance(0, state),))  # type: ignore[arg-type]
    assert bool(settle([operate(kind)], there, NOW + 5)) is done


def test_any_operation_on_an_instance_that_is_gone_is_done() -> None:
    assert settle([operate("resume")], Fleet(NOW + 5), NOW + 5)[0].status == "done"


def test_an_operation_without_effect_fails_so_that_it_is_planned_again() -> None:
    there = fleet(1, at=NOW + 70)
    assert settle([operate("drain")], there, NOW + 70)[0].error == "no_effect"


def test_one_that_came_to_serve_before_its_end_was_carried_out_is_not_ended_without_a_drain() -> None:
    there = fleet(1, at=NOW + 5)
    (found,) = settle([operate("terminate")], there, NOW + 5)
    assert (found.status, found.error) == ("failed", SUPERSEDED)
    assert settle([operate("terminate")], fleet(1, at=NOW), NOW + 5) == (), "a report from before says nothing"


def test_a_pool_over_two_providers_knows_the_age_of_each_report_and_is_unknown_if_one_is() -> None:
    merged = merge({"aws": fleet(2, at=NOW - 90), "azure": fleet(1)})
    assert merged is not None
    assert (merged.observed_at, merged.ready) == (NOW, 3)
    assert (merged.seen_at("aws"), merged.seen_at("azure")) == (NOW - 90, NOW)
    assert merged.silent(NOW - 60) == (("aws", NOW - 90),)
    assert merge({"aws": fleet(2), "azure": None}) is None
    assert merge({}) is None


def test_a_listed_machine_was_ordered_whatever_the_dates_say() -> None:
    there = Fleet(NOW - 3600, (instance(5, "pending", action="a1"),))
    assert [o.status for o in settle([ORDER], there, NOW - 3600)] == ["done"], "the clock went back an hour"


def test_a_termination_is_done_when_the_instance_is_seen_to_stop() -> None:
    there = Fleet(NOW + 70, (instance(0, "stopping"),))
    assert [o.status for o in settle([operate("terminate")], there, NOW + 70)] == ["done"]


def test_a_later_operation_on_an_instance_ends_an_earlier_one_that_would_undo_it() -> None:
    """Without that, a drain whose answer was lost would be sent again after the resume that took it back."""
    drain, resume = operate("drain"), replace(operate("resume", NOW + 5), id="b2")
    there = Fleet(NOW + 6, (instance(0, "draining"),))
    assert [(o.action, o.error) for o in settle([drain, resume], there, NOW + 6)] == [("b1", "superseded")]
    assert unite(there, [drain, resume]).ready == 1
