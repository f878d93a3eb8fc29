"""Judgement of conditions: which leaves hold, which whole conditions, and for how long they have held.

Three-valued: a condition that cannot be judged is neither met nor unmet, and what that means is the engine's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from autoscaler.conditions import Condition, Group, Test
from autoscaler.ruleset import RuleSet
from autoscaler.types import Frame, Judged, Memory, Reading, Verdict, World
from autoscaler.words import amount

Leaf = tuple[bool | None, float]
"""Met, and when the sample that proves it was taken."""


def judge(
    rules: RuleSet, world: World, readings: Mapping[str, Reading], memory: Memory
) -> tuple[tuple[Judged, ...], tuple[Verdict, ...]]:
    """Every leaf once, and a verdict for each rule with a condition (`scale_in` is the name of scale-in's own)."""
    named = [(r.name, r.when) for r in rules.rules if r.when is not None]
    if rules.scale_in.when is not None:
        named.append(("scale_in", rules.scale_in.when))
    judged: dict[str, Judged] = {}
    verdicts = []
    for name, condition in named:
        met, at = _weigh(condition.test, world, readings, judged)
        verdicts.append(_verdict(name, condition, met, at, memory, judged))
    return tuple(judged.values()), tuple(verdicts)


def _verdict(
    name: str, condition: Condition, met: bool | None, at: float, memory: Memory, judged: Mapping[str, Judged]
) -> Verdict:
    """Hold times run on the samples' own times: one sample seen at many ticks proves one instant, not a duration."""
    before = memory.met_since.get(name)
    # What could not be judged for a while does not break a hold time, but nothing shrinks on such a proof.
    kept = before if name != "scale_in" else None
    since = (before if before is not None else at) if met else (kept if met is None else None)
    held = bool(met) and since is not None and at - since >= condition.for_s
    text = _text(condition.test, judged, met)
    if met and condition.for_s and since is not None:
        text += f" for {max(0.0, at - since):.0f} s"
        text += "" if held else f" of the {condition.for_s:.0f} s that the rule asks for"
    return Verdict(name, met, held, since, at if met else None, text)


def _weigh(test: Test | Group, world: World, readings: Mapping[str, Reading], judged: dict[str, Judged]) -> Leaf:
    if isinstance(test, Test):
        found = judged.get(test.key)
        if found is None:
            found = judged[test.key] = judge_leaf(test, readings.get(test.signal), world.signals.get(test.signal))
        reading = readings.get(test.signal)
        return found.met, reading.at if reading else world.now
    parts = [_weigh(part, world, readings, judged) for part in test.parts]
    yes = sorted((at for met, at in parts if met), reverse=True)
    unknown = sum(met is None for met, _ in parts)
    if len(yes) >= test.need:
        # The condition is as old as the sample that completed it: the need-th newest of those that hold.
        return True, yes[test.need - 1]
    return (None if len(yes) + unknown >= test.need else False), world.now


def judge_leaf(test: Test, reading: Reading | None, frame: Frame | None) -> Judged:
    """One leaf. Partial and stale data are a lower bound, so they may prove `above` and never `below`."""
    if reading is None:
        return Judged(test.key, test.signal, None, None, None, None, f"{test.signal} is not a signal of this pool")
    if reading.value is None:
        nothing: bool | None = False if reading.quality == "fresh" else None
        detail = f" ({reading.detail})" if reading.detail else ""
        return Judged(test.key, test.signal, nothing, None, None, None, f"{test.signal} is {reading.quality}{detail}")
    history = before(frame, reading.at, test.lookback_s) if frame is not None else _alone(reading)
    bands = test.threshold.bands(history)
    lower, upper = float(bands.lower[0]), float(bands.upper[0])
    value = reading.value
    over, under = value > upper, value < lower
    unjudged = (math.isnan(upper) and test.direction != "below") or (math.isnan(lower) and test.direction != "above")
    met: bool | None = {"above": over, "below": under, "outside": over or under}[test.direction]
    if unjudged:
        met = False
        text = f"{test.signal} {amount(value)}: warming, {_points(history)} points are too few for {test.text}"
    else:
        if reading.quality != "fresh" and not (met and over):
            met = None
        text = f"{test.signal} {amount(value)} {_compare(test, met)} {_bound(test, lower, upper)}"
        text += "" if reading.quality == "fresh" else f" ({reading.quality}: {reading.detail})"
        if bands.clipped is not None and bool(bands.clipped[0]):
            text += " (clipped: the lookback sat on its limit)"
    return Judged(test.key, test.signal, met, value, _finite(lower), _finite(upper), text)


def before(frame: Frame, at: float, lookback_s: float) -> Frame:
    """The part of a frame in the `lookback_s` before its newest point, which is left out."""
    end = int(np.searchsorted(frame.at, at - 1e-6))
    end = min(end, frame.at.size - 1) if frame.at.size else 0
    start = int(np.searchsorted(frame.at, at - lookback_s - 1e-6))
    return Frame(
        frame.interval_s, frame.at[start:end], frame.values[:, start:end], frame.last_at, frame.quality, frame.detail
    )


def _alone(reading: Reading) -> Frame:
    return Frame(0.0, np.empty(0), np.empty((1, 0)), np.array([reading.at]), (reading.quality,))


def _points(history: Frame) -> int:
    return int(np.isfinite(history.values[0]).sum())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _compare(test: Test, met: bool | None) -> str:
    if met is None:
        return "may be on either side of"
    words = {
        "above": ("is above", "is not above"),
        "below": ("is below", "is not below"),
        "outside": ("is outside", "is inside"),
    }
    return words[test.direction][0 if met else 1]


def _bound(test: Test, lower: float, upper: float) -> str:
    span = {"above": amount(upper), "below": amount(lower), "outside": f"{amount(lower)}..{amount(upper)}"}
    words = span[test.direction]
    return words if test.lookback_s == 0 else f"{words} ({test.text} of {test.lookback_s:.0f} s)"


def _text(test: Test | Group, judged: Mapping[str, Judged], met: bool | None) -> str:
    """The leaves that decided, joined: those that hold when the condition is met, those that do not otherwise."""
    keys = list(_keys(test))
    telling = [judged[k] for k in keys if judged[k].met is met] or [judged[k] for k in keys]
    return " and ".join(j.text for j in telling)


def _keys(test: Test | Group) -> Iterable[str]:
    if isinstance(test, Test):
        yield test.key
    else:
        for part in test.parts:
            yield from _keys(part)
