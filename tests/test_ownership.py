"""Whose the instances of a pool are: tables of what is seen and what it is taken for. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.custody import Custody
from autoscaler.errors import StorageError
from autoscaler.journal import Entry, Journal
from autoscaler.movement import Bounds, Ownership
from autoscaler.ownership import AUTHOR, OVERRIDE, Followed, Sight, follow
from autoscaler.planner import plan
from autoscaler.types import (
    Action,
    Fleet,
    Held,
    Instance,
    InstanceState,
    Launch,
    Memory,
    Operate,
    Override,
    Owned,
    Plan,
    Proposal,
)
from tests.test_planner import decided
from tests.test_rulefile import rules_of
from tests.worlds import NOW, OFFER, instance, rules, settled, world

RULES = rules(bounds=Bounds(0, 20))
SPOT = f"{OFFER.key}/spot"


def known(*instances: Instance, **changes: object) -> Memory:
    """The memory of a pool at rest that had these instances at the last tick."""
    seen = {i.id: Held(i.state, i.replicas, i.offer) for i in instances}
    owned = Owned(at=NOW - 15, seen=seen)
    size = sum(i.replicas for i in instances if i.state in ("pending", "ready"))
    return replace(settled(size), owned=replace(owned, **changes))  # type: ignore[arg-type]


def sight(**changes: object) -> Sight:
    """The journal knows of no launch; nothing asked for anything yet; the provider was heard."""
    base = Sight(NOW, NOW - 3600, {}, heard=("sim",), asked=None)
    return replace(base, **changes)  # type: ignore[arg-type]


def followed(before: Sequence[Instance], now: Sequence[Instance], **changes: object) -> Followed:
    ruled = changes.pop("ruled", RULES)
    memory = changes.pop("memory", None) or known(*before)
    return follow(ruled, memory, Fleet(NOW, tuple(now)), sight(**changes))  # type: ignore[arg-type]


def operate(kind: str, name: str) -> Operate:
    return Operate(f"{kind}-{name}", "chat", NOW - 30, NOW + 30, kind, name, "sim")  # type: ignore[arg-type]


def kinds(found: Followed) -> list[str]:
    return [note.kind for note in found.notes]


TWO = (instance(1), instance(2))


def one_as(state: InstanceState, **changes: object) -> tuple[Instance, ...]:
    return (instance(1), instance(2, state, **changes))


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        pytest.param(TWO, TWO, [], id="nothing changed, nothing is told"),
        pytest.param(TWO, TWO[:1], ["removed"], id="one that is gone was ended by somebody"),
        pytest.param(TWO, one_as("failed"), [], id="one that failed is nobody's hand"),
        pytest.param(TWO, one_as("stopping"), ["removed"], id="one on its way out is being ended by somebody"),
        pytest.param(TWO, one_as("warm"), ["stopped"], id="one at rest was stopped by somebody"),
        pytest.param(one_as("stopping"), one_as("warm"), ["stopped"], id="it comes to rest after it was on its way"),
        pytest.param(one_as("stopping"), one_as("warm", rests=True), [], id="a new machine of the warm pool rests"),
        pytest.param(one_as("warm"), one_as("pending"), ["added"], id="one that started was started by somebody"),
        pytest.param(one_as("draining"), TWO, ["added"], id="one that serves again was taken back by somebody"),
        pytest.param(one_as("draining"), TWO[:1], [], id="one that was leaving anyway is no loss"),
        pytest.param(one_as("pending"), TWO, [], id="a boot is no change"),
        pytest.param(one_as("failed"), TWO[:1], [], id="what failed and went is no news"),
        pytest.param(TWO[:1], TWO, ["added", "override"], id="one without a launch was tagged by hand"),
        pytest.param(
            TWO[:1], one_as("ready", action="x"), ["orphans"], id="one of an unknown launch is no person's hand"
        ),
        pytest.param(
            one_as("ready", offer=SPOT), TWO[:1], [], id="a spot machine may be taken at any time, by nobody's hand"
        ),
        pytest.param(
            one_as("ready", offer="other/box"), TWO[:1], [], id="a provider that is not asked takes nothing away"
        ),
    ],
)
def test_a_change_is_told_as_what_it_is(
    before: tuple[Instance, ...], now: tuple[Instance, ...], told: list[str]
) -> None:
    assert [k for k in kinds(followed(before, now)) if k != "override" or "override" in told] == told


@pytest.mark.parametrize(
    ("kind", "before", "now"),
    [
        pytest.param("terminate", TWO, TWO[:1], id="an end of our own"),
        pytest.param("drain", TWO, TWO[:1], id="one that we drained and that ended early"),
        pytest.param("stop", TWO, one_as("stopping"), id="a stop of our own on its way"),
        pytest.param("stop", one_as("stopping"), one_as("warm"), id="a stop of our own"),
        pytest.param("start", one_as("warm"), one_as("pending"), id="a start of our own"),
        pytest.param("resume", one_as("draining"), TWO, id="a drain that we took back"),
    ],
)
def test_what_we_did_ourselves_is_no_news_and_is_remembered_for_a_while(
    kind: str, before: tuple[Instance, ...], now: tuple[Instance, ...]
) -> None:
    assert followed(before, now, intents=(operate(kind, "chat-2"),)).notes == ()
    remembered = known(*before, ours={"chat-2": (kind, NOW + 1)})
    assert followed(before, now, memory=remembered).notes == ()
    forgotten = known(*before, ours={"chat-2": (kind, NOW - 1)})
    assert followed(before, now, memory=forgotten).notes != ()


def test_a_launch_of_ours_is_no_news_and_one_of_another_pool_was_tagged_over() -> None:
    new = one_as("pending", action="x")
    assert followed(TWO[:1], new, launches={"x": "chat"}).notes == ()
    assert kinds(followed(TWO[:1], new, launches={"x": "code"}))[0] == "added"


def test_while_the_journal_cannot_be_read_nothing_is_said_of_new_instances_and_they_stay_new() -> None:
    new = one_as("ready", action="x")
    blind = followed(TWO[:1], new, launches=None)
    assert blind.notes == ()
    assert set(blind.owned.seen) == {"chat-1"}
    later = followed((), new, memory=replace(known(*TWO[:1]), owned=blind.owned), launches={})
    assert kinds(later) == ["orphans"]


def test_without_a_memory_everything_that_is_there_is_adopted_and_no_size_is_asked_for() -> None:
    found = followed((), TWO, memory=Memory())
    assert kinds(found) == ["adopted"]
    assert found.put is None
    assert followed(TWO, TWO, memory=replace(settled(2), owned=found.owned)).notes == ()


# --- what a person's change becomes ---------------------------------------------------------------------------------

FIVE = tuple(instance(n) for n in range(1, 6))


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [
        pytest.param(2, ("ceiling", 3), id="what is left is enough: the removal stands"),
        pytest.param(3, ("ceiling", 3), id="what is left is just enough"),
        pytest.param(4, None, id="more is needed: it is replaced"),
        pytest.param(None, None, id="nobody knows what is needed: it is replaced"),
    ],
)
def test_a_removal_becomes_a_ceiling_only_when_the_rest_is_enough(
    asked: int | None, becomes: tuple[str, int] | None
) -> None:
    put = followed(FIVE, FIVE[:3], asked=asked).put
    assert (None if put is None else (put.kind, put.replicas)) == becomes


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"ruled": rules(bounds=Bounds(4, 20))}, "min", id="the pool's minimum is not reached any more"),
        pytest.param({"ruled": rules(ownership=Ownership(None, 900.0))}, "ignore", id="the rules ignore such changes"),
        pytest.param(
            {"overrides": (Override("p", "chat", "pin", NOW + 9, "ada", "x", 5),)}, "pin", id="a person said otherwise"
        ),
        pytest.param({"memory": replace(known(*FIVE), watched_since=NOW)}, "gap", id="nobody watched when it happened"),
    ],
)
def test_a_removal_is_replaced_where_it_may_be_no_persons_word(changes: dict[str, object], why: str) -> None:
    found = followed(FIVE, FIVE[:3], asked=0, **changes)
    assert found.put is None, why
    assert "removed" in kinds(found)


def ours(kind: str, replicas: int) -> Override:
    return Override(OVERRIDE, "chat", kind, NOW + 600, AUTHOR, "x", replicas)  # type: ignore[arg-type]


def test_a_ceiling_of_ours_ends_when_more_is_asked_for_and_not_before() -> None:
    ceiling = ours("ceiling", 3)
    kept = followed(FIVE[:3], FIVE[:3], asked=3, overrides=(ceiling,))
    assert (kept.overrides, kept.ended) == ((ceiling,), "")
    over = followed(FIVE[:3], FIVE[:3], asked=4, overrides=(ceiling,))
    assert over.overrides == ()
    assert over.ended.startswith("4 replicas are asked for")


def test_a_ceiling_of_a_person_under_the_same_name_is_left_alone() -> None:
    theirs = replace(ours("ceiling", 3), author="ada")
    assert followed(FIVE[:3], FIVE[:3], asked=9, overrides=(theirs,)).ended == ""


def test_a_floor_of_ours_ends_when_the_person_takes_back_what_it_was_for() -> None:
    found = followed(FIVE, FIVE[:3], asked=5, overrides=(ours("floor", 5),))
    assert found.overrides == ()
    assert "took back" in found.ended


def test_a_floor_is_never_above_the_bounds() -> None:
    found = followed(FIVE[:1], FIVE, ruled=rules(bounds=Bounds(0, 4)))
    assert found.put is not None
    assert (found.put.kind, found.put.replicas, found.put.until) == ("floor", 4, NOW + 3600)


def test_a_machine_that_came_where_one_was_missing_needs_no_floor() -> None:
    short = replace(known(*FIVE[:2]), want=3)
    assert followed((), FIVE[:3], memory=short).put is None


def test_orders_under_way_count_for_the_size_that_is_left() -> None:
    order = Launch("l1", "chat", NOW - 30, NOW + 300, OFFER)
    found = followed(FIVE, FIVE[:3], asked=4, intents=(order,))
    assert found.put is not None
    assert found.put.replicas == 4


def test_a_stopped_machine_is_put_aside_for_the_time_of_adoption() -> None:
    assert followed(TWO, one_as("warm")).owned.aside == {"chat-2": NOW + 3600}
    assert followed(TWO, one_as("warm"), ruled=rules(ownership=Ownership(None, 900.0))).owned.aside == {}


# --- orphans --------------------------------------------------------------------------------------------------------

STRANGE = instance(9, action="x")


def strange(since_s: float, want: int, **changes: object) -> Followed:
    """Two of ours and a strange one that is there for so long."""
    memory = replace(known(*TWO, STRANGE, strange={STRANGE.id: NOW - since_s}), want=want)
    return followed((), (*TWO, STRANGE), memory=memory, **changes)


@pytest.mark.parametrize(
    ("since_s", "want", "orphan", "pending"),
    [
        pytest.param(890, 2, False, True, id="inside its grace nothing is judged"),
        pytest.param(910, 2, True, False, id="after it one that nobody needs is an orphan"),
        pytest.param(910, 3, False, False, id="after it one that the pool lacks otherwise is adopted"),
    ],
)
def test_a_strange_instance_is_judged_when_its_grace_is_over(
    since_s: float, want: int, orphan: bool, pending: bool
) -> None:
    found = strange(since_s, want).owned
    assert (STRANGE.id in found.swept, STRANGE.id in found.strange) == (orphan, pending)


def test_nothing_is_judged_soon_after_a_start() -> None:
    assert strange(9000, 2, started_at=NOW - 299).owned.swept == ()
    assert strange(9000, 2, started_at=NOW - 301).owned.swept == (STRANGE.id,)


def test_the_grace_counts_only_while_somebody_watched() -> None:
    memory = replace(known(*TWO, STRANGE, strange={STRANGE.id: NOW - 9000}), want=2, watched_since=NOW - 100)
    assert followed((), (*TWO, STRANGE), memory=memory).owned.swept == ()


def test_an_orphan_that_the_pool_comes_to_need_is_adopted_after_all() -> None:
    memory = replace(known(*TWO, STRANGE, swept=(STRANGE.id,)), want=3)
    found = followed((), (*TWO, STRANGE), memory=memory)
    assert found.owned.swept == ()
    assert kinds(found) == ["adopted"]


def planned(want: int, *instances: Instance, **owned: object) -> list[tuple[str, str]]:
    """What is planned: (kind, instance) of each action."""
    memory = replace(settled(want), owned=Owned(at=NOW, **owned))  # type: ignore[arg-type]
    there = world(there=Fleet(NOW, instances))
    actions: tuple[Action, ...] = plan(RULES, decided(want), there, memory).actions
    return [(a.kind, a.instance if isinstance(a, Operate) else a.offer.type) for a in actions]


def test_in_its_grace_it_counts_so_nothing_is_ordered_and_nobody_leaves_because_of_it() -> None:
    held = {STRANGE.id: NOW - 60}
    assert planned(3, *TWO, STRANGE, strange=held) == []
    assert planned(2, *TWO, STRANGE, strange=held) == []
    assert planned(1, *TWO, STRANGE, strange=held)[0][0] == "drain", "one of ours is surplus by itself"


def test_an_orphan_that_serves_is_drained_first_and_is_not_counted() -> None:
    assert planned(2, *TWO, STRANGE, swept=(STRANGE.id,)) == [("drain", STRANGE.id)]
    assert planned(2, TWO[0], STRANGE, swept=(STRANGE.id,)) == [("launch", "small"), ("drain", STRANGE.id)]


def test_an_orphan_on_its_way_out_is_not_taken_back() -> None:
    leaving = replace(STRANGE, state="draining", since=NOW - 3600)
    found = planned(3, *TWO, leaving, swept=(STRANGE.id,))
    assert found == [("launch", "small"), ("terminate", STRANGE.id)]


@pytest.mark.parametrize("state", ["pending", "warm"])
def test_an_orphan_that_serves_nobody_ends_at_once(state: InstanceState) -> None:
    odd = replace(STRANGE, state=state, requested_at=NOW - 60)
    assert ("terminate", STRANGE.id) in planned(2, *TWO, odd, swept=(STRANGE.id,))


def test_no_more_than_a_few_orphans_leave_in_one_tick() -> None:
    many = tuple(instance(n, action=f"x{n}") for n in range(100, 120))
    found = planned(2, *TWO, *many, swept=tuple(i.id for i in many))
    assert len(found) == 5


def test_a_machine_that_a_person_stopped_is_not_started_until_its_time_is_over() -> None:
    rests = instance(2, "warm")
    assert planned(2, TWO[0], rests, aside={rests.id: NOW + 60}) == [("launch", "small")]
    assert planned(2, TWO[0], rests) == [("start", rests.id)]


# --- laws -----------------------------------------------------------------------------------------------------------

states = st.sampled_from(["pending", "ready", "draining", "warm", "stopping", "failed"])
fleets = st.lists(st.tuples(st.integers(0, 8), states, st.sampled_from([None, "ours", "x"])), max_size=8)


def made(some: list[tuple[int, InstanceState, str | None]]) -> tuple[Instance, ...]:
    return tuple({n: instance(n, state, action=action) for n, state, action in some}.values())


@settings(derandomize=True, max_examples=200, deadline=None)
@given(fleets, fleets, st.integers(0, 9), st.one_of(st.none(), st.integers(0, 9)))
def test_what_is_followed_is_followed_once_and_never_binds_against_the_demand(
    before: list[tuple[int, InstanceState, str | None]],
    now: list[tuple[int, InstanceState, str | None]],
    want: int,
    asked: int | None,
) -> None:
    memory = replace(known(*made(before)), want=want)
    there = Fleet(NOW, made(now))
    first = follow(RULES, memory, there, sight(launches={"ours": "chat"}, asked=asked))
    if first.put is not None and first.put.kind == "ceiling":
        assert asked is not None
        assert asked <= (first.put.replicas or 0)
    again = replace(memory, owned=first.owned)
    second = follow(RULES, again, there, sight(launches={}, asked=asked, overrides=first.overrides))
    assert second.notes == ()
    assert second.overrides == first.overrides


# --- the rule file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "means"),
    [
        pytest.param("", Ownership(3600.0, 900.0), id="an hour and a quarter of one where nothing is said"),
        pytest.param("manual: {adopt_for: 20m}\norphans: {after: 1h}", Ownership(1200.0, 3600.0), id="as it is said"),
        pytest.param("manual: ignore\norphans: keep", Ownership(None, None), id="neither"),
        pytest.param("launch: {limit: 20m}", Ownership(3600.0, 2400.0), id="a grace is longer than an order may take"),
    ],
)
def test_a_rule_file_says_what_is_made_of_changes_by_hand(lines: str, means: Ownership) -> None:
    assert rules_of(lines).ownership == means


# --- the journal ----------------------------------------------------------------------------------------------------


def test_a_journal_knows_the_pools_of_its_launches_and_of_no_others() -> None:
    journal = Journal()
    order = Launch("l1", "chat", NOW, NOW + 300, OFFER)
    journal.record([Entry(decided(1), Plan("chat", 1, (order,)), (), Memory(number=1))])
    assert journal.launches(["l1", "l2", *(f"x{n}" for n in range(1200))]) == {"l1": "chat"}


def test_a_fleet_at_rest_costs_no_look_into_the_journal() -> None:
    class Counting(Journal):
        asked = 0

        def launches(self, actions: object) -> dict[str, str]:
            self.asked += 1
            return {}

    journal = Counting()
    custody = Custody(journal, Counter())
    memory = settled(2)
    there = Fleet(NOW, tuple(replace(i, action="x") for i in TWO))
    for _ in range(5):
        memory = replace(memory, owned=custody.follow(RULES, memory, there, (), None, ("sim",), NOW).owned)
    assert journal.asked == 1


def test_a_journal_that_cannot_be_read_says_nothing_of_new_instances() -> None:
    class Unreadable(Journal):
        def launches(self, actions: object) -> dict[str, str]:
            raise StorageError("journal: cannot read; look at the disk")

    custody = Custody(Unreadable(), Counter())
    memory = known(*TWO)
    found = custody.follow(RULES, memory, Fleet(NOW, (*TWO, STRANGE)), (), None, ("sim",), NOW)
    assert found.notes == ()
    assert found.owned.strange == {}


@pytest.mark.parametrize(
    ("proposals", "blind", "becomes"),
    [
        pytest.param((Proposal("load", "size", 2, ""),), False, "ceiling", id="what is left is enough"),
        pytest.param((Proposal("load", "size", 5, ""),), False, None, id="more was asked for"),
        pytest.param((Proposal("q", "hold", 5, ""),), False, None, id="something could not be judged"),
        pytest.param((), True, None, id="nothing was decided"),
        pytest.param((), False, "ceiling", id="nothing was asked for"),
    ],
)
def test_what_was_asked_for_is_read_from_the_last_decision(
    proposals: tuple[Proposal, ...], blind: bool, becomes: str | None
) -> None:
    custody = Custody(Journal(), Counter())
    before = replace(decided(5), proposals=proposals, blind=blind)
    found = custody.follow(RULES, known(*FIVE), Fleet(NOW, FIVE[:3]), (), before, ("sim",), NOW)
    assert (found.put.kind if found.put is not None else None) == becomes
    assert [o.id for o in custody.journal.overrides(NOW)] == ([OVERRIDE] if becomes else [])
