"""Lists of targets that are followed while files change, break and vanish, and while a server comes and goes."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from autoscaler.clock import SystemClock
from collectors.scraping.service_discovery import ANSWER_S, Listing, ServiceDiscovery
from collectors.scraping.target_groups import Manner
from tests.peers.pages import Pages, answer, hang, until, without_waiting

MANNER = Manner((("pool", "chat"),))


def listed(*addresses: str) -> str:
    return json.dumps([{"targets": list(addresses)}])


@contextmanager
def following(*listings: Listing) -> Iterator[ServiceDiscovery]:
    found = ServiceDiscovery(listings, SystemClock())
    found.start()
    try:
        yield found
    finally:
        found.stop()


def hosts(found: ServiceDiscovery) -> list[str]:
    return [dict(target.labels)["instance"] for target in found.targets()]


def files(folder: Path) -> Listing:
    return Listing(files=(str(folder / "*.json"),), refresh_s=0.02, manner=MANNER)


def replaced(path: Path, text: str) -> None:
    """Whole at once, as whoever writes such files should."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_targets_of_files_are_there_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(listed("a:1"))
    (tmp_path / "b.json").write_text(listed("b:1", "a:1"))
    with following(files(tmp_path)) as found:
        assert hosts(found) == ["a:1", "b:1"]
        (status,) = found.status()
    assert (status.targets, status.error) == (2, "")


def test_files_that_change_appear_and_vanish_are_followed(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(listed("a:1"))
    with following(files(tmp_path)) as found:
        replaced(first, listed("a:2"))
        until(lambda: hosts(found) == ["a:2"], "the change")
        replaced(second, listed("b:1"))
        until(lambda: hosts(found) == ["a:2", "b:1"], "the new file")
        first.unlink()
        until(lambda: hosts(found) == ["b:1"], "the end of the first")


def test_a_broken_file_keeps_its_targets_and_holds_up_no_other(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(listed("a:1"))
    second.write_text(listed("b:1"))
    with following(files(tmp_path)) as found:
        replaced(first, '[{"targets": ["a:')
        replaced(second, listed("b:2"))
        until(lambda: hosts(found) == ["a:1", "b:2"], "the second file's change")
        until(lambda: found.status()[0].error, "the fault")
        assert f"{first}: is neither JSON nor YAML" in found.status()[0].error
        replaced(first, listed("a:3"))
        until(lambda: hosts(found) == ["a:3", "b:2"] and not found.status()[0].error, "the correction")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(listed("a:1"))
    (tmp_path / "a.json").chmod(0)
    with following(files(tmp_path)) as found:
        assert "cannot be read (Permission denied)" in found.status()[0].error


def test_the_list_of_a_server_is_followed_and_kept_while_it_is_away(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-secret\n")
    with Pages({"/sd": answer(listed("a:1").encode(), content_type="application/json")}) as pages:
        listing = Listing(url=pages.url("/sd"), refresh_s=0.05, manner=MANNER, token_file=token)
        with following(listing) as found:
            until(lambda: hosts(found) == ["a:1"], "the list")
            pages.answers["/sd"] = answer(b"gone", "503 Service Unavailable")
            until(lambda: "answers 503" in found.status()[0].error, "the fault")
            assert hosts(found) == ["a:1"]
            pages.answers["/sd"] = answer(b"[{}]")
            until(lambda: "[0].targets is not a list" in found.status()[0].error, "another fault")
            pages.answers["/sd"] = answer(listed("b:1").encode())
            until(lambda: hosts(found) == ["b:1"], "the new list")
            shown = repr(found.status())
    assert "authorization: bearer the-secret" in pages.requests[0].lower()
    assert "x-prometheus-refresh-interval-seconds: 0.05" in pages.requests[0].lower()
    assert "the-secret" not in shown


def test_a_server_that_hangs_holds_up_no_stop() -> None:
    with Pages({"/sd": hang}) as pages, following(Listing(url=pages.url("/sd"), refresh_s=0.05)) as found:
        until(lambda: pages.requests, "a request")
        with without_waiting(ANSWER_S):
            found.stop()
        assert found.targets() == ()


def test_an_address_without_a_server_is_named() -> None:
    with following(Listing(url="http://127.0.0.1:9/sd", refresh_s=0.05)) as found:
        until(lambda: "does not answer (Connection refused); check the address" in found.status()[0].error, "the fault")


def test_a_pattern_that_no_file_matches_is_told_once_and_awaited(tmp_path: Path) -> None:
    with capture_logs() as lines, following(files(tmp_path)) as found:
        until(lambda: found.status()[0].last_at is not None, "a look")
        found.read()
        (tmp_path / "a.json").write_text(listed("a:1"))
        until(lambda: hosts(found) == ["a:1"], "the new list")
    (line,) = [line for line in lines if line["event"] == "no list of targets"]
    assert (line["files"], line["next_step"]) == (
        str(tmp_path / "*.json"),
        "correct the path, or write the file; it is awaited",
    )


def test_the_faults_of_several_files_are_one_line_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("5")
    with capture_logs() as lines, following(files(tmp_path)):
        (line,) = [line for line in lines if line["event"] == "targets not read"]
    assert "\n" not in line["reason"]
    assert line["reason"].count("; correct the list") == 1
    assert "b.json: is not a list of groups" in line["reason"]
