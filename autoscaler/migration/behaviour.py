"""`behavior` of a HorizontalPodAutoscaler as our limits on movement.

Defaults and meaning: Kubernetes documentation, "Horizontal Pod Autoscaling", sections "Default behavior" and "Scaling
policies".
"""

from __future__ import annotations

from autoscaler.migration.draft import Draft, Value, seconds
from autoscaler.migration.manifests import Part

DOWN_WINDOW_S = 300.0
EVERYTHING = "100%"


def write(draft: Draft, behavior: Part | None) -> None:
    """Adds `scale_out` and `scale_in` as the manifest has them, or as Kubernetes fills them in."""
    up, down = (behavior.get(side) if behavior is not None else None for side in ("scaleUp", "scaleDown"))
    out: dict[str, Value] = {"tolerance": "10%", "max_move": "1000", "burst": "off"}
    inward: dict[str, Value] = {"tolerance": "10%", "cool_off": "0s"}
    window_s = up.number("stabilizationWindowSeconds") if up is not None else None
    if window_s:
        out["window"] = seconds(window_s)
    window_s = down.number("stabilizationWindowSeconds") if down is not None else None
    inward["stabilization"] = seconds(DOWN_WINDOW_S if window_s is None else window_s)
    out["rate"] = _rate(draft, up, {"replicas": "4", "percent": EVERYTHING, "per": "15s"})
    inward["rate"] = _rate(draft, down, {"replicas": "1", "percent": EVERYTHING, "per": "15s"})
    for side, section in ((up, out), (down, inward)):
        tolerance = side.number("tolerance") if side is not None else None
        if tolerance is not None:
            section["tolerance"] = f"{100 * tolerance:g}%"
    if up is not None and up.text("selectPolicy") == "Disabled":
        draft.note("different", up, "growth was disabled; here it is not: add an override, or a ceiling by a schedule")
    if down is not None and down.text("selectPolicy") == "Disabled":
        inward["stabilization"] = "30d"
        draft.note("different", down, "shrinking was disabled; here it waits for 30 days of less demand")
    draft.sections["scale_out"], draft.sections["scale_in"] = out, inward


def _rate(draft: Draft, side: Part | None, otherwise: dict[str, Value]) -> Value:
    """The policies as one limit: at most max(replicas, percent) per period."""
    policies = side.list("policies") if side is not None else ()
    if side is None or not policies:
        return otherwise
    most: dict[str, float] = {}
    periods = {policy.number("periodSeconds", default=15.0) or 15.0 for policy in policies}
    per_s = max(periods)
    for policy in policies:
        kind = policy.text("type")
        value = policy.number("value", default=0.0) or 0.0
        # A policy over a shorter period allows proportionally more in the common one.
        value *= per_s / (policy.number("periodSeconds", default=15.0) or 15.0)
        most[kind] = max(most.get(kind, 0.0), value)
    if side.text("selectPolicy") == "Min" and len(policies) > 1:
        draft.note(
            "different", side, "of its policies the one that allows least counted; here the one that allows most"
        )
    if len(periods) > 1:
        draft.note("different", side, f"policies of several periods became one limit per {seconds(per_s)}")
    replicas = most.get("Pods", 0.0)
    return {
        "replicas": f"{max(1.0, replicas):.0f}",
        "percent": f"{most.get('Percent', 0.0):g}%",
        "per": seconds(per_s),
    }
