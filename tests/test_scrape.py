"""The scraper's pace, targets and queue, against real servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from threading import Event
from typing import Any

import pytest
from structlog.testing import capture_logs

import collectors.scraping.scraper
from autoscaler.clock import SimClock, monotonic
from autoscaler.ports import Collector
from autoscaler.types import Batch
from collectors.dcgm.counters import Missing
from collectors.pages.reader import PageReader, Room
from collectors.scraping.lacking import Lacking
from collectors.scraping.scraper import Scraper, Target
from tests.peers.pages import Pages, answer, hang, until, without_waiting
from tests.peers.running import running
from tests.peers.scraping import LABELS, PAGE, asked, gather, scraping, target


def test_a_page_becomes_a_batch_with_the_targets_labels() -> None:
    with Pages({"/metrics": answer(PAGE)}) as pages, scraping(target(pages)) as scraper:
        assert isinstance(scraper, Collector)
        batch = gather(scraper, bool)[0]
        status = asked(scraper)
    assert (batch.state, batch.at, batch.interval_s, batch.labels) == ("up", 1000.0, 0.05, LABELS)
    values = dict(zip(batch.keys, batch.values.tolist(), strict=True))
    assert {key.metric: value for key, value in values.items()}["jobs"] == 3.0
    assert all(set(LABELS) <= set(key.labels) for key in values)
    assert (status.url, status.up, status.error, status.last_at) == (pages.url("/metrics"), True, "", 1000.0)
    assert (status.lines, status.rejected) == (2, 0)
    assert status.duration_s > 0


def test_the_request_asks_for_plain_text_first_and_for_gzip() -> None:
    with Pages({"/metrics": answer(PAGE)}) as pages, scraping(target(pages)) as scraper:
        asked(scraper)
    request = pages.requests[0]
    assert "\r\nAccept: text/plain; version=0.0.4," in request
    assert "\r\nAccept-Encoding: gzip\r\n" in request


def test_a_hanging_target_never_delays_another() -> None:
    with (
        Pages({"/metrics": answer(PAGE), "/hang": hang}) as pages,
        scraping(target(pages), target(pages, "/hang", timeout_s=60)) as scraper,
    ):
        batches = gather(scraper, lambda batches: len(batches) >= 8)
        assert {batch.source.partition("{")[0] for batch in batches} == {pages.url("/metrics")}
        assert scraper.status()[1].error == "not asked yet"


def test_a_target_is_never_asked_twice_at_once() -> None:
    with (
        Pages({"/hang": hang, "/metrics": answer(PAGE)}) as pages,
        scraping(target(pages, "/hang", timeout_s=60), target(pages)) as scraper,
    ):
        gather(scraper, lambda batches: len(batches) >= 5)
        assert sum("/hang" in request for request in pages.requests) == 1


def test_a_target_that_was_slow_once_is_not_asked_in_a_burst_for_the_beats_that_it_missed() -> None:
    times: list[float] = []

    async def slow_at_first(writer: asyncio.StreamWriter) -> None:
        times.append(monotonic())
        if len(times) == 1:
            await asyncio.sleep(0.5)
        await answer(PAGE)(writer)

    with Pages({"/metrics": slow_at_first}) as pages, scraping(target(pages)):
        until(lambda: len(times) >= 8, "requests")
    assert median(later - sooner for sooner, later in pairwise(times[1:8])) > 0.03


def test_a_connection_is_used_again() -> None:
    with Pages({"/metrics": answer(PAGE)}) as pages, scraping(target(pages)) as scraper:
        gather(scraper, lambda batches: len(batches) >= 4)
        assert pages.connections == 1


def test_the_keys_stay_the_same_object_while_the_page_keeps_its_layout() -> None:
    with Pages({"/metrics": answer(PAGE)}) as pages, scraping(target(pages)) as scraper:
        first, second = gather(scraper, lambda batches: len(batches) >= 2)[:2]
    assert first.keys is second.keys


def test_a_target_that_recovers_is_up_again() -> None:
    with Pages({"/metrics": answer(b"", "503 Service Unavailable")}) as pages, scraping(target(pages)) as scraper:
        assert not asked(scraper).up
        pages.answers["/metrics"] = answer(PAGE)
        until(lambda: scraper.status()[0].up, "recovery")
        assert scraper.status()[0].error == ""


def test_each_arriving_batch_sets_wake() -> None:
    wake = Event()
    with Pages({"/metrics": answer(PAGE)}) as pages, scraping(target(pages), wake=wake) as scraper:
        for _ in range(2):
            assert wake.wait(10)
            wake.clear()
        assert scraper.collect(1000.0)


def test_targets_appear_and_vanish_with_the_function_that_names_them() -> None:
    with Pages({"/a": answer(PAGE), "/b": answer(PAGE)}) as pages:
        a, b = target(pages, "/a"), target(pages, "/b")
        named = [a]
        scraper = Scraper(lambda: tuple(named), SimClock(7.0), refresh_s=0.02)
        with running(scraper):
            gather(scraper, bool)
            named[:] = [b]
            batches = gather(scraper, lambda batches: any(batch.source == b.source for batch in batches))
        of_a = [batch for batch in batches if batch.source == a.source]
        assert (of_a[-1].state, of_a[-1].keys, of_a[-1].labels, of_a[-1].at) == ("gone", (), LABELS, 7.0)
        assert [status.url for status in scraper.status()] == [b.url]


def test_a_target_that_is_only_asked_at_another_pace_is_not_gone_in_between() -> None:
    """Else a pool would seem to shrink at each reload until all its targets were asked again."""
    with Pages({"/a": answer(PAGE)}) as pages:
        named = [target(pages, "/a")]
        scraper = Scraper(lambda: tuple(named), SimClock(7.0), refresh_s=0.02)
        with running(scraper):
            gather(scraper, bool)
            for other in (target(pages, "/a", 0.1), target(pages, "/a", 0.1, timeout_s=2.0)):
                named[:] = [other]
                until(lambda: scraper._watchers.keys() == set(named), "the new target")
                batches = gather(scraper, lambda batches: sum(batch.interval_s == 0.1 for batch in batches) > 1)
                assert {batch.state for batch in batches} == {"up"}


def test_what_a_page_of_dcgm_lacks_is_told_once_and_after_an_empty_first_page_too() -> None:
    with Pages({"/a": answer(b"")}) as pages, capture_logs() as logs, scraping(target(pages, "/a")) as scraper:
        gather(scraper, lambda batches: len(batches) >= 2)
        pages.answers["/a"] = answer(b'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1"} 5\n')
        gather(scraper, lambda batches: sum(bool(batch.keys) for batch in batches) >= 3)
        until(lambda: missing(logs), "what is missing")
    told = [line for line in missing(logs) if line["metric"] == "gpu_sm_active_ratio"]
    assert len(told) == 1


def missing(logs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [line for line in logs if line["event"] == "metrics missing"]


def test_what_forty_nodes_lack_is_one_line_for_each_pool_and_metric() -> None:
    page = answer(b'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1"} 5\n')
    with Pages({f"/{n}": page for n in range(40)}) as pages, capture_logs() as logs:
        targets = [
            Target(pages.url(f"/{n}"), (("instance", f"n{n}"), ("pool", "chat" if n < 30 else "mail")), 0.2)
            for n in range(40)
        ]
        with scraping(*targets):
            until(lambda: missing(logs), "what is missing")
    lines = {(line["pool"], line["metric"]): line for line in missing(logs)}
    assert len(lines) == len(missing(logs))
    line = lines["chat", "gpu_sm_active_ratio"]
    assert (line["targets"], lines["mail", "gpu_sm_active_ratio"]["targets"]) == (30, 10)
    assert len(line["first"].split(", ")) == 3
    assert "DCGM_FI_PROF_SM_ACTIVE" in line["next_step"]


def test_a_target_that_never_answers_holds_nothing_back_for_ever() -> None:
    lacking, one = Lacking(), Target("http://n:9400/metrics", (("pool", "chat"),), 5.0)
    with capture_logs() as logs:
        lacking.note(one, [Missing("gpu_sm_active_ratio", "LINE", True), Missing("gpu_temp", "LINE", False)], 100.0)
        lacking.tell(129.0, complete=False)
        assert not missing(logs)
        lacking.tell(130.0, complete=False)
        lacking.tell(131.0, complete=True)
    assert [line["metric"] for line in missing(logs)] == ["gpu_sm_active_ratio"]


def test_targets_stay_while_the_function_that_names_them_fails() -> None:
    calls = []
    with Pages({"/metrics": answer(PAGE)}) as pages:

        def name() -> list[Target]:
            calls.append(1)
            if len(calls) > 1:
                raise LookupError("the fleet is unknown")
            return [target(pages)]

        scraper = Scraper(name, SimClock(), refresh_s=0.02)
        with running(scraper):
            until(lambda: len(calls) > 2, "calls")
            scraper.collect(0.0)
            batches = gather(scraper, lambda batches: len(batches) >= 2)
    assert {batch.state for batch in batches} == {"up"}


def test_when_nobody_collects_the_oldest_batches_are_dropped_but_never_the_news_that_a_target_is_gone() -> None:
    with Pages({"/a": answer(PAGE), "/b": answer(PAGE)}) as pages:
        named = [target(pages, "/a"), target(pages, "/b")]
        scraper = Scraper(lambda: tuple(named), SimClock(), queue_limit=3, refresh_s=0.02)
        with running(scraper):
            until(lambda: scraper.dropped > 3, "dropped batches")
            gone = named.pop(0)
            dropped = scraper.dropped
            until(lambda: len(scraper.status()) == 1 and scraper.dropped > dropped + 6, "more dropped batches")
        batches = scraper.collect(0.0)
    assert (batches[0].source, batches[0].state) == (gone.source, "gone")
    assert len(batches) == 3


def test_a_page_that_trips_the_reader_costs_its_target_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tripping(PageReader):
        def read(self, page: bytes, at: float, openmetrics: bool = False) -> Batch:
            if b"trap" in page:
                raise ZeroDivisionError("trap")
            return super().read(page, at, openmetrics)

    monkeypatch.setattr(collectors.scraping.scraper, "PageReader", Tripping)
    with (
        Pages({"/trap": answer(b"trap 1\n"), "/metrics": answer(PAGE)}) as pages,
        scraping(target(pages, "/trap"), target(pages)) as scraper,
    ):
        gather(
            scraper,
            lambda batches: (
                sum(batch.state == "up" for batch in batches) > 2 < sum(batch.state == "down" for batch in batches)
            ),
        )
        assert asked(scraper).error == "the page could not be read (ZeroDivisionError: trap)"
        assert asked(scraper, 1).up


def test_it_stops_while_a_server_hangs() -> None:
    with Pages({"/metrics": hang}) as pages:
        scraper = Scraper([target(pages, timeout_s=60)], SimClock())
        scraper.start()
        try:
            until(lambda: pages.requests, "a request under way")
        finally:
            with without_waiting(60.0):
                scraper.stop()
        thread = scraper._thread
        assert thread is not None
        until(lambda: not thread.is_alive(), "the end of its thread")
        scraper.stop()


def test_a_hundred_targets_are_each_asked_once_an_interval_at_their_own_phase() -> None:
    with (
        Pages({f"/{n}": answer(PAGE) for n in range(100)}) as pages,
        scraping(*[target(pages, f"/{n}", 0.5) for n in range(100)]) as scraper,
    ):
        batches = gather(scraper, lambda batches: len({batch.source for batch in batches}) == 100)
    sources = [batch.source for batch in batches[:60]]
    assert len(set(sources)) >= 50
    assert sources != sorted(sources)
    assert all(batch.state == "up" for batch in batches)


def test_all_targets_share_one_room_and_a_target_that_is_gone_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectors.scraping.scraper, "TIDY_S", 0.02)
    with Pages({"/a": answer(PAGE), "/b": answer(PAGE)}) as pages:
        named = [target(pages, "/a"), target(pages, "/b")]
        scraper = Scraper(lambda: tuple(named), SimClock(), refresh_s=0.02, room=Room(series=3))
        with capture_logs() as logs, running(scraper):
            until(lambda: any(line["event"] == "series refused" for line in logs), "the refusal")
            assert scraper.room.series == 3
            assert sum(status.rejected for status in scraper.status()) == 1
            named.pop()
            until(lambda: scraper.room.series < 3, "room")


def test_pages_of_one_burst_wake_the_loop_once() -> None:
    wakes: list[float] = []

    class Counting(Event):
        def set(self) -> None:
            wakes.append(monotonic())
            super().set()

    many = 40
    with (
        Pages({f"/{n}": answer(PAGE) for n in range(many)}) as pages,
        scraping(*[target(pages, f"/{n}", 2.0) for n in range(many)], wake=Counting()) as scraper,
    ):
        batches = gather(scraper, lambda batches: len(batches) >= many)
    assert len(batches) >= many
    assert len(wakes) < len(batches)
