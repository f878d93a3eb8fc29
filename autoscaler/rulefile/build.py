"""From the checked sections of a rule file to a `RuleSet`: units are gone, defaults are filled in, names are bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from autoscaler import plugins, signals
from autoscaler.conditions import Condition, Group, Test
from autoscaler.movement import Bounds, BurstGuard, Flap, ScaleIn, ScaleOut
from autoscaler.policies.schedule import Schedule
from autoscaler.policies.step import Step
from autoscaler.policies.target import Target
from autoscaler.ports import Policy, Threshold
from autoscaler.rulefile.actions import RuleSection
from autoscaler.rulefile.conditions import Deviation, Part, When
from autoscaler.rulefile.consolidation import consolidation
from autoscaler.rulefile.days import spans
from autoscaler.rulefile.disruption import disruption
from autoscaler.rulefile.drainhook import drain_hook
from autoscaler.rulefile.launching import launching
from autoscaler.rulefile.model import AlertSection, In, Out, PoolFile
from autoscaler.rulefile.offered import Defaults, offers
from autoscaler.rulefile.owned import ownership
from autoscaler.rulefile.replica import hosted
from autoscaler.rulefile.signals import SignalSection, plugged_forecaster
from autoscaler.rulefile.warm import warm_pool
from autoscaler.rulefile.words import Level, PluggedIn, Spread, Within
from autoscaler.ruleset import Objective, Rule, RuleSet, SeriesAlert, Signal
from autoscaler.thresholds.likelihood import Likelihood
from autoscaler.thresholds.robust import Robust
from autoscaler.thresholds.seasonal import Seasonal
from autoscaler.thresholds.sigma import Sigma
from autoscaler.thresholds.static import Static
from autoscaler.types import Labels

LEARNED: dict[str, Callable[..., Threshold]] = {
    "sigma": Sigma,
    "robust": Robust,
    "seasonal": Seasonal,
    "likelihood": Likelihood,
}


def build(model: PoolFile, defaults: Defaults, *, file: str = "", digest: str = "") -> RuleSet:
    """The values that a rule file means; `model` has passed every check of `agreement`."""
    return RuleSet(
        pool=model.pool,
        bounds=bounds(model, defaults),
        match=labels(model.match),
        gpus_per_replica=model.replica.gpus,
        capacity=model.replica.capacity.value if model.replica.capacity else None,
        capacity_unit=model.replica.capacity.unit if model.replica.capacity else "",
        hosted=hosted(model.replica),
        objective=Objective(model.replica.objective.wait, model.replica.objective.late),
        utilisation_target=model.utilisation_target,
        tick_s=model.tick,
        priority=model.priority,
        choose=model.offers.choose,  # type: ignore[arg-type]
        offers=offers(model, defaults),
        signals=tuple(_signal(name, s, model) for name, s in model.signals.items()),
        rules=tuple(_rule(r, model) for r in model.rules),
        alerts=tuple(_alert(a) for a in model.alerts),
        scale_out=_scale_out(model.scale_out),
        scale_in=_scale_in(model.scale_in, model),
        flap=Flap(model.flap.moves, model.flap.per),
        launch=launching(model.launch),
        warm_pool=warm_pool(model.warm_pool),
        disruption=disruption(model.disruption),
        consolidate=consolidation(model.consolidate),
        ownership=ownership(model.manual, model.orphans, model.launch.limit),
        shadow=model.shadow.file if model.shadow is not None else "",
        hash=digest,
        file=file,
    )


def labels(given: Mapping[str, str]) -> Labels:
    """Label pairs, sorted by name."""
    return tuple(sorted(given.items()))


def bounds(model: PoolFile, defaults: Defaults) -> Bounds:
    """The pool's bounds. A file that nobody bounded, which may be checked but not run, may not grow."""
    most = model.limits.max if model.limits.max is not None else defaults.max
    some = model.limits
    least, most = some.min, most if most is not None else max(1, some.min)
    return Bounds(least, most, some.budget, some.budget_per_day, some.on_exceeded)  # type: ignore[arg-type]


def _signal(name: str, section: SignalSection, model: PoolFile) -> Signal:
    percentile = section.aggregate.startswith("p") and float(f"0.{section.aggregate[1:].rjust(2, '0')}")
    return Signal(
        name=name,
        metric=signals.canonical(section.metric) if section.metric is not None else None,
        where=labels(section.where),
        aggregate="quantile" if percentile else section.aggregate,  # type: ignore[arg-type]
        rate_s=section.rate,
        quantile=percentile or (None if section.quantile == "auto" else section.quantile),
        steered=section.quantile == "auto",
        over_s=section.over,
        promql=section.promql,
        forecast=section.forecast,
        ahead_s=section.at,
        of=section.of,  # type: ignore[arg-type]
        forecaster=plugged_forecaster(section),
        unusual=spans(section.unusual_days, section.timezone),
        max_age_s=section.max_age if section.max_age is not None else model.data.max_age,
        max_hold_s=section.max_hold if section.max_hold is not None else model.data.max_hold,
        fallback=tuple(section.fallback),
    )


def _rule(section: RuleSection, model: PoolFile) -> Rule:
    return Rule(
        name=section.name,
        policy=_policy(section, model),
        when=condition(section.when, model) if section.when else None,
        cooldown_s=section.cooldown,
        alert=section.alert,  # type: ignore[arg-type]
        keep_firing_for_s=section.keep_firing_for,
        silence_s=section.silence,
        stages=tuple(section.stages),
    )


def _policy(section: RuleSection, model: PoolFile) -> Policy | None:
    if section.scale_out is not None:
        return Step(section.scale_out.by.replicas, section.scale_out.by.ratio)
    if section.target is not None:
        per_replica = section.target.per_replica
        return Target(
            signal=section.target.signal,
            per_replica=per_replica.value if per_replica else None,
            tolerance_out=model.scale_out.tolerance,
            tolerance_in=model.scale_in.tolerance,
            utilisation_target=model.utilisation_target,
            unit=f" {per_replica.unit}" if per_replica and per_replica.unit else "",
            backlog=section.target.backlog,
            clear_s=section.target.clear,
        )
    if section.schedule is not None and section.limits is not None:
        s = section.schedule
        return Schedule(s.cron, s.lasts, s.timezone, section.limits.min, section.limits.max)
    if section.policy is not None:
        policy: Policy = plugins.build("policies", section.policy.use, section.policy.model_extra or {})
        return policy
    return None


def condition(section: When, model: PoolFile) -> Condition:
    """A condition with its hold time."""
    return Condition(_test(section, model), section.for_)


def _test(section: Part, model: PoolFile) -> Test | Group:
    if section.tests:
        tests = tuple(_leaf(name, test, model) for name, test in section.tests.items())
        return tests[0] if len(tests) == 1 else Group(len(tests), tests)
    parts = tuple(_test(part, model) for part in section.all or section.any or section.of or ())
    need = len(parts) if section.all else 1 if section.any else section.at_least or 0
    return parts[0] if len(parts) == 1 else Group(need, parts)


def _leaf(name: str, section: Deviation, model: PoolFile) -> Test:
    threshold, text, learned = threshold_of(section, clip_of(model.signals[name]))
    lookback_s = section.lookback_s if learned else 0.0
    return Test(name, section.direction, threshold, lookback_s, text)  # type: ignore[arg-type]


def clip_of(section: SignalSection) -> float | None:
    """1.0 for a signal that is a ratio and stays one when its series are put together, else None."""
    if section.metric is None or section.aggregate in ("sum", "count") or section.rate is not None:
        return None
    known = signals.metric(section.metric)
    return 1.0 if known is not None and known.unit == "ratio" else None


def threshold_of(section: Deviation, clip_at: float | None) -> tuple[Threshold, str, bool]:
    """The threshold, its text, and whether it learns from the lookback."""
    limit = getattr(section, section.direction)
    match limit:
        case Level(at, text):
            below = section.direction == "below"
            return Static(*((at.value, math.inf) if below else (-math.inf, at.value))), text, False
        case Within(lower, upper, text):
            return Static(lower.value, upper.value), text, False
        case Spread(kind, k, text):
            width = section.min_width.at if isinstance(section.min_width, Level) else None
            relative = width is not None and width.unit == "ratio"
            wide = f", at least {section.min_width.text} wide" if isinstance(section.min_width, Level) else ""
            threshold = LEARNED[kind](
                k=k,
                min_points=section.min_points,
                min_width=width.value if width is not None and not relative else 0.0,
                min_width_ratio=width.value if width is not None and relative else 0.0,
                clip_at=clip_at,
            )
            return threshold, text + wide, True
        case PluggedIn(name, settings, text):
            return plugins.build("thresholds", name, dict(settings)), text, True
    raise AssertionError(f"no such threshold: {limit}")


def _alert(section: AlertSection) -> SeriesAlert:
    known = signals.metric(section.each)
    threshold, text, learned = threshold_of(section, 1.0 if known is not None and known.unit == "ratio" else None)
    return SeriesAlert(
        name=alert_name(section),
        metric=signals.canonical(section.each),
        direction=section.direction,  # type: ignore[arg-type]
        threshold=threshold,
        lookback_s=section.lookback_s if learned else 0.0,
        for_s=section.for_,
        keep_firing_for_s=section.keep_firing_for,
        silence_s=section.silence,
        severity=section.severity,  # type: ignore[arg-type]
        where=labels(section.where),
        text=text,
    )


def alert_name(section: AlertSection) -> str:
    """The name given, or one made of the metric, the direction and the threshold."""
    return section.name or f"{section.each} {section.direction} {getattr(section, section.direction).text}"


def _scale_out(section: Out) -> ScaleOut:
    burst = section.burst
    return ScaleOut(
        window_s=section.window,
        tolerance=section.tolerance,
        rate_replicas=section.rate.replicas,
        rate_ratio=section.rate.percent,
        rate_per_s=section.rate.per,
        max_move=section.max_move,
        burst=BurstGuard(burst.window, burst.ratio, burst.hold) if burst is not None else None,
    )


def _scale_in(section: In, model: PoolFile) -> ScaleIn:
    return ScaleIn(
        stabilization_s=section.stabilization,
        tolerance=section.tolerance,
        rate_replicas=section.rate.replicas,
        rate_ratio=section.rate.percent,
        rate_per_s=section.rate.per,
        cool_off_s=section.cool_off,
        drain_s=section.drain,
        settle_s=section.settle,
        victim=section.victim,  # type: ignore[arg-type]
        when=condition(section.when, model) if section.when else None,
        by=section.by,
        to_zero_after_s=section.to_zero_after,
        hook=drain_hook(section.drain_hook),
    )
