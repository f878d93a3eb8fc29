"""Targets from the configuration and from fleets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import configparts
from autoscaler.errors import InputError
from autoscaler.types import Fleet, Instance
from collectors.scraping.targets import Target, instance_targets, static_targets


def test_ready_and_draining_instances_with_an_address_are_targets() -> None:
    fleet = Fleet(
        0.0,
        (
            Instance("i1", "chat", "local/worker", "ready", 0.0, address="127.0.0.1:8001"),
            Instance("i2", "chat", "local/worker", "draining", 0.0, address="127.0.0.1:8002"),
            Instance("i3", "chat", "local/worker", "pending", 0.0, address="127.0.0.1:8003"),
            Instance("i4", "chat", "local/worker", "ready", 0.0),
            Instance("i5", "chat", "local/worker", "warm", 0.0, address="127.0.0.1:8005"),
        ),
    )
    first, second = instance_targets(fleet, "/stats", interval_s=2.0)
    assert first == Target(
        "http://127.0.0.1:8001/stats",
        (("instance", "127.0.0.1:8001"), ("offer", "local/worker"), ("pool", "chat")),
        interval_s=2.0,
        timeout_s=2.0,
    )
    assert second.url == "http://127.0.0.1:8002/stats"


def test_a_configured_target_gets_the_label_instance_unless_it_has_one() -> None:
    written = (
        configparts.Target("http://user:word@node1:9400/metrics", (("pool", "chat"),), 10.0, 4.0),
        configparts.Target("http://node2/metrics", (("instance", "n2"), ("pool", "chat"))),
    )
    first, second = static_targets(written)
    assert first.labels == (("instance", "node1:9400"), ("pool", "chat"))
    assert (first.interval_s, first.timeout_s) == (10.0, 4.0)
    assert second.labels == (("instance", "n2"), ("pool", "chat"))


@pytest.mark.parametrize(
    ("url", "interval_s", "timeout_s", "message"),
    [
        pytest.param(
            "node1:9400",
            5,
            3,
            "target 'node1:9400' is not the address of a page; write http://HOST:PORT/metrics",
            id="no scheme",
        ),
        pytest.param("ftp://node1/metrics", 5, 3, "is not the address of a page", id="another protocol"),
        pytest.param("http:///metrics", 5, 3, "is not the address of a page", id="no host"),
        pytest.param(
            "http://n/metrics",
            0,
            3,
            "target http://n/metrics: interval of 0 s must be above 0; 5 s is usual",
            id="no interval",
        ),
        pytest.param(
            "http://n/metrics", float("nan"), 3, "interval of nan s must be above 0", id="an interval that is no number"
        ),
        pytest.param(
            "http://n/metrics", 5, -1, "time-out of -1 s must be above 0; 3 s is usual", id="a negative time-out"
        ),
    ],
)
def test_what_cannot_be_scraped_is_refused(url: str, interval_s: float, timeout_s: float, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Target(url, (), interval_s, timeout_s)
    assert message in str(caught.value)


def test_one_page_read_for_two_pools_is_two_sources() -> None:
    a, b = (Target("http://n:1/metrics", (("pool", pool),)) for pool in ("a", "b"))
    assert (a.source, b.source) == ('http://n:1/metrics{pool="a"}', 'http://n:1/metrics{pool="b"}')


def test_phases_of_many_targets_cover_the_interval_evenly() -> None:
    phases = [Target(f"http://10.0.{n // 250}.{n % 250}:9400/metrics").phase for n in range(1000)]
    tenths = [sum(tenth / 10 <= phase < (tenth + 1) / 10 for phase in phases) for tenth in range(10)]
    assert min(tenths) > 60
    assert max(tenths) < 140


@settings(derandomize=True, max_examples=50)
@given(host=st.from_regex(r"[a-z]{1,20}", fullmatch=True))
def test_a_phase_lies_in_the_interval_and_depends_on_the_name_alone(host: str) -> None:
    phase = Target(f"http://{host}/metrics").phase
    assert 0.0 <= phase < 1.0
    assert phase == Target(f"http://{host}/metrics", (), 60.0).phase
