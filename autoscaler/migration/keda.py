"""A ScaledObject of KEDA as a rule file.

KEDA switches a workload between none and one, and has a HorizontalPodAutoscaler do the rest, so that most of it is the
law of that (KEDA documentation, "ScaledObject specification" and the pages of its scalers, version 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from autoscaler.migration import behaviour
from autoscaler.migration.draft import Draft, Value, seconds
from autoscaler.migration.hpa import RESOURCES, by_ratio
from autoscaler.migration.manifests import Part

DEFAULT_MAX, DEFAULT_POLL_S, DEFAULT_COOLDOWN_S = 100.0, 30.0, 300.0
PAUSED = "autoscaling.keda.sh/paused"
LOOKS = 8
"""Times that a window is looked at, to see that it is always equally long: more than a week of a daily one."""

A_MONDAY = 1_767_571_200.0
"""2026-01-05 00:00 UTC, where looking begins."""


def convert(manifest: Part, pool: str) -> Draft:
    """The rule file of one ScaledObject."""
    draft = Draft(pool, manifest)
    spec = manifest.get("spec")
    if spec is None:
        raise manifest.fault("has no spec; nothing can be made of it")
    least = spec.number("minReplicaCount", default=0.0) or 0.0
    most = spec.number("maxReplicaCount", default=DEFAULT_MAX) or DEFAULT_MAX
    idle = spec.number("idleReplicaCount")
    draft.sections["limits"] = {"min": f"{least if idle is None else idle:.0f}", "max": f"{most:.0f}"}
    draft.sections["tick"] = seconds(max(1.0, spec.number("pollingInterval", default=DEFAULT_POLL_S) or 1.0))
    behaviour.write(draft, spec.get("advanced", "horizontalPodAutoscalerConfig", "behavior"))
    inward = draft.sections["scale_in"]
    if (least == 0 or idle == 0) and isinstance(inward, dict):
        inward["to_zero_after"] = seconds(spec.number("cooldownPeriod", default=DEFAULT_COOLDOWN_S) or 0.0)
    for trigger in spec.list("triggers"):
        TRIGGERS.get(trigger.text("type"), _unknown)(draft, trigger)
    _rest(draft, manifest, spec, idle, least)
    return draft


def _rest(draft: Draft, manifest: Part, spec: Part, idle: float | None, least: float) -> None:
    """What is neither a bound nor a trigger."""
    if idle is not None and least > 0:
        draft.note(
            "different",
            spec,
            f"between {idle:.0f} and {least:.0f} there was nothing; here every size from {idle:.0f} on may be",
        )
    fallback = spec.get("fallback")
    if fallback is not None:
        draft.note(
            "different",
            fallback,
            f"without data it had {fallback.text('replicas')} replicas; here the pool keeps its size while a signal is "
            "missing, and a signal may name others as `fallback`",
        )
    formula = spec.get("advanced", "scalingModifiers", "formula")
    if formula is not None:
        draft.note("left out", formula, "the formula over triggers; one promql signal can hold the same expression")
    for key, part in manifest.items("metadata", "annotations"):
        if key.startswith(PAUSED):
            draft.note(
                "left out",
                part,
                f"{key} is set; here a person pauses a pool: sigmascale override set {draft.pool} --pause",
            )


def _prometheus(draft: Draft, trigger: Part) -> None:
    query, each = trigger.text("metadata", "query"), trigger.text("metadata", "threshold")
    if not query or not each:
        raise trigger.fault("a prometheus trigger needs a query and a threshold; correct the manifest")
    name = trigger.text("name") or trigger.text("metadata", "metricName") or "load"
    signal = draft.signal(name, {"promql": " ".join(query.split())})
    if trigger.text("metricType", default="AverageValue") == "Value":
        by_ratio(draft, trigger, signal, name, each)
    else:
        draft.rule(name, target={"signal": signal, "per_replica": each})
    server = trigger.text("metadata", "serverAddress", default="http://prometheus:9090")
    told = f"the service asks the store that its configuration names: collectors: {{prometheus: {{url: {server}}}}}"
    draft.note("to do", trigger, told)
    _activation(draft, trigger, "activationThreshold")
    if trigger.get("authenticationRef") is not None:
        draft.note("to do", trigger, "its credentials; docs/sources.md says which files the collector reads them from")
    if trigger.text("metadata", "ignoreNullValues", default="true") == "true":
        draft.note(
            "different", trigger, "an empty answer counted as 0; here it is unknown, and unknown never shrinks a pool"
        )


def _resource(draft: Draft, trigger: Part) -> None:
    name = trigger.text("type")
    value = trigger.number("metadata", "value")
    kind = trigger.text("metricType") or trigger.text("metadata", "type", default="Utilization")
    if kind != "Utilization" or value is None:
        draft.note("left out", trigger, f"an amount of {name}; a share of it can be a target")
        return
    signal = draft.signal(name, {"metric": RESOURCES[name], "aggregate": "sum"})
    draft.rule(f"{name} of {value:g}%", target={"signal": signal, "per_replica": f"{value:g}%"})
    draft.note(
        "different", trigger, f"the share was of the pod's request, here it is of the machine ({RESOURCES[name]})"
    )


def _cron(draft: Draft, trigger: Part) -> None:
    start, end = trigger.text("metadata", "start"), trigger.text("metadata", "end")
    zone = trigger.text("metadata", "timezone", default="UTC")
    replicas = trigger.number("metadata", "desiredReplicas")
    if not start or not end or replicas is None:
        raise trigger.fault("a cron trigger needs start, end and desiredReplicas; correct the manifest")
    lasts_s = _length_s(trigger, start, end, zone)
    if lasts_s is None:
        draft.note(
            "left out", trigger, f"a window from '{start}' to '{end}' that is not always equally long; write several"
        )
        return
    schedule: dict[str, Value] = {"cron": start, "lasts": seconds(lasts_s), "timezone": zone}
    draft.rule(f"{start} to {end}", schedule=schedule, limits={"min": f"{replicas:.0f}"})


def _length_s(trigger: Part, start: str, end: str, zone: str) -> float | None:
    """How long the window between two schedules is, None when it varies, in the clock's own hours."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from cronsim import CronSim, CronSimError

    try:
        ZoneInfo(zone)
        # Without the zone: the clock of the place counts, and no window is an hour shorter once a year.
        begin = datetime.fromtimestamp(A_MONDAY, UTC).replace(tzinfo=None)
        starts = CronSim(start, begin)
        found = set()
        for _ in range(LOOKS):
            opened = next(starts)
            found.add((next(CronSim(end, opened)) - opened).total_seconds())
    except (CronSimError, StopIteration):
        raise trigger.fault(f"'{start}' or '{end}' is not a schedule; correct the manifest") from None
    except (ZoneInfoNotFoundError, ValueError):
        raise trigger.fault(f"{zone!r} is not a time zone; correct the manifest") from None
    return found.pop() if len(found) == 1 else None


def _unknown(draft: Draft, trigger: Part) -> None:
    kind = trigger.text("type") or "(none)"
    threshold = next((f" ({k} {p.value})" for k, p in trigger.items("metadata") if _is_target(k)), "")
    draft.note(
        "left out",
        trigger,
        f"a trigger of the type {kind}{threshold}; have its exporter scraped, or ask a store by promql, and give the "
        "signal a target: `target: {signal: NAME, per_replica: THRESHOLD}`",
    )


def _is_target(key: str) -> bool:
    low = key.lower()
    return not low.startswith("activation") and low.endswith(("threshold", "length", "targetvalue", "value"))


def _activation(draft: Draft, trigger: Part, key: str) -> None:
    value = trigger.number("metadata", key)
    if value is not None and math.isfinite(value) and value > 0:
        told = f"a pool at zero woke up above {value:g}; here it wakes up for any demand above 0"
        draft.note("different", trigger, told)


TRIGGERS: dict[str, Callable[[Draft, Part], None]] = {
    "prometheus": _prometheus,
    "cpu": _resource,
    "memory": _resource,
    "cron": _cron,
}
