"""How fast a provider may be called. Pure arithmetic: a state, a time, and what came of a call give the next state.

A token bucket bounds the calls. A provider that throttles is left alone for as long as it says, at least for a random
part of a wait that doubles with each such answer in a row; then it is called half as fast, and the rate comes back in
equal steps over time (additive increase, multiplicative decrease: Chiu and Jain 1989). One that does not answer several
times in a row is taken to be dead: one call after each wait asks whether it is back, all others are not made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

SHORTEST_WAIT_S = 0.001
"""Instants are Unix seconds as floats, whose steps are 0.24 microseconds today: a shorter wait might not end."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
DEAD_AFTER = 5
"""Calls without an answer in a row."""
DEAD_WAIT_S = 5.0
DEAD_LONGEST_S = 30.0
"""A cloud that is back is noticed within this and a half."""
SLOWER = 0.5
SLOWEST_RATIO = 1 / 64
RECOVERY_S = 120.0
"""From nothing to the full rate."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a service allows itself with one provider.

    calls_per_s, burst: of the token bucket. parallel: calls at the same time. max_launches: in one pass over all pools.
    """

    calls_per_s: float = 20.0
    burst: int = 100
    parallel: int = 50
    max_launches: int | None = None


USUAL = Pace()


@dataclass(frozen=True, slots=True)
class Flow:
    """How calls to a provider go. throttled, silent: such answers in a row. until: nobody calls before. asking: the
    call that asks a dead one whether it is back is under way."""

    at: float
    tokens: float
    rate: float
    throttled: int = 0
    silent: int = 0
    until: float = -math.inf
    asking: bool = False

    @property
    def dead(self) -> bool:
        """Whether only one call at a time may ask if it is back."""
        return self.silent >= DEAD_AFTER


@dataclass(frozen=True, slots=True)
class Held:
    """A call that may not be made for `wait_s` seconds, and why."""

    wait_s: float
    why: Literal["throttled", "unreachable", "pace"]


def begin(pace: Pace, now: float) -> Flow:
    """A provider that was never called."""
    return Flow(now, float(pace.burst), pace.calls_per_s)


def ask(pace: Pace, flow: Flow, now: float) -> tuple[Flow, Held | None]:
    """The flow after somebody wanted to call; None = the call is to be made now."""
    flow = _passed(pace, flow, now)
    if flow.until > now:
        return flow, Held(flow.until - now, "unreachable" if flow.dead else "throttled")
    if flow.dead and flow.asking:
        return flow, Held(DEAD_WAIT_S, "unreachable")
    if flow.tokens < 1.0:
        wait_s = max(SHORTEST_WAIT_S, (1.0 - flow.tokens) / flow.rate)
        return flow, Held(wait_s, "throttled" if flow.throttled else "pace")
    return replace(flow, tokens=flow.tokens - 1.0, asking=flow.dead), None


def answered(flow: Flow) -> Flow:
    """After any answer but the two below: it is there, and takes calls."""
    until = -math.inf if flow.dead else flow.until
    return replace(flow, throttled=0, silent=0, asking=False, until=until)


def throttled(pace: Pace, flow: Flow, now: float, retry_after_s: float, chance: float) -> Flow:
    """After it said that it is called too often. chance: uniform in [0, 1), so that many do not come back together.

    What others are told in the same wait is the same news.
    """
    until = now + max(0.0, retry_after_s)
    if flow.until > now:
        return replace(flow, until=max(flow.until, until), silent=0, asking=False)
    wait_s = _spread(FIRST_WAIT_S, LONGEST_WAIT_S, flow.throttled, chance)
    return replace(
        flow,
        tokens=min(flow.tokens, 1.0),
        rate=max(pace.calls_per_s * SLOWEST_RATIO, flow.rate * SLOWER),
        throttled=flow.throttled + 1,
        silent=0,
        until=max(until, now + wait_s),
        asking=False,
    )


def unreachable(flow: Flow, now: float, chance: float) -> Flow:
    """After a call without an answer."""
    if flow.dead and flow.until > now:
        return flow
    silent = flow.silent + 1
    flow = replace(flow, silent=silent, asking=False)
    if not flow.dead:
        return flow
    return replace(flow, until=now + _spread(DEAD_WAIT_S, DEAD_LONGEST_S, silent - DEAD_AFTER, chance))


def _passed(pace: Pace, flow: Flow, now: float) -> Flow:
    """Time brings back calls and, after throttling, the rate. A clock that went back brings nothing, and ends no wait
    later than the longest one."""
    passed_s = max(0.0, now - flow.at)
    rate = min(pace.calls_per_s, flow.rate + pace.calls_per_s * passed_s / RECOVERY_S)
    until = min(flow.until, now + LONGEST_WAIT_S) if now < flow.at else flow.until
    return replace(flow, at=now, tokens=min(float(pace.burst), flow.tokens + passed_s * rate), rate=rate, until=until)


def _spread(first_s: float, longest_s: float, times: int, chance: float) -> float:
    """Between a half and the whole of a wait that doubles each time."""
    return min(longest_s, first_s * 2.0 ** min(times, 32)) * (0.5 + 0.5 * chance)
