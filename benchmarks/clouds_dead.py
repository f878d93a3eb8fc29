"""How late the ticks of one pool come while the cloud of another accepts and never answers, or refuses.

python -m benchmarks.clouds_dead
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Literal

from autoscaler.clock import SystemClock
from autoscaler.dispatch import Threaded
from autoscaler.pacing import USUAL
from benchmarks.clouds import OFFER, provider, quiet, ruled
from benchmarks.reaction import QUICK_TICK_S, SETTLE_S, Delays, Feed, Instant, NotingBoard, lateness, looping, rules
from benchmarks.table import Row, show

WATCHED_S = 8.0


def late(endpoint: Literal["none", "silent", "refusing"]) -> Delays:
    """Seconds by which each tick of a calm pool came late beside a pool on AWS whose endpoint is dead."""
    clock, feed, board = SystemClock(), Feed(), NotingBoard()
    calm = rules("calm", "instant", QUICK_TICK_S)
    stuck = replace(ruled("stuck"), tick_s=QUICK_TICK_S)
    with ExitStack() as ends:
        world = ends.enter_context(quiet())
        # Connections to it are accepted by the kernel, and nobody ever reads or answers.
        silent = ends.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        port = {"none": 0, "silent": silent.getsockname()[1], "refusing": 9}[endpoint]
        hands = {"instant": Threaded(Instant("instant", ("calm",), clock), clock, 0.25, board.wake)}
        ruled_ = {"calm": calm}
        if port:
            offers = partial(tuple, [("stuck", OFFER)])
            url = f"http://127.0.0.1:{port}"
            dead = provider(world, clock, endpoint_url=url, read_timeout_s=2.0, offers=offers)
            ends.callback(dead.close)
            hands["aws"] = Threaded(dead, clock, 0.25, board.wake, USUAL.parallel)
            ruled_["stuck"] = stuck
        ends.enter_context(looping(ruled_, (feed,), hands, board))
        clock.wait(clock.now() + SETTLE_S)
        since = clock.now()
        for n in range(round(WATCHED_S / QUICK_TICK_S)):
            feed.put("stuck", 100.0 * (n % 2), clock.now())
            board.wake.set()
            clock.wait(clock.now() + QUICK_TICK_S)
        return lateness(board.published["calm"], since, clock.now())


def dead() -> list[Row]:
    """How late another pool's ticks come beside a dead cloud."""
    calm = 1e3 * late("none")
    rows = []
    for endpoint, text in (("silent", "accepts and never answers"), ("refusing", "refuses")):
        found = 1e3 * late(endpoint)  # type: ignore[arg-type]
        what = f"AWS {text}: {found.size} ticks of another pool late by, worst (peer: no such pool)"
        rows.append(Row(what, float(found.max()), "ms", 100.0, float(calm.max()), lower_is_better=True))
    return rows


if __name__ == "__main__":
    show(dead(), "A dead cloud")
