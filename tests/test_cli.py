"""The command line: what people read, what scripts read, and that a mistake is a message and never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from autoscaler.api.serve import Server
from autoscaler.cli import docs
from tests.apiworld import RULES, SECRETS, ApiWorld, api_world
from tests.cliworld import Say, speaker
from tests.test_serve import certificate
from tests.worlds import NOW

REPOSITORY = Path(__file__).parent.parent
BROKEN = RULES.replace("limits:", "limitz:")
PASSING = """\
tests:
  - name: a busy pool grows
    fleet: 2
    signals: {load: 60}
    expect:
      - {at: 0s, want: 6}
"""


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


# --- help -------------------------------------------------------------------------------------------------------


def test_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = "aiohttp duckdb fastapi httpx numpy prometheus_client pydantic rich sqlalchemy uvicorn yaml"
    code = f"import sys, autoscaler.cli.main; print([m for m in {heavy.split()} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert shown.stdout == "[]\n"


def test_docs_cli_md_is_what_help_says() -> None:
    assert (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8") == docs.cli_reference()


def test_the_generator_writes_every_page_that_is_tested_to_be_current() -> None:
    made = {"api.md", "cli.md", "config.md", "cookbook.md", "errors.md", "metrics.md", "telemetry.md"}
    assert set(docs.pages()) == made


def test_no_command_shows_the_help(say: Say) -> None:
    code, out, err = say()
    assert "First steps:" in out + err
    assert code in (0, 2)


def test_the_version_is_told(say: Say) -> None:
    assert say("--version") == (0, "sigmascale 0.1.0\n", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["chekc", "rules/"], "No such command 'chekc'", id="an unknown command"),
        pytest.param(["check"], "Missing argument", id="a missing argument"),
        pytest.param(["check", "--stirct", "x"], "No such option", id="an unknown option"),
        pytest.param(["check", "--max", "0", "x"], "Invalid value for '--max'", id="a value out of range"),
        pytest.param(["override", "end", "chat"], "Missing option '--author'", id="nobody takes responsibility"),
    ],
)
def test_words_that_mean_nothing_are_exit_code_2(say: Say, words: list[str], expected: str) -> None:
    code, _, err = say(*words)
    assert code == 2
    assert expected in err


# --- check and test ---------------------------------------------------------------------------------------------


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with one rule file, alone in it."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "chat.yaml").write_text(RULES, encoding="utf-8")
    return folder


def test_check_of_good_rules_is_exit_code_0_and_says_what_they_are(say: Say, rules: Path) -> None:
    code, out, _ = say("check", rules)
    assert code == 0
    assert f"ok {rules}/chat.yaml: pool chat: 1 to 20 replicas, 1 rule, 2 signals, hash " in out
    assert out.splitlines()[-1].startswith("1 file, 0 errors, ")


def test_check_reports_the_faults_of_all_files_with_their_places(say: Say, rules: Path) -> None:
    (rules / "bad.yaml").write_text(BROKEN.replace("pool: chat", "pool: bad"), encoding="utf-8")
    code, out, _ = say("check", rules)
    assert code == 1
    assert f"error {rules}/bad.yaml:4:1: limitz: " in out
    assert f"ok {rules}/chat.yaml" in out


def test_check_refuses_two_files_that_own_one_pool_wherever_they_lie(say: Say, rules: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(RULES, encoding="utf-8")
    code, out, _ = say("check", rules, other)
    assert code == 1
    assert "pool 'chat' is also owned by " in out


def test_check_fails_on_warnings_only_when_it_is_strict(say: Say, rules: Path) -> None:
    never_in = RULES.replace(
        "target: {signal: load, per_replica: auto}", "when: {queue: {above: 5}}, scale_out: {by: 1}"
    )
    (rules / "chat.yaml").write_text(never_in, encoding="utf-8")
    assert say("check", rules)[0] == 0
    code, out, _ = say("check", rules, "--strict")
    assert code == 1
    assert "warning " in out


def test_check_writes_json_for_scripts(say: Say, rules: Path) -> None:
    (rules / "bad.yaml").write_text(BROKEN, encoding="utf-8")
    code, out, _ = say("check", rules, "--json")
    found = json.loads(out)
    assert code == 1
    assert found["errors"] == sum(f["severity"] == "error" for file in found["files"] for f in file["faults"]) > 0
    assert [(Path(f["file"]).name, f["valid"]) for f in found["files"]] == [("bad.yaml", False), ("chat.yaml", True)]


def test_check_of_a_path_that_is_not_there_is_exit_code_2(say: Say, tmp_path: Path) -> None:
    assert say("check", tmp_path / "none") == (
        2,
        "",
        f"{tmp_path}/none: is neither a file nor a folder; check the path\n",
    )


def test_rule_tests_pass_and_fail_with_exit_codes(say: Say, rules: Path) -> None:
    cases = rules / "chat.test.yaml"
    cases.write_text(PASSING, encoding="utf-8")
    code, out, err = say("test", rules)
    assert (code, out.splitlines()[-1], err) == (0, "1 test, 0 failed", "")
    cases.write_text(PASSING.replace("want: 6", "want: 3"), encoding="utf-8")
    code, out, _ = say("test", rules)
    assert code == 1
    assert "expected want 3, got want 6" in out
    found = json.loads(say("test", rules, "--json")[1])
    assert (found["failed"], found["tests"][0]["passed"]) == (1, False)


def test_no_tests_are_not_taken_for_passed_ones(say: Say, rules: Path) -> None:
    code, out, err = say("test", rules)
    assert (code, out) == (2, "")
    assert err == f"{rules}: no tests found; write NAME.test.yaml beside NAME.yaml, as rules/README.md shows\n"


# --- explain and override, against a service --------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    folder = tmp_path / "service"
    folder.mkdir()
    return api_world(folder)


@pytest.fixture
def url(world: ApiWorld, monkeypatch: pytest.MonkeyPatch, say: Say) -> Iterator[str]:
    """A service that answers; `say` comes first, since it clears the variables."""
    server = Server(world.app, "127.0.0.1", 0)
    server.start()
    monkeypatch.setenv("SIGMASCALE_TOKEN", SECRETS["operator"])
    yield server.url
    server.stop()


def test_explain_tells_the_last_decision_in_words(say: Say, url: str) -> None:
    code, out, _ = say("explain", "chat", "--url", url)
    assert code == 0
    assert out.startswith("chat, decision 8 at 2026-09-21 14:13:20 UTC: scale out from 4 to 8 replicas")


def test_explain_writes_json_for_scripts(say: Say, url: str) -> None:
    found = json.loads(say("explain", "chat", "--decision", 6, "--url", url, "--json")[1])
    assert (found["number"], found["decision"]["want"]) == (6, 8)


def test_explain_without_a_pool_tells_of_every_pool_in_one_sentence(say: Say, url: str, world: ApiWorld) -> None:
    code, out, _ = say("explain", "--url", url)
    assert (code, out.count("\n")) == (0, 1)
    assert out.startswith("chat, decision 8 at 2026-09-21 14:13:20 UTC: scale out from 4 to 8 replicas")
    assert [p["pool"] for p in json.loads(say("explain", "--url", url, "--json")[1])] == ["chat"]
    journal = world.rules_file.parent / "journal.db"
    assert say("explain", "--journal", journal) == (0, out, "")
    code, _, err = say("explain", "--decision", 3, "--journal", journal)
    assert (code, err) == (
        2,
        "--decision needs a pool, since every pool counts its own; write explain POOL --decision N\n",
    )


def test_explain_reads_a_journal_without_a_service(say: Say, world: ApiWorld) -> None:
    journal = world.rules_file.parent / "journal.db"
    code, out, _ = say("explain", "chat", "--journal", journal)
    assert (code, out.split(":")[0]) == (0, "chat, decision 8 at 2026-09-21 14")
    found = json.loads(say("explain", "chat", "--journal", journal, "--decision", 7, "--json")[1])
    assert (found["number"], found["plan"]["actions"]) == (7, [])
    code, _, err = say("explain", "caht", "--journal", journal)
    assert code == 2
    assert "has no decision of pool 'caht'; it knows the pools chat" in err


def test_a_journal_that_is_not_there_is_not_made(say: Say, tmp_path: Path) -> None:
    code, _, err = say("explain", "chat", "--journal", tmp_path / "journal.db")
    assert code == 2
    assert err.endswith("there is no such file; it is journal.db in the service's data folder\n")
    assert not (tmp_path / "journal.db").exists()


def test_an_override_is_set_listed_and_ended(say: Say, url: str, world: ApiWorld) -> None:
    who = ("--author", "ada", "--reason", "launch [event]", "--url", url)
    code, out, _ = say("override", "set", "chat", "--floor", 6, "--for", "2h", *who)
    # The service runs in this process, and its log lines come before.
    assert (code, out.splitlines()[-1]) == (0, "chat: floor 6 until 2026-09-21 16:13:20 UTC (manual)")
    assert say("override", "set", "chat", "--id", "calm", "--pause", "in", "--for", "1h", *who)[0] == 0
    code, out, _ = say("override", "list", "--url", url)
    assert code == 0
    for word in ("floor 6", "pause in", "launch", "[event]", "manual", "calm"):
        assert word in out
    found = json.loads(say("override", "list", "chat", "--url", url, "--json")[1])
    assert [(o["id"], o["kind"], o["until"]) for o in found] == [
        ("calm", "pause", NOW + 3600),
        ("manual", "floor", NOW + 7200),
    ]
    code, out, _ = say("override", "end", "chat", *who)
    assert (code, out.splitlines()[-1]) == (0, "chat: override manual ended")
    assert [o.id for o in world.deps.journal.overrides(NOW)] == ["calm"]


def test_no_override_is_said_too(say: Say, url: str) -> None:
    assert say("override", "list", "--url", url) == (0, "no override is in force\n", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["--for", "1h"], "exactly one of --pin, --floor, --ceiling, --freeze, --pause", id="no kind"),
        pytest.param(["--pin", "3", "--freeze", "--for", "1h"], "given: --pin and --freeze", id="two kinds"),
        pytest.param(["--freeze"], "an override needs an end: give --for 2h or --until", id="no end"),
        pytest.param(["--pin", "30", "--for", "1h"], "replicas: 30 is outside of the rule's bounds", id="bounds"),
        pytest.param(["--freeze", "--for", "90d"], "is more than 30 days away", id="for ever"),
        pytest.param(["--freeze", "--until", "2020-01-01T00:00:00Z"], "is not after now", id="in the past"),
    ],
)
def test_a_wrong_override_is_exit_code_2_with_what_to_do(say: Say, url: str, words: list[str], expected: str) -> None:
    code, out, err = say("override", "set", "chat", *words, "--author", "ada", "--reason", "test", "--url", url)
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err


def test_what_the_service_refuses_is_told_in_its_words(
    say: Say, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = say("explain", "chatt", "--url", url)
    assert (code, err) == (2, "there is no pool 'chatt'; did you mean 'chat'?\n")
    viewer = tmp_path / "viewer"
    viewer.write_text(SECRETS["viewer"] + "\n")
    who = ("--author", "ada", "--reason", "test", "--url", url)
    code, _, err = say("override", "end", "chat", *who, "--token-file", viewer)
    assert code == 2
    assert "has the role viewer; this needs the role operator" in err
    monkeypatch.delenv("SIGMASCALE_TOKEN")
    monkeypatch.chdir(tmp_path)
    code, _, err = say("explain", "chat", "--url", url)
    assert code == 2
    assert "this needs a token; send `Authorization: Bearer TOKEN`" in err


def test_the_token_of_another_service_in_this_folder_keeps_nobody_from_reading(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(api_world(tmp_path, tokens=False).app, "127.0.0.1", 0)
    server.start()
    (tmp_path / "sigmascale-data").mkdir()
    (tmp_path / "sigmascale-data" / "token").write_text("of-another-service-0000\n")
    monkeypatch.chdir(tmp_path)
    assert say("explain", "chat", "--url", server.url)[0] == 0
    freeze = ("--freeze", "--for", "1h", "--author", "ada", "--reason", "test")
    code, out, err = say("override", "set", "chat", *freeze, "--url", server.url)
    assert (code, out) == (2, "")
    assert "the token is not known here; " in err
    assert err.endswith(" (sent was the token in sigmascale-data/token; name another with --token-file)\n")
    server.stop()


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        pytest.param(["--url", "http://127.0.0.1:1"], 1, "no service answers", id="nobody listens"),
        pytest.param(["--url", "nowhere"], 2, "write http://HOST:PORT", id="no URL"),
        pytest.param(["--token-file", "/none"], 2, "name the file of a token", id="no token file"),
        pytest.param(
            ["--ca", "/none", "--url", "https://127.0.0.1:1"], 2, "name a PEM file of the authority", id="no CA"
        ),
    ],
)
def test_a_service_that_cannot_be_asked_is_a_message(say: Say, words: list[str], code: int, expected: str) -> None:
    ended, out, err = say("explain", "chat", *words)
    assert (ended, out) == (code, "")
    assert expected in err
    assert "Traceback" not in err


class Page(BaseHTTPRequestHandler):
    """A web server that is no sigmascale."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_server_that_is_no_sigmascale_is_told_from_one(say: Say) -> None:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        code, out, err = say("explain", "chat", "--url", url)
        assert (code, out) == (1, "")
        assert err == f"{url}: answered 200 and no JSON; is this the address of a sigmascale service?\n"
        tls = url.replace("http:", "https:")
        code, _, err = say("explain", "chat", "--url", tls)
        assert (code, err) == (1, f"{tls}: it does not speak TLS; write http:// instead of https://\n")
        server.shutdown()


def test_a_service_with_tls_says_what_the_caller_lacks(say: Say, world: ApiWorld, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    server = Server(world.app, "127.0.0.1", 0, cert, key)
    server.start()
    code, _, err = say("explain", "chat", "--url", server.url)
    assert code == 1
    assert "its certificate is not trusted (self-signed certificate); name the authority that signed it with" in err
    plain = server.url.replace("https:", "http:")
    code, _, err = say("explain", "chat", "--url", plain)
    assert code == 1
    assert err.endswith("; if it serves TLS, write https:// instead of http://\n")
    code, _, err = say("explain", "chat", "--url", server.url, "--ca", cert)
    assert (code, "this needs a token" in err) == (2, True)
    server.stop()
