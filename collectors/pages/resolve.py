"""What a series of any page means: asked once per series, of the tables of DCGM, of another
exporter, and of the inference engines."""

from __future__ import annotations

from functools import lru_cache

from autoscaler.signals import is_counter
from autoscaler.types import Labels
from collectors import dcgm, engines
from collectors.pages import smi_names
from collectors.pages.identity import Identity, Resolve
from collectors.pages.layout import Combination

WORKLOAD = ("pod", "namespace", "container")
"""Labels that a Prometheus in between renames to `exported_...`; the plain ones then name the exporter's own pod."""

ENGINE_LABEL = "inference_engine"
"""Label of a target that says which engine it is, where its names do not: `nim`."""

COMBINATIONS: tuple[Combination, ...] = (
    *engines.COMBINATIONS,
    # A quotient by zero has no value: a list of processes that could not be read has no length.
    Combination("gpu_processes", "quotient", smi_names.COUNTED_PROCESSES, smi_names.COLLECTED),
)


def resolver(engine: str = "") -> Resolve:
    """How to read the pages of one kind of target. Give "nim" for NVIDIA NIM, whose names carry no prefix."""

    def resolve(name: str, labels: Labels, hint: str) -> tuple[Identity, ...]:
        # When a series was created is no measurement; some libraries type it as a gauge, which reads as load.
        if name.endswith("_created"):
            return ()
        kept = workload_labels(labels)
        found = dcgm.identities(name, kept)
        if found is None:
            found = smi_names.identities(name, kept)
        if found is None:
            found = engines.identities(name, kept, engine)
        if found is None:
            found = (Identity(name, kept, is_counter(name, hint)),)
        return found

    return resolve


resolve = resolver()


def why_nobody(name: str, labels: Labels) -> str:
    """Why a series means nothing to us, in words."""
    if name.endswith("_created"):
        return "tells when a series was created, which is no measurement"
    kept = workload_labels(labels)
    if any(label in {"gi_id", "GPU_I_ID"} for label, _ in kept):
        return "is a value of the whole board that the driver does not have for a MIG instance"
    return engines.left_out(name, kept) or "means nothing to us"


@lru_cache(maxsize=1024)
def workload_labels(labels: Labels) -> Labels:
    """Labels with a value, sorted; `exported_pod` and its like take the place of the plain ones."""
    kept = {name: value for name, value in labels if value}
    for name in WORKLOAD:
        exported = kept.pop(f"exported_{name}", None)
        if exported is not None:
            kept[name] = exported
    return tuple(sorted(kept.items()))
