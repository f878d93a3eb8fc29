"""One call of a drain hook, to real servers and with real programs: what it takes for an answer, what it refuses."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from autoscaler.clock import monotonic
from autoscaler.hookcall import ANSWER_BYTES, HookAnswer, call
from autoscaler.movement import DrainHook
from autoscaler.types import Instance
from tests.hookworld import Draining, draining
from tests.peers.pages import Answer, Pages, hang, raw, until

HTTP = DrainHook(url="http://{address}/drain?pool={pool}", timeout_s=5.0)
SOON_S = 0.3
AT_LAST_S = 10.0
SECRET = "Bearer a-secret-of-20-letters"


def asked(world: Draining, hook: DrainHook = HTTP, *hosts: str, **changes: Any) -> HookAnswer:
    return call(hook, world.instance(**changes), hosts)


def program(text: str, timeout_s: float = 10.0) -> HookAnswer:
    """What comes of a Python program as the hook."""
    literal = text.replace("{", "{{").replace("}", "}}")
    hook = DrainHook(words=(sys.executable, "-c", literal, "{address}", "{instance}"), timeout_s=timeout_s)
    return call(hook, Instance("i-1", "chat", "local/process", "draining", 0.0, address="10.0.0.7:8000"), ())


# --- HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "ok", "in_flight"),
    [
        pytest.param(200, b"", True, None, id="an empty answer"),
        pytest.param(204, b"", True, None, id="no content"),
        pytest.param(200, b'{"in_flight": 3}', True, 3, id="a count"),
        pytest.param(202, b' {"in_flight": 0, "more": [1]}\n', True, 0, id="nothing in flight"),
        pytest.param(200, b'{"in_flight": "3"}', True, None, id="a count in quotes is none"),
        pytest.param(200, b'{"in_flight": -1}', True, None, id="a negative count is none"),
        pytest.param(200, b'{"in_flight": true}', True, None, id="true is none"),
        pytest.param(200, b'{"in_flight": 0.0}', True, None, id="a fraction is none"),
        pytest.param(200, b"[0]", True, None, id="a list"),
        pytest.param(200, b"<html>\xff", True, None, id="garbage"),
        pytest.param(200, b"[" * 9000, True, None, id="nine thousand brackets"),
        pytest.param(503, b'{"in_flight": 0}', False, None, id="a count beside a failure counts nothing"),
        pytest.param(404, b"", False, None, id="no such path"),
    ],
)
def test_an_answer_is_taken_for_what_it_proves(status: int, body: bytes, ok: bool, in_flight: int | None) -> None:
    with draining() as world:
        world.answers = [(status, body, {})]
        answer = asked(world)
        assert (answer.ok, answer.in_flight) == (ok, in_flight)
        counted = "" if in_flight is None else f", {in_flight} in flight"
        assert answer.text == f"POST http://{world.address}/drain: {status}{counted}"
        assert world.asked == [("POST", "/drain?pool=chat")]


def test_headers_come_from_files_and_the_environment_and_are_told_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    monkeypatch.setenv("DRAIN_KEY", "another-secret")
    hook = DrainHook(HTTP.url, header_files=(("Authorization", str(file)),), header_variables=(("X-Key", "DRAIN_KEY"),))
    with draining() as world:
        world.answers = [(500, SECRET.encode(), {"X-Said": SECRET})]
        answer = asked(world, hook)
        assert (world.headers[0]["Authorization"], world.headers[0]["X-Key"]) == (SECRET, "another-secret")
        assert "secret" not in answer.text + repr(hook)


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (DrainHook(HTTP.url, header_files=(("A", "/nonexistent"),)), "header A: /nonexistent cannot be read"),
        (DrainHook(HTTP.url, header_files=(("A", "/bin/sh"),)), "header A: /bin/sh cannot be read (not ASCII text)"),
        (DrainHook(HTTP.url, header_files=(("A", "/dev/null"),)), "header A: its value is empty"),
        (
            DrainHook(HTTP.url, header_files=(("A", "/etc/passwd"),)),
            "header A: its value is empty, too long or not one",
        ),
        (DrainHook(HTTP.url, header_variables=(("A", "NO_SUCH_ONE"),)), "the service has no variable NO_SUCH_ONE"),
    ],
    ids=["missing", "binary", "empty", "several lines", "no such variable"],
)
def test_a_header_without_a_value_sends_nothing(hook: DrainHook, said: str) -> None:
    with draining() as world:
        answer = asked(world, hook)
        assert not answer.ok
        assert said in answer.text
        assert world.asked == []


@pytest.mark.parametrize(
    ("url", "address", "hosts", "said"),
    [
        pytest.param("http://other:1/x", "127.0.0.1:1", (), "host other is neither the instance nor one", id="another"),
        pytest.param("http://127.0.0.2:1/x", "127.0.0.1:1", (), "is neither the instance nor", id="another loopback"),
        pytest.param("http://{address}/x", None, (), "the instance has no address yet", id="no address"),
        pytest.param("http://{address}/x", "169.254.169.254:80", (), "where clouds keep credentials", id="metadata"),
        pytest.param(
            "http://169.254.169.254/x", "127.0.0.1:1", ("169.254.169.254",), "where clouds keep", id="metadata by name"
        ),
        pytest.param("http://[fe80::1]/x", "127.0.0.1:1", ("fe80::1",), "where clouds keep", id="link-local v6"),
        pytest.param("http://{address}/x", "no-such-host.invalid:1", (), "has no address", id="unknown name"),
    ],
)
def test_nobody_is_asked_who_is_not_allowed(url: str, address: str | None, hosts: tuple[str, ...], said: str) -> None:
    instance = Instance("i-1", "chat", "local/process", "draining", 0.0, address=address)
    answer = call(DrainHook(url), instance, hosts)
    assert not answer.ok
    assert said in answer.text


def test_a_host_of_the_configuration_may_be_asked() -> None:
    with draining() as world:
        hook = DrainHook(f"http://localhost:{world.port}/drain/{{instance}}")
        assert "neither the instance nor" in asked(world, hook).text
        assert asked(world, hook, "localhost").ok
        assert world.asked == [("POST", "/drain/i-1")]


def test_names_cannot_write_the_url() -> None:
    with draining() as world:
        asked(world, DrainHook("http://{address}/{instance}/drain"), id="a/../b?c#d e")
        assert world.asked == [("POST", "/a%2F..%2Fb%3Fc%23d%20e/drain")]


def test_a_redirect_is_not_followed() -> None:
    with draining() as other, draining() as world:
        world.answers = [(307, b"", {"Location": f"http://{other.address}/"})]
        answer = asked(world, HTTP, "127.0.0.1")
        assert not answer.ok
        assert answer.text.endswith(": 307")
        assert other.asked == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with draining() as proxy, draining() as world:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        assert asked(world).ok
        assert proxy.asked == []


async def _drip(writer: asyncio.StreamWriter) -> None:
    """A header line that never ends, a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not writer.is_closing():
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param(hang, "no answer in 0.3 s", id="it hangs"),
        pytest.param(_drip, "no answer in 0.3 s", id="it drips"),
        pytest.param(raw(b"garbage\r\n\r\n"), "RemoteProtocolError", id="no HTTP"),
        pytest.param(raw(b""), "RemoteProtocolError", id="it hangs up"),
        pytest.param(
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * (ANSWER_BYTES + 9000)),
            "200, but answers more than 65536 bytes",
            id="it does not end",
        ),
    ],
)
def test_a_server_that_misbehaves_costs_its_time_out_at_most(how: Answer, said: str) -> None:
    with Pages({"/drain": how}) as pages:
        began = monotonic()
        instance = Instance("i-1", "chat", "local/process", "draining", 0.0, address=f"127.0.0.1:{pages.port}")
        answer = call(DrainHook("http://{address}/drain", timeout_s=SOON_S), instance, ())
        assert not answer.ok
        assert said in answer.text
        assert monotonic() - began < AT_LAST_S


def test_nobody_there_is_told_without_the_query() -> None:
    hook = DrainHook("http://{address}/drain?key=secret", timeout_s=2.0)
    instance = Instance("i-1", "chat", "local/process", "draining", 0.0, address="127.0.0.1:1")
    assert call(hook, instance, ()) == HookAnswer(False, "POST http://127.0.0.1:1/drain: ConnectError")


# --- commands -----------------------------------------------------------------------------------------------------


def test_a_command_is_told_which_instance_and_answers_by_its_exit_code() -> None:
    answer = program("import sys; print(sys.argv[1:])")
    assert answer.ok
    assert answer.text == f"{sys.executable}: exit code 0, ['10.0.0.7:8000', 'i-1']"


@pytest.mark.parametrize(
    ("text", "ok", "in_flight"),
    [
        pytest.param("print('{\"in_flight\": 2}')", True, 2, id="a count"),
        pytest.param("print('draining'); print('{\"in_flight\": 0}')", True, 0, id="a count in the last line"),
        pytest.param("print('{\"in_flight\": 0}'); raise SystemExit(3)", False, None, id="a count beside a failure"),
    ],
)
def test_a_command_may_count_requests(text: str, ok: bool, in_flight: int | None) -> None:
    answer = program(text)
    assert (answer.ok, answer.in_flight) == (ok, in_flight)


def test_a_command_sees_none_of_what_the_service_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMASCALE_TOKEN", "secret")
    assert program("import os; print([n for n in os.environ if n.startswith('SIGMASCALE')])").text.endswith(", []")


def test_a_command_that_is_not_there_is_told() -> None:
    hook = DrainHook(words=("/nonexistent/drain", "{instance}"))
    answer = call(hook, Instance("i-1", "chat", "local/process", "draining", 0.0), ())
    assert answer == HookAnswer(
        False,
        "/nonexistent/drain: cannot be started (No such file or directory); name a program that the service may run",
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_command_that_hangs_ends_with_all_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    text = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(file)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(300)"
    )
    began = monotonic()
    answer = program(text, timeout_s=2.0)
    assert not answer.ok
    assert "does not end in 2 s" in answer.text
    assert monotonic() - began < AT_LAST_S
    pid = int(file.read_text())
    until(lambda: not alive(pid), "the end of its child", AT_LAST_S)


def test_a_command_that_prints_a_gigabyte_is_ended_before_it_is_read() -> None:
    began = monotonic()
    answer = program("import sys\nfor _ in range(16384): sys.stdout.write('x' * 65536)", timeout_s=60.0)
    assert (answer.ok, answer.text) == (False, f"{sys.executable}: prints more than 65536 bytes")
    assert monotonic() - began < 30.0


def test_a_command_that_leaves_a_child_with_its_output_behind_is_over_when_it_ends() -> None:
    began = monotonic()
    answer = program("import subprocess; print('left', subprocess.Popen(['sleep', '20']).pid)", timeout_s=15.0)
    assert answer.ok
    assert monotonic() - began < AT_LAST_S
    os.kill(int(answer.text.rpartition(" ")[2]), 9)


def test_calls_from_several_threads_do_not_meet() -> None:
    answers: list[HookAnswer] = []
    threads = [threading.Thread(target=lambda: answers.append(program("print(1)"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AT_LAST_S)
    assert [answer.ok for answer in answers] == [True] * 3
