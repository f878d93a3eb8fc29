"""What a workload's own manifest says of its replicas: GPUs, and the name that a scaler means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autoscaler.migration.manifests import Part

KINDS = ("Deployment", "StatefulSet", "ReplicaSet")
GPU = "nvidia.com/gpu"


def by_name(manifests: Iterable[Part]) -> Mapping[tuple[str, str], Part]:
    """Workloads by namespace and name."""
    found = (part for part in manifests if part.text("kind") in KINDS)
    return {(namespace_of(part), part.text("metadata", "name")): part for part in found}


def namespace_of(part: Part) -> str:
    """The namespace of a manifest."""
    return part.text("metadata", "namespace", default="default")


def gpus_of(workload: Part) -> int:
    """GPUs that one replica asks for, over all its containers; 0 = it asks for none."""
    containers = workload.list("spec", "template", "spec", "containers")
    return sum(int(c.number("resources", "limits", GPU, default=0.0) or 0) for c in containers)
