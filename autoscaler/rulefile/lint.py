"""What is legal in a rule file and unwise: warnings, each with the reason and the next step."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler import plugins, signals
from autoscaler.errors import Fault
from autoscaler.rulefile.conditions import Part
from autoscaler.rulefile.findings import Finding, tests_of
from autoscaler.rulefile.model import PoolFile
from autoscaler.rulefile.offered import LEAD_TIME_S, Defaults, combinations, offers
from autoscaler.rulefile.pricing import price_warnings
from autoscaler.rulefile.section import did_you_mean
from autoscaler.rulefile.warmlint import warm_pool_warnings
from autoscaler.rulefile.words import Level
from autoscaler.units import duration_text
from autoscaler.yamltree import Tree


def lint(model: PoolFile, tree: Tree, defaults: Defaults) -> list[Fault]:
    """Every warning about a file that has no errors."""
    findings = [
        *_no_bound(model, defaults),
        *_no_offers(model),
        *_not_provided(model),
        *_summed_shares(model),
        *_saturating_alone(model),
        *_memory_scales_in(model),
        *_dead_band(model),
        *_short_cooldown(model, defaults),
        *_late_stages(model),
        *_never_scales_in(model),
        *_idle_scale_in(model),
        *warm_pool_warnings(model, offers(model, defaults)),
        *_prices(model, defaults),
    ]
    return [tree.fault(way, text, severity="warning") for way, text in findings]


def _no_bound(model: PoolFile, defaults: Defaults) -> Iterator[Finding]:
    if model.limits.max is None and defaults.max is None:
        yield (), "has no upper bound, so it can be checked but not run; give --max N or a default in the configuration"


def _no_offers(model: PoolFile) -> Iterator[Finding]:
    if not model.offers.from_:
        yield ("offers",), "nothing can be launched; add offers, such as 'from: [{local: {command: ...}}]'"


def _not_provided(model: PoolFile) -> Iterator[Finding]:
    """Signals and alerts on what no collector brings, as far as it is known here."""
    for name, section in model.signals.items():
        way = ("signals", name)
        if section.metric is not None and signals.metric(section.metric) is None:
            yield (*way, "metric"), _unknown(section.metric)
        if section.promql is not None and "prometheus" not in plugins.names("collectors"):
            yield (*way, "promql"), f"no collector for PromQL is installed; {name} stays missing until one is"
    for index, alert in enumerate(model.alerts):
        if signals.metric(alert.each) is None:
            yield ("alerts", index, "each"), _unknown(alert.each)
    installed = plugins.names("providers")
    for index, entry in enumerate(model.offers.from_):
        for provider in entry:
            if provider not in installed:
                text = f"no provider {provider} is installed, so nothing is launched by it"
                yield ("offers", "from", index, provider), text + did_you_mean(provider, installed)


def _unknown(metric: str) -> str:
    near = signals.suggest(metric)
    hint = f"did you mean {near}?" if near else "it counts as long as a target exports that very name"
    return f"{metric} is not a metric that a collector provides; {hint}"


def _summed_shares(model: PoolFile) -> Iterator[Finding]:
    """The usual way to put series together, a sum, makes 8.0 of eight busy GPUs."""
    for name, section in model.signals.items():
        known = signals.metric(section.metric or "")
        if known is not None and known.ratio and "aggregate" not in section.model_fields_set:
            text = f"{section.metric} is a share, and shares of several series are added up unless you say otherwise"
            yield ("signals", name, "metric"), f"{text}; write aggregate: mean"


def _saturating_alone(model: PoolFile) -> Iterator[Finding]:
    """Law: signals that clip never decide alone. At 100 % they ask for the same, however much is waiting."""
    growing = set(_growing(model))
    metrics = {name: model.signals[name].metric for name in growing}
    known = {name: signals.metric(m) for name, m in metrics.items() if m is not None}
    if not growing or len(known) < len(growing):
        return
    if all(m is not None and m.saturating for m in known.values()):
        names = ", ".join(sorted(f"{n} ({metrics[n]})" if n != metrics[n] else n for n in growing))
        advice = "add a rule on requests_waiting or requests_arrived_total"
        yield ("rules",), f"only {names} can scale out, which says nothing more once it is at its limit; {advice}"


def _growing(model: PoolFile) -> Iterator[str]:
    """Signals that can ask for more replicas, forecasts by what they look ahead on."""
    for rule in model.rules:
        names = [rule.target.signal] if rule.target is not None else []
        if rule.when is not None and (rule.scale_out is not None or rule.policy is not None):
            names += [name for _, name, _ in tests_of(rule.when, ())]
        for name in names:
            yield model.signals[name].forecast or name


def _memory_scales_in(model: PoolFile) -> Iterator[Finding]:
    if model.scale_in.when is not None:
        for way, name, _ in tests_of(model.scale_in.when, ("scale_in", "when")):
            if _scale_out_only(model, name):
                yield way, f"{name} does not fall when load does: engines keep their memory; scale in by load instead"
    for index, rule in enumerate(model.rules):
        if rule.target is not None and _scale_out_only(model, rule.target.signal):
            way = ("rules", index, "target", "signal")
            yield way, f"{rule.target.signal} does not fall when load does: engines keep their memory; size by load"


def _scale_out_only(model: PoolFile, name: str) -> bool:
    known = signals.metric(model.signals[name].metric or "")
    return known is not None and known.scale_out_only


def _dead_band(model: PoolFile) -> Iterator[Finding]:
    """A scale-in threshold so near the scale-out one that the move it causes is undone."""
    if model.scale_in.when is None:
        return
    tolerance = model.scale_in.tolerance
    growing = {
        name: test.above
        for rule in model.rules
        if rule.scale_out is not None and rule.when is not None
        for _, name, test in tests_of(rule.when, ())
        if isinstance(test.above, Level)
    }
    for way, name, test in tests_of(model.scale_in.when, ("scale_in", "when")):
        out = growing.get(name)
        if out is None or not isinstance(test.below, Level):
            continue
        edge = out.at.value * (1 - tolerance)
        if test.below.at.value > edge:
            text = f"{test.below.text} is inside the dead band below {out.text}, where {name} scales out"
            yield (*way, "below"), f"{text}; fewer replicas would cross it again, write less than {edge:g}"


def _prices(model: PoolFile, defaults: Defaults) -> Iterator[Finding]:
    """Prices that are old or not known, and machines that are not worth theirs."""
    known = {o.key: o for o in offers(model, defaults)}
    for index, entry in enumerate(model.offers.from_):
        for provider, section in entry.items():
            mine = [known[o.key] for o in combinations(provider, section, model.replica.gpus, defaults)]
            for text in dict.fromkeys(price_warnings(mine, defaults.prices, defaults.today)):
                yield ("offers", "from", index, provider), text


def _short_cooldown(model: PoolFile, defaults: Defaults) -> Iterator[Finding]:
    times = [o.lead_time_s for o in offers(model, defaults)]
    lead_s = max(times, default=LEAD_TIME_S)
    for index, rule in enumerate(model.rules):
        if rule.scale_out is None or rule.cooldown >= lead_s:
            continue
        lead = duration_text(lead_s)
        text = f"the rule orders again before its first order serves, which takes {lead}"
        hint = f"write cooldown: {lead}, or state the offer's lead_time"
        if rule.cooldown:
            yield ("rules", index, "cooldown"), f"{duration_text(rule.cooldown)} is short: {text}; {hint}"
        else:
            yield ("rules", index), f"has no cooldown: {text}; {hint}"


def _late_stages(model: PoolFile) -> Iterator[Finding]:
    """Each stage waits until the one before serves, so a forecast one lead time ahead comes too late for the last."""
    for index, rule in enumerate(model.rules):
        signal = model.signals.get(rule.target.signal) if rule.target is not None else None
        if len(rule.stages) > 1 and signal is not None and signal.forecast is not None and signal.at is None:
            text = f"{len(rule.stages)} stages take as many lead times, and the forecast looks one ahead"
            yield ("rules", index, "stages"), f"{text}; write a longer 'at' for the signal, such as at: 20m"


def _never_scales_in(model: PoolFile) -> Iterator[Finding]:
    steps = any(r.scale_out is not None for r in model.rules)
    target = any(r.target is not None or r.policy is not None for r in model.rules)
    if steps and not target and model.scale_in.when is None:
        text = "step rules alone never scale in, so the pool only grows; add a rule with a target, or scale_in.when"
        yield ("rules",), text


def _idle_scale_in(model: PoolFile) -> Iterator[Finding]:
    part: Part | None = model.scale_in.when
    if part is not None and any(r.target is not None for r in model.rules):
        yield ("scale_in", "when"), "has no effect: the target already says how few replicas are enough; remove it"
