"""What must agree across the sections of a rule file: names, units and bounds. Every finding is an error.

One section's own rules are in its model; what is legal and unwise is in `lint`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping

from autoscaler import signals
from autoscaler.errors import Fault
from autoscaler.rulefile.build import alert_name
from autoscaler.rulefile.conditions import Deviation
from autoscaler.rulefile.findings import Finding, tests, tests_of
from autoscaler.rulefile.installed import installed
from autoscaler.rulefile.model import PoolFile
from autoscaler.rulefile.offered import Defaults, offers
from autoscaler.rulefile.offers import AT_HAND
from autoscaler.rulefile.replica import model_faults
from autoscaler.rulefile.section import did_you_mean
from autoscaler.rulefile.signals import SignalSection
from autoscaler.rulefile.signalunits import unit_fault, unit_of, unit_of_metric
from autoscaler.rulefile.words import Level, Limit, Within
from autoscaler.units import Quantity
from autoscaler.yamltree import Tree, Way

SHOWN = 12
RESERVED_RULES = ("scale_in",)


def check(model: PoolFile, tree: Tree, defaults: Defaults, *, short: bool = False) -> list[Fault]:
    """Every error that a single section cannot see. `short`: the file is in a short dialect, which names no bound."""
    findings = [
        *_bounds(model, defaults, short),
        *model_faults(model.replica),
        *_offers(model, defaults),
        *_signals(model),
        *_rules(model),
        *_conditions(model),
        *_targets(model),
        *_alerts(model),
        *_contradictions(model),
        *installed(model),
    ]
    return [tree.fault(way, text) for way, text in findings]


def _bounds(model: PoolFile, defaults: Defaults, short: bool) -> Iterator[Finding]:
    most = model.limits.max if model.limits.max is not None else defaults.max
    if most is None:
        if not short:
            yield ("limits",), "has no upper bound; add 'limits: {max: 40}' or give the service a default"
        elif defaults.require_bound:
            yield (), "has no upper bound and is not run without one; give --max N or a default in the configuration"
        return
    if model.limits.min > most:
        yield ("limits", "min"), f"{model.limits.min} is more than the default bound of {most}; add limits.max"
    for index, rule in enumerate(model.rules):
        if rule.limits is None:
            continue
        way: Way = ("rules", index, "limits")
        least, upper = rule.limits.min, rule.limits.max
        if least is not None and least > most:
            yield (*way, "min"), f"{least} is more than the pool's max {most}, which always holds; raise limits.max"
        if upper is not None and upper > most:
            yield (*way, "max"), f"{upper} is more than the pool's max {most}, which always holds; raise limits.max"
        if upper is not None and least is None and upper < model.limits.min:
            yield (*way, "max"), f"{upper} is less than the pool's min {model.limits.min}; add a min to this rule"
    if model.warm_pool.min > most:
        yield ("warm_pool", "min"), f"{model.warm_pool.min} is more than the pool's max {most}; lower it"


def _offers(model: PoolFile, defaults: Defaults) -> Iterator[Finding]:
    each = model.replica.gpus
    for index, entry in enumerate(model.offers.from_):
        for provider, section in entry.items():
            way: Way = ("offers", "from", index, provider)
            if not section.kinds(provider):
                yield way, f"names no machine type; add 'types: [...]'{did_you_mean(provider, AT_HAND)}"
            if section.replicas == 0:
                yield (*way, "replicas"), "0 is an instance that serves nothing; write 1 or more"
            for kind in section.kinds(provider):
                gpus = section.gpus_of(kind)
                if gpus and each > gpus:
                    yield way, f"{kind} has {gpus} of the {each} GPUs that one replica needs; choose a larger type"
                elif gpus and (section.replicas or 0) * each > gpus:
                    need = (section.replicas or 0) * each
                    yield way, f"{section.replicas} replicas need {need} GPUs, {kind} has {gpus}; lower replicas"
    keys = [o.key for o in offers(model, defaults)]
    for key in sorted(key for key, times in Counter(keys).items() if times > 1):
        yield ("offers", "from"), f"{key} is offered more than once; keep one"


def _signals(model: PoolFile) -> Iterator[Finding]:
    for name, section in model.signals.items():
        way: Way = ("signals", name)
        refers = [("forecast", section.forecast)] if section.forecast else []
        for key, other in [*refers, *(("fallback", f) for f in section.fallback)]:
            if other not in model.signals:
                yield (*way, key), f"{other!r} is not a signal of this pool{_near(other, model)}"
            elif key == "forecast" and model.signals[other].forecast is not None:
                yield (*way, key), f"{other!r} is a forecast itself; look ahead on what it looks ahead on"
        if section.metric is not None:
            yield from _reading(way, section)
    yield from _cycles(model.signals)


def _reading(way: Way, section: SignalSection) -> Iterator[Finding]:
    """How a metric of a known kind can and cannot be read."""
    known = signals.metric(section.metric or "")
    if known is None:
        return
    kind, given = known.kind, section.metric
    if kind == "counter" and section.rate is None:
        yield (*way, "metric"), f"{given} is a counter, its value says nothing; add 'rate: 1m'"
    if kind == "histogram" and given == known.name and section.over is None:
        yield (*way, "metric"), f"{given} is a histogram; add 'quantile: 0.99, over: 1m'"
    if kind == "gauge" and section.rate is not None:
        yield (*way, "rate"), f"{given} is a gauge and has no rate; remove it"
    if kind != "histogram" and section.over is not None:
        yield (*way, "over"), f"{given} is not a histogram; for a quantile across series write 'aggregate: p99'"


def _cycles(known: Mapping[str, SignalSection]) -> Iterator[Finding]:
    """Signals that lean on each other in a circle, each circle once, at its first signal."""
    leans = {n: [*([s.forecast] if s.forecast else []), *s.fallback] for n, s in known.items()}
    reported: set[frozenset[str]] = set()
    for start in leans:
        trail = _way_back(start, leans)
        if trail and frozenset(trail) not in reported:
            reported.add(frozenset(trail))
            yield ("signals", start), f"leans on itself: {' -> '.join([*trail, start])}; break the circle"


def _way_back(start: str, leans: Mapping[str, list[str]]) -> list[str]:
    """The shortest trail from `start` back to it, empty if there is none."""
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for step in leans.get(here, ()):
            if step == start:
                trail = [here]
                while trail[-1] != start:
                    trail.append(came_from[trail[-1]])
                return trail[::-1]
            if step not in came_from:
                came_from[step] = here
                waiting.append(step)
    return []


def _rules(model: PoolFile) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, rule in enumerate(model.rules):
        if rule.name in RESERVED_RULES:
            yield ("rules", index, "name"), f"{rule.name!r} is the name of scale-in itself; choose another"
        if rule.name in seen:
            yield ("rules", index, "name"), f"{rule.name!r} is also rule {seen[rule.name] + 1}; choose another name"
        seen.setdefault(rule.name, index)


def _conditions(model: PoolFile) -> Iterator[Finding]:
    for way, name, test in tests(model):
        if name not in model.signals:
            words = did_you_mean(name, [*model.signals, "all", "any", "at_least", "of", "for"])
            yield way, f"{name!r} is not a signal of this pool{words or _named(model)}"
            continue
        unit = unit_of(name, model.signals)
        yield from _units(way, test, name, unit)


def _units(way: Way, test: Deviation, name: str, unit: str | None) -> Iterator[Finding]:
    key = test.direction
    for amount in _amounts(getattr(test, key)):
        text = unit_fault(amount, name, unit)
        if text:
            yield (*way, key), text
    if isinstance(test.min_width, Level) and test.min_width.at.unit != "ratio":
        text = unit_fault(test.min_width.at, name, unit)
        if text:
            yield (*way, "min_width"), text


def _amounts(limit: Limit) -> tuple[Quantity, ...]:
    match limit:
        case Level(at):
            return (at,)
        case Within(lower, upper):
            return (lower, upper)
    return ()


def _targets(model: PoolFile) -> Iterator[Finding]:
    for index, rule in enumerate(model.rules):
        if rule.target is None:
            continue
        way: Way = ("rules", index, "target")
        name, each = rule.target.signal, rule.target.per_replica
        if name not in model.signals:
            yield (*way, "signal"), f"{name!r} is not a signal of this pool{_near(name, model)}"
            continue
        backlog = rule.target.backlog
        if backlog is not None and backlog not in model.signals:
            yield (*way, "backlog"), f"{backlog!r} is not a signal of this pool{_near(backlog, model)}"
        unit = unit_of(name, model.signals)
        if each is not None:
            text = unit_fault(each, name, unit)
            if text:
                yield (*way, "per_replica"), text
        elif unit is not None and not unit.endswith("/s"):
            text = f"auto is work per second, {name} is in {unit or 'a plain number'}; state what one replica carries"
            yield (*way, "per_replica"), text
        elif unit is not None and model.replica.capacity is not None and unit != model.replica.capacity.unit:
            text = f"{name} is in {unit}, replica.capacity in {model.replica.capacity.unit}; use one unit of work"
            yield (*way, "signal"), text


def _alerts(model: PoolFile) -> Iterator[Finding]:
    seen = {rule.name: "a rule" for rule in model.rules if rule.alert is not None}
    for index, alert in enumerate(model.alerts):
        way: Way = ("alerts", index)
        known = signals.metric(alert.each)
        if known is not None and known.kind == "histogram" and alert.each == known.name:
            yield (*way, "each"), f"{alert.each} is a histogram; alert on a quantile of it in a rule"
        yield from _units(way, alert, alert.each, unit_of_metric(alert.each))
        name = alert_name(alert)
        if name in seen:
            yield (*way, "name"), f"{name!r} is also the name of {seen[name]}; choose another"
        seen[name] = "another alert"


def _contradictions(model: PoolFile) -> Iterator[Finding]:
    """Values that would grow and shrink the pool at once."""
    if model.scale_in.when is None:
        return
    growing = {
        name: test.above
        for index, rule in enumerate(model.rules)
        if rule.scale_out is not None and rule.when is not None
        for _, name, test in tests_of(rule.when, ("rules", index, "when"))
        if isinstance(test.above, Level)
    }
    for way, name, test in tests_of(model.scale_in.when, ("scale_in", "when")):
        out = growing.get(name)
        if out is not None and isinstance(test.below, Level) and test.below.at.value > out.at.value:
            text = f"{test.below.text} is more than {out.text}, above which {name} scales out; values between do both"
            yield (*way, "below"), f"{text}: lower it"


def _near(name: str, model: PoolFile) -> str:
    return did_you_mean(name, model.signals) or _named(model)


def _named(model: PoolFile) -> str:
    names = list(model.signals)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"; signals here: {', '.join(names[:SHOWN]) or 'none'}{more}"
