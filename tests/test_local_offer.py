"""What an offer of the local provider may say, and the parts that need no process."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import CapacityError, InputError, ProviderError
from autoscaler.types import Offer
from providers import gpu_slots, worker_log
from providers.command import Template, environment, expand, fields, template
from providers.free_port import Ports
from providers.local import LocalProvider
from providers.process import Exit, Identity
from providers.records import Record, RecordFiles, instance_id

SERVE = "server --port {port}"
RECORD = Record("a", "chat-1", "chat", "local/tiny", "127.0.0.1", 18000, "/health", 1.0, 2.0)


def offer(**texts: str) -> Offer:
    return Offer("local", "tiny", settings=tuple(texts.items()))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param(
            {}, "command is missing; write one such as 'python -m server --port {port}'", id="a command is needed"
        ),
        pytest.param({"command": "   "}, "command is missing", id="blanks are no command"),
        pytest.param({"command": "serve 'a"}, "command: No closing quotation; close every quote", id="an open quote"),
        pytest.param(
            {"command": "serve {prot}"},
            "command: unknown field {prot}; known are {port}, {host}, {pool}, {instance}, {gpu}, {python}; "
            "write {{ and }} for literal braces",
            id="a field that does not exist",
        ),
        pytest.param({"command": "serve {port.real}"}, "unknown field {port.real}", id="attributes are no fields"),
        pytest.param({"command": "serve {host[0]}"}, "unknown field {host[0]}", id="nor are parts of a field"),
        pytest.param({"command": "serve {port!r}"}, "unknown field {port}", id="nor conversions"),
        pytest.param({"command": "serve {port:>9999999}"}, "unknown field {port}", id="nor widths"),
        pytest.param({"command": "serve {}"}, "unknown field {}", id="nor places"),
        pytest.param({"command": "serve }"}, "write {{ and }} for literal braces", id="a lone brace"),
        pytest.param(
            {"command": SERVE, "ready": "health"}, "ready: 'health' is not a path", id="a probe without slash"
        ),
        pytest.param({"command": SERVE, "ready": "/a b"}, "ready: '/a b' is not a path", id="a probe with a blank"),
        pytest.param({"command": SERVE, "gpus": "-1"}, "gpus: '-1' is not a count", id="a negative count"),
        pytest.param({"command": SERVE, "max": "many"}, "max: 'many' is not a count", id="a count in words"),
        pytest.param({"command": SERVE, "env.": "x"}, "env.NAME needs a name", id="a variable without a name"),
        pytest.param({"command": SERVE, "env.A=B": "x"}, "env.NAME needs a name", id="a variable with an equals sign"),
        pytest.param(
            {"command": SERVE, "redy": "/"},
            "unknown setting 'redy'; the local provider knows command, ready, gpus, cwd, max and env.NAME",
            id="a setting that does not exist",
        ),
    ],
)
def test_a_wrong_offer_says_what_to_write(texts: dict[str, str], message: str) -> None:
    with pytest.raises(ProviderError) as caught:
        template(offer(**texts))
    assert message in str(caught.value)
    assert str(caught.value).startswith("local/tiny/on_demand: ")


def test_every_setting_is_read() -> None:
    texts = {"command": SERVE, "ready": "/up", "gpus": "2", "cwd": "/srv", "max": "3", "env.B": "2", "env.A": "1"}
    assert template(offer(**texts)) == Template(
        ("server", "--port", "{port}"), "/up", 2, (("A", "1"), ("B", "2")), "/srv", 3
    )


def test_values_stay_one_word_and_no_shell_sees_them() -> None:
    words = template(offer(command="serve '{pool} {port}' --json '{{\"a\": 1}}' $HOME {python}")).words
    filled = expand(words, fields("127.0.0.1", 8000, "a; rm -rf /", "i-1", ("GPU-1", "GPU-2")))
    assert filled == ["serve", "a; rm -rf / 8000", "--json", '{"a": 1}', "$HOME", sys.executable]


def test_a_worker_inherits_the_environment_without_what_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("SIGMASCALE_TOKENS", "secret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    env = environment(
        template(offer(command=SERVE, **{"env.MODEL": "m"})), "a-1", Path("/s/i.json"), ("GPU-1", "GPU-2")
    )
    assert env["HF_HOME"] == "/models"
    assert env["MODEL"] == "m"
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"
    assert (env["SIGMASCALE_ACTION"], env["SIGMASCALE_STATE"]) == ("a-1", "/s/i.json")
    assert not {"SIGMASCALE_TOKENS", "NOTIFY_SOCKET"} & set(env)


@pytest.mark.parametrize(
    ("taken", "need", "expected"),
    [
        pytest.param((), 1, ("a",), id="the first one"),
        pytest.param(("a",), 2, ("b", "c"), id="those that nobody holds"),
        pytest.param(("x",), 3, ("a", "b", "c"), id="one that is gone takes no place"),
    ],
)
def test_gpus_go_to_one_process_each(taken: tuple[str, ...], need: int, expected: tuple[str, ...]) -> None:
    assert gpu_slots.choose(("a", "b", "c"), taken, need) == expected


def test_gpus_that_are_not_there_are_a_lack_of_capacity() -> None:
    with pytest.raises(CapacityError, match="needs 2 GPUs and 1 of the 2 here are free"):
        gpu_slots.choose(("a", "b"), ("a",), 2)


def test_the_gpus_of_this_machine_are_named_by_uuid() -> None:
    """True with a driver and without one, where there are none."""
    found = gpu_slots.installed()
    assert len(set(found)) == len(found)
    assert all(uuid.startswith("GPU-") for uuid in found)


def test_ports_are_given_out_in_turn_and_only_free_ones() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = int(busy.getsockname()[1])
        ports = Ports("127.0.0.1", port, port)
        with pytest.raises(CapacityError, match=f"no free port on 127.0.0.1 from {port} to {port} .*in use"):
            ports.take(())
    assert ports.take(()) == port
    with pytest.raises(CapacityError, match="all are given out"):
        ports.take((port,))
    turn = Ports("127.30.0.1", 20000, 20002)
    assert [turn.take(()), turn.take(()), turn.take((20002,)), turn.take(())] == [20000, 20001, 20000, 20001]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"ports": (9000, 8000)}, "ports 9000 to 8000 are no range", id="ports the wrong way round"),
        pytest.param({"ports": (0, 10)}, "ports 0 to 10 are no range", id="port zero"),
        pytest.param({"grace_s": -1.0}, "grace_s must be 0 or more", id="a negative grace time"),
        pytest.param({"max_processes": 0}, "max_processes 1 or more", id="room for nothing"),
    ],
)
def test_a_wrong_configuration_says_what_to_write(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LocalProvider(tmp_path, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        pytest.param(3, "exit code 3", id="an exit code"),
        pytest.param(-9, "killed by signal 9", id="a signal"),
        pytest.param(None, "ended while the service was away, exit code unknown", id="nobody was told"),
    ],
)
def test_an_end_is_told_in_words(code: int | None, text: str) -> None:
    assert str(Exit(code)) == text


@given(st.text(max_size=80), st.text(min_size=1), st.text(min_size=1))
@settings(derandomize=True, max_examples=200)
def test_an_instance_has_a_name_of_its_own_that_is_a_file_name(pool: str, one: str, other: str) -> None:
    name = instance_id(pool, one)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert 0 < len(name) <= 60
    assert (name == instance_id(pool, other)) == (one == other)


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    full = Record(
        "b", "chat-2", "chat", "local/tiny", "::1", 18001, "/up", 1.5, 2.5, 2, 0.5, ("GPU-1",), "stopping", "draining",
        Identity(12, 34, "boot"), True, 9.0, None, False, False, "words", ("d-1", "d-2"),
    )  # fmt: skip
    files = RecordFiles(tmp_path)
    assert files.open() == []
    for record in (RECORD, full):
        files.save(record)
    (tmp_path / "chat-3.tmp").write_text("half a reco")
    files.close()
    assert files.open() == [RECORD, full]
    files.close()
    assert not list(tmp_path.glob("*.tmp"))
    assert full.address == "[::1]:18001"


@pytest.mark.parametrize(
    "text", [pytest.param("{", id="half a file"), pytest.param('{"action": "a"}', id="an older or foreign file")]
)
def test_a_state_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "chat-1.json").write_text(text)
    with pytest.raises(ProviderError, match=r"chat-1\.json: not a readable state of a process .*; restore the file"):
        RecordFiles(tmp_path).open()


@pytest.mark.parametrize(
    ("printed", "last"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"one\ntwo\n\n  \n", "two", id="blank lines are passed over"),
        pytest.param(b"half a line", "half a line", id="a line without its end"),
        pytest.param(b"\x1b[31mred\xff\n", " [31mred\ufffd", id="control characters and wrong bytes do no harm"),
        pytest.param(b"x" * 9000, "x" * 300, id="a long line is cut"),
    ],
)
def test_the_last_line_of_a_log_is_what_is_quoted(tmp_path: Path, printed: bytes, last: str) -> None:
    (tmp_path / "log").write_bytes(printed)
    assert worker_log.last_line(tmp_path / "log") == last


def test_a_log_keeps_its_last_lines_while_somebody_writes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    descriptor = worker_log.open_log(path)
    with open(descriptor, "w") as worker:
        for number in range(1000):
            worker.write(f"line {number}\n")
        worker.flush()
        worker_log.trim(path, 2048)
        worker.write("after the cut\n")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("line ")
    assert lines[-2:] == ["line 999", "after the cut"]
    assert path.stat().st_size <= 1024 + 20
    assert path.stat().st_mode & 0o777 == 0o600
    worker_log.trim(tmp_path / "missing", 2048)
