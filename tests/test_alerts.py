"""Alerts: hold times, silence, unknown samples, and alerts on rules."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.alerts import MOVED, Terms, advance, due, follow
from autoscaler.conditions import Condition, Test
from autoscaler.movement import Bounds
from autoscaler.rulefile.reader import check_text
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.sight import Sight
from autoscaler.thresholds.static import Static
from autoscaler.types import Alert, Verdict

HOT = Test("ttft99", "above", Static(upper=0.5), text="0.5")
NOTHING: Mapping[str, Alert] = {}


def blank() -> Alert:
    return Alert("hot", "chat", "hot", "critical", "inactive", 0.0, "")


def run(terms: Terms, sights: Sequence[tuple[float, bool | None]]) -> list[tuple[str, bool]]:
    """State after each sight, and whether receivers hear of it."""
    alert = blank()
    found: list[tuple[str, bool]] = []
    for at, met in sights:
        after = advance(alert, Sight(met, at, "words", 1.0), terms, at)
        told = due({"hot": alert}, {"hot": after} if after.state != "inactive" else {})
        found.append((after.state, bool(told)))
        alert = after
    return found


def test_a_rule_s_alert_goes_on_firing_for_as_long_as_its_rule_says() -> None:
    text = """
        pool: chat
        limits: {min: 1, max: 8}
        offers: {from: [{local: {type: w, command: 'serve {port}', ready: /health}}]}
        signals: {queue: {metric: requests_waiting}}
        rules: [{name: long, when: {queue: {above: 50}, for: 30s}, alert: critical, keep_firing_for: 1m, silence: 0s}]
    """
    rules = check_text(textwrap.dedent(text), file="chat.yaml").rules
    assert rules is not None
    states, alerts = [], NOTHING
    for at, met in ((0.0, True), (30.0, True), (45.0, False), (75.0, False), (105.0, False)):
        since = 0.0 if met else at
        verdict = Verdict("long", met, met, since, at, "words")
        alerts = follow(rules, [verdict], {}, alerts, at)
        states.append(alerts["long"].state if "long" in alerts else "inactive")
    assert states == ["pending", "firing", "firing", "firing", "resolved"]


# --- life cycle -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "sights", "expected"),
    [
        pytest.param(
            Terms(),
            [(0, True), (15, True), (30, False), (45, False)],
            [("firing", True), ("firing", False), ("resolved", True), ("inactive", False)],
            id="a condition that stays true is announced once, and its end once",
        ),
        pytest.param(
            Terms(for_s=30),
            [(0, True), (15, True), (30, True), (45, False)],
            [("pending", False), ("pending", False), ("firing", True), ("resolved", True)],
            id="it must hold for 30 s",
        ),
        pytest.param(
            Terms(for_s=30),
            [(0, True), (15, False), (30, True), (45, True), (60, True)],
            [("pending", False), ("inactive", False), ("pending", False), ("pending", False), ("firing", True)],
            id="a break starts the hold time again",
        ),
        pytest.param(
            Terms(for_s=30),
            [(0, True), (15, None), (30, None), (45, True)],
            [("pending", False), ("pending", False), ("pending", False), ("firing", True)],
            id="unknown samples neither fire nor break the hold time",
        ),
        pytest.param(
            Terms(),
            [(0, True), (15, None), (3000, None), (3015, False)],
            [("firing", True), ("firing", False), ("firing", False), ("resolved", True)],
            id="unknown samples never resolve",
        ),
        pytest.param(
            Terms(keep_firing_for_s=60),
            [(0, True), (15, False), (60, False), (74, False), (75, False)],
            [("firing", True), ("firing", False), ("firing", False), ("firing", False), ("resolved", True)],
            id="it keeps firing for 60 s after the last breach",
        ),
        pytest.param(
            Terms(keep_firing_for_s=60),
            [(0, True), (15, False), (60, True), (75, False), (134, False), (135, False)],
            [
                ("firing", True),
                ("firing", False),
                ("firing", False),
                ("firing", False),
                ("firing", False),
                ("resolved", True),
            ],
            id="a new breach starts that time again",
        ),
        pytest.param(
            Terms(silence_s=600),
            [(0, True), (15, False), (300, True), (315, False), (599, False), (600, False)],
            [
                ("firing", True),
                ("resolved", True),
                ("firing", False),
                ("resolved", False),
                ("resolved", False),
                ("inactive", False),
            ],
            id="firing again inside the silence is not announced, nor is its end",
        ),
        pytest.param(
            Terms(silence_s=600),
            [(0, True), (15, False), (300, True), (599, True), (600, True), (615, True)],
            [
                ("firing", True),
                ("resolved", True),
                ("firing", False),
                ("firing", False),
                ("firing", True),
                ("firing", False),
            ],
            id="what still fires when the silence ends is announced then",
        ),
        pytest.param(
            Terms(for_s=30, silence_s=600),
            [(0, True), (30, True), (45, False), (300, True), (315, False), (330, False), (630, False)],
            [
                ("pending", False),
                ("firing", True),
                ("resolved", True),
                ("pending", False),
                ("resolved", False),
                ("resolved", False),
                ("inactive", False),
            ],
            id="a hold time that breaks inside the silence does not forget the silence",
        ),
    ],
)
def test_life_cycle(terms: Terms, sights: list[tuple[float, bool | None]], expected: list[tuple[str, bool]]) -> None:
    assert run(terms, sights) == expected


def test_one_sample_seen_at_many_ticks_proves_an_instant() -> None:
    """Hold times run on the times of the samples, not of the ticks that look at them."""
    alert = blank()
    for tick in range(0, 600, 15):
        alert = advance(alert, Sight(True, 0.0), Terms(for_s=30), float(tick))
    assert alert.state == "pending"
    assert advance(alert, Sight(True, 30.0), Terms(for_s=30), 600.0).state == "firing"


def test_a_clock_that_went_back_does_not_swallow_an_announcement() -> None:
    fired = advance(blank(), Sight(True, 5000.0), Terms(silence_s=600), 5000.0)
    calm = advance(fired, Sight(False, 5015.0), Terms(silence_s=600), 5015.0)
    again = advance(calm, Sight(True, 1000.0), Terms(silence_s=600), 1000.0)
    assert due({"hot": calm}, {"hot": again}) == (again,)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    for_s=st.sampled_from([0.0, 20.0, 45.0]),
    keep_s=st.sampled_from([0.0, 30.0]),
    silence_s=st.sampled_from([0.0, 60.0, 200.0]),
    mets=st.lists(st.sampled_from([True, True, False, None]), min_size=1, max_size=60),
)
def test_no_history_breaks_the_promises(for_s: float, keep_s: float, silence_s: float, mets: list[bool | None]) -> None:
    """Firing needs an unbroken hold time; announcements keep the silence; an end is told exactly to who was told."""
    terms, alert, open_ = Terms(for_s, keep_s, silence_s), blank(), False
    told: list[float] = []
    broken_at = 0.0
    for n, met in enumerate(mets):
        at = 15.0 * n
        after = advance(alert, Sight(met, at), terms, at)
        broken_at = at + 15.0 if met is False else broken_at
        if met is None:
            assert after.state == alert.state or alert.state == "resolved"
        if after.state == "firing" and alert.state != "firing":
            assert at - broken_at >= for_s
        for news in due({"hot": alert}, {"hot": after}):
            if news.state == "firing":
                assert not open_
                assert not told or at - told[-1] >= silence_s
                told.append(at)
            else:
                assert open_
            open_ = news.state == "firing"
        if after.state != "firing":
            assert not open_
        alert = after


# --- rules ------------------------------------------------------------------------------------------------------


def rules(for_s: float = 0.0) -> RuleSet:
    rule = Rule("unusual latency", when=Condition(HOT, for_s), alert="critical")
    quiet = Rule("no alert", when=Condition(HOT))
    return RuleSet("chat", Bounds(1, 9), rules=(rule, quiet))


def verdict(met: bool | None, at: float, since: float | None = None) -> Verdict:
    text = "ttft99 0.9 is above 0.5" if met else "ttft99 0.2 is not above 0.5"
    return Verdict("unusual latency", met, bool(met), since if since is not None or not met else at, at, text)


def test_a_rule_with_an_alert_follows_its_verdict() -> None:
    wanted = rules(for_s=60.0)
    first = follow(wanted, [verdict(True, 100.0)], {}, NOTHING, 100.0)
    assert [a.state for a in first.values()] == ["pending"]
    second = follow(wanted, [verdict(True, 160.0, since=100.0)], {}, first, 161.0)
    (alert,) = due(first, second)
    assert (alert.name, alert.severity, alert.state, alert.started_at) == (
        "unusual latency",
        "critical",
        "firing",
        161.0,
    )
    assert alert.text == "ttft99 0.9 is above 0.5"
    third = follow(wanted, [verdict(False, 175.0)], {}, second, 176.0)
    assert [(a.state, a.text) for a in due(second, third)] == [("resolved", "ttft99 0.2 is not above 0.5")]


def test_the_hold_time_of_a_rule_is_the_engine_s() -> None:
    """When the engine restarts a hold time (a pause in observation), the alert waits with it."""
    wanted = rules(for_s=60.0)
    first = follow(wanted, [verdict(True, 100.0)], {}, NOTHING, 100.0)
    later = follow(wanted, [verdict(True, 400.0, since=400.0)], {}, first, 400.0)
    assert later["unusual latency"].state == "pending"


@pytest.mark.parametrize("verdicts", [[], [verdict(None, 115.0)]], ids=["no verdict", "a verdict that knows nothing"])
def test_a_rule_that_cannot_be_judged_keeps_its_alert(verdicts: list[Verdict]) -> None:
    before = follow(rules(), [verdict(True, 100.0)], {}, NOTHING, 100.0)
    assert follow(rules(), verdicts, {}, before, 115.0) == before


def test_an_alert_whose_rule_is_gone_is_resolved_and_then_forgotten() -> None:
    before = follow(rules(), [verdict(True, 100.0)], {}, NOTHING, 100.0)
    empty = RuleSet("chat", Bounds(1, 9))
    after = follow(empty, [], {}, before, 115.0)
    assert [(a.state, a.text) for a in due(before, after)] == [
        ("resolved", "its rule was taken out of the rule file"),
    ]
    assert follow(empty, [], {}, after, 130.0) == {}


def test_a_learned_value_that_moved_fires_and_ends_when_it_is_steady_again() -> None:
    fired = follow(rules(), [], {}, NOTHING, 100.0, {}, {"capacity a100": "slower"})
    (alert,) = fired.values()
    assert (alert.name, alert.labels, alert.state, alert.text) == (
        MOVED,
        (("of", "capacity a100"),),
        "firing",
        "slower",
    )
    # Not judged yet, as after a restart: it is neither announced again nor over.
    assert follow(rules(), [], {}, fired, 115.0, {}, None) == fired
    (calm,) = follow(rules(), [], {}, fired, 130.0, {}, {}).values()
    assert (calm.state, calm.text) == ("resolved", "capacity a100 is steady again")
