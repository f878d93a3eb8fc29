"""A HorizontalPodAutoscaler, autoscaling/v2 or v1, as a rule file.

Its law: the size at which each replica carries the target of a metric, the highest over all metrics (Kubernetes
documentation, "Algorithm details"). A mean per replica is the sum over all replicas shared out, which is our target.
"""

from __future__ import annotations

from autoscaler.migration import behaviour
from autoscaler.migration.draft import Draft, Value
from autoscaler.migration.manifests import Part

DEFAULT_CPU_PERCENT = 80.0
SYNC = "15s"
"""How often Kubernetes' controller looks, unless its cluster sets --horizontal-pod-autoscaler-sync-period."""

RESOURCES = {"cpu": "host_cpu_ratio", "memory": "host_memory_used_ratio"}


def convert(manifest: Part, pool: str) -> Draft:
    """The rule file of one HorizontalPodAutoscaler."""
    draft = Draft(pool, manifest)
    spec = manifest.get("spec")
    if spec is None:
        raise manifest.fault("has no spec; nothing can be made of it")
    least, most = spec.number("minReplicas", default=1.0), spec.number("maxReplicas")
    if most is None:
        raise spec.fault("has no maxReplicas; every pool needs an upper bound")
    draft.sections["limits"] = {"min": f"{least:.0f}", "max": f"{most:.0f}"}
    draft.sections["tick"] = SYNC
    behaviour.write(draft, spec.get("behavior"))
    metrics = spec.list("metrics")
    for metric in metrics:
        _metric(draft, metric)
    percent = spec.number("targetCPUUtilizationPercentage")
    if percent is not None or not metrics:
        _resource(draft, spec, "cpu", percent if percent is not None else DEFAULT_CPU_PERCENT)
    return draft


def _metric(draft: Draft, metric: Part) -> None:
    kind = metric.text("type")
    if kind in ("Resource", "ContainerResource"):
        inner = metric.get(kind[0].lower() + kind[1:]) or metric
        name, percent = inner.text("name"), inner.number("target", "averageUtilization")
        if name in RESOURCES and percent is not None:
            _resource(draft, inner, name, percent)
        else:
            draft.note("left out", inner, f"the amount of {name} that a pod uses; a share of it can be a target")
        if kind == "ContainerResource":
            draft.note("different", inner, "it was of one container, here it is of the whole machine")
    elif kind == "Pods":
        _shared(draft, metric.get("pods") or metric)
    elif kind in ("External", "Object"):
        _external(draft, metric.get(kind.lower()) or metric)
    else:
        draft.note("left out", metric, f"a metric of the type {kind or '(none)'}, which is not known here")


def _resource(draft: Draft, at: Part, name: str, percent: float) -> None:
    signal = draft.signal(name, {"metric": RESOURCES[name], "aggregate": "sum"})
    draft.rule(f"{name} of {percent:g}%", target={"signal": signal, "per_replica": f"{percent:g}%"})
    if name == "memory":
        draft.note("different", at, "memory of an engine is reserved at its start and tells no load; think of a queue")
    else:
        draft.note(
            "different",
            at,
            "the share was of the pod's request, here it is of the machine's processors (host_cpu_ratio)",
        )


def _shared(draft: Draft, inner: Part) -> None:
    """A metric whose mean per pod is the target."""
    name, each = inner.text("metric", "name"), inner.text("target", "averageValue")
    signal = draft.signal(name, {"metric": name, "aggregate": "sum", **_where(draft, inner)})
    draft.rule(name, target={"signal": signal, "per_replica": amount(inner, each)})


def _external(draft: Draft, inner: Part) -> None:
    """A metric from outside: with averageValue it is shared out, with value the size moves by its ratio to it."""
    name = inner.text("metric", "name")
    each, whole = inner.text("target", "averageValue"), inner.text("target", "value")
    signal = draft.signal(name, {"metric": name, "aggregate": "sum", **_where(draft, inner)})
    if each:
        draft.rule(name, target={"signal": signal, "per_replica": amount(inner, each)})
    elif whole:
        by_ratio(draft, inner, signal, name, amount(inner, whole))
    draft.note(
        "to do",
        inner,
        f"an adapter gave {name}; here a scraped page, a push or a promql signal must, see docs/sources.md",
    )


def by_ratio(draft: Draft, at: Part, signal: str, name: str, value: str) -> None:
    """A target for the metric itself: above it the pool grows. Here in steps of a quarter."""
    draft.rule(name, when={signal: {"above": value}}, scale_out={"by": "25%"}, cooldown="60s")
    draft.note(
        "different",
        at,
        f"the size was multiplied by {name} / {value}; here it grows by a quarter a minute while {name} is above, and "
        "this rule never shrinks: give the pool a target on its demand",
    )


def _where(draft: Draft, inner: Part) -> dict[str, Value]:
    """Labels of a metric's selector."""
    selector = inner.get("metric", "selector")
    if selector is None:
        return {}
    if selector.list("matchExpressions"):
        draft.note("left out", selector, "matchExpressions of the metric; here labels are equal or not asked for")
    labels: dict[str, Value] = {key: str(part.value) for key, part in selector.items("matchLabels")}
    return {"where": labels} if labels else {}


SUFFIXES = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)
}


def amount(at: Part, quantity: str) -> str:
    """A Kubernetes quantity, such as 500m or 2k, as a plain number."""
    digits = quantity.rstrip("numkKMGTPEi")
    factor = SUFFIXES.get(quantity[len(digits) :])
    try:
        if factor is None:
            raise ValueError(quantity)
        return f"{float(digits) * factor:.10g}"
    except ValueError:
        raise at.fault(f"{quantity!r} is not a quantity; correct the manifest") from None
