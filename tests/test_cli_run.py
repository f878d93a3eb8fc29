"""`sigmascale run` as a real process, and what keeps it from starting."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autoscaler.journal import Journal
from tests.apiworld import RULES
from tests.cliworld import Say, speaker

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with one rule file, alone in it."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "chat.yaml").write_text(RULES, encoding="utf-8")
    return folder


def started(folder: Path, *words: object) -> subprocess.Popen[str]:
    """`sigmascale run` in shadow on a free port, its data in `folder`; log lines as JSON on standard error."""
    command = [sys.executable, "-m", "autoscaler.cli.main", "run", "--shadow", "--log-format", "json"]
    command += ["--data-dir", str(folder / "data"), "--listen", "127.0.0.1:0", *map(str, words)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SIGMASCALE_")} | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean, cwd=folder)


def refusal(process: subprocess.Popen[str]) -> str:
    """What a `run` that must not start says; exit code 2."""
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "Traceback" not in err
    return err


@pytest.fixture
def service(tmp_path: Path, rules: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running service and its address."""
    process = started(tmp_path, "--rules", rules)
    assert process.stderr is not None
    for line in process.stderr:
        if '"started"' in line:
            yield process, json.loads(line)["api"]
            break
    else:
        pytest.fail("the service did not start")
    process.kill()
    process.communicate(timeout=30)


def test_a_service_without_a_good_rule_file_runs_and_says_that_nothing_is_scaled(tmp_path: Path, rules: Path) -> None:
    """It stays up, because a file that is corrected is read again."""
    (rules / "chat.yaml").write_text("pool: chat\nlimitz: {max: 3}\n", encoding="utf-8")
    process = started(tmp_path, "--rules", rules)
    assert process.stderr is not None
    events = []
    for line in process.stderr:
        events.append(json.loads(line)["event"])
        if events[-1].startswith("no pool"):
            break
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert events[-1] == "no pool is in force, so nothing is scaled; correct a rule file, it is read again at once"
    assert "rule file refused" in events


def test_a_service_whose_loop_breaks_ends_with_an_error_instead_of_standing_still(tmp_path: Path, rules: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    Journal(f"sqlite:///{data / 'journal.db'}").close()
    with closing(sqlite3.connect(data / "journal.db")) as db, db:
        db.execute("insert into memories values ('chat', 1, '{\"number\": \"many\"}')")
    process = started(tmp_path, "--rules", rules)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "a row holds no Memory" in err
    assert "the loop broke, see the log; start the service again" in err


def test_a_real_service_answers_the_command_line_and_ends_on_sigterm(
    service: tuple[subprocess.Popen[str], str], say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, url = service
    monkeypatch.setattr("autoscaler.cli.client.LOCAL_TOKEN", tmp_path / "data" / "token")
    who = ("--author", "ada", "--reason", "test", "--url", url)
    code, out, err = say("override", "set", "chat", "--pin", 3, "--for", "10m", *who)
    for _ in range(200):
        if "there is no pool" not in err:
            break
        # The first tick of a service may still be under way.
        code, out, err = say("override", "set", "chat", "--pin", 3, "--for", "10m", *who)
    assert (code, err) == (0, "")
    assert out.startswith("chat: pin 3 until ")
    assert json.loads(say("override", "list", "--url", url, "--json")[1])[0]["author"] == "ada"
    assert say("explain", "chat", "--url", url)[1].startswith("chat, decision ")
    rules = ("--rules", tmp_path / "rules")
    same_port = started(tmp_path, *rules, "--data-dir", tmp_path / "second", "--listen", url.removeprefix("http://"))
    same_folder = started(tmp_path, *rules)
    in_use = "the port is taken by another program (perhaps another sigmascale); stop it or choose another port"
    assert in_use in refusal(same_port)
    assert "another sigmascale runs on it; stop that one or name another with --data-dir" in refusal(same_folder)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert '"stopped"' in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "variables", "expected"),
    [
        pytest.param([], {}, "no rules are given; name a rule file or a folder of them, such as", id="no rules"),
        pytest.param(["--listen", "0.0.0.0:0"], {}, "--listen: 0.0.0.0:0 can be reached from other", id="reachable"),
        pytest.param(["--max", "0"], {}, "--max-replicas: 0 is not between 1 and 100000", id="no bound"),
        pytest.param(["--config", "none"], {}, "none: cannot be read: No such file or directory", id="no file"),
        pytest.param(["--rules", "none"], {}, "--rules: none does not exist", id="rules that are not there"),
        pytest.param([], {"SIGMASCALE_LISTENN": "x"}, "SIGMASCALE_LISTENN: is not a setting", id="an unknown variable"),
    ],
)
def test_a_service_that_must_not_start_says_why(
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
    variables: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, out, err = say("run", *words)
    assert (code, out) == (2, "")
    assert expected in err
    assert list(tmp_path.iterdir()) == []
