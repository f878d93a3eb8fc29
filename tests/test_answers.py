"""Outcomes between their arrival and the journal, and calls that are repeated."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.answers import Answers
from autoscaler.clock import SimClock
from autoscaler.dispatch import Inline
from autoscaler.types import Launch, Outcome
from tests.test_dispatch import Scripted
from tests.worlds import NOW, OFFER

ORDER = Launch("a1", "chat", NOW, NOW + 300, OFFER)
LOST = Outcome("a1", "chat", "unknown", NOW)


def size(answers: Answers) -> int:
    return sum(map(len, answers._heard.values())) + len(answers._heard) + len(answers._retry_at)


def test_what_arrives_while_a_tick_is_journalled_is_kept_for_the_next() -> None:
    hand = Inline(Scripted(), SimClock(NOW))
    answers = Answers()
    hand.submit([ORDER])
    assert answers.collect([hand]) == {"chat"}
    seen = answers.of("chat")
    hand.submit([replace(ORDER, id="a2")])
    answers.collect([hand])
    answers.recorded("chat", seen)
    assert [o.action for o in answers.of("chat")] == ["a2"]


def test_a_providers_done_is_only_its_word() -> None:
    answers = Answers()
    hand = Inline(Scripted(act=lambda a: Outcome(a.id, a.pool, "done", NOW)), SimClock(NOW))
    hand.submit([ORDER])
    answers.collect([hand])
    assert [o.status for o in answers.of("chat")] == ["accepted"]


def test_a_lost_answer_is_asked_for_again_after_its_wait_and_not_before() -> None:
    answers = Answers()
    assert answers.unanswered([ORDER], [replace(LOST, retry_after_s=40.0)], NOW, 15.0) == []
    assert answers.unanswered([ORDER], [], NOW + 39, 15.0) == []
    assert answers.unanswered([ORDER], [], NOW + 40, 15.0) == [ORDER]
    assert answers.unanswered([ORDER], [], NOW + 80, 15.0) == [], "once for each lost answer"


def test_what_is_under_way_is_asked_how_it_stands_only_where_its_provider_says_when() -> None:
    answers = Answers()
    under_way = replace(LOST, status="accepted")
    assert answers.unanswered([ORDER], [under_way], NOW, 15.0) == []
    assert answers.unanswered([ORDER], [], NOW + 100, 15.0) == []
    assert answers.unanswered([ORDER], [replace(under_way, retry_after_s=5.0)], NOW + 100, 15.0) == []
    assert answers.unanswered([ORDER], [], NOW + 105, 15.0) == [ORDER]


def test_a_call_whose_time_is_over_is_not_repeated() -> None:
    """It would fail at once and prove nothing: an earlier try may have been carried out."""
    answers = Answers()
    answers.unanswered([ORDER], [LOST], NOW + 290, 15.0)
    assert answers.unanswered([ORDER], [], NOW + 305, 15.0) == []
    assert size(answers) == 0


def test_late_double_and_foreign_outcomes_leave_nothing_behind() -> None:
    answers = Answers()
    failed = replace(LOST, status="failed")
    answers.unanswered([ORDER], [LOST, failed, failed], NOW, 15.0)
    answers.unanswered([], [LOST, replace(LOST, action="never")], NOW + 15, 15.0)
    hand = Inline(Scripted(act=lambda a: Outcome(a.id, "gone", "accepted", NOW)), SimClock(NOW))
    hand.submit([ORDER])
    answers.collect([hand])
    answers.forget_all_but({"chat"})
    assert size(answers) == 0
