"""What a reader must know to trust a back-test, said before it runs and after it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from autoscaler.backtest.run import Setting, Tested
from autoscaler.backtest.world import PROVIDED
from autoscaler.conditions import leaves
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.trace import Trace
from autoscaler.words import seconds as span


def not_given(rules: RuleSet) -> dict[str, str]:
    """Signals of the rules that no trace can give, and why. A forecast is given when what it looks ahead on is."""
    found: dict[str, str] = {}
    for signal in rules.signals:
        if signal.forecast is not None:
            continue
        metric = (signal.metric or "").removesuffix("_bucket")
        if signal.promql is not None or signal.metric is None:
            found[signal.name] = "a query has no store to ask"
        elif metric not in PROVIDED:
            found[signal.name] = f"demand alone does not tell {signal.metric}"
        elif signal.where:
            wanted = ", ".join(f"{name}={value}" for name, value in signal.where)
            found[signal.name] = f"the simulated series have no label {wanted}"
    for signal in rules.signals:
        if signal.forecast in found:
            found[signal.name] = f"it looks ahead on {signal.forecast}, which is not given"
    return found


def before(rules: RuleSet, trace: Trace, setting: Setting) -> Iterator[str]:
    """What is known before the run: signals and rules that cannot work here, and settings that hinder each other."""
    missing = not_given(rules)
    for name, why in missing.items():
        yield f"signal {name} is missing: {why}"
    blind = [rule for rule in rules.rules if _reads(rule) & missing.keys()]
    for rule in blind:
        yield f"rule {rule.name!r} {_effect(rules, rule, missing)}"
    leaving = rules.scale_in.when
    if leaving is not None and {t.signal for t in leaves(leaving.test)} & missing.keys():
        yield "scale_in cannot be judged here, so it removes nothing"
    acting = [rule for rule in rules.rules if rule.policy is not None]
    if acting and all(_unjudged(rules, rule, missing) for rule in acting):
        yield "no rule that acts can be judged here: the pool keeps its size, and the result says nothing of the rules"
    for alert in rules.alerts:
        if alert.metric.removesuffix("_bucket") not in PROVIDED:
            yield f"alert {alert.name!r} has no series here; alerts do not change the size"
    if setting.boot_s > rules.launch.register_s:
        yield (
            f"a boot takes {span(setting.boot_s)} here, and the rules give an order up after "
            f"{span(rules.launch.register_s)} (launch.register): no order ever serves; raise it"
        )
    gaps = int(trace.missing.sum())
    if gaps:
        share = gaps / len(trace.missing)
        yield f"{gaps} of {len(trace.missing)} buckets ({share:.1%}) are gaps: demand is a straight line through them"


def after(tested: Tested, rules: RuleSet) -> Iterator[str]:
    """What only the run can tell."""
    known = not_given(rules)
    for name, why in tested.never_known.items():
        if name not in known and name != "capacity":
            yield f"signal {name} never had a value, so rules that need it only held: {why}"
    if tested.recommended > tested.setting.high:
        yield f"the rules asked for up to {tested.recommended} replicas, --max is {tested.setting.high}"
    if tested.short_ticks:
        yield (
            f"at {tested.short_ticks} ticks fewer replicas were ordered than wanted: "
            "the rules' limits on launches or money held them back"
        )


def _reads(rule: Rule) -> set[str]:
    found = {t.signal for t in leaves(rule.when.test)} if rule.when is not None else set()
    return found | _sized_by(rule)


def _sized_by(rule: Rule) -> set[str]:
    if not isinstance(rule.policy, Target):
        return set()
    return {name for name in (rule.policy.signal, rule.policy.backlog) if name is not None}


def _unjudged(rules: RuleSet, rule: Rule, missing: Collection[str]) -> bool:
    """Whether the rule can never act: what sizes it is missing, or all that its condition reads."""
    gone = {name for name in missing if not _stand_in(rules, name, missing)}
    condition = {t.signal for t in leaves(rule.when.test)} if rule.when is not None else set()
    return bool(_sized_by(rule) & gone) or bool(condition and condition <= gone)


def _stand_in(rules: RuleSet, name: str, missing: Collection[str]) -> str:
    signal = rules.signal(name)
    return next((f for f in signal.fallback if f not in missing), "") if signal is not None else ""


def _effect(rules: RuleSet, rule: Rule, missing: Collection[str]) -> str:
    """What becomes of a rule that reads something missing, by the laws on what is unknown."""
    names = sorted(_reads(rule) & set(missing))
    others = {name: _stand_in(rules, name, missing) for name in names}
    if all(others.values()):
        return f"reads {', '.join(f'{other} in place of {name}' for name, other in others.items())}: it may only raise"
    if rule.policy is None:
        return f"needs {', '.join(names)}: its alert is not judged"
    if _unjudged(rules, rule, missing):
        return f"needs {', '.join(names)}: it cannot be judged and only holds, so the pool does not shrink by itself"
    return f"needs {', '.join(names)}: it is judged on the rest, and holds the size while that does not settle it"
