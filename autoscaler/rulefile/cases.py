"""Rule unit tests as people write them: `chat.test.yaml` beside `chat.yaml`.

tests:
  - name: a saturated pool grows by two
    fleet: 2
    boot: 60s
    signals:
      queue: {0s: 10, 5m: {from: 10, to: 80, over: 2m}, 10m: missing}
      gpu: [70%, 90%]                  # in turn, one a tick
    expect:
      - {at: 8m, want: 4, because: [saturation], alerts: {unusual latency: firing}}
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator, ValidationError, model_validator

from autoscaler import units
from autoscaler.errors import Fault, InputError
from autoscaler.rulefile.reader import TEST_SUFFIX, Defaults, read_rules
from autoscaler.rulefile.section import Faults, Section, did_you_mean, faults_of, key, wrong
from autoscaler.rulefile.words import CapacityOf, Count, Duration, SignalName, Text, Words, choice, word
from autoscaler.ruleset import RuleSet
from autoscaler.yamltree import Tree, parse, read_bytes

LONGEST_S = 7 * 86400.0
SUNDAY_NOON = "2026-01-04T12:00:00Z"
"""When a test begins if it does not say: outside of office hours, so that schedules do not speak up unasked."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a signal reads from `since_s` on, one value a tick in turn; None = no sample."""

    since_s: float
    in_turn: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Ramp:
    """A straight line from `start` to `end` over `over_s`, then `end`."""

    since_s: float
    start: float
    end: float
    over_s: float


Course = tuple[Values | Ramp, ...]
"""What a signal reads over time: each part counts until the next one begins."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be true of the decision at `at_s`. None and empty = anything."""

    at_s: float
    want: int | None
    ready: int | None
    because: tuple[str, ...]
    not_because: tuple[str, ...]
    alerts: tuple[tuple[str, str], ...]
    line: int


@dataclass(frozen=True, slots=True)
class Case:
    """One test: a pool of `fleet` ready replicas at Unix time `start`, and what its signals read from then on."""

    name: str
    start: float
    fleet: int
    boot_s: float
    capacity: float | None
    courses: tuple[tuple[str, Course], ...]
    expect: tuple[Expectation, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Cases:
    """The tests of one file and the rules that they are about."""

    file: str
    rules: RuleSet
    cases: tuple[Case, ...]


def _value(text: object) -> float | None:
    if not isinstance(text, str):
        raise ValueError("is not a value; write a number, a list of numbers, 'missing' or {from: 0, to: 9, over: 5m}")
    return None if text == "missing" else units.quantity(text).value


def _part(value: object, since_s: float) -> Values | Ramp:
    if isinstance(value, list):
        if not value:
            raise ValueError("is an empty list; write at least one value")
        return Values(since_s, tuple(_value(v) for v in value))
    if isinstance(value, dict):
        if set(value) != {"from", "to", "over"}:
            raise ValueError(f"has {', '.join(value) or 'nothing'}; a ramp is {{from: 0, to: 9, over: 5m}}")
        start, end = _value(value["from"]), _value(value["to"])
        if start is None or end is None:
            raise ValueError("a ramp has no missing end; write two numbers")
        return Ramp(since_s, start, end, units.duration_s(str(value["over"])))
    return Values(since_s, (_value(value),))


def _course(value: object) -> Course:
    """A value, a list, a ramp, or a mapping from times to one of these."""
    if not isinstance(value, dict) or "from" in value:
        return (_part(value, 0.0),)
    parts = sorted(((units.duration_s(at), part) for at, part in value.items()), key=lambda p: p[0])
    if not parts:
        raise ValueError("is empty; write {0s: 10}")
    return tuple(_part(part, since_s) for since_s, part in parts)


def _instant(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write 2026-01-05T08:00:00Z") from None
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write {text}Z or {text}+08:00")
    return at.timestamp()


CourseOf = Annotated[Course, PlainValidator(_course)]
Instant = Annotated[float, word(_instant, SUNDAY_NOON)]
State = Annotated[str, *choice("inactive", "pending", "firing", "resolved")]


class _Expect(Section):
    at: Duration = Field(description="Since the start.", examples=["5m"])
    want: Count | None = key(None, "The wanted size.")
    ready: Count | None = key(None, "Replicas that serve.")
    because: Words = key([], "Each is part of some reason, `source: text`.")
    not_because: Words = key([], "None is part of any reason.")
    alerts: dict[str, State] = key({}, "State of alerts by name.")

    @model_validator(mode="after")
    def _says_something(self) -> _Expect:
        if self.model_fields_set <= {"at"}:
            raise ValueError("expects nothing; add want, ready, because, not_because or alerts")
        return self


class _Case(Section):
    name: Text = Field(description="What the test shows.", examples=["a saturated pool grows"])
    start: Instant = key(SUNDAY_NOON, "The time at which it begins, with its zone.")
    fleet: Count = key("1", "Ready replicas at the start.")
    boot: Duration = key("0s", "From order to serving.")
    capacity: CapacityOf = key("auto", "What one replica serves, as if learned; auto = as the rule file says.")
    signals: dict[SignalName, CourseOf] = key({}, "What the signals read; one that is not given is missing.")
    expect: list[_Expect] = Field(description="What must hold, and when.", examples=["[{at: 5m, want: 2}]"])

    @model_validator(mode="after")
    def _bounded(self) -> _Case:
        faults: Faults = [] if self.expect else [(("expect",), "is empty; add [{at: 5m, want: 2}]")]
        faults += [
            (("expect", i, "at"), "is past 7 days; a rule test is shorter")
            for i, e in enumerate(self.expect)
            if e.at > LONGEST_S
        ]
        if faults:
            raise wrong(*faults)
        return self


class _File(Section):
    rules: Text | None = key(None, "The rule file, beside this one; default: the same name without '.test'.")
    max: Count | None = key(None, "Upper bound for rule files that name none.")
    tests: list[_Case] = Field(description="The tests.", examples=["[{name: ..., expect: [...]}]"])


def case_files(folder: Path) -> tuple[Path, ...]:
    """The rule tests below a folder, or the one file that is named."""
    if folder.is_file():
        beside = folder.with_name(folder.name.removesuffix(".yaml") + TEST_SUFFIX)
        return (folder,) if folder.name.endswith(TEST_SUFFIX) else (beside,) if beside.is_file() else ()
    if not folder.is_dir():
        raise InputError(Fault(str(folder), 0, 0, "", "is neither a file nor a folder; check the path"))
    return tuple(sorted(p for p in folder.rglob(f"*{TEST_SUFFIX}") if p.is_file()))


def read_cases(path: Path, defaults: Defaults | None = None) -> Cases:
    """The tests of one file. Raises InputError with every error of the file, or of the rule file that it is about."""
    tree = parse(read_bytes(path), str(path))
    try:
        model = _File.model_validate(tree.root)
    except ValidationError as error:
        raise InputError(*faults_of(error, tree)) from None
    name = model.rules or path.name.removesuffix(TEST_SUFFIX) + ".yaml"
    if "/" in name or not path.name.endswith(TEST_SUFFIX):
        text = f"{name!r} is not the name of a file beside this one; call the tests NAME.test.yaml"
        raise InputError(tree.fault(("rules",), text))
    known = defaults or Defaults()
    most = model.max if model.max is not None else known.max
    rules = read_rules(path.with_name(name), defaults=Defaults(most, known.region, require_bound=True))
    faults = [*_unknown(model, rules, tree)]
    if faults:
        raise InputError(*faults)
    return Cases(str(path), rules, tuple(_case(c, i, tree) for i, c in enumerate(model.tests)))


def _unknown(model: _File, rules: RuleSet, tree: Tree) -> list[Fault]:
    """Names in the tests that the rules do not have."""
    signals = [s.name for s in rules.signals]
    alerts = [a.name for a in rules.alerts] + [r.name for r in rules.rules if r.alert is not None]
    faults = []
    for index, case in enumerate(model.tests):
        for name in case.signals:
            if name not in signals:
                text = f"{name!r} is not a signal of {rules.file}{did_you_mean(name, signals)}"
                faults.append(tree.fault(("tests", index, "signals", name), text, at_key=True))
        for number, expect in enumerate(case.expect):
            for name in expect.alerts:
                if name not in alerts:
                    text = f"{name!r} is not an alert of {rules.file}{did_you_mean(name, alerts)}"
                    way: Any = ("tests", index, "expect", number, "alerts", name)
                    faults.append(tree.fault(way, text, at_key=True))
    return faults


def _case(case: _Case, index: int, tree: Tree) -> Case:
    expect = tuple(
        Expectation(
            at_s=e.at,
            want=e.want,
            ready=e.ready,
            because=tuple(e.because),
            not_because=tuple(e.not_because),
            alerts=tuple(sorted(e.alerts.items())),
            line=tree.marks[("tests", index, "expect", number)].line,
        )
        for number, e in enumerate(case.expect)
    )
    return Case(
        name=case.name,
        start=case.start,
        fleet=case.fleet,
        boot_s=case.boot,
        capacity=case.capacity.value if case.capacity is not None else None,
        courses=tuple(sorted(case.signals.items())),
        expect=tuple(sorted(expect, key=lambda e: e.at_s)),
        line=tree.marks[("tests", index)].line,
    )
