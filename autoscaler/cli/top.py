"""`sigmascale top`: what every pool has, wants and waits for, live in the terminal."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, Client, JsonOption, TokenFileOption, UrlOption, connect
from autoscaler.cli.durations import between
from autoscaler.clock import SystemClock
from autoscaler.ending import asked_to_end
from autoscaler.errors import InputError, SigmascaleError

if TYPE_CHECKING:
    from autoscaler.cli.top_view import Look, Seen

LOOK_S = 0.2
"""How soon a key, an answer or another size of the window is seen."""
MOST = 5000
MAX_FILTER = 60


def top(
    interval: Annotated[str, typer.Option("--interval", "-i", help="Time between two looks.")] = "2s",
    sort: Annotated[
        str, typer.Option("--sort", "-s", help="name, demand, want, queue, cost or alerts; the largest first.")
    ] = "name",
    matching: Annotated[
        str, typer.Option("--filter", "-f", help="Only pools whose name holds this, or is like it with * and ?.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Print what there is now, and end.")] = False,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch all pools: demand, wanted, ready, pending and draining replicas, queue, cost, alerts, the last decision.

    Keys: q quits, s sorts by the next column, / filters, up and down choose a pool whose decision is told in full,
    space pauses. While the service does not answer, the last rows stay with the time since when they are stale. Where
    the output is no terminal, it is printed once.

    Examples:

      sigmascale top

      sigmascale top --sort cost --filter 'chat*'

      sigmascale top --once
    """
    from autoscaler.cli.top_view import ORDERS, Look

    wait_s = between("--interval", interval, 0.5, 3600.0)
    if sort not in ORDERS:
        raise InputError(f"--sort: {sort!r} is not one of {', '.join(ORDERS)}; write one of them")
    look = Look(order=sort, matching=matching[:MAX_FILTER])
    watch = Watch(connect(url, token_file, ca), wait_s)
    # What is wrong with the address or the token is a mistake to tell now; what breaks later is waited out.
    watch.ask()
    if as_json or once or not sys.stdout.isatty():
        _print(watch.seen, look, url, as_json)
        return
    _live(watch, look, url)


@dataclass
class Watch:
    """Asks a service again and again on a thread of its own, so that one that hangs freezes no key."""

    client: Client
    wait_s: float
    seen: Seen = field(init=False)
    paused: bool = False
    _tag: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        from autoscaler.cli.top_view import Seen

        self.clock = SystemClock()
        self.seen = Seen()

    def ask(self) -> None:
        """One request; what is still the same is not sent again. Raises InputError and SigmascaleError."""
        from autoscaler.cli.top_view import Seen

        self._tag, found = self.client.newer("pools", self._tag, limit=MOST)
        if found is None:
            self.seen = replace(self.seen, at=self.clock.now(), problem="")
        else:
            self.seen = Seen(found["pools"], self.clock.now(), left_out=found["next_after"] is not None)

    def run(self) -> None:
        """Asks until it is stopped; whatever fails stands in `seen` until the next answer."""
        while not self._stop.wait(self.wait_s):
            if self.paused:
                continue
            try:
                self.ask()
            except (InputError, SigmascaleError) as error:
                since = self.seen.stale_since if self.seen.problem else self.clock.now()
                self.seen = replace(self.seen, problem=str(error).splitlines()[0], stale_since=since)

    def stop(self) -> None:
        """Asks no more; an answer that is waited for may still come."""
        self._stop.set()


def _print(seen: Seen, look: Look, url: str, as_json: bool) -> None:
    from rich.console import Console

    from autoscaler.cli.top_view import page, rows

    if as_json:
        typer.echo(json.dumps(rows(seen.pools, look)))
        return
    console = Console(highlight=False, soft_wrap=True)
    width = console.width if sys.stdout.isatty() else 200
    for line in page(seen, look, width, seen.at, url):
        line.rstrip()
        console.print(line, overflow="ignore", crop=False)


def _live(watch: Watch, look: Look, url: str) -> None:
    from rich.console import Console
    from rich.live import Live

    from autoscaler.cli.top_keys import keyboard
    from autoscaler.cli.top_view import screen

    console = Console(highlight=False)
    asking = threading.Thread(target=watch.run, name="top", daemon=True)
    asking.start()
    drawn: object = None
    try:
        with (
            asked_to_end() as ended,
            keyboard() as keys,
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            while not ended.is_set():
                size, seen = (console.width, console.height), watch.seen
                # The age of a stale picture grows by the second, and nothing else moves by itself.
                state = (size, seen, look, int(watch.clock.now()) if seen.problem else 0)
                if state != drawn:
                    live.update(screen(seen, look, size, watch.clock.now(), url), refresh=True)
                    drawn = state
                for key in keys.wait(LOOK_S):
                    if key == "q" and not look.typing:
                        return
                    look = pressed(look, key, seen)
                    watch.paused = look.paused
    finally:
        watch.stop()


def pressed(look: Look, key: str, seen: Seen) -> Look:
    """The look after a key; a key without a meaning changes nothing."""
    from autoscaler.cli.top_view import ORDERS, rows

    if look.typing:
        return _typed(look, key)
    following = ORDERS[(ORDERS.index(look.order) + 1) % len(ORDERS)]
    changed = {
        "s": replace(look, order=following),
        "/": replace(look, typing=True),
        "escape": replace(look, matching=""),
        "space": replace(look, paused=not look.paused),
    }
    if key in ("up", "down", "k", "j"):
        names = [p["pool"] for p in rows(seen.pools, look)]
        step = -1 if key in ("up", "k") else 1
        place = names.index(look.chosen) + step if look.chosen in names else 0
        return replace(look, chosen=names[max(0, min(place, len(names) - 1))]) if names else look
    return changed.get(key, look)


def _typed(look: Look, key: str) -> Look:
    if key == "enter":
        return replace(look, typing=False)
    if key == "escape":
        return replace(look, typing=False, matching="")
    if key == "backspace":
        return replace(look, matching=look.matching[:-1])
    letter = " " if key == "space" else key
    whole = len(letter) == 1 and letter.isprintable()
    return replace(look, matching=(look.matching + letter)[:MAX_FILTER]) if whole else look
