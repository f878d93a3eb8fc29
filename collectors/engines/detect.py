"""Which engine a page is from, and which of its releases, as far as the page gives it away."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from autoscaler.types import Labels
from collectors.engines.alias import Engine
from collectors.engines.meaning import spelled_by_engine
from collectors.engines.table import ENGINES

_UNPREFIXED = {"num_request_max": "nim", "request_finish_total": "nim"}
"""Names that only one engine prints although it prefixes none of its names."""
_VERSION_LABELS = ("version", "Version")
_INFO = re.compile(r"(build|version|engine)_info$")
_PARTS = re.compile(r"_(bucket|sum|count|created)$")


@dataclass(frozen=True, slots=True)
class EngineFact:
    """An engine that a page is from. version: as printed, empty where it is not. since, until: the releases that print
    such names, both included, empty = no bound known. proof: the series that say so."""

    engine: str
    version: str = ""
    since: str = ""
    until: str = ""
    proof: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """`vllm 0.11 or later`."""
        if self.version:
            return f"{self.engine} {self.version}"
        if self.since and self.until:
            return f"{self.engine} {self.since}" + (f" to {self.until}" if self.until != self.since else "")
        if self.since:
            return f"{self.engine} {self.since} or later"
        return f"{self.engine} up to {self.until}" if self.until else self.engine


def detect(series: Iterable[tuple[str, Labels]]) -> tuple[EngineFact, ...]:
    """The engines whose names occur among (name, labels), in the order in which they compete."""
    names: dict[str, dict[str, Labels]] = {}
    for name, labels in series:
        spelled = spelled_by_engine(name)
        engine = _engine_of(spelled)
        if engine is not None:
            names.setdefault(engine.name, {}).setdefault(spelled, labels)
    return tuple(_fact(engine, names[engine.name]) for engine in ENGINES if engine.name in names)


def _engine_of(name: str) -> Engine | None:
    named = _UNPREFIXED.get(name, "")
    for engine in ENGINES:
        if engine.name == named or (engine.prefixes and name.startswith(engine.prefixes)):
            return engine
    return None


def _fact(engine: Engine, names: dict[str, Labels]) -> EngineFact:
    printed = {form for name in names for form in (name, _PARTS.sub("", name), f"{name}_total")}
    version, proof = _printed_version(names)
    if version:
        return EngineFact(engine.name, version, proof=(proof,))
    ranges = {a.name: (a.since, a.until) for aliases in engine.aliases.values() for a in aliases} | dict(engine.hints)
    told = {name: bounds for name, bounds in ranges.items() if name in printed and any(bounds)}
    since = max((s for s, _ in told.values() if s), key=_order, default="")
    until = min((u for _, u in told.values() if u), key=_order, default="")
    proofs = sorted(name for name, (s, u) in told.items() if (s and s == since) or (u and u == until))
    return EngineFact(engine.name, "", since, until, tuple(proofs) or (min(names),))


def _printed_version(names: dict[str, Labels]) -> tuple[str, str]:
    """A release that an info series carries as a label; elsewhere, as at Triton, `version` is the model's."""
    for name, labels in sorted(names.items()):
        if _INFO.search(name) or name.startswith("ray_"):
            own = dict(labels)
            for label in _VERSION_LABELS:
                if own.get(label):
                    return own[label], name
    return "", ""


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
