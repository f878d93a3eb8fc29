"""Requests that arrived, counted from what an engine says of those that it finished, runs and lets wait."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store
from autoscaler.types import Batch, Labels, SeriesKey
from collectors.pages.arrivals import PATIENCE, Tally
from collectors.pages.reader import PageReader

WELL = SeriesKey("request_success_total", (), True)
BADLY = SeriesKey("request_failure_total", (), True)
RUNNING, WAITING = SeriesKey("requests_running"), SeriesKey("requests_waiting")
ARRIVED = "requests_arrived_total"
ALL = "finished+running+waiting"


def page(finished: float, running: float, waiting: float, failed: float = 0.0) -> bytes:
    return (
        f'vllm:num_requests_running{{engine="0"}} {running}\n'
        f'vllm:num_requests_waiting{{engine="0"}} {waiting}\n'
        f'vllm:request_success_total{{engine="0",finished_reason="stop"}} {finished}\n'
        f'vllm:request_success_total{{engine="0",finished_reason="abort"}} {failed}\n'
    ).encode()


def arrived(batch: Batch) -> dict[Labels, float]:
    pairs = zip(batch.keys, batch.values.tolist(), strict=True)
    return {key.labels: value for key, value in pairs if key.metric == ARRIVED}


class Watched:
    """One target whose pages are read one after the other."""

    def __init__(self, labels: Labels = ()) -> None:
        self.reader = PageReader("test", labels, 5.0)
        self.at = 0.0

    def __call__(self, text: bytes) -> float:
        self.at += 5.0
        (value,) = arrived(self.reader.read(text, self.at)).values()
        return value


def test_a_growing_queue_is_demand_though_nothing_is_finished() -> None:
    """Completed requests would say 0 a second while 20 arrive."""
    read = Watched()
    seen = [read(page(100, 8, waiting)) for waiting in (0, 20, 40)]
    assert seen == [108.0, 128.0, 148.0]


def test_a_request_on_its_way_from_waiting_to_finished_counts_once() -> None:
    read = Watched()
    assert [read(page(*state)) for state in ((0, 0, 1), (0, 1, 0), (1, 0, 0))] == [1.0, 1.0, 1.0]


def test_aborted_requests_had_arrived_too() -> None:
    read = Watched()
    assert read(page(5, 0, 0)) == 5.0
    assert read(page(5, 0, 0, failed=3)) == 8.0


def test_a_request_between_two_gauges_is_neither_lost_nor_counted_twice() -> None:
    """A page is no snapshot: a request may have left the running ones before it is among the finished."""
    read = Watched()
    assert [read(page(*s)) for s in ((10, 5, 0), (10, 4, 0), (11, 4, 0), (11, 5, 0))] == [15.0, 15.0, 15.0, 16.0]


def test_requests_that_leave_uncounted_do_not_hide_those_that_come_later() -> None:
    read = Watched()
    assert read(page(10, 50, 0)) == 60.0
    falls = [read(page(10, 0, 0)) for _ in range(PATIENCE)]
    assert falls == [60.0] * PATIENCE
    assert read(page(10, 7, 0)) == 67.0


def test_an_engine_that_starts_again_goes_on_counting_from_where_it_was() -> None:
    read = Watched()
    assert read(page(100, 10, 5)) == 115.0
    assert read(page(2, 1, 0)) == 118.0
    assert read(page(4, 1, 0)) == 120.0


def test_a_page_without_the_finished_requests_says_nothing_and_costs_nothing() -> None:
    read = Watched()
    assert read(page(100, 10, 0)) == 110.0
    assert math.isnan(read(b'vllm:num_requests_running{engine="0"} 12\n'))
    assert read(page(103, 12, 0)) == 115.0


def lines(text: bytes, but: str) -> bytes:
    """The page without the lines of one family."""
    return b"".join(line for line in text.splitlines(keepends=True) if but.encode() not in line)


@pytest.mark.parametrize("family", ["num_requests_waiting", "num_requests_running"])
def test_a_page_without_a_part_of_what_is_inside_says_nothing_and_its_return_is_no_surge(family: str) -> None:
    read = Watched()
    assert read(page(100, 10, 50)) == 160.0
    for n in range(2 * PATIENCE):
        assert math.isnan(read(lines(page(100 + n, 10, 50), family)))
    assert read(page(110, 10, 50)) == 170.0


def test_an_engine_that_starts_again_without_a_queue_is_not_waited_for() -> None:
    read = Watched()
    assert read(page(100, 10, 5)) == 115.0
    assert read(lines(page(2, 1, 0), "num_requests_waiting")) == 118.0


@pytest.mark.parametrize("absurd", ["18446744073709551615", "-1", "1e308", "NaN"])
def test_an_absurd_queue_says_nothing_and_hides_no_later_requests(absurd: str) -> None:
    """An unsigned count that ran below 0 would leave a sum in which single requests vanish, and a load of 0."""
    read = Watched()
    assert read(page(100, 10, 5)) == 115.0
    assert math.isnan(
        read(page(101, 10, 5).replace(b'waiting{engine="0"} 5', f'waiting{{engine="0"}} {absurd}'.encode()))
    )
    assert [read(page(n, 10, 5)) for n in (102, 103, 104, 105)] == [117.0, 118.0, 119.0, 120.0]


def test_a_counter_that_appears_late_is_not_a_surge() -> None:
    read = Watched()
    without_failures = b"".join(page(100, 10, 0).splitlines(keepends=True)[:3])
    assert read(without_failures) == 110.0
    assert read(page(100, 10, 0, failed=5000)) == 110.0
    assert read(page(100, 10, 0, failed=5001)) == 111.0


def test_the_source_is_named_and_the_engine_s_labels_are_kept() -> None:
    reader = PageReader("test", (("pool", "chat"),), 5.0)
    (labels,) = arrived(reader.read(page(1, 2, 3), 0.0))
    assert labels == (("derived", ALL), ("engine", "0"), ("pool", "chat"))


def test_data_parallel_engines_are_counted_apart() -> None:
    both = page(1, 2, 3) + page(10, 20, 30).replace(b'engine="0"', b'engine="1"')
    found = arrived(PageReader("test", (), 5.0).read(both, 0.0))
    assert {dict(labels)["engine"]: value for labels, value in found.items()} == {"0": 6.0, "1": 60.0}


def test_parts_with_different_labels_meet_in_those_that_they_share() -> None:
    text = (
        b'sglang:num_running_reqs{dp_rank="0",model_name="m",tp_rank="0"} 2\n'
        b'sglang:num_running_reqs{dp_rank="1",model_name="m",tp_rank="2"} 3\n'
        b'sglang:num_requests_total{model_name="m"} 10\n'
    )
    found = arrived(PageReader("test", (), 5.0).read(text, 0.0))
    assert found == {(("derived", "finished+running"), ("model_name", "m")): 15.0}


def test_arrivals_that_a_page_counts_itself_are_not_derived() -> None:
    text = page(1, 2, 3) + b"requests_arrived_total 7\n"
    assert arrived(PageReader("test", (), 5.0).read(text, 0.0)) == {(): 7.0}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"vllm:num_requests_running 5\nvllm:num_requests_waiting 2\n", id="nothing is finished"),
        pytest.param(b"nv_inference_request_success 5\nnv_inference_pending_request_count 2\n", id="nothing runs"),
        pytest.param(b"gpu_power_watts 300\n", id="no engine"),
    ],
)
def test_without_all_parts_nothing_is_derived(text: bytes) -> None:
    assert arrived(PageReader("test", (), 5.0).read(text, 0.0)) == {}


def test_waiting_requests_that_run_as_well_count_once() -> None:
    text = (
        b"dynamo_frontend_inflight_requests 10\ndynamo_frontend_queued_requests 7\n"
        b'dynamo_frontend_requests_total{status="success"} 100\n'
    )
    assert list(arrived(PageReader("test", (), 5.0).read(text, 0.0)).values()) == [110.0]


# --- law ------------------------------------------------------------------------------------------------------------

Event = st.sampled_from(("arrive", "start", "finish", "fail"))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.lists(Event, max_size=8), min_size=1, max_size=30))
def test_of_consistent_pages_the_count_is_exact(scrapes: list[list[str]]) -> None:
    """Whatever the order in which requests come, start and end between two pages."""
    tally, came, waiting, running, done, failed = Tally(), 0, 0, 0, 0, 0
    start = tally.count([(WELL, 0.0), (BADLY, 0.0)], [(RUNNING, 0.0), (WAITING, 0.0)])
    for events in scrapes:
        for event in events:
            if event == "arrive":
                came, waiting = came + 1, waiting + 1
            elif event == "start" and waiting:
                waiting, running = waiting - 1, running + 1
            elif event == "finish" and running:
                running, done = running - 1, done + 1
            elif event == "fail" and waiting:
                waiting, failed = waiting - 1, failed + 1
        inside = [(RUNNING, float(running)), (WAITING, float(waiting))]
        total = tally.count([(WELL, float(done)), (BADLY, float(failed))], inside)
        assert total - start == came


Number = st.one_of(st.just(math.nan), st.integers(0, 10**6).map(float))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.tuples(Number, Number, Number, Number), max_size=40))
def test_the_count_never_falls_whatever_an_engine_says(pages: list[tuple[float, float, float, float]]) -> None:
    tally, last = Tally(), 0.0
    for well, badly, running, waiting in pages:
        total = tally.count([(WELL, well), (BADLY, badly)], [(RUNNING, running), (WAITING, waiting)])
        assert math.isnan(total) or total >= last
        last = last if math.isnan(total) else total


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=60))
def test_requests_that_pages_miss_for_a_moment_never_make_the_count_run_ahead(pages: list[tuple[int, int]]) -> None:
    """A page may miss any of the ten requests that are inside, as long as one page of each few misses none."""
    tally, came = Tally(), 0
    tally.count([(WELL, 0.0)], [(RUNNING, 10.0)])
    for number, (more, missed) in enumerate(pages, 1):
        came += more
        whole = number % PATIENCE == 0
        total = tally.count([(WELL, float(came))], [(RUNNING, 10.0 if whole else 10.0 - missed)])
        assert total == 10.0 + came if whole else total <= 10.0 + came


# --- in a pool ------------------------------------------------------------------------------------------------------

RULES = RuleSet(
    "chat",
    Bounds(1, 9),
    signals=(
        Signal("load", ARRIVED, rate_s=20.0),
        Signal("engines", ARRIVED, where=(("derived", "finished+running"),), rate_s=20.0),
        Signal("running", "requests_running"),
    ),
)


def store_of(*targets: tuple[str, bytes, float]) -> Store:
    """Targets of pool chat, each read at 0, 5, ... 20 s, whose every number grows by so much per page."""
    store = Store(None)
    for name, text, step in targets:
        reader = PageReader(name, (("instance", name), ("pool", "chat")), 5.0)
        for n in range(5):
            grown = b"\n".join(
                line.rpartition(b" ")[0] + b" %g" % (float(line.rpartition(b" ")[2]) + n * step)
                for line in text.strip().split(b"\n")
            )
            store.add(reader.read(grown + b"\n", 5.0 * n))
    return store


def test_a_gateway_s_own_count_is_not_added_to_what_its_engines_say() -> None:
    engine = b"requests_running 1\nrequest_success_total 10\n"
    both = store_of(("gateway", b"requests_arrived_total 100\n", 10.0), ("engine", engine, 4.0))
    reading = both.read(RULES, 20.0)["load"]
    assert reading.values[0, -1] == pytest.approx(2.0)
    assert both.read(RULES, 20.0)["engines"].values[0, -1] == pytest.approx(8.0 / 5.0)
    alone = store_of(("engine", engine, 4.0)).read(RULES, 20.0)["load"]
    assert alone.values[0, -1] == pytest.approx(8.0 / 5.0)


def test_what_a_dynamo_worker_passes_on_is_not_added_to_the_front_end_s() -> None:
    worker = b'vllm:num_requests_running{dynamo_component="backend"} 3\n'
    front = b"dynamo_frontend_inflight_requests 5\n"
    assert store_of(("worker", worker, 0.0)).read(RULES, 20.0)["running"].values[0, -1] == 3.0
    both = store_of(("worker", worker, 0.0), ("front", front, 0.0))
    assert both.read(RULES, 20.0)["running"].values[0, -1] == 5.0
