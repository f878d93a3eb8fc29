"""How well a GPU is, out of what is known of it: driver faults, remapped rows, memory errors, the driver's own verdict.

The score and the verdicts are ours. A system of which nothing is known gets no verdict: missing is not well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from collectors.nvml.call import Call, Sample
from collectors.nvml.faults import Fault

PASS, WARN, FAIL = 0, 10, 20
"""DCGM_HEALTH_RESULT_* of dcgm_structs.h, so that both sources of `gpu_health` mean the same."""
RECENT_S = 3600.0
"""A fault counts against its GPU for so long."""
CORRUPTED_INFOROM = "14"
RECOVERY = {
    1: "reset the GPU",
    2: "reboot the machine",
    3: "drain peer-to-peer traffic",
    4: "drain and reset the GPU",
    5: "recover the IMEX domain",
    6: "reset the GPU's bus",
    7: "reboot the system",
}
"""NVML_GPU_RECOVERY_ACTION_* of nvml.h."""
_ONLY_PEERS = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a GPU; None = not known. faults: its recent ones. inforom_corrupted: a call answered with 14."""

    faults: tuple[Fault, ...] = ()
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    ecc_uncorrected: float | None = None
    recovery_action: int | None = None
    inforom_corrupted: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one system of a GPU: PASS, WARN or FAIL, what the score is multiplied by, and why."""

    system: str
    state: int
    score: float = 1.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The verdicts on one GPU."""

    verdicts: tuple[Verdict, ...] = ()

    @property
    def score(self) -> float:
        """0 (no new work) to 1 (nothing is held against it)."""
        return prod(verdict.score for verdict in self.verdicts)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is held against it."""
        return tuple(verdict.reason for verdict in self.verdicts if verdict.reason)


def judge(facts: Facts, now: float) -> Health:
    """The verdicts that the facts allow."""
    verdicts = [_on_faults(facts.faults, now)]
    if (memory := _on_memory(facts)) is not None:
        verdicts.append(memory)
    if facts.recovery_action is not None:
        verdicts.append(_on_recovery(facts.recovery_action))
    if facts.inforom_corrupted:
        verdicts.append(Verdict("inforom", WARN, 0.7, "the InfoROM is corrupted; have the board serviced"))
    return Health(tuple(verdicts))


def _on_faults(faults: tuple[Fault, ...], now: float) -> Verdict:
    recent = {fault.xid: fault.meaning for fault in faults if now - fault.at < RECENT_S}
    held = [xid for xid in recent.values() if xid.score < 1.0]
    if not held:
        return Verdict("xid", PASS)
    reason = ", ".join(f"XID {xid.code} ({xid.name})" for xid in held)
    return Verdict("xid", FAIL if any(xid.fatal for xid in held) else WARN, prod(xid.score for xid in held), reason)


def _on_memory(facts: Facts) -> Verdict | None:
    if facts.remap_failed:
        return Verdict("memory", FAIL, 0.0, "a memory row could not be replaced; replace the machine")
    if facts.remap_pending:
        return Verdict("memory", WARN, 0.7, "a memory row waits to be replaced; reset the GPU at the next drain")
    if facts.ecc_uncorrected:
        if facts.remap_failed is None:
            return Verdict("memory", FAIL, 0.0, "memory errors were not corrected, and this board replaces no rows")
        return Verdict("memory", WARN, 0.8, "memory errors were not corrected; their rows are replaced")
    known = facts.remap_failed is not None or facts.ecc_uncorrected is not None
    return Verdict("memory", PASS) if known else None


def _on_recovery(action: int) -> Verdict:
    if action == 0:
        return Verdict("recovery", PASS)
    reason = f"the driver asks to {RECOVERY.get(action, f'take action {action}')}"
    return Verdict("recovery", WARN, 0.9, reason) if action == _ONLY_PEERS else Verdict("recovery", FAIL, 0.0, reason)


@dataclass(eq=False)
class Watched:
    """Keeps what the calls of a GPU's slow lane told, and judges it at the end of the lane.

    faults: the latest of the GPU. errors: failed calls by name and code, as they are counted. now: Unix seconds.
    """

    faults: Callable[[], tuple[Fault, ...]]
    errors: Mapping[tuple[str, str], int]
    now: Callable[[], float]
    judged: Callable[[Health], object]

    def calls(self, calls: tuple[Call, ...]) -> tuple[Call, ...]:
        """The same calls, and the one that judges what they told."""
        told: dict[str, float] = {}
        return *(_noted(call, told) for call in calls), Call("health", ("gpu_health",), self._judging(told))

    def _judging(self, told: dict[str, float]) -> Callable[[Any, Any], tuple[Sample, ...]]:
        def read(_nvml: Any, _handle: Any) -> tuple[Sample, ...]:
            health = judge(self._facts(told), self.now())
            # What a call does not tell next time is not known then.
            told.clear()
            self.judged(health)
            return tuple(
                Sample("gpu_health", float(verdict.state), (("system", verdict.system),)) for verdict in health.verdicts
            )

        return read

    def _facts(self, told: Mapping[str, float]) -> Facts:
        corrupted = any(count and code == CORRUPTED_INFOROM for (_, code), count in tuple(self.errors.items()))
        facts = Facts(self.faults(), inforom_corrupted=corrupted, ecc_uncorrected=told.get("gpu_ecc_uncorrected_total"))
        if "gpu_row_remap_failed" in told:
            pending, failed = told.get("gpu_row_remap_pending"), told["gpu_row_remap_failed"]
            facts = replace(facts, remap_pending=bool(pending), remap_failed=bool(failed))
        if "gpu_recovery_action" in told:
            facts = replace(facts, recovery_action=int(told["gpu_recovery_action"]))
        return facts


_WANTED = {"gpu_row_remap_pending", "gpu_row_remap_failed", "gpu_ecc_uncorrected_total", "gpu_recovery_action"}


def _noted(call: Call, told: dict[str, float]) -> Call:
    if not _WANTED.intersection(call.metrics):
        return call

    def noting(read: Callable[[Any, Any], Any]) -> Callable[[Any, Any], tuple[Sample, ...]]:
        def noted(nvml: Any, handle: Any) -> tuple[Sample, ...]:
            samples = tuple(read(nvml, handle))
            told.update((sample.metric, sample.value) for sample in samples if not sample.labels)
            return samples

        return noted

    return replace(call, read=noting(call.read), older=None if call.older is None else noting(call.older))
