"""Who is told what and when: grouping, waiting, repeating, silences, ends. Pure: one look at alerts after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.alerting import Receiver
from autoscaler.notifying.groups import KEEP_ENDED_S, MAX_GROUPS, RESEND_S, Look, Note, turn
from autoscaler.notifying.identity import identity
from autoscaler.notifying.matching import parsed
from autoscaler.types import Alert, Told
from tests.notified import AT, alert, over, receiver


class People:
    """What a receiver is told by look after look."""

    def __init__(self, **given: Any) -> None:
        self.receiver: Receiver = receiver("http://h/", **given)
        self.told: dict[str, Told] = {}
        self.next_at = 0.0
        self.left_out = 0

    def look(self, at: float, *alerts: Alert, muted: tuple[Alert, ...] = (), judged: bool = True) -> list[Note]:
        """The messages of one look, `at` seconds after the first alert began."""
        hushed = {identity(a) for a in muted}
        look = Look.of(alerts, AT + at, hushed.__contains__, lambda _: judged)
        found = turn(self.receiver, self.told, look)
        for key, after in found.told.items():
            self.told.pop(key, None)
            if after is not None:
                self.told[key] = after
        self.next_at, self.left_out = found.next_at - AT, found.left_out
        return list(found.notes)

    def says(self, at: float, *alerts: Alert, **more: Any) -> list[str]:
        """The same as words: state and GPU of each alert of each message."""
        return [
            " ".join(f"{a.state}:{dict(a.labels).get('gpu', '-')}" for a in note.alerts)
            for note in self.look(at, *alerts, **more)
        ]


# --- one group --------------------------------------------------------------------------------------------------


def test_a_group_is_told_once_and_its_end_once() -> None:
    people = People()
    assert people.says(0, alert()) == ["firing:0"]
    assert people.says(1, alert()) == []
    assert people.says(2, over(alert())) == ["resolved:0"]
    assert people.says(3, over(alert())) == []
    assert people.told == {}


def test_alerts_of_one_name_and_pool_are_one_message_and_others_are_not() -> None:
    found = People().look(0, alert(0), alert(1), alert(2, name="heat"), alert(3, pool="embed"))
    assert [(n.key, len(n.alerts)) for n in found] == [
        ('{}:{alertname="power", pool="chat"}', 2),
        ('{}:{alertname="heat", pool="chat"}', 1),
        ('{}:{alertname="power", pool="embed"}', 1),
    ]


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        pytest.param((), 1, id="no label makes one group"),
        pytest.param(("severity",), 2, id="by severity"),
        pytest.param(("instance",), 1, id="by a label of the series"),
        pytest.param(("no_such_label",), 1, id="by a label that no alert has"),
        pytest.param(("...",), 3, id="by all labels, each alert by itself"),
    ],
)
def test_groups_are_made_by_the_labels_of_your_choice(labels: tuple[str, ...], groups: int) -> None:
    some = (alert(0), alert(1), alert(2, severity="critical"))
    assert len(People(group_by=labels).look(0, *some)) == groups


def test_a_new_group_waits_for_more_of_its_kind() -> None:
    people = People(group_wait_s=30.0)
    assert people.says(0, alert(0)) == []
    assert people.next_at == 30.0
    assert people.says(10, alert(0), alert(1)) == []
    assert people.says(30, alert(0), alert(1)) == ["firing:0 firing:1"]


def test_what_ends_while_its_group_waits_was_never_news() -> None:
    people = People(group_wait_s=30.0)
    assert people.says(0, alert(0)) == []
    assert people.says(20, over(alert(0))) == []
    assert people.says(60, over(alert(0))) == []
    assert people.told == {}


def test_later_news_of_a_group_waits_for_its_interval() -> None:
    people = People(group_interval_s=300.0)
    assert people.says(0, alert(0)) == ["firing:0"]
    assert people.says(10, alert(0), alert(1)) == []
    assert people.next_at == 300.0
    assert people.says(200, over(alert(0)), alert(1)) == []
    assert people.says(300, over(alert(0)), alert(1)) == ["firing:1 resolved:0"]


def test_a_group_that_does_not_change_is_told_again_after_the_repeat_interval() -> None:
    people = People(repeat_interval_s=3600.0)
    assert people.says(0, alert()) == ["firing:0"]
    assert people.next_at == 3600.0
    assert people.says(3599, alert()) == []
    assert people.says(3600, alert()) == ["firing:0"]
    assert people.says(7199, alert()) == []


def test_an_alert_that_fires_anew_or_is_announced_anew_is_news() -> None:
    people = People()
    people.look(0, alert())
    again = alert(started_at=AT + 50, notified_at=AT + 50)
    assert people.says(60, again) == ["firing:0"], "it ended and began between two looks"
    assert people.says(70, replace(again, notified_at=AT + 65, text="another change")) == ["firing:0"]


def test_a_firing_that_the_rule_keeps_silent_is_not_told() -> None:
    people = People()
    assert people.says(0, alert(notified_at=AT - 100)) == []


def test_another_severity_ends_one_alert_and_begins_another() -> None:
    people = People()
    people.look(0, alert())
    assert people.says(10, alert(severity="critical")) == ["firing:0 resolved:0"]


def test_who_does_not_want_ends_is_told_of_none() -> None:
    people = People(send_resolved=False)
    assert people.says(0, alert(0), alert(1)) == ["firing:0 firing:1"]
    assert people.says(10, over(alert(0)), alert(1)) == []
    assert people.says(20, over(alert(0)), over(alert(1))) == []
    assert people.told == {}


def test_what_is_not_known_any_more_is_over_only_when_its_pool_was_judged() -> None:
    people = People()
    people.look(0, alert())
    assert people.says(10, judged=False) == []
    (note,) = people.look(20)
    assert (note.alerts[0].state, note.alerts[0].since) == ("resolved", AT + 20)
    assert note.alerts[0].text == "over: gpu_power_watts 520 is above its band 370 to 430"


def test_a_clock_that_goes_back_stretches_no_wait() -> None:
    people = People(group_wait_s=30.0)
    people.look(0, alert())
    assert people.says(-5000, alert()) == []
    assert people.says(-4970, alert()) == ["firing:0"]


def test_a_receiver_is_told_of_what_it_matches() -> None:
    people = People(match=(parsed('severity="critical"'), parsed('pool=~"chat|embed"')))
    some = (alert(0), alert(1, severity="critical"), alert(2, severity="critical", pool="other"))
    assert people.says(0, *some) == ["firing:1"]


def test_groups_have_a_limit_and_what_is_beyond_is_counted() -> None:
    people = People(group_by=("gpu",))
    found = people.look(0, *(alert(n) for n in range(MAX_GROUPS + 7)))
    assert (len(found), people.left_out) == (MAX_GROUPS, 7)


# --- muted alerts -----------------------------------------------------------------------------------------------


def test_a_silenced_alert_is_not_told_and_is_when_its_silence_ends() -> None:
    people = People()
    assert people.says(0, alert(), muted=(alert(),)) == []
    assert people.told == {}
    assert people.says(100, alert()) == ["firing:0"]


def test_an_alert_that_was_told_is_told_again_when_its_silence_ends() -> None:
    people = People()
    people.look(0, alert())
    assert people.says(10, alert(), muted=(alert(),)) == []
    assert people.says(20, alert()) == ["firing:0"]
    assert people.says(30, alert()) == []


def test_the_end_of_an_alert_that_was_told_is_told_though_it_is_silenced() -> None:
    """Else an incident that was opened for it would stay open."""
    people = People()
    people.look(0, alert())
    people.look(10, alert(), muted=(alert(),))
    assert people.says(20, over(alert()), muted=(alert(),)) == ["resolved:0"]


def test_the_end_of_an_alert_that_nobody_was_told_of_is_not_told() -> None:
    people = People()
    people.look(0, alert(), muted=(alert(),))
    assert people.says(20, over(alert())) == []


def test_a_silenced_alert_is_not_repeated_with_the_others_of_its_group() -> None:
    people = People(repeat_interval_s=3600.0)
    people.look(0, alert(0), alert(1))
    assert people.says(3600, alert(0), alert(1), muted=(alert(1),)) == ["firing:0"]
    assert people.says(3700, alert(0), alert(1)) == ["firing:0 firing:1"]


# --- an Alertmanager --------------------------------------------------------------------------------------------


def test_an_alertmanager_is_told_again_before_it_would_take_the_alert_for_over() -> None:
    people = People(kind="alertmanager")
    assert people.says(0, alert(0), alert(1, name="heat", pool="embed")) == ["firing:0 firing:1"], "it groups by itself"
    assert people.next_at == RESEND_S
    assert people.says(RESEND_S - 1, alert(0), alert(1, name="heat", pool="embed")) == []
    assert people.says(RESEND_S, alert(0)) == ["firing:0 resolved:1"]


def test_an_alertmanager_is_told_of_an_end_for_a_quarter_of_an_hour() -> None:
    people = People(kind="alertmanager")
    people.look(0, alert())
    ended = over(alert(), AT + 10)
    assert people.says(10, ended) == ["resolved:0"]
    assert people.says(10 + RESEND_S, ended) == ["resolved:0"]
    assert people.says(10 + KEEP_ENDED_S) == []
    assert people.told == {}


def test_an_alert_that_fires_anew_is_not_said_to_be_over_too() -> None:
    people = People(kind="alertmanager")
    people.look(0, alert())
    people.look(10, over(alert(), AT + 10))
    assert people.says(20, alert(started_at=AT + 20, notified_at=AT + 20)) == ["firing:0"]


# --- all of it --------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(1, 100), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3))), max_size=30),
    st.sampled_from([0.0, 20.0]),
    st.sampled_from([0.0, 50.0]),
)
def test_in_the_end_people_believe_what_is_true(
    looks: list[tuple[int, set[int], set[int]]], wait_s: float, interval_s: float
) -> None:
    """Whatever fires, ends and is muted in whatever order: after a rest, what was told last is what fires unmuted."""
    people = People(group_wait_s=wait_s, group_interval_s=interval_s)
    believed: set[str] = set()
    since: dict[int, float] = {}
    now = 0.0

    def told(firing: set[int], muted: set[int]) -> None:
        for n in firing - since.keys():
            since[n] = AT + now
        for n in since.keys() - firing:
            del since[n]
        alerts = [alert(n, started_at=since[n], notified_at=since[n]) for n in sorted(firing)]
        for note in people.look(
            now, *alerts, muted=tuple(a for n, a in zip(sorted(firing), alerts, strict=True) if n in muted)
        ):
            for a in note.alerts:
                gpu = dict(a.labels)["gpu"]
                (believed.add if a.state == "firing" else believed.discard)(gpu)

    for step_s, firing, muted in looks:
        now += step_s
        told(firing, muted)
    last = looks[-1][1] if looks else set()
    for _ in range(3):
        now += wait_s + interval_s + 1
        told(last, set())
    assert believed == {str(n) for n in last}
