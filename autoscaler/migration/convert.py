"""From manifests to rule files: one for each scaler that is known, checked like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autoscaler.migration import hpa, keda
from autoscaler.migration.draft import Draft, Note
from autoscaler.migration.manifests import Part
from autoscaler.migration.workloads import by_name, gpus_of, namespace_of
from autoscaler.rulefile.reader import Checked, check_text

SCALERS: dict[str, Callable[[Part, str], Draft]] = {
    "HorizontalPodAutoscaler": hpa.convert,
    "ScaledObject": keda.convert,
}

MADE_BY_KEDA = "scaledobject.keda.sh/name"
"""A label of the HorizontalPodAutoscalers that KEDA makes; their ScaledObject is what counts."""


@dataclass(frozen=True, slots=True)
class Converted:
    """One rule file. checked: what the rule check says of it, as it stands."""

    pool: str
    text: str
    source: str
    notes: tuple[Note, ...]
    checked: Checked


def convert(manifests: Sequence[Part]) -> tuple[Converted, ...]:
    """A rule file for each scaler; whatever else is there is read only for what it says of replicas.

    Raises InputError for a manifest that cannot be understood.
    """
    scalers = [m for m in manifests if m.text("kind") in SCALERS and not m.get("metadata", "labels", MADE_BY_KEDA)]
    workloads = by_name(manifests)
    several = len({namespace_of(m) for m in scalers}) > 1
    taken: set[str] = set()
    return tuple(_one(m, _pool(m, several, taken), workloads.get(_meant(m))) for m in scalers)


def _one(manifest: Part, pool: str, workload: Part | None) -> Converted:
    draft = SCALERS[manifest.text("kind")](manifest, pool)
    gpus = gpus_of(workload) if workload is not None else None
    if gpus is None:
        draft.note("to do", manifest, "how many GPUs a replica takes: write replica: {gpus: N}; 1 is assumed")
    else:
        draft.sections = {"replica": {"gpus": str(gpus)}, **draft.sections}
    draft.note("to do", manifest, "what may be launched: write offers, see docs/rules.md; until then nothing can be")
    if not draft.rules:
        draft.note("to do", manifest, "no rule could be made of it, so the pool keeps the size that it has")
    draft.notes.sort(key=lambda note: ("to do", "different", "left out").index(note.kind))
    text = draft.text()
    return Converted(pool, text, manifest.place, tuple(draft.notes), check_text(text, file=f"{pool}.yaml"))


def _meant(manifest: Part) -> tuple[str, str]:
    return namespace_of(manifest), manifest.text("spec", "scaleTargetRef", "name")


def _pool(manifest: Part, several: bool, taken: set[str]) -> str:
    """The workload's name; with its namespace where there are several of those."""
    namespace, name = _meant(manifest)
    name = name or manifest.text("metadata", "name", default="pool")
    wished = f"{namespace}-{name}" if several else name
    number, free = 2, wished
    while free in taken:
        free, number = f"{wished}-{number}", number + 1
    taken.add(free)
    return free


def passed_over(manifests: Sequence[Part]) -> Iterator[Part]:
    """Scalers of other kinds, which people may have expected to be read."""
    for manifest in manifests:
        kind = manifest.text("kind")
        if kind in ("ScaledJob", "VerticalPodAutoscaler", "NodePool", "Provisioner", "DynamoGraphDeployment"):
            yield manifest
