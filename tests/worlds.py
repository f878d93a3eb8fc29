"""Small worlds for tests of the pure core: a pool, its frames and its fleet, with everything else at rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autoscaler.conditions import Condition, Test
from autoscaler.movement import Bounds, ScaleIn, ScaleOut
from autoscaler.policies.step import Step
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.thresholds.static import Static
from autoscaler.types import Fleet, Frame, Instance, InstanceState, Memory, Offer, Quality, World

NOW = 1_790_000_000.0
OFFER = Offer("sim", "small", usd_per_hour=2.0)


def frame(*values: float, quality: Quality = "fresh", at: float = NOW, step: float = 15.0, detail: str = "") -> Frame:
    """One series, `step` seconds apart, the last point at `at`."""
    times = at - step * np.arange(len(values) - 1, -1, -1, dtype=np.float64)
    newest = np.array([at if values else np.nan])
    return Frame(step, times, np.array([values], dtype=np.float64), newest, (quality,), (detail,))


def instance(number: int, state: InstanceState = "ready", **changes: object) -> Instance:
    """Instance `chat-N`, in its state since an hour, ready ones with nothing in flight."""
    i = Instance(
        id=f"chat-{number}",
        pool="chat",
        offer=OFFER.key,
        state=state,
        since=NOW - 3600,
        requested_at=NOW - 4000 + number,
        address=f"10.0.0.{number}:8000",
        in_flight=0,
        in_flight_at=NOW,
        usd_per_hour=OFFER.usd_per_hour,
    )
    return replace(i, **changes)  # type: ignore[arg-type]


def fleet(ready: int = 0, pending: int = 0, at: float = NOW) -> Fleet:
    """So many ready and pending instances, the pending ones ordered a minute ago."""
    some = [instance(n) for n in range(ready)]
    some += [instance(100 + n, "pending", requested_at=NOW - 60 + n, address=None) for n in range(pending)]
    return Fleet(at, tuple(some))


def condition(signal: str, above: float, for_s: float = 0.0) -> Condition:
    """`signal: {above: X}, for: Ns`."""
    return Condition(Test(signal, "above", Static(-np.inf, above), text=f"{above:g}"), for_s)


def rules(**changes: object) -> RuleSet:
    """A pool that needs one replica per 10 of `load`, between 0 and 20, with short windows and no rate limits."""
    base = RuleSet(
        pool="chat",
        bounds=Bounds(0, 20),
        offers=(OFFER,),
        signals=(
            Signal("load", metric="requests_arrived_total", rate_s=60),
            Signal("queue", metric="requests_waiting"),
        ),
        rules=(Rule("load", Target("load", 10.0)),),
        scale_in=ScaleIn(stabilization_s=60, cool_off_s=0, rate_replicas=100, to_zero_after_s=60),
        scale_out=ScaleOut(rate_replicas=100, max_move=100),
        hash="test",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def queue_step(by: int = 2, cooldown_s: float = 300.0, for_s: float = 0.0) -> Rule:
    """More replicas when more than 50 requests wait."""
    return Rule("queue", Step(by), condition("queue", 50, for_s), cooldown_s)


def world(
    load: Frame | float | None = None, queue: Frame | float | None = None, there: Fleet | None = None, **more: object
) -> World:
    """A world at NOW; a number becomes a fresh frame of that value, None is no frame at all."""
    signals = {}
    for name, given in (("load", load), ("queue", queue)):
        if given is not None:
            signals[name] = given if isinstance(given, Frame) else frame(given)
    return replace(World(NOW, signals, there if there is not None else fleet(4)), **more)  # type: ignore[arg-type]


def settled(want: int, watched_s: float = 3600.0) -> Memory:
    """The memory of a pool that has been at `want` replicas, watched without a break."""
    return Memory(number=7, want=want, last_at=NOW - 15, watched_since=NOW - watched_s)


def sources(reasons: Sequence[object]) -> list[str]:
    """Who had a say, in order."""
    return [str(getattr(r, "source", "")) for r in reasons]
