"""What every collector must do, tried on each rig of `collector_rigs.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from autoscaler import plugins
from autoscaler.clock import monotonic
from autoscaler.ports import Collector
from autoscaler.types import Batch
from tests.conformance.collector_rigs import RIGS, Rig
from tests.peers.pages import until


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = RIGS[str(request.param)](tmp_path)
    try:
        yield made
    finally:
        made.close()


def needs(rig: Rig, *what: str) -> None:
    """Skip a test of something that this source does not do."""
    for one in what:
        if one in rig.lacks:
            pytest.skip(rig.lacks[one])


def collected(rig: Rig) -> list[Batch]:
    """What the collector has now, without what it remembers of the past."""
    return [found for found in rig.collector.collect(rig.now()) if isinstance(found, Batch)]


def gather(rig: Rig, enough: Callable[[list[Batch]], object], what: str) -> list[Batch]:
    """What is collected until it is enough, while time passes."""
    batches: list[Batch] = []

    def more() -> object:
        batches.extend(collected(rig))
        if enough(batches):
            return True
        rig.pass_time()
        return False

    until(more, what)
    return batches


def at_least(number: int) -> Callable[[list[Batch]], bool]:
    """So many batches with values."""
    return lambda batches: sum(b.state == "up" for b in batches) >= number


def seen(state: str) -> Callable[[list[Batch]], bool]:
    return lambda batches: any(b.state == state for b in batches)


def test_every_installed_collector_is_tried_here() -> None:
    assert set(plugins.names("collectors")) == set(RIGS)


def test_it_fits_its_plug(rig: Rig) -> None:
    assert isinstance(rig.collector, Collector)


def test_collect_never_waits_for_the_source(rig: Rig) -> None:
    if "silence" not in rig.lacks:
        rig.silence()
    took_s = []
    for _ in range(5):
        began = monotonic()
        list(rig.collector.collect(rig.now()))
        took_s.append(monotonic() - began)
        rig.pass_time()
    # Who waits does so each time; a machine that stalls does not.
    assert median(took_s) < 0.25


def test_a_batch_says_whose_it_is_and_its_values_stand_beside_their_keys(rig: Rig) -> None:
    needs(rig, "data")
    for batch in gather(rig, at_least(4), "batches"):
        assert batch.source
        assert batch.interval_s > 0
        assert batch.at <= rig.now()
        assert dict(batch.labels)["pool"] == "chat"
        assert list(batch.labels) == sorted(batch.labels)
        assert batch.values.dtype == np.float64
        assert batch.values.shape == (len(batch.keys),)
        assert len(set(batch.keys)) == len(batch.keys) > 0
        for key in batch.keys:
            assert list(key.labels) == sorted(key.labels)
            assert set(batch.labels) <= set(key.labels), "the target's labels are part of each series"
            assert key.counter or not key.metric.endswith("_total")


def test_nothing_comes_twice_and_a_source_never_goes_back_in_time(rig: Rig) -> None:
    needs(rig, "data")
    last: dict[str, float] = {}
    for batch in gather(rig, at_least(12), "batches"):
        assert batch.at > last.get(batch.source, -np.inf), batch.source
        last[batch.source] = batch.at


def test_the_keys_are_the_same_object_while_the_layout_is_the_same(rig: Rig) -> None:
    needs(rig, "data")
    batches = gather(rig, at_least(12), "batches")
    for source in {b.source for b in batches}:
        assert len({id(b.keys) for b in batches if b.source == source}) == 1, source


def test_a_source_that_does_not_answer_is_down_and_not_at_zero_and_then_up_again(rig: Rig) -> None:
    needs(rig, "data", "silence")
    up = gather(rig, at_least(4), "up")[-1]
    rig.silence()
    for batch in gather(rig, seen("down"), "down"):
        if batch.state == "down":
            assert (batch.keys, batch.values.shape) == ((), (0,))
            assert dict(batch.labels)["pool"] == "chat"
    rig.speak()
    rig.pass_time()
    again = [b for b in gather(rig, at_least(4), "up again") if b.state == "up" and b.source == up.source]
    assert all(b.keys is up.keys for b in again)


def test_a_source_that_will_not_be_asked_again_is_gone_once(rig: Rig) -> None:
    needs(rig, "data", "end")
    gather(rig, at_least(4), "up")
    rig.end()
    batches = gather(rig, seen("gone"), "gone")
    for _ in range(5):
        rig.pass_time()
        batches += collected(rig)
    (gone,) = [b for b in batches if b.state == "gone"]
    assert (gone.keys, gone.values.shape) == ((), (0,))
    assert dict(gone.labels)["pool"] == "chat"
    last = [b for b in batches if b.source == gone.source][-1]
    assert last is gone, "nothing comes after it"


@pytest.mark.parametrize("seconds", [0.5, 3600.0])
def test_a_clock_that_goes_back_does_not_silence_it(rig: Rig, seconds: float) -> None:
    if "data" not in rig.lacks:
        gather(rig, at_least(4), "up")
    rig.turn_back(seconds)
    back_at = rig.now()
    if "data" in rig.lacks:
        assert list(rig.collector.collect(rig.now())) == []
        return
    list(rig.collector.collect(back_at))
    rig.pass_time()
    batches = gather(rig, at_least(4), "up after the clock went back")
    assert all(b.at <= rig.now() for b in batches)
    assert rig.now() - back_at < 60.0, "and not only when the clock is again where it was"
