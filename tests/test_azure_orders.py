"""Orders in the tags of a scale set: they come back as they were written, and nobody's machine is given out twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import ThrottledError
from providers.azure.machines import Label, MachineSeen, label_of, label_tags, mark
from providers.azure.orders import Entry, Terms, assigned, read, read_terms, write

TERMS = Terms("chat", "azure/NC6s_v3/on_demand", 2, 3.06, 8000, "gpu.example", "/health")
ENTRY = Entry("a" * 24, "serving", 1_790_000_000.25, 1_790_000_300.25)

entries = st.lists(
    st.builds(
        Entry,
        action=st.text("0123456789abcdef-", min_size=1, max_size=40),
        into=st.sampled_from(["serving", "warm"]),
        at=st.integers(10**9, 2 * 10**9).map(float),
        until=st.just(2.5e9),
        machine=st.sampled_from(["", "0", "17", "4294967295"]),
    ),
    max_size=60,
    unique_by=lambda e: e.action,
)


@given(entries)
@settings(derandomize=True, max_examples=50)
def test_orders_come_back_as_they_were_written_and_fit_the_limits_of_tags(some: list[Entry]) -> None:
    tags = write({"owner": "ada"}, TERMS, some)
    assert list(read(tags)) == some
    assert read_terms(tags) == TERMS
    assert tags["owner"] == "ada"
    assert max(map(len, tags.values())) <= 256
    assert len(tags) <= 50


def test_tags_that_are_no_longer_needed_are_emptied_so_that_a_merge_forgets_them_too() -> None:
    many = write({}, TERMS, [replace(ENTRY, action=f"{n:024d}") for n in range(20)])
    few = write(many, TERMS, [ENTRY])
    assert few.keys() == many.keys()
    assert read({**many, **few}) == read(few) == (ENTRY,)


def test_more_orders_than_tags_hold_have_to_wait() -> None:
    with pytest.raises(ThrottledError, match="200 orders are open at once"):
        write({}, TERMS, [replace(ENTRY, action=f"{n:024d}") for n in range(200)])


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({}, id="no tags at all"),
        pytest.param({"sigmascale-pool": "chat"}, id="only a pool"),
        pytest.param({"sigmascale-pool": "c", "sigmascale-offer": "o", "sigmascale-terms": "{"}, id="no JSON"),
        pytest.param({"sigmascale-pool": "c", "sigmascale-offer": "o", "sigmascale-terms": "[1]"}, id="too short"),
        pytest.param({"sigmascale-pool": "c", "sigmascale-offer": "o", "sigmascale-terms": "7"}, id="a number"),
    ],
)
def test_terms_that_somebody_spoilt_are_no_terms(tags: dict[str, str]) -> None:
    assert read_terms(tags) is None


def test_orders_that_somebody_spoilt_are_left_out() -> None:
    tags = write({}, TERMS, [ENTRY])
    assert read(tags | {"sigmascale-orders-01": "hello a,b,c x,s,1,2,3,4 y,s,one,2,"}) == (ENTRY,)


@given(entries, st.sets(st.integers(0, 40).map(str), max_size=12))
@settings(derandomize=True, max_examples=50)
def test_no_machine_is_given_to_two_orders_and_what_was_given_stays(some: list[Entry], machines: set[str]) -> None:
    distinct = [replace(e, machine=e.machine and f"{100 + n}") for n, e in enumerate(some)]
    given_out = assigned(distinct, machines)
    names = [e.machine for e in given_out if e.machine]
    assert len(names) == len(set(names))
    assert all(new.machine == old.machine for old, new in zip(distinct, given_out, strict=True) if old.machine)
    assert assigned(given_out, machines) == given_out
    left = sum(e.open for e in given_out)
    assert left == max(0, sum(e.open for e in distinct) - len(machines))


def test_the_oldest_order_gets_the_lowest_number() -> None:
    some = (replace(ENTRY, action="first"), replace(ENTRY, action="second"))
    assert [e.machine for e in assigned(some, ["10", "9"])] == ["9", "10"]


def test_a_failed_order_gets_no_machine() -> None:
    failed = replace(ENTRY, failure="AllocationFailed")
    assert assigned((failed,), ["1"]) == (failed,)
    assert read(write({}, TERMS, [failed])) == (failed,)


def seen(**more: object) -> MachineSeen:
    return replace(MachineSeen("1", '"1"', "Succeeded", "running", "", "h", False, {}, 1000.0), **more)  # type: ignore[arg-type]


def test_a_label_comes_back_as_it_was_written_and_remembers_the_last_actions() -> None:
    label = Label("a1", "serving", 1000.0, 1000.0)
    for n in range(40):
        label = label.after(f"act-{n}", "draining" if n % 2 else "serving", 2000.0 + n)
    tags = label_tags(label, "chat")
    assert max(map(len, tags.values())) <= 256
    assert label_of(seen(tags=tags), None) == label
    assert mark("act-39") in label.applied
    assert mark("act-0") not in label.applied


def test_who_leaves_the_warm_pool_has_to_show_again_that_it_serves() -> None:
    label = Label("a1", "serving", 1000.0, 1000.0, ready_at=1100.0)
    assert label.after("d", "draining", 1200.0).after("r", "serving", 1300.0).ready_at == 1100.0
    assert label.after("s", "warm", 1200.0).after("b", "serving", 1300.0).ready_at == 0.0


@pytest.mark.parametrize(
    ("machine", "action", "role"),
    [
        pytest.param(seen(), None, None, id="nobody's: it is left alone"),
        pytest.param(seen(protected=True), None, "serving", id="protected without tags: ours, and it serves"),
        pytest.param(seen(tags={"sigmascale-role": "draining"}), None, "draining", id="most tags removed"),
        pytest.param(seen(tags={"sigmascale-role": "king"}, protected=True), None, "serving", id="an unknown role"),
    ],
)
def test_whose_machine_it_is(machine: MachineSeen, action: str | None, role: str | None) -> None:
    label = label_of(machine, None)
    assert (label and label.action, label and label.role) == (action, role)
