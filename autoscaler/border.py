"""The border to a provider: one call each, through its gate, and every failure turned into a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from autoscaler.clock import monotonic
from autoscaler.errors import BusyError, ProviderError, ThrottledError, UnreachableError
from autoscaler.gate import Gate
from autoscaler.pacing import Held
from autoscaler.ports import Clock, Provider, Surveying
from autoscaler.types import Action, Fleet, Outcome

log = structlog.get_logger()

PATIENCE_S = 5.0
"""The longest that a call waits for its turn in a thread of its own; then it is not made, and asked for again later."""


@dataclass(slots=True)
class Calls:
    """How the provider behaved: calls and failures so far, the last error in words, seconds of the last report.

    held: calls that were not made. throttled: times that it said that it is called too often. dead: it has not answered
    for so long that only one call at a time asks if it is back.
    """

    observed: int = 0
    observe_failures: int = 0
    applied: int = 0
    apply_failures: int = 0
    last_error: str = ""
    observe_s: float = 0.0
    held: int = 0
    throttled: int = 0
    dead: bool = False


def carry_out(
    provider: Provider,
    action: Action,
    clock: Clock,
    calls: Calls,
    gate: Gate | None = None,
    pause: Callable[[float], bool] | None = None,
) -> Outcome:
    """One call at the plug-in's border. An action past its time is not started any more, one that the gate holds back
    not yet; what came of an earlier try only a report can tell, so their outcomes are unknown.

    pause: waits so many seconds, True = the caller is to end; without it nobody waits for the pace.
    """
    if clock.now() > action.valid_until:
        text = "its time was over before the call could start"
        return Outcome(action.id, action.pool, "unknown", clock.now(), error="expired", text=text)
    held = _held(gate, clock, pause)
    if held is not None:
        return _held_back(action, held, clock.now())
    calls.applied += 1
    try:
        outcome = provider.apply(action)
    except UnreachableError as error:
        _tell(gate, error)
        outcome = Outcome(action.id, action.pool, "unknown", clock.now(), error=error.code, text=str(error))
    except ThrottledError as error:
        wait = max(error.retry_after_s, _tell(gate, error))
        outcome = Outcome(action.id, action.pool, "unknown", clock.now(), None, error.code, str(error), wait)
    except ProviderError as error:
        _tell(gate, error)
        outcome = Outcome(action.id, action.pool, "failed", clock.now(), error=error.code, text=str(error))
    except Exception as error:
        _tell(gate, error)
        log.exception("provider call broke", action=action.id, kind=action.kind, pool=action.pool)
        text = f"{type(error).__name__}: {error}"
        outcome = Outcome(action.id, action.pool, "unknown", clock.now(), error="bug", text=text)
    else:
        _tell_outcome(gate, outcome)
    if outcome.status in ("failed", "unknown"):
        calls.apply_failures += 1
        calls.last_error = outcome.text or outcome.error
    return outcome


def report(provider: Provider, calls: Calls, gate: Gate | None = None) -> Fleet | None:
    """One observation at the plug-in's border; None when it failed, or may not be made now."""
    if gate is not None and gate.enter() is not None:
        gate.held_back()
        return None
    calls.observed += 1
    began = monotonic()
    try:
        fleet = provider.observe()
    except ProviderError as error:
        _tell(gate, error)
        calls.observe_failures += 1
        calls.last_error = str(error)
        return None
    except Exception as error:
        _tell(gate, error)
        log.exception("provider report broke")
        calls.observe_failures += 1
        calls.last_error = f"{type(error).__name__}: {error}"
        return None
    _tell(gate, None)
    calls.observe_s = monotonic() - began
    return fleet


def _held(gate: Gate | None, clock: Clock, pause: Callable[[float], bool] | None) -> Held | None:
    """None once the call may be made. Calls that come at once are spread over the seconds that their pace asks for."""
    if gate is None:
        return None
    until = clock.now() + PATIENCE_S
    while (held := gate.enter()) is not None:
        waits = held.why == "pace" and clock.now() + held.wait_s <= until
        if pause is None or not waits or pause(held.wait_s):
            gate.held_back()
            return held
    return None


def _tell(gate: Gate | None, error: Exception | None) -> float:
    """Tells the gate what came of a call; returns the seconds until the provider may be called again."""
    match gate, error:
        case None, _:
            return 0.0
        case Gate(), BusyError():
            gate.answered()
        case Gate(), ThrottledError():
            return gate.slowed(error.retry_after_s)
        case Gate(), UnreachableError():
            gate.unanswered()
        case Gate(), _:
            gate.answered()
    return 0.0


def _tell_outcome(gate: Gate | None, outcome: Outcome) -> None:
    """The same for a provider that turns what happened into an outcome by itself."""
    if gate is None:
        return
    if outcome.status == "unknown" and outcome.error == ThrottledError.code:
        gate.slowed(outcome.retry_after_s or 0.0)
    elif outcome.status == "unknown" and outcome.error == UnreachableError.code:
        gate.unanswered()
    else:
        gate.answered()


def _held_back(action: Action, held: Held, now: float) -> Outcome:
    """What is known of a call that was not made: nothing."""
    texts = {
        "throttled": "the provider throttles, so it was not asked",
        "unreachable": "the provider does not answer, so it was not asked",
        "pace": "more calls than its pace allows, so it was not asked",
    }
    code = ThrottledError.code if held.why == "pace" else held.why
    text = f"{texts[held.why]}; tried again in {held.wait_s:.0f} s"
    return Outcome(action.id, action.pool, "unknown", now, None, code, text, held.wait_s)


def survey(provider: Provider, gate: Gate | None = None) -> None:
    """Lets a provider ask its cloud what it wants to know besides its fleet; what breaks there stays there. One that
    does not answer is asked nothing."""
    if not isinstance(provider, Surveying) or (gate is not None and gate.dead):
        return
    try:
        provider.survey()
    except Exception:
        log.exception("provider survey broke, the questions stay open")
