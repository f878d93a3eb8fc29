"""The control room's rules: what is in force, what is wrong with a changed file, and what it would have done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoscaler.dryrun import DryRun, DryRuns, Question
from autoscaler.queries import definition
from autoscaler.rulefile.reader import Defaults, read_rules
from autoscaler.types import Past
from tests.apiworld import RULES, ApiWorld, api_world
from tests.peers.pages import until
from tests.roomworld import CROSS, Browser, words
from tests.worlds import NOW

HOUR_S = 3600.0
WITHIN_S = 90.0
CHEAPER = RULES.replace("per_replica: auto", "per_replica: 20 requests/s")


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def browser(world: ApiWorld) -> Browser:
    return Browser(world).sign_in("viewer")


def recorded(world: ApiWorld, rate: float = 120.0, hours: float = 6.0) -> None:
    """Demand that the store has of the pool, a point every 15 s."""
    signal = read_rules(RULES).signals[0]
    at = NOW - np.arange(hours * HOUR_S, 0, -15, dtype=np.float64)
    peak = np.where((at > NOW - 3 * HOUR_S) & (at < NOW - 2 * HOUR_S), 1.5, 1.0)
    world.deps.store.fill(Past("chat", "load", at, rate * peak, definition(signal)))


def ended(world: ApiWorld, place: str) -> DryRun:
    """The dry run behind a page's address, when it has ended."""
    run_id = place.rsplit("/", 1)[1]

    def look() -> bool:
        run = world.deps.dry_runs.get(run_id)
        return run is not None and run.state != "running"

    until(look, "an end of the dry run", WITHIN_S)
    run = world.deps.dry_runs.get(run_id)
    assert run is not None
    return run


def test_the_list_names_every_file_in_force_and_what_the_linter_says(world: ApiWorld, browser: Browser) -> None:
    said = words(browser.page("/rules"))
    assert f"chat {world.rules_file} " in said
    assert "warning" in said or "clean" in said


def test_a_file_that_broke_is_told_with_its_place_and_the_old_rules_stay(world: ApiWorld, browser: Browser) -> None:
    world.rules_file.write_text(RULES.replace("max: 20", "max: 0"), encoding="utf-8")
    for _ in range(3):
        world.deps.rulebook.poll()
    said = words(browser.page("/rules"))
    assert "Not taken" in said
    assert f"{world.rules_file}:4:" in said
    assert "the file has changed" in said
    assert "The file has changed since it was taken" in words(browser.page("/rules/chat"))


def test_the_box_starts_with_the_file_in_force(browser: Browser) -> None:
    page = browser.page("/rules/chat")
    assert "{name: enough, target: {signal: load, per_replica: auto}}" in page.text
    assert words(browser.page("/rules/nothing")).count("There are no rules in force for a pool") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(RULES.replace("max: 20", "max: 0"), "chat.yaml:4:", id="bounds that leave no room"),
        pytest.param(RULES.replace("limits", "limit"), "did you mean", id="a key with a typo"),
        pytest.param("pool: [", "chat.yaml:2:", id="no YAML at all"),
        pytest.param("", "The file would not be taken", id="nothing"),
        pytest.param(RULES.replace("pool: chat", "pool: other", 1), "a file of pool 'other'", id="another pool's file"),
    ],
)
@pytest.mark.parametrize("ask", ["check", "dry-runs"])
def test_a_broken_file_is_told_with_file_line_and_column_and_changes_nothing(
    world: ApiWorld, browser: Browser, ask: str, text: str, told: str
) -> None:
    before = world.rules_file.read_text()
    answer = browser.send(f"/rules/chat/{ask}", {"text": text, "since": "1d"})
    assert answer.status_code == 422
    assert told in words(answer)
    assert world.rules_file.read_text() == before
    assert world.deps.dry_runs.of("chat") == ()


def test_what_was_typed_stays_and_is_text(browser: Browser) -> None:
    answer = browser.send("/rules/chat/check", {"text": "pool: chat\n</textarea><script>alert(1)</script>: 1\n"})
    assert "<script>alert" not in answer.text
    assert "&lt;/textarea&gt;&lt;script&gt;alert(1)" in answer.text


def test_a_sound_file_is_said_to_be_taken(browser: Browser) -> None:
    answer = browser.send("/rules/chat/check", {"text": CHEAPER})
    assert (answer.status_code, "The file would be taken" in words(answer)) == (200, True)


@pytest.mark.parametrize("path", ["/rules/chat/check", "/rules/chat/dry-runs"])
def test_another_site_cannot_have_anything_checked_or_played(browser: Browser, path: str) -> None:
    assert browser.send(path, {"text": RULES}, CROSS).status_code == 403


def test_a_dry_run_plays_the_recorded_demand_under_both_files(world: ApiWorld, browser: Browser) -> None:
    recorded(world)
    answer = browser.send("/rules/chat/dry-runs", {"text": CHEAPER, "since": "4h"})
    assert answer.status_code == 303
    place = answer.headers["location"]
    run = ended(world, place)
    assert (run.state, run.problem) == ("done", "")
    hours = {row[0]: row[1:3] for row in run.answer["rows"]}["replica-hours"]
    assert float(hours[1]) < float(hours[0]), "half the replicas for the same demand"
    said = words(browser.page(place))
    assert "Where they differ most" in said
    assert "replica-hours" in said
    columns = browser.page(f"/ui{place}/plot").json()
    assert {len(column) for column in columns.values()} == {len(columns["at"])}
    assert NOW - 4 * HOUR_S - 60 <= columns["at"][0] <= NOW - 4 * HOUR_S + 60
    assert max(columns["demand"]) == pytest.approx(180.0, rel=0.01)
    assert max(columns["wanted_changed"]) < max(columns["wanted_now"])
    assert "per_replica: 20 requests/s" in browser.page(f"/rules/chat?dry_run={run.id}").text


@pytest.mark.parametrize(
    ("since", "told"),
    [
        pytest.param("soon", "is not a duration", id="no duration"),
        pytest.param("5m", "is not between 1h and 7d", id="too short"),
        pytest.param("1y", "is not", id="too long"),
    ],
)
def test_a_span_that_cannot_be_is_told(browser: Browser, since: str, told: str) -> None:
    answer = browser.send("/rules/chat/dry-runs", {"text": CHEAPER, "since": since})
    assert answer.status_code == 422
    assert told in words(answer)
    assert f'value="{since}"' in answer.text


def test_a_dry_run_without_recorded_demand_says_so(world: ApiWorld, browser: Browser) -> None:
    answer = browser.send("/rules/chat/dry-runs", {"text": CHEAPER})
    run = ended(world, answer.headers["location"])
    assert run.state == "failed"
    assert "nothing is recorded" in run.problem
    assert "nothing is recorded" in words(browser.page(answer.headers["location"]))


def question(tmp_path: Path) -> Question:
    rules = read_rules(RULES, defaults=Defaults(require_bound=False))
    at = tuple(float(NOW - 15 * n) for n in range(4000, 0, -1))
    return Question(rules, rules, at, (5.0,) * len(at), rules.signals[0], "chat, load", NOW - 2 * HOUR_S, NOW)


def test_one_dry_run_at_a_time_and_one_that_takes_too_long_is_ended(world: ApiWorld, tmp_path: Path) -> None:
    runs = DryRuns(world.clock, limit_s=0.01)
    first = runs.start(question(tmp_path), "one")
    assert first is not None
    assert runs.start(question(tmp_path), "two") is None
    until(lambda: (r := runs.get(first.id)) is not None and r.state == "failed", "its end", WITHIN_S)
    assert "took longer than 0.01 s" in runs.of("chat")[0].problem


def test_a_service_that_stops_ends_the_dry_run_under_way(world: ApiWorld, tmp_path: Path) -> None:
    runs = DryRuns(world.clock)
    first = runs.start(question(tmp_path), "one")
    assert first is not None
    runs.close()
    until(lambda: (r := runs.get(first.id)) is not None and r.state != "running", "its end", WITHIN_S)
    assert runs.start(question(tmp_path), "two") is None


# --- reports ----------------------------------------------------------------------------------------------------


def summary(**more: object) -> str:
    told = {"pool": "chat", "policy": None, "violated_share": 0.0123, "cost_over_clairvoyant": 1.25, "replica_hours": 9}
    return json.dumps(told | {"trace": {"name": "day.csv"}} | more)


@pytest.fixture
def reporting(tmp_path: Path) -> Browser:
    """A service with a folder of reports: one whole, one without a page, one half-written, one that is a link."""
    folder = tmp_path / "reports"
    for name in ("day", "numbers-only", "half"):
        (folder / name).mkdir(parents=True)
        (folder / name / "summary.json").write_text(summary() if name != "half" else '{"pool": ')
    (folder / "day" / "report.html").write_text("<script>report</script>")
    (folder / "link").symlink_to(tmp_path)
    made = api_world(tmp_path)
    deps = replace(made.deps, reports=folder)
    made.app.state.deps = deps
    return Browser(replace(made, deps=deps)).sign_in("viewer")


def test_reports_in_the_data_folder_are_listed_with_their_figures(reporting: Browser) -> None:
    said = words(reporting.page("/reports"))
    assert "chat day.csv 1.23 % 1.25 9" in said
    assert "numbers-only" in said
    assert "half" not in said


def test_a_report_runs_apart_from_the_control_room(reporting: Browser) -> None:
    page = reporting.page("/reports/day")
    assert page.text == "<script>report</script>"
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")


@pytest.mark.parametrize("name", ["link", "numbers-only", "nothing", ".hidden", "%2e%2e%2fsecret"])
def test_nothing_but_reports_is_served(reporting: Browser, name: str) -> None:
    assert reporting.page(f"/reports/{name}").status_code == 404


def test_a_service_without_reports_says_how_to_make_one(browser: Browser) -> None:
    assert "sigmascale backtest TRACE.csv" in words(browser.page("/reports"))


def test_a_page_that_is_not_there_is_told_on_a_page_and_to_programs_as_a_problem(browser: Browser) -> None:
    page = browser.page("/rules/nothing")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    told = browser.ask("GET", "/rules/nothing", headers={"accept": "application/json"})
    assert told.headers["content-type"] == "application/problem+json"
