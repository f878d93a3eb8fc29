"""Runs rule unit tests: the real engine over given series, on a fleet in which every order arrives after `boot`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoscaler import alerts
from autoscaler.engine import decide
from autoscaler.measure import level_of
from autoscaler.memory import remember
from autoscaler.rulefile.cases import Case, Cases, Course, Expectation, Ramp, case_files, read_cases
from autoscaler.rulefile.reader import Defaults
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import (
    Alert,
    Capacity,
    Decision,
    Fleet,
    FloatArray,
    Frame,
    Instance,
    Launch,
    Memory,
    Offer,
    Outlook,
    Plan,
    Quality,
    World,
)
from autoscaler.units import duration_text


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that did not hold, and the reasons of the decision that was made instead."""

    at_s: float
    line: int
    expected: str
    got: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one test; it passed when there are no failures."""

    file: str
    name: str
    line: int
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Whether every expectation held."""
        return not self.failures

    def __str__(self) -> str:
        head = f"{self.file}:{self.line}: {'ok' if self.passed else 'FAILED'}: {self.name}"
        return "\n".join([head, *(line for f in self.failures for line in _told(f))])


def _told(failure: Failure) -> Iterator[str]:
    yield f"  line {failure.line}, at {duration_text(failure.at_s)}: expected {failure.expected}, got {failure.got}"
    for reason in failure.reasons:
        yield f"    {reason}"


def run_tests(folder: Path, defaults: Defaults | None = None) -> tuple[Result, ...]:
    """Every rule test below a folder, or of one file. Raises InputError for files that cannot be read."""
    return tuple(result for path in case_files(folder) for result in run_cases(read_cases(path, defaults)))


def run_cases(cases: Cases) -> tuple[Result, ...]:
    """Every test of one file."""
    return tuple(Result(cases.file, case.name, case.line, tuple(_failures(cases.rules, case))) for case in cases.cases)


def _failures(rules: RuleSet, case: Case) -> Iterator[Failure]:
    waiting = list(case.expect)
    for tick in _ticks(rules, case):
        # An expectation between two ticks is about the decision that is in force then: the one before it.
        while waiting and waiting[0].at_s < tick.at_s + rules.tick_s:
            expectation = waiting.pop(0)
            for expected, got in _differences(expectation, tick):
                reasons = tuple(f"{r.replicas} {r.source}: {r.text}" for r in tick.decision.reasons)
                yield Failure(expectation.at_s, expectation.line, expected, got, reasons)
        if not waiting:
            return


@dataclass(frozen=True, slots=True)
class _Tick:
    """One decision of a test, `at_s` after its start."""

    at_s: float
    decision: Decision
    alerts: Mapping[str, Alert]


def _differences(expect: Expectation, tick: _Tick) -> Iterator[tuple[str, str]]:
    """(expected, got) of everything that is not as expected."""
    decision = tick.decision
    if expect.want is not None and decision.want != expect.want:
        yield f"want {expect.want}", f"want {decision.want}"
    if expect.ready is not None and decision.ready != expect.ready:
        yield f"ready {expect.ready}", f"ready {decision.ready}"
    told = [f"{r.source}: {r.text}" for r in decision.reasons]
    for text in expect.because:
        if not any(text in reason for reason in told):
            yield f"a reason with {text!r}", "none"
    for text in expect.not_because:
        if any(text in reason for reason in told):
            yield f"no reason with {text!r}", "one"
    for name, state in expect.alerts:
        states = {a.state for a in tick.alerts.values() if a.name == name} or {"inactive"}
        if state not in states:
            yield f"alert {name!r} {state}", ", ".join(sorted(states))


def _ticks(rules: RuleSet, case: Case) -> Iterator[_Tick]:
    """The decisions of a test, one a tick, up to the last expectation."""
    last = case.expect[-1].at_s
    times = np.arange(0.0, last + rules.tick_s, rules.tick_s)
    series = {name: _values(course, times) for name, course in case.courses}
    instances = tuple(_instance(rules, n, case.start, case.start) for n in range(case.fleet))
    # A pool that was at its size all along: what a first decision may do is no matter of the rules.
    memory, raised, ordered = Memory(want=case.fleet), dict[str, Alert](), case.fleet
    for index, at_s in enumerate(times):
        now = case.start + float(at_s)
        instances = tuple(
            replace(i, state="ready") if i.expected_at is not None and i.expected_at <= now else i for i in instances
        )
        world = _world(rules, case, now, Fleet(now, instances), series, times[: index + 1])
        decision = decide(rules, world, memory)
        raised = dict(alerts.follow(rules, decision.verdicts, {}, raised, now))
        yield _Tick(float(at_s), decision, raised)
        more = decision.want - len(instances)
        memory = remember(rules, memory, decision, _plan(rules, decision, more))
        fresh = range(ordered, ordered + max(0, more))
        ordered = fresh.stop
        instances += tuple(_instance(rules, n, now, now + case.boot_s) for n in fresh)
        # What is pending goes first, then the newest: both stand at the end.
        instances = instances[: decision.want]


def _instance(rules: RuleSet, number: int, since: float, ready_at: float) -> Instance:
    state = "ready" if ready_at <= since else "pending"
    return Instance(
        id=f"{rules.pool}-{number}",
        pool=rules.pool,
        offer="test",
        state=state,  # type: ignore[arg-type]
        since=since,
        requested_at=since,
        expected_at=ready_at,
    )


def _plan(rules: RuleSet, decision: Decision, more: int) -> Plan:
    """The orders of a decision, which is what the memory of a launch is made of."""
    at = decision.at
    orders = tuple(
        Launch(f"{decision.number}-{n}", rules.pool, at, at + 300.0, Offer("test", "replica"))
        for n in range(max(0, more))
    )
    return Plan(rules.pool, decision.number, orders)


def _values(course: Course, times: FloatArray) -> FloatArray:
    """The value at each of `times`, NaN where there is no sample."""
    found = np.full(times.size, np.nan)
    for part in course:
        here = times >= part.since_s
        since = times[here] - part.since_s
        if isinstance(part, Ramp):
            share = np.clip(since / part.over_s, 0.0, 1.0) if part.over_s else np.ones(since.size)
            found[here] = part.start + share * (part.end - part.start)
        else:
            turn = [np.nan if v is None else v for v in part.in_turn]
            found[here] = np.resize(turn, int(here.sum()))
    return found


def _world(
    rules: RuleSet, case: Case, now: float, fleet: Fleet, series: Mapping[str, FloatArray], times: FloatArray
) -> World:
    frames = {
        s.name: _frame(rules, s, case.start + times, series[s.name][: times.size], now)
        for s in rules.signals
        if s.name in series and s.forecast is None
    }
    ahead = {
        s.name: _outlook(s, float(series[s.name][times.size - 1]), frames.get(s.forecast or ""), now)
        for s in rules.signals
        if s.forecast is not None and s.name in series
    }
    capacity = None
    if case.capacity is not None:
        capacity = Capacity(case.capacity, case.capacity, rules.capacity_unit, "test")
    outlooks = {name: outlook for name, outlook in ahead.items() if outlook is not None}
    return World(now=now, signals=frames, fleet=fleet, outlooks=outlooks, capacity=capacity)


def _frame(rules: RuleSet, signal: Signal, at: FloatArray, values: FloatArray, now: float) -> Frame:
    """The samples so far; how old the newest one is gives the quality, as in the metrics store."""
    known = np.isfinite(values)
    at, values = at[known], values[known]
    last = float(at[-1]) if at.size else np.nan
    quality, detail = _quality(now - last, rules, signal)
    return Frame(rules.tick_s, at, values[None, :], np.array([last]), (quality,), (detail,))


def _quality(age_s: float, rules: RuleSet, signal: Signal) -> tuple[Quality, str]:
    max_age_s = signal.max_age_s if signal.max_age_s is not None else 3 * rules.tick_s
    if age_s <= max_age_s:
        return "fresh", ""
    if age_s <= signal.max_hold_s:
        return "stale", f"the newest sample is {duration_text(age_s)} old"
    return "missing", "no sample" if np.isnan(age_s) else f"the newest sample is {duration_text(age_s)} old"


def _outlook(signal: Signal, value: float, level: Frame | None, now: float) -> Outlook | None:
    """An outlook under which the forecast reads `value`, and is sure; None while there is nothing to grow from."""
    if level is None or level.values.size == 0 or level.values[0, -1] == 0 or np.isnan(value):
        return None
    growth = value / level_of(level, float(level.values[0, -1]))
    at_s, quantile = (signal.ahead_s or 0.0,), (signal.quantile or 0.5,)
    return Outlook(now, "test", signal.of, at_s, quantile, ((growth,),), spread=0.0)
