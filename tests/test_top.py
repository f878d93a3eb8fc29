"""`sigmascale top`: what it shows at each size, how keys change it, and that it lives through a restart."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from autoscaler.api.serve import Server
from autoscaler.cli.top import pressed
from autoscaler.cli.top_keys import _keys
from autoscaler.cli.top_view import ORDERS, Look, Seen, matches, page, rows, screen
from autoscaler.clock import monotonic
from tests.apiworld import SECRETS, ApiWorld, api_world
from tests.cliworld import Say, speaker

URL = "http://127.0.0.1:9377"
LINES = 24


def pool(name: str, **changes: Any) -> dict[str, Any]:
    base = {
        "pool": name,
        "state": "steady",
        "demand": 12.5,
        "queue": 3.0,
        "want": 8,
        "ready": 8,
        "pending": 0,
        "draining": 0,
        "usd_per_hour": 10.0,
        "alerts_firing": 0,
        "overrides": 0,
        "roll": "",
        "headline": f"{name}, decision 8 at 2026-09-21 14:13:20 UTC: stay at 8 replicas (8 ready, 0 pending). quiet.",
        "error": "",
        "shadow_of": "",
    }
    return base | changes


SEEN = Seen(
    (
        pool("chat", demand=60.0, queue=None, usd_per_hour=5.0),
        pool("code", state="scaling_out", want=12, pending=4, alerts_firing=2, demand=None),
        pool("embed", state="failing", error="the journal is full", usd_per_hour=None, want=None),
        pool("embed~shadow", shadow_of="embed", usd_per_hour=99.0),
    ),
    at=1000.0,
)


def shown(seen: Seen = SEEN, look: Look | None = None, width: int = 80, height: int = LINES) -> list[str]:
    return screen(seen, look or Look(), (width, height), 1010.0, URL).plain.split("\n")


@pytest.mark.parametrize("width", [20, 40, 80, 109, 110, 200])
@pytest.mark.parametrize("height", [3, 8, 24, 60])
def test_the_screen_is_filled_and_never_overflows(width: int, height: int) -> None:
    lines = shown(width=width, height=height)
    assert len(lines) == height
    assert max(cell_len(line) for line in lines) <= width


def test_eighty_columns_hold_every_number_and_the_decision_of_the_chosen_pool_below() -> None:
    lines = shown(look=Look(chosen="code"))
    assert lines[0] == "sigmascale 127.0.0.1:9377  3 pools, 1 scaling"
    assert lines[1] == "24 ready of 20 wanted  15.00 USD/h  1 blind or failing  2 alerts"
    assert lines[2].split() == ["POOL", "STATE", "DEMAND/s", "WANT", "READY", "PEND", "DRAIN", "QUEUE", "USD/h", "AL"]
    assert lines[3].split() == ["chat", "steady", "60", "8", "8", "0", "0", "-", "5.00"]
    assert lines[4].split() == ["code", "out", "-", "12", "8", "4", "0", "3", "10.00", "2"]
    assert lines[5].split() == ["embed", "FAILING", "12.5", "-", "8", "0", "0", "3", "-"]
    assert lines[-3:-1] == ["code: stay at 8 replicas (8 ready, 0 pending). quiet.", ""]
    assert lines[-1].rstrip() == "q quit  s sort: name  / filter  up/down choose  space pause"


def test_a_wide_terminal_has_the_decisions_in_the_rows() -> None:
    lines = shown(width=160)
    assert lines[2].rstrip().endswith("AL LAST DECISION")
    assert lines[3].rstrip().endswith("stay at 8 replicas (8 ready, 0 pending). quiet.")
    assert lines[5].rstrip().endswith("the journal is full")


def test_a_number_that_does_not_fit_is_marked_and_not_cut_to_a_smaller_one() -> None:
    line = shown(Seen((pool("chat", want=1_234_567),), at=1.0))[3]
    assert "1234~" in line.split()


def test_control_characters_move_no_cursor() -> None:
    lines = shown(Seen((pool("chat", state="failing", error="bad \x1b[2J\nnews"),), at=1.0))
    assert "chat: bad  [2J news" in lines
    assert "\x1b" not in "".join(lines)


def test_a_list_longer_than_the_screen_keeps_the_chosen_one_in_sight() -> None:
    seen = Seen(tuple(pool(f"pool-{n:03d}") for n in range(500)), at=1.0)
    for chosen in ("pool-000", "pool-250", "pool-499"):
        assert any(line.startswith(chosen) for line in shown(seen, Look(chosen=chosen))[3:-3])


def test_a_service_that_is_silent_leaves_its_last_rows_with_their_age() -> None:
    stale = replace(SEEN, problem=f"{URL}: no service answers", stale_since=1004.0)
    lines = shown(stale)
    assert lines[2] == "STALE since 10 s ago: no service answers"
    assert lines[4].startswith("chat")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("name", ["chat", "code", "embed", "embed~shadow"]),
        ("demand", ["chat", "embed", "embed~shadow", "code"]),
        ("want", ["code", "chat", "embed~shadow", "embed"]),
        ("queue", ["code", "embed", "embed~shadow", "chat"]),
        ("cost", ["embed~shadow", "code", "chat", "embed"]),
        ("alerts", ["code", "chat", "embed", "embed~shadow"]),
    ],
)
def test_each_order_has_the_largest_first_and_the_unknown_last(order: str, expected: list[str]) -> None:
    assert [p["pool"] for p in rows(SEEN.pools, Look(order))] == expected
    assert order in ORDERS


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", True), ("hat", True), ("CHAT", True), ("c*t", True), ("c?t", False), ("chats", False), ("*", True)],
)
def test_a_filter_is_a_part_of_the_name_or_a_pattern(text: str, expected: bool) -> None:
    assert matches("chat", text) is expected


def test_keys_sort_filter_choose_and_pause() -> None:
    look = Look()
    for key in ("s", "s", "/", "c", "x", "backspace", "o", "enter", "down", "space"):
        look = pressed(look, key, SEEN)
    assert look == Look(order="want", matching="co", chosen="code", paused=True)
    assert pressed(look, "escape", SEEN).matching == ""
    assert pressed(Look(typing=True, matching="a"), "escape", SEEN) == Look()
    assert pressed(Look(typing=True), "q", SEEN).matching == "q"
    assert pressed(Look(matching="none"), "down", SEEN).chosen == ""
    assert pressed(Look(chosen="chat"), "up", SEEN).chosen == "chat"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[15~s", ["s"]),
        (b"\x1b[1;5Cs", ["s"]),
        ("é\r ".encode(), ["é", "enter", "space"]),
        (b"\x1b[", []),
        (b"\xff", [""]),
    ],
)
def test_bytes_of_a_terminal_are_keys(data: bytes, expected: list[str]) -> None:
    assert list(_keys(data)) == expected


def test_a_page_for_a_log_has_every_row() -> None:
    lines = [line.plain for line in page(SEEN, Look(), 80, 1000.0, URL)]
    assert [line.split()[0] for line in lines[3:]] == ["chat", "code", "embed", "embed~shadow"]


# --- with a service -------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


@pytest.fixture
def server(world: ApiWorld) -> Iterator[Server]:
    running = Server(world.app, "127.0.0.1", 0)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    run = speaker(monkeypatch, capsys)
    monkeypatch.setenv("SIGMASCALE_TOKEN", SECRETS["viewer"])
    return run


def test_once_prints_what_there_is_and_ends(say: Say, server: Server) -> None:
    code, out, _ = say("top", "--once", "--url", server.url)
    assert code == 0
    assert out.splitlines()[3].split()[:9] == ["chat", "out", "60", "8", "3", "1", "1", "3", "10.00"]
    assert "scale out from 4 to 8 replicas" in out
    assert "\x1b" not in out
    # Without a terminal there is nothing to watch on.
    assert say("top", "--url", server.url)[1] == out


def test_json_is_what_the_service_says_of_the_pools_that_match(say: Say, server: Server) -> None:
    found = json.loads(say("top", "--json", "--url", server.url)[1])
    assert [(p["pool"], p["demand"], p["queue"], p["state"]) for p in found] == [("chat", 60.0, 3.0, "scaling_out")]
    assert json.loads(say("top", "--json", "--filter", "other", "--url", server.url)[1]) == []


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        pytest.param(("--sort", "size"), 2, "'size' is not one of name, demand", id="no order"),
        pytest.param(("--interval", "0.1s"), 2, "is not between 500ms and 1h", id="too often"),
        pytest.param(("--url", "http://127.0.0.1:9"), 1, "no service answers", id="nobody there"),
    ],
)
def test_a_mistake_is_told_before_the_screen_is_taken(
    say: Say, words: tuple[str, ...], code: int, expected: str
) -> None:
    ended, _, err = say("top", *words)
    assert (ended, expected in err) == (code, True), err


class Terminal:
    """`sigmascale top` in a terminal of its own. screen: all that it has written."""

    def __init__(self, url: str, folder: Path) -> None:
        self.leader, follower = pty.openpty()
        self.resize(80, LINES)
        self.before = termios.tcgetattr(follower)
        self.follower = follower
        # Sizes that an environment tells count more than those of the terminal.
        sizes = ("SIGMASCALE_", "COLUMNS", "LINES")
        names = {name: value for name, value in os.environ.items() if not name.startswith(sizes)}
        env = names | {"SIGMASCALE_TOKEN": SECRETS["viewer"], "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "autoscaler.cli.main", "top", "--url", url, "--interval", "500ms"],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=env,
            cwd=folder,
            start_new_session=True,
        )
        self.screen = ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: str) -> None:
        self.screen = ""
        os.write(self.leader, keys.encode())

    def until(self, text: str, limit_s: float = 60.0) -> None:
        """Reads until the text stands on the screen."""
        ends = monotonic() + limit_s
        while text not in self.screen:
            assert monotonic() < ends, f"{text!r} is not in {self.screen[-3000:]!r}"
            if select.select([self.leader], [], [], 0.2)[0]:
                try:
                    self.screen += os.read(self.leader, 65536).decode(errors="replace")
                except OSError:
                    break
        assert text in self.screen, self.screen[-3000:]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        os.close(self.leader)
        os.close(self.follower)


@pytest.fixture
def terminal(server: Server, tmp_path: Path) -> Iterator[Terminal]:
    found = Terminal(server.url, tmp_path)
    yield found
    found.end()


def test_in_a_terminal_it_follows_keys_sizes_and_a_restart_and_leaves_it_as_it_was(
    terminal: Terminal, server: Server, world: ApiWorld
) -> None:
    terminal.until("space pause")
    assert "\x1b[?1049h" in terminal.screen
    terminal.press("s")
    terminal.until("s sort: demand")
    terminal.press("/other\r")
    terminal.until("no pool matches 'other'")
    terminal.press("\x1b")
    terminal.until("scale out from 4 to 8 replicas")
    terminal.screen = ""
    terminal.resize(150, 20)
    terminal.until("LAST DECISION")
    server.stop()
    terminal.screen = ""
    terminal.until("STALE since")
    again = Server(world.app, "127.0.0.1", server.port)
    again.start()
    try:
        view = world.deps.board.pools()["chat"]
        world.deps.board.publish(replace(view, rules=replace(view.rules, pool="later")))
        terminal.screen = ""
        terminal.until("later")
        terminal.press("q")
        assert terminal.process.wait(30) == 0
        terminal.until("\x1b[?1049l")
        assert termios.tcgetattr(terminal.follower) == terminal.before
    finally:
        again.stop()


def test_a_terminal_that_is_told_to_end_is_left_as_it_was(terminal: Terminal) -> None:
    terminal.until("space pause")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(30) == 0
    terminal.until("\x1b[?1049l")
    assert termios.tcgetattr(terminal.follower) == terminal.before
