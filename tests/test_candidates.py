"""Candidates beside the active rules: what they decide, what they never touch, and what a broken one disturbs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoscaler.foresight.seen import Seen
from autoscaler.queries import queries
from autoscaler.rulefile.reader import Defaults, check_file, check_folder
from autoscaler.ruleset import SHADOW
from autoscaler.shadow.account import Account, Look, Side, Size, borrowed, demand_signal
from autoscaler.shadow.candidates import candidate_file, check_candidate, imagined
from autoscaler.types import Decision, LeadTime, Learned, Offer, Outlook
from collectors.prometheus.promql import expression
from tests.cliworld import speaker
from tests.shadowworld import BOOT_S, CANDIDATE, START, ShadowWorld, demand, rule_text

NAMED = rule_text(more=CANDIDATE)


@pytest.fixture
def world(tmp_path: Path) -> ShadowWorld:
    """Rules that name a candidate, and one that plans fewer requests for each replica."""
    made = ShadowWorld(tmp_path)
    made.rules.write_text(NAMED, encoding="utf-8")
    made.candidate.write_text(rule_text(each=2.0), encoding="utf-8")
    return made


def judged(decision: Decision) -> tuple[object, ...]:
    """What a decision says, without the names of its pool and rules."""
    return decision.number, decision.at, decision.current, decision.want, decision.readings, decision.reasons


# --- the same loop ----------------------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), each=st.sampled_from([2.0, 3.0, 3.9]), hold=st.sampled_from(["0s", "2m", "10m"]))
def test_a_candidate_that_equals_the_rules_decides_the_same_from_the_same_start(
    tmp_path_factory: pytest.TempPathFactory, seed: int, each: float, hold: str
) -> None:
    world = ShadowWorld(tmp_path_factory.mktemp("equal"), demand(40, seed))
    world.rules.write_text(rule_text(each, hold, CANDIDATE), encoding="utf-8")
    world.candidate.write_text(rule_text(each, hold), encoding="utf-8")
    world.begin(at_once=True)
    world.run(2400)
    real, other = world.decisions("chat"), world.decisions("chat~shadow")
    assert [judged(d) for d in real] == [judged(d) for d in other]
    assert any(d.want != d.current for d in real)
    account = world.shadows.views()["chat"].account
    assert account is not None
    assert account.active == account.candidate


def test_the_active_pools_journal_is_the_same_with_and_without_a_candidate(tmp_path: Path) -> None:
    lines = []
    for name, more in (("with", CANDIDATE), ("without", "")):
        world = ShadowWorld(tmp_path / name)
        world.rules.write_text(rule_text(more=more), encoding="utf-8")
        world.candidate.write_text(rule_text(each=1.5, hold="0s"), encoding="utf-8")
        world.begin()
        # The file's hash is in every decision, and the files differ in one line.
        hashed = world.book.current()["chat"].hash
        world.run(3600)
        assert (SHADOW in "".join(world.journal.dump())) == (name == "with")
        dumped = [line.replace(hashed, "HASH") for line in world.journal.dump() if SHADOW not in line]
        # Rows of intents and outcomes are numbered over all pools.
        lines.append([re.sub(r"^(intents|outcomes) \(\d+", r"\1", line) for line in dumped])
    assert lines[0] == lines[1]
    assert any(line.startswith("intents") for line in lines[0])


def test_a_candidate_begins_at_the_active_pools_size_and_boots_as_long_as_it(world: ShadowWorld) -> None:
    world.begin()
    world.run(30)
    began = world.decisions("chat~shadow")[0]
    assert (began.current, began.want) == (3, 3), "a first decision changes nothing"
    world.run(3600)
    launched = [i for i in world.shadows.provider.instances("chat~shadow") if i.action is not None]
    assert launched
    assert all(i.since - i.requested_at == pytest.approx(BOOT_S) for i in launched if i.state == "ready")


def test_a_lead_time_that_was_learned_is_how_long_an_imagined_boot_takes(world: ShadowWorld) -> None:
    world.begin()
    known = Learned(lead_times={"sim/small/on_demand": LeadTime(300.0, 400.0, "learned")})
    world.shadows.learned_of = lambda _: known
    world.run(3600)
    launched = [i for i in world.shadows.provider.instances("chat~shadow") if i.action and i.state == "ready"]
    assert launched
    assert all(i.since - i.requested_at == pytest.approx(300.0) for i in launched)
    assert world.shadows.learned("chat~shadow").lead_times.keys() == {"~shadow/sim/small/on_demand"}


def test_an_imagined_offer_is_the_real_one_behind_another_name() -> None:
    offer = Offer("aws", "g5.xlarge", "us-east-1", settings=(("ami", "x"),), usd_per_hour=2.0)
    assert imagined(offer).key == f"{SHADOW}/{offer.key}"
    assert imagined(offer).settings == (), "nothing of a real call is left"


# --- what it never touches --------------------------------------------------------------------------------------


def test_a_candidate_alerts_nobody_and_teaches_nothing(world: ShadowWorld) -> None:
    seen: list[Seen] = []
    world.candidate.write_text(rule_text(each=3.9, hold="0s"), encoding="utf-8")
    world.begin()
    world.loop.saw = seen.append
    world.run(7200)
    assert {alert.pool for alert in world.alerts} == {"chat"}, "the active pool's queue was long"
    assert world.board.pools()["chat~shadow"].alerts == ()
    assert {s.rules.pool for s in seen} == {"chat"}


def test_launches_that_are_imagined_take_nothing_of_the_limit_on_a_pass(world: ShadowWorld) -> None:
    """With one launch a pass, a candidate that wants three times as many and comes first leaves it to the pool."""
    wanted = {}
    for more in (CANDIDATE, ""):
        made = ShadowWorld(world.folder / (more[:6] or "none"), demand(30, seed=7), ready=1)
        made.rules.write_text(rule_text(more=more), encoding="utf-8")
        made.candidate.write_text(rule_text(each=1.0, more="priority: 9"), encoding="utf-8")
        made.begin()
        made.loop.max_launches = 1
        made.run(1800)
        wanted[more] = [(d.at, d.want) for d in made.decisions("chat")], made.fluid.paid_s
        assert made.fluid.ready > 1
    assert wanted[CANDIDATE] == wanted[""]


def test_a_pool_without_offers_is_not_shown_imagined_instances(world: ShadowWorld) -> None:
    bare = rule_text(more=CANDIDATE).replace(
        "offers:\n  from:\n    - sim: {type: small, price: 2 USD/h, lead_time: 2m}\n", ""
    )
    world.begin()
    world.run(60)
    assert "sim:" not in bare
    world.rules.write_text(bare, encoding="utf-8")
    world.run(120)
    assert world.board.pools()["chat"].rules.offers == ()
    assert {i.pool for i in world.fleet("chat").instances} == {"chat"}


def test_a_store_is_asked_for_the_active_pools_series_under_the_candidates_name(world: ShadowWorld) -> None:
    world.begin(at_once=True)
    asked = [q for q in queries(world.shadows.current()["chat~shadow"]) if q.signal == "load"]
    found = expression(asked[0])
    assert found is not None
    assert asked[0].pool == "chat~shadow", "the answer is the candidate's"
    assert 'pool="chat"' in found.value
    assert SHADOW not in found.value


AHEAD = "  ahead: {forecast: load, at: 10m}\n  queue:"


@pytest.mark.parametrize(
    ("ahead", "learning"),
    [
        pytest.param(AHEAD, {"chat"}, id="one in the same words is learned once"),
        pytest.param(AHEAD.replace("10m", "20m"), {"chat", "chat~shadow"}, id="one of its own is learned for it"),
    ],
)
def test_a_forecast_is_learned_for_a_candidate_only_where_it_is_its_own(
    world: ShadowWorld, ahead: str, learning: set[str]
) -> None:
    for path, words, more in ((world.rules, AHEAD, CANDIDATE), (world.candidate, ahead, "")):
        path.write_text(rule_text(more=more).replace("  queue:", words), encoding="utf-8")
    world.begin(at_once=True)
    outlook = Outlook(START, "last@1", "peak", (1200.0,), (0.5,), ((2.0,),))
    world.shadows.learned_of = lambda pool: Learned({"ahead": outlook}) if pool == "chat" else Learned()
    assert world.shadows.to_learn().keys() == learning
    known = world.shadows.learned("chat~shadow").outlooks
    assert known == ({"ahead": outlook} if learning == {"chat"} else {})


def test_a_candidate_begins_with_the_past_of_signals_that_both_measure(world: ShadowWorld) -> None:
    world.rules.write_text(rule_text(), encoding="utf-8")
    world.begin()
    world.run(1800)
    world.rules.write_text(NAMED, encoding="utf-8")
    world.run(60)
    now = world.clock.now()
    assert "chat~shadow" in world.board.pools()
    real, own = (world.store.history(pool, "load", 0.0, now - 120) for pool in ("chat", "chat~shadow"))
    assert len(real[0]) > 100
    assert own[0].tolist() == real[0].tolist()


# --- files ------------------------------------------------------------------------------------------------------


def test_rules_in_a_folder_of_candidates_are_in_force_nowhere(world: ShadowWorld) -> None:
    (checked,) = check_folder(world.folder / "rules", Defaults())
    assert checked.rules is not None
    assert checked.errors == ()
    assert candidate_file(checked.rules) == world.candidate


def broken_pool(world: ShadowWorld) -> None:
    world.candidate.write_text(rule_text().replace("pool: chat", "pool: other"), encoding="utf-8")


def nested(world: ShadowWorld) -> None:
    world.candidate.write_text(rule_text(more="shadow: {file: third.yaml}"), encoding="utf-8")


def nonsense(world: ShadowWorld) -> None:
    world.candidate.write_text("pool: chat\nlimits: {min: 9, max: 5}\n", encoding="utf-8")


def nothing(world: ShadowWorld) -> None:
    world.candidate.unlink()


FAILING = [
    pytest.param(broken_pool, "is of pool 'other'; the candidate of", id="another pool"),
    pytest.param(nested, "a candidate has no candidate of its own", id="a candidate with a candidate"),
    pytest.param(nonsense, "9 is more than max 5", id="broken rules"),
    pytest.param(nothing, "candidates/next.yaml: there is no such file", id="a missing file"),
]


@pytest.mark.parametrize(("spoil", "text"), FAILING)
def test_a_failing_candidate_says_why_and_disturbs_nobody(
    world: ShadowWorld, spoil: Callable[[ShadowWorld], None], text: str
) -> None:
    spoil(world)
    world.begin()
    world.run(600)
    assert set(world.board.pools()) == {"chat"}
    view = world.shadows.views()["chat"]
    assert text in view.problem
    assert any(text in problem for problem in world.shadows.problems())
    assert world.book.problems == ()
    assert len(world.decisions("chat")) > 1
    checked = check_candidate(check_file(world.rules), Defaults())
    assert checked is not None
    assert text in str(checked.errors[0])


@pytest.mark.parametrize(("spoil", "text"), FAILING)
def test_a_candidate_that_fails_later_goes_on_under_its_last_good_rules(
    world: ShadowWorld, spoil: Callable[[ShadowWorld], None], text: str
) -> None:
    world.begin()
    world.run(300)
    good = world.board.pools()["chat~shadow"].rules
    spoil(world)
    world.run(300)
    assert text in world.shadows.views()["chat"].problem
    assert world.board.pools()["chat~shadow"].rules is good
    world.candidate.write_text(rule_text(each=2.5), encoding="utf-8")
    world.run(300)
    assert world.shadows.views()["chat"].problem == ""
    assert world.board.pools()["chat~shadow"].rules.hash != good.hash


def test_a_file_cannot_be_its_own_candidate(world: ShadowWorld) -> None:
    world.rules.write_text(rule_text(more="shadow: {file: ./chat.yaml}"), encoding="utf-8")
    world.begin()
    world.run(60)
    assert "is the rule file itself; copy it" in world.shadows.views()["chat"].problem
    assert set(world.board.pools()) == {"chat"}


def test_a_candidate_that_is_named_no_more_leaves_nothing(world: ShadowWorld) -> None:
    world.begin()
    world.run(300)
    assert "chat~shadow" in world.board.pools()
    assert (world.folder / "data" / "chat.json").exists()
    world.rules.write_text(rule_text(), encoding="utf-8")
    world.run(300)
    assert set(world.board.pools()) == {"chat"}
    assert world.shadows.views() == {}
    assert list((world.folder / "data").iterdir()) == []


# --- over a restart ---------------------------------------------------------------------------------------------


def test_fleet_and_account_survive_a_restart(world: ShadowWorld) -> None:
    world.begin()
    world.run(1800)
    before, fleet = world.shadows.views()["chat"].account, world.shadows.provider.instances("chat~shadow")
    world.stop()
    assert before is not None
    assert len(fleet) != world.fluid.ready + world.fluid.pending, "the two differ, so that one cannot be the other"
    world.clock.at += 600
    world.begin()
    assert world.shadows.provider.instances("chat~shadow") == fleet
    world.run(600)
    after = world.shadows.views()["chat"].account
    assert after is not None
    assert after.since == before.since
    assert after.unwatched_s == pytest.approx(600, abs=30), "what nobody watched is left out"
    assert after.watched_s == pytest.approx(before.watched_s + 600, abs=60)
    assert after.candidate.launches >= before.candidate.launches


def test_a_state_that_cannot_be_read_is_told_and_the_candidate_starts_afresh(world: ShadowWorld) -> None:
    world.begin()
    world.run(300)
    world.stop()
    (world.folder / "data" / "chat.json").write_text("{", encoding="utf-8")
    world.begin()
    assert any("chat.json: cannot be read" in problem for problem in world.shadows.problems())
    world.run(300)
    assert world.shadows.problems() == ()
    assert json.loads((world.folder / "data" / "chat.json").read_text("utf-8"))["pool"] == "chat"


def test_a_changed_candidate_keeps_its_fleet_and_begins_a_new_account(world: ShadowWorld) -> None:
    world.begin()
    world.run(1800)
    before = world.shadows.views()["chat"].account
    fleet = world.shadows.provider.instances("chat~shadow")
    world.candidate.write_text(rule_text(each=2.01), encoding="utf-8")
    world.run(60)
    after = world.shadows.views()["chat"].account
    assert before is not None
    assert after is not None
    assert after.since > before.since
    assert {i.id for i in fleet} & {i.id for i in world.shadows.provider.instances("chat~shadow")}


def test_sums_that_break_end_nothing_and_are_told(world: ShadowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> tuple[float, float]:
        raise ZeroDivisionError("a defect")

    world.begin()
    world.run(120)
    monkeypatch.setattr("autoscaler.shadow.shadows.demand_of", broken)
    before = world.decisions("chat")[-1].number
    world.run(1200)
    assert world.decisions("chat")[-1].number > before
    assert any("the comparison with its candidate broke: ZeroDivisionError" in p for p in world.shadows.problems())


# --- the account ------------------------------------------------------------------------------------------------

SMALL, LARGE = Size(1, 2, 4.0), Size(3, 3, 6.0)


def test_the_account_adds_up_what_both_cost_and_left_unserved() -> None:
    """Ten seconds of 20/s: one replica of 8/s leaves 12/s, three leave nothing."""
    begun = Account(0.0, ("a", "b"))
    after = begun.after(Look(0.0, SMALL, LARGE, 20.0, 8.0), 10.0, 60.0)
    assert after.active == Side(20.0, 4 * 10 / 3600, above_work=120.0, queue_work=120.0, most_queue_work=120.0)
    assert after.candidate == Side(30.0, 6 * 10 / 3600)
    assert (after.watched_s, after.unknown_s, after.demand_work) == (10.0, 0.0, 200.0)
    later = after.after(Look(10.0, LARGE, LARGE, 20.0, 8.0), 20.0, 60.0)
    assert (later.active.above_work, later.active.queue_work) == (120.0, 80.0), "what waits is served at 24/s - 20/s"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(60.0, (60.0, 0.0), id="the patience is watched"),
        pytest.param(61.0, (0.0, 61.0), id="what is longer is left out"),
        pytest.param(-5.0, (0.0, 0.0), id="a clock that went back adds nothing"),
    ],
)
def test_time_that_nobody_watched_is_left_out(now: float, expected: tuple[float, float]) -> None:
    after = Account(0.0, ("a", "b")).after(Look(0.0, SMALL, LARGE, 1.0, 1.0), now, 60.0)
    assert (after.watched_s, after.unwatched_s) == expected


def test_without_a_demand_nothing_is_counted_as_unserved_and_the_fleet_still_costs() -> None:
    after = Account(0.0, ("a", "b")).after(Look(0.0, SMALL, LARGE, None, 8.0), 10.0, 60.0)
    assert after.unknown_s == 10.0
    assert after.active == Side(20.0, 4 * 10 / 3600)


def test_demand_is_what_a_target_divides_and_what_depends_on_the_fleet_is_borrowed(world: ShadowWorld) -> None:
    rules = check_file(world.candidate).rules
    assert rules is not None
    signal = demand_signal(rules)
    assert signal is not None
    assert signal.name == "load"
    assert borrowed(rules) == ("queue",)
    assert demand_signal(replace(rules, signals=rules.signals[1:])) is None


def test_check_reads_the_candidate_with_the_rules_that_name_it(
    world: ShadowWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say = speaker(monkeypatch, capsys)
    code, out, _ = say("check", world.folder / "rules")
    assert code == 0
    assert f"ok {world.candidate}: pool chat" in out
    broken_pool(world)
    code, out, _ = say("check", world.folder / "rules")
    assert code == 1
    assert f"error {world.candidate}:1:1: pool: is of pool 'other'; the candidate of {world.rules}" in out
